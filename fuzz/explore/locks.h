/* SPDX-License-Identifier: MIT */
/*
 * The model of pthread mutexes: who has which.  The linker puts it in place of
 * the real ones (--wrap): a thread that waits for a lock cannot go on.
 */
#ifndef APB_EXPLORE_LOCKS_H
#define APB_EXPLORE_LOCKS_H

#include <stddef.h>
#include <stdint.h>

/* A run begins, or will: before objects_reset(). */
void locks_reset(void);

/* The thread that has lock @id, or SCHED_NOBODY. */
unsigned int locks_holder(unsigned int id);

/* It is a finding if anybody has a lock (in that memory). */
void locks_expect_free(void);
void locks_expect_free_in(uintptr_t addr, size_t size);

#endif /* APB_EXPLORE_LOCKS_H */
