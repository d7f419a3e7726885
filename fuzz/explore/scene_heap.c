// SPDX-License-Identifier: MIT
/* Scenarios: heaps and their threads, trim, the world stopped; see scenes.h. */
#include "scenes.h"

#include "api/lock.h"
#include "heap/thread.h"
#include "world.h"

/*
 * Threads 0 to @nr - 1 each have a block, of the thread's number.  The last
 * one has the main heap; those of the others are mapped, and may be unmapped.
 */
static void each_has_one(unsigned int nr)
{
	world_begin();
	for (unsigned int t = nr; t--;) {
		sched_play(t);
		world_make(t, SOLO);
	}
}

static void two(void)
{
	each_has_one(2);
}

static void three(void)
{
	each_has_one(3);
}

static void end_two(void)
{
	world_end(2);
}

static void end_three(void)
{
	world_end(3);
}

/* ---- thread end ------------------------------------------------------- */

static void end(unsigned int t)
{
	if (t)
		world_free(0);
	else
		apb_thread_end();
}

/* Two free blocks of one who ends. */
static void end_three_begin(void)
{
	three();
	sched_play(0);
	world_make(3, SOLO);
}

static void end_free_free(unsigned int t)
{
	if (t)
		world_free(t == 1 ? 0 : 3);
	else
		apb_thread_end();
}

/* Both end, with a block of the other's in a batch that is not full. */
static void end_both_begin(void)
{
	world_begin();
	for (unsigned int t = 0; t < 2; t++) {
		sched_play(t);
		world_make(t, PAIR);
		world_make(t + 2, PAIR);
	}
	for (unsigned int t = 0; t < 2; t++) {
		sched_play(t);
		world_free(1 - t);
	}
}

static void end_both(unsigned int t)
{
	(void)t;
	apb_thread_end();
}

/* One ends and flushes a batch, another one helps, the owner refills. */
static void flush_begin(void)
{
	world_begin();
	sched_play(0);
	for (unsigned int i = 0; i < 6; i++)
		world_make(i, PAIR);
	sched_play(1);
	world_make(10, SMALL);
	world_free(0);
	sched_play(2);
	world_make(11, SMALL);
	for (unsigned int i = 1; i < 6; i++)
		world_free(i);
	/* the queue has two batches, and 1 and 2 one with one block each */
}

static void flush(unsigned int t)
{
	if (t == 1)
		apb_thread_end();
	else if (t)
		apb_settle();
	else
		world_make(20, PAIR);
}

static void flush_two(unsigned int t)
{
	if (t)
		flush(t);
}

/* ---- takeover --------------------------------------------------------- */

/* Thread 0's heap is idle, and still has block 0. */
static void idle_begin(void)
{
	each_has_one(2);
	sched_play(0);
	apb_thread_end();
}

static void takeover(unsigned int t)
{
	if (t) {
		world_free(0);
		return;
	}
	/* more than the last thread has left in the bin */
	for (unsigned int i = 2; i < 9; i++)
		world_make(i, SOLO);
}

/* Two new threads, one heap that is idle. */
static void takeover_two_begin(void)
{
	each_has_one(3);
	for (unsigned int t = 0; t < 2; t++) {
		sched_play(t);
		apb_thread_end();
	}
	/* only one of both idle heaps has something: the other one goes */
	sched_play(2);
	world_free(1);
	apb_trim();
}

static void takeover_two(unsigned int t)
{
	world_make(3 + t, SOLO);
}

/* And somebody frees the block that it has. */
static void takeover_three(unsigned int t)
{
	if (t == 2)
		world_free(0);
	else
		world_make(3 + t, SOLO);
}

/* The heap of a thread that ends is taken by one that begins. */
static void end_takeover_begin(void)
{
	world_begin();
	sched_play(2);
	world_make(2, SMALL);
	sched_play(0);
	world_make(0, SOLO);
}

/* The same, but it holds so much that it is settled. */
static void end_takeover_cold_begin(void)
{
	end_takeover_begin();
	for (unsigned int i = 20; i < 32; i++)
		world_make(i, SOLO);
	for (unsigned int i = 20; i < 32; i++)
		world_free(i);
}

static void end_takeover(unsigned int t)
{
	if (!t)
		apb_thread_end();
	else if (t == 1)
		world_make(1, SOLO);
	else
		world_free(0);
}

static void end_takeover_two(unsigned int t)
{
	if (!t) {
		apb_thread_end();
		return;
	}
	world_make(1, SOLO);
	world_free(1);
	world_make(3, SOLO);
}

/* The heap is taken, or not, by one who frees another of its blocks. */
static void end_takeover_more_begin(void)
{
	three();
	sched_play(0);
	world_make(3, SOLO);
	sched_play(2);
	apb_thread_end();
	sched_play(1);
	apb_trim();
}

static void end_takeover_more(unsigned int t)
{
	if (!t) {
		apb_thread_end();
	} else if (t == 1) {
		world_free(0);
	} else {
		world_free(3);
		world_make(4, SOLO);
	}
}

/* Nobody has a heap yet. */
static void first(unsigned int t)
{
	world_make(t, SMALL);
}

/* ---- trim ------------------------------------------------------------- */

static void trim(unsigned int t)
{
	if (t)
		world_free(0);
	else
		apb_trim();
}

/* A third one trims. */
static void trim_other(unsigned int t)
{
	if (!t)
		world_make(3, PAIR); /* refills, from a new pool */
	else if (t == 1)
		world_free(0);
	else
		apb_trim();
}

/* All at once: the owner ends, its block is freed, another one trims. */
static void trim_end_free(unsigned int t)
{
	if (!t)
		apb_thread_end();
	else if (t == 1)
		world_free(0);
	else
		apb_trim();
}

/*
 * Thread 0's heap is idle and has a queue that is too long: who posts empties
 * it, while another one, or both, looks whether the heap can go.
 */
static void help_trim_begin(void)
{
	world_begin();
	sched_play(2);
	world_make(10, SMALL);
	sched_play(1);
	world_make(11, SMALL);
	sched_play(0);
	for (unsigned int i = 0; i < 3; i++)
		world_make(i, SOLO);
	apb_thread_end();
	sched_play(1);
	world_free(0);
	world_free(1);
}

static void help_trim(unsigned int t)
{
	if (t)
		world_free(2);
	else
		apb_trim();
}

static void help_trim_three(unsigned int t)
{
	if (t == 2)
		world_make(3, SOLO);
	else
		help_trim(t);
}

/*
 * Nobody but thread 0 has a heap, and there is no memory for one.  Thread 1
 * gives its block, the last one, straight back; meanwhile thread 0 ends and
 * another one trims.
 */
static void direct_begin(void)
{
	world_begin();
	sched_play(3);
	world_make(10, SMALL);
	sched_play(0);
	world_make(0, SOLO);
	sched_play(SCHED_NOBODY);
	world_refuse_maps(true);
}

/* The heap that a new thread takes is about to be unmapped. */
static void trim_takeover_begin(void)
{
	world_begin();
	sched_play(1);
	world_make(0, SMALL);
	sched_play(0);
	world_make(1, SMALL);
	world_free(1);
	apb_thread_end();
}

static void trim_takeover(unsigned int t)
{
	if (t)
		apb_trim();
	else
		world_make(2, SMALL);
}

static void trim_end(unsigned int t)
{
	if (t)
		apb_trim();
	else
		apb_thread_end();
}

/* A thread ends, one trims, one begins. */
static void trim_end_begin(unsigned int t)
{
	if (t == 2)
		world_make(4, SOLO);
	else
		trim_end(t);
}

static void trim_both(unsigned int t)
{
	(void)t;
	apb_trim();
}

static void trim_idle(unsigned int t)
{
	if (t)
		world_free(0);
	else
		apb_trim();
}

/* ---- the world stopped ------------------------------------------------ */

static void stop(unsigned int t)
{
	if (t) {
		world_free(0);
	} else {
		apb_stop();
		apb_resume();
	}
}

static void stop_three(unsigned int t)
{
	if (t == 2)
		world_make(3, PAIR); /* takes a pool */
	else
		stop(t);
}

static void stop_both(unsigned int t)
{
	(void)t;
	apb_stop();
	apb_resume();
}

static void stop_end(unsigned int t)
{
	if (!t)
		apb_thread_end();
	else if (t == 1)
		world_make(4, SOLO);
	else
		stop(0);
}

/* An option that concerns all heaps. */
static void option(unsigned int t)
{
	if (t) {
		world_make(2, PAIR);
		world_free(2);
	} else {
		apb_set_option(APB_OPT_SETTLE_PERIOD, 4);
	}
}

static void option_end(void)
{
	world_end(2);
	apb_set_option(APB_OPT_SETTLE_PERIOD, 0);
}

static void check(unsigned int t)
{
	if (t)
		world_free(0);
	else
		world_expect(!apb_check(NULL), "check", "apb_check() failed");
}

static void check_end(unsigned int t)
{
	if (t)
		apb_thread_end();
	else
		check(0);
}

/*
 * A thread that has no heap yet frees a block while another one checks: it has
 * the block in hand, and no heap shows that.
 */
static void check_new_begin(void)
{
	world_begin();
	sched_play(0);
	world_make(0, SOLO);
}

/* And it gets none, as there is no memory. */
static void check_heapless_begin(void)
{
	check_new_begin();
	sched_play(SCHED_NOBODY);
	world_refuse_maps(true);
}

static void stats(unsigned int t)
{
	struct apb_stats s;

	if (t) {
		world_free(0);
		world_make(2, PAIR);
	} else {
		apb_stats(&s);
		world_expect(s.heaps == 2, "accounting", "not two heaps");
	}
}

const struct program scenes_heap[] = {
	{"end", "a block is freed by another thread while its owner ends", 2,
	 two, end, end_two},
	{"end-3", "two threads free blocks of one who ends", 3, end_three_begin,
	 end_free_free, end_three},
	{"end-both", "two threads end, each has a batch for the other", 2,
	 end_both_begin, end_both, end_two},
	{"flush",
	 "a thread's end flushes a batch, another one settles, the "
	 "owner refills",
	 3, flush_begin, flush, end_three},
	{"flush-2",
	 "a thread's end flushes a batch to a queue that another one "
	 "empties",
	 3, flush_begin, flush_two, end_three},
	{"takeover",
	 "a block of an idle heap is freed while a new thread takes "
	 "that",
	 2, idle_begin, takeover, end_two},
	{"takeover-two", "two new threads, one idle heap", 2,
	 takeover_two_begin, takeover_two, end_three},
	{"takeover-3", "two new threads, one idle heap, whose block is freed",
	 3, takeover_two_begin, takeover_three, end_three},
	{"end-takeover", "a thread ends, another one begins", 2,
	 end_takeover_begin, end_takeover_two, end_three},
	{"end-takeover-cold", "the same, of a heap with much to give back", 2,
	 end_takeover_cold_begin, end_takeover_two, end_three},
	{"end-takeover-3", "a thread ends, one begins, one frees its block", 3,
	 end_takeover_begin, end_takeover, end_three},
	{"end-takeover-more",
	 "the same, and who begins frees a block of it, "
	 "too",
	 3, end_takeover_more_begin, end_takeover_more, end_three},
	{"first", "the first malloc() of two threads", 2, world_begin, first,
	 end_two},
	{"trim", "a block is freed by another thread while its owner trims", 2,
	 two, trim, end_two},
	{"trim-3",
	 "a block is freed by another thread, its owner allocates, a "
	 "third one trims",
	 3, three, trim_other, end_three},
	{"trim-takeover", "trim unmaps an idle heap, which a new thread wants",
	 2, trim_takeover_begin, trim_takeover, end_two},
	{"trim-end", "one thread trims, the other ends", 2, two, trim_end,
	 end_two},
	{"trim-end-begin", "one thread trims, one ends, one begins", 3,
	 end_takeover_begin, trim_end_begin, end_three},
	{"trim-both", "two threads trim", 2, two, trim_both, end_two},
	{"trim-idle",
	 "a block of an idle heap is freed while another thread "
	 "trims",
	 2, idle_begin, trim_idle, end_two},
	{"trim-end-free", "one thread ends, one frees its block, one trims", 3,
	 three, trim_end_free, end_three},
	{"direct", "the same without memory: who frees has no heap", 3,
	 direct_begin, trim_end_free, end_three},
	{"help-trim",
	 "the queue of an idle heap is emptied by who posts, while "
	 "another thread trims",
	 2, help_trim_begin, help_trim, end_three},
	{"help-trim-3", "the same, and a new thread begins", 3, help_trim_begin,
	 help_trim_three, end_three},
	{"stop", "the world is stopped while a block is posted", 2, two, stop,
	 end_two},
	{"stop-3", "the same, and a third thread allocates", 3, three,
	 stop_three, end_three},
	{"stop-both", "two threads stop the world", 2, two, stop_both, end_two},
	{"stop-end", "the world is stopped while a thread ends, one begins", 3,
	 end_takeover_begin, stop_end, end_three},
	{"option", "an option of all heaps is set while another refills", 2,
	 two, option, option_end},
	{"check", "apb_check() while a block is posted", 2, two, check,
	 end_two},
	{"check-end", "apb_check() while a thread ends", 2, two, check_end,
	 end_two},
	{"check-new", "apb_check() while a thread without heap frees", 2,
	 check_new_begin, check, end_two},
	{"check-heapless", "the same, and there is no memory for a heap", 2,
	 check_heapless_begin, check, end_two},
	{"stats", "statistics while another thread frees and allocates", 2, two,
	 stats, end_two},
	{0},
};
