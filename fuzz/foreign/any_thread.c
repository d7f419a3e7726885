// SPDX-License-Identifier: MIT
/*
 * Played threads are real ones, as a library's heaps belong to them; but only
 * the one that has the baton runs, so that the order is the input's.  The loop
 * over the operations goes from thread to thread with the baton.  A thread
 * begins with its first operation and, unless it ends, is there for the inputs
 * to come as well: a change of threads costs one switch, not the making of one.
 *
 * The baton is a word for each thread that it sleeps on; thread 0 is who called
 * run_input().  A thread is made by the target's C library, which has to know
 * of it.
 */
#define _GNU_SOURCE /* syscall() */
#include "any.h"

#include "baton.h"
#include "states.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct player {
	pthread_t thread;
	bool alive;
	_Atomic uint32_t go; /* 1: has the baton */
	struct any *r;
	any_fn fn; /* NULL: end */
};

static struct player players[OPS_THREADS];
static _Atomic uint32_t started;

static void sleep_on(_Atomic uint32_t *word)
{
	while (!atomic_load_explicit(word, memory_order_acquire))
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	baton_taken(word);
	atomic_store_explicit(word, 0, memory_order_relaxed);
}

static void wake(_Atomic uint32_t *word)
{
	baton_given(word);
	atomic_store_explicit(word, 1, memory_order_release);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *play(void *arg)
{
	struct player *p = arg;

	if (rules_warm_up())
		target.free(target.malloc(1));
	wake(&started);
	for (;;) {
		sleep_on(&p->go);
		if (!p->fn)
			return NULL;
		p->r->model.thread = (uint8_t)(p - players);
		p->fn(p->r, (unsigned int)(p - players));
	}
}

static void begin_thread(struct player *p)
{
	hooks_lift(true);
	if (target.thread_create(&p->thread, NULL, play, p)) {
		fputs("apb: no thread is to be had\n", stderr);
		_Exit(2);
	}
	sleep_on(&started);
	hooks_lift(false);
	p->alive = true;
}

void any_pass(struct any *r, unsigned int thread, any_fn fn)
{
	struct player *p = &players[thread];

	if (thread && !p->alive)
		begin_thread(p);
	p->r = r;
	p->fn = fn;
	wake(&p->go);
}

void any_await(struct any *r)
{
	sleep_on(&players[0].go);
	r->model.thread = 0;
}

void any_end_thread(struct any *r, unsigned int thread)
{
	struct player *p = &players[thread];

	if (!p->alive)
		return;
	feedback_thread_end(true, r->model.live);
	any_pass(r, thread, NULL);
	target.thread_join(p->thread, NULL);
	p->alive = false;
}
