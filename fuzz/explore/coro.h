/* SPDX-License-Identifier: MIT */
/*
 * Coroutines: stacks of their own, and each its own values of all thread-local
 * variables of the program and of errno.  x86-64.
 */
#ifndef APB_EXPLORE_CORO_H
#define APB_EXPLORE_CORO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORO_NR 9 /* number 0 is the caller's own stack */
#define CORO_STACK ((size_t)256 << 10)
#define CORO_TLS_MAX 256 /* bytes of thread-local variables */

/* All but number 0 begin anew, with @body(number), which must not return. */
void coro_reset(void (*body)(unsigned int number));

/* Go on with @number where it was left. */
void coro_switch(unsigned int number);

/* On the stack that runs, with the thread-local variables of @number. */
void coro_play(unsigned int number);

/* Whether @addr is on a coroutine's stack, or a thread-local variable. */
bool coro_private(uintptr_t addr);

#endif /* APB_EXPLORE_CORO_H */
