// SPDX-License-Identifier: MIT
/*
 * Played threads are real ones, as a library's heaps belong to them; but only
 * the one that has the baton runs, so that the order is the input's.  A thread
 * begins with its first operation and, unless it ends, is there for the inputs
 * to come as well: it costs two switches for each operation, not its making.
 *
 * The baton is a word for each thread that it sleeps on, and one for the caller.
 * A thread is made by the target's C library, which has to know of it.
 */
#define _GNU_SOURCE /* syscall() */
#include "any.h"

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
	_Atomic uint32_t go; /* 1: run fn, then back */
	struct any *r;
	void (*fn)(struct any *r); /* NULL: end */
};

static struct player players[OPS_THREADS];
static _Atomic uint32_t back;

static void sleep_on(_Atomic uint32_t *word)
{
	while (!atomic_load_explicit(word, memory_order_acquire))
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	atomic_store_explicit(word, 0, memory_order_relaxed);
}

static void wake(_Atomic uint32_t *word)
{
	atomic_store_explicit(word, 1, memory_order_release);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *play(void *arg)
{
	struct player *p = arg;

	for (;;) {
		sleep_on(&p->go);
		if (!p->fn)
			return NULL;
		p->fn(p->r);
		wake(&back);
	}
}

static void pass_to(struct player *p, struct any *r,
		    void (*fn)(struct any *r))
{
	p->r = r;
	p->fn = fn;
	wake(&p->go);
}

static void begin_thread(struct player *p)
{
	if (target.thread_create(&p->thread, NULL, play, p)) {
		fputs("apb: no thread is to be had\n", stderr);
		_Exit(2);
	}
	p->alive = true;
}

void any_on_thread(struct any *r, unsigned int thread,
		   void (*fn)(struct any *r))
{
	struct player *p = &players[thread];

	r->model.thread = (uint8_t)thread;
	if (!thread) {
		fn(r);
		return;
	}
	if (!p->alive)
		begin_thread(p);
	pass_to(p, r, fn);
	sleep_on(&back);
	r->model.thread = 0;
}

void any_end_thread(struct any *r, unsigned int thread)
{
	struct player *p = &players[thread];

	if (!p->alive)
		return;
	feedback_thread_end(true, r->model.live);
	pass_to(p, r, NULL);
	target.thread_join(p->thread, NULL);
	p->alive = false;
}
