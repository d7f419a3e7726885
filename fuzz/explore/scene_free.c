// SPDX-License-Identifier: MIT
/* Scenarios: blocks freed by another thread than their owner; see scenes.h. */
#include "scenes.h"

#include "heap/thread.h"
#include "world.h"

/*
 * Thread 0 is the owner of blocks 0 to @n - 1, all of @size.  Somebody else has
 * the main heap.
 */
static void owner_makes(unsigned int n, size_t size)
{
	world_begin();
	sched_play(SCHED_THREADS - 1);
	world_make(60, SMALL);
	sched_play(0);
	for (unsigned int i = 0; i < n; i++)
		world_make(i, size);
}

/* Thread @t has a heap, with a block in its bin. */
static void has_heap(unsigned int t)
{
	sched_play(t);
	world_make(61 + t, SMALL);
}

static void end_two(void)
{
	world_end(2);
}

static void end_three(void)
{
	world_end(3);
}

/* ---- refill ----------------------------------------------------------- */

/* So many are in the owner's bin, which refills when they are gone. */
#define IN_BIN 6

static void refill_begin(void)
{
	owner_makes(IN_BIN, SOLO);
	has_heap(1);
}

static void refill(unsigned int t)
{
	if (t) {
		world_free(0);
		world_free(1);
	} else {
		world_make(IN_BIN, SOLO);
		world_make(IN_BIN + 1, SOLO);
	}
}

/* Two who free, one who refills. */
static void refill_three_begin(void)
{
	refill_begin();
	has_heap(2);
}

static void refill_three(unsigned int t)
{
	if (t)
		world_free(t);
	else
		world_make(IN_BIN, SOLO);
}

static void refill_more(unsigned int t)
{
	if (t) {
		world_free(t);
		world_free(t + 2);
	} else {
		world_make(IN_BIN, SOLO);
	}
}

static void refill_most(unsigned int t)
{
	refill_more(t);
	if (!t)
		world_make(IN_BIN + 1, SOLO);
}

/* Batches of two: a full one is posted. */
static void batch_begin(void)
{
	owner_makes(6, PAIR);
	has_heap(1);
}

static void batch(unsigned int t)
{
	if (t) {
		for (unsigned int i = 0; i < 4; i++)
			world_free(i);
	} else {
		for (unsigned int i = 10; i < 13; i++)
			world_make(i, PAIR);
	}
}

/* ---- the queue's bound ------------------------------------------------ */

/* Thread 1 has filled the owner's queue up to its bound. */
static void bound_begin(void)
{
	owner_makes(IN_BIN, SOLO);
	has_heap(1);
	world_free(0);
	world_free(1);
}

static void bound(unsigned int t)
{
	if (t)
		world_free(2);
	else
		world_make(IN_BIN, SOLO);
}

/* Another one helps at the same time. */
static void helpers_begin(void)
{
	bound_begin();
	has_heap(2);
}

/* The owner does nothing. */
static void helpers(unsigned int t)
{
	if (t)
		world_free(2 + t);
}

static void bound_three(unsigned int t)
{
	if (t)
		world_free(2 + t);
	else
		world_make(IN_BIN, SOLO);
}

static void bound_end(unsigned int t)
{
	if (t)
		world_free(2 + t);
	else
		apb_thread_end();
}

/*
 * So many that the queue gets far too long, if the owner is in its slow path
 * all the time: then who posts waits for it.
 */
#define MANY 10

static void wait_begin(void)
{
	owner_makes(MANY, SOLO);
	for (unsigned int i = MANY; i < 2 * IN_BIN; i++)
		world_make(i, SOLO);
	has_heap(1);
}

static void wait_for(unsigned int t)
{
	if (t)
		for (unsigned int i = 0; i < MANY; i++)
			world_free(i);
	else
		world_make(2 * IN_BIN, SOLO);
}

/* ---- what the owner does with its pools ------------------------------- */

/* The last block of a pool, and the owner gives back the others. */
static void settle_begin(void)
{
	owner_makes(2, SOLO);
	has_heap(1);
	sched_play(0);
	world_free(1);
}

static void settle(unsigned int t)
{
	if (t)
		world_free(0);
	else
		apb_settle();
}

/* Both give back the last blocks of a heap that a third one settles, too. */
static void settle_three_begin(void)
{
	owner_makes(2, SOLO);
	has_heap(1);
	has_heap(2);
}

static void settle_three(unsigned int t)
{
	if (t)
		world_free(t - 1);
	else
		apb_settle();
}

/* The owner frees as well: its bin is full. */
static void overflow_begin(void)
{
	world_begin();
	apb_set_option(APB_OPT_SETTLE_PERIOD, 1);
	sched_play(0);
	for (unsigned int i = 0; i < 4; i++)
		world_make(i, SOLO);
	has_heap(1);
}

static void overflow(unsigned int t)
{
	if (t) {
		world_free(0);
		world_free(1);
	} else {
		world_free(2);
		world_free(3);
		world_make(4, SOLO);
		world_make(5, SOLO);
	}
}

static void overflow_end(void)
{
	world_end(2);
	apb_set_option(APB_OPT_SETTLE_PERIOD, 0);
}

/* ---- realloc ---------------------------------------------------------- */

/* Another thread's block grows out of its class, twice. */
static void resize(unsigned int t)
{
	if (t)
		world_resize(0, SOLO + 8000);
	else
		world_make(IN_BIN, SOLO);
}

/* Both resize each other's. */
static void resize_both_begin(void)
{
	world_begin();
	for (unsigned int t = 0; t < 2; t++) {
		sched_play(t);
		world_make(t, SOLO);
		world_make(t + 2, SOLO + 8000);
		world_free(t + 2);
	}
}

static void resize_both(unsigned int t)
{
	world_resize(1 - t, SOLO + 8000);
	world_verify(1 - t);
}

/* ---- a thread without heap -------------------------------------------- */

/* There is no memory for thread 1's: it takes the owner's lock, and uses the
 * common heap. */
static void heapless_begin(void)
{
	owner_makes(IN_BIN, SOLO);
	sched_play(SCHED_NOBODY);
	world_refuse_maps(true);
}

static void heapless(unsigned int t)
{
	if (t) {
		world_free(0);
		world_try(20, SOLO);
	} else {
		world_make(IN_BIN - 1 + 2, SOLO);
	}
}

/* Two of them, of which neither gets one. */
static void heapless_both(unsigned int t)
{
	world_free(t);
	world_try(20 + t, SOLO);
}

static void heapless_both_begin(void)
{
	world_begin();
	sched_play(SCHED_THREADS - 1);
	for (unsigned int i = 0; i < IN_BIN; i++)
		world_make(i, SOLO);
	sched_play(SCHED_NOBODY);
	world_refuse_maps(true);
}

const struct program scenes_free[] = {
	{"refill",
	 "two blocks are freed by another thread while their owner "
	 "refills",
	 2, refill_begin, refill, end_two},
	{"refill-3", "two threads free, the owner refills", 3,
	 refill_three_begin, refill_three, end_three},
	{"refill-3-more", "two threads free two blocks each, the owner refills",
	 3, refill_three_begin, refill_more, end_three},
	{"batch", "two batches of two, against three malloc()", 2, batch_begin,
	 batch, end_two},
	{"bound", "the queue is too long: who posts helps; the owner refills",
	 2, bound_begin, bound, end_two},
	{"helpers", "the queue is too long for two who post", 3, helpers_begin,
	 helpers, end_three},
	{"bound-3", "two who post to a queue that is too long, and its owner",
	 3, helpers_begin, bound_three, end_three},
	{"bound-end",
	 "two who post to a queue that is too long, its owner ends", 3,
	 helpers_begin, bound_end, end_three},
	{"wait",
	 "ten blocks are posted while their owner refills: the queue "
	 "gets far too long",
	 2, wait_begin, wait_for, end_two},
	{"settle", "the last block of a pool is freed while its owner settles",
	 2, settle_begin, settle, end_two},
	{"settle-3", "two free the last blocks of a pool, its owner settles", 3,
	 settle_three_begin, settle_three, end_three},
	{"overflow",
	 "another thread and the owner, whose bin is full, free; it refills", 2,
	 overflow_begin, overflow, overflow_end},
	{"realloc", "realloc of another thread's block, whose owner refills", 2,
	 refill_begin, resize, end_two},
	{"realloc-both", "two threads resize each other's block", 2,
	 resize_both_begin, resize_both, end_two},
	{"heapless", "no memory: a thread has no heap, frees and allocates", 2,
	 heapless_begin, heapless, end_two},
	{"heapless-both", "no memory: two threads share the common heap", 2,
	 heapless_both_begin, heapless_both, end_two},
	{"refill-3-most",
	 "two threads free two blocks each, the owner refills "
	 "and allocates",
	 3, refill_three_begin, refill_most, end_three},
	{0},
};
