// SPDX-License-Identifier: MIT
/* Scenarios: large blocks, arenas, the map, no memory; see scenes.h. */
#include "scenes.h"

#include "heap/thread.h"
#include "world.h"

static void end_two(void)
{
	world_end(2);
}

static void end_three(void)
{
	world_end(3);
}

/* ---- large blocks ----------------------------------------------------- */

/* Block 0 to 3 are large. */
static void large_begin(void)
{
	world_begin();
	sched_play(0);
	for (unsigned int i = 0; i < 4; i++)
		world_make(i, LARGE + i * 4096);
}

static void large_free(unsigned int t)
{
	world_free(t);
}

static void large_reuse(unsigned int t)
{
	if (t)
		world_free(1);
	else
		world_make(4, LARGE);
}

static void large_resize(unsigned int t)
{
	if (t)
		world_free(1);
	else
		world_resize(0, 1 << 20);
}

static void large_each(unsigned int t)
{
	world_free(t);
	world_make(4 + t, LARGE);
}

/* ---- arenas and the map ----------------------------------------------- */

/* Thread 1 frees its own blocks, looked up in the map, while the other one
 * maps an arena. */
static void map_begin(void)
{
	world_begin();
	sched_play(1);
	world_make(0, SOLO);
	world_make(1, SOLO);
	sched_play(0);
	world_make(2, SMALL);
}

static void map_insert(unsigned int t)
{
	if (t) {
		world_free(0);
		world_expect(apb_usable_size(NULL) == 0, "usable", "of NULL");
		world_free(1);
	} else {
		world_make(3, PAIR);
	}
}

/* Both map an arena of the same kind. */
static void map_both_begin(void)
{
	world_begin();
	for (unsigned int t = 0; t < 2; t++) {
		sched_play(t);
		world_make(t, SMALL);
	}
}

static void map_both(unsigned int t)
{
	world_make(2 + t, PAIR);
}

/* The last pool of an arena is put back and unmapped, another one is wanted. */
static void spare_begin(void)
{
	world_begin();
	apb_set_option(APB_OPT_DIRTY_LIMIT, 0);
	sched_play(0);
	world_make(0, SOLO);
	sched_play(1);
	world_make(1, SMALL);
}

static void spare(unsigned int t)
{
	if (t) {
		world_make(2, SOLO);
	} else {
		world_free(0);
		apb_settle();
	}
}

static void spare_end(void)
{
	world_end(2);
	apb_set_option(APB_OPT_DIRTY_LIMIT, APB_DIRTY_AUTO);
}

/* ---- no memory -------------------------------------------------------- */

/* Thread 0 has no block left, and the system none; thread 1 has one for it. */
static void reclaim_begin(void)
{
	world_begin();
	sched_play(0);
	for (unsigned int i = 0; i < 6; i++)
		world_make(i, SOLO);
	sched_play(1);
	world_make(6, SOLO);
	/* so the arena has no pool left */
	for (unsigned int i = 7; i < 6 * 7; i++)
		world_make(i, SOLO);
	world_refuse_maps(true);
}

static void reclaim(unsigned int t)
{
	if (t) {
		world_free(0);
		world_free(6);
	} else {
		world_try(50, SOLO);
	}
}

static void reclaim_end(unsigned int t)
{
	if (t)
		apb_thread_end();
	else
		world_try(50, SOLO);
}

static void reclaim_both(unsigned int t)
{
	world_try(50 + t, SOLO + 8000);
}

const struct program scenes_shared[] = {
	{"large", "two threads free large blocks of the same owner", 2,
	 large_begin, large_free, end_two},
	{"large-3", "three threads free large blocks of the same owner", 3,
	 large_begin, large_free, end_three},
	{"large-reuse", "a large block is freed while its owner wants another",
	 2, large_begin, large_reuse, end_two},
	{"large-resize", "a large block is freed while another one grows", 2,
	 large_begin, large_resize, end_two},
	{"large-each", "two threads free and make large blocks", 2, large_begin,
	 large_each, end_two},
	{"map", "an arena is mapped while another's blocks are looked up", 2,
	 map_begin, map_insert, end_two},
	{"map-both", "two threads map an arena", 2, map_both_begin, map_both,
	 end_two},
	{"spare", "an arena is unmapped while another thread wants a pool", 2,
	 spare_begin, spare, spare_end},
	{"reclaim",
	 "no memory: blocks come back from all heaps, while another "
	 "thread frees",
	 2, reclaim_begin, reclaim, end_two},
	{"reclaim-end", "no memory, while another thread ends", 2,
	 reclaim_begin, reclaim_end, end_two},
	{"reclaim-both", "no memory for two threads", 2, reclaim_begin,
	 reclaim_both, end_two},
	{0},
};
