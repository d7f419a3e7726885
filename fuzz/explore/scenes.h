/* SPDX-License-Identifier: MIT */
/*
 * Scenarios: programs of two or three threads that meet in one place of the
 * allocator, small enough for all their schedules to be gone through.
 *
 * Blocks are of sizes of which few fit into a pool.  SOLO ones are sent to
 * another thread's heap one by one, PAIR ones in batches of two.  Queues are
 * too long with 2 batches, and far too long with 8 (APB_QUEUE_MAX is 2 in this
 * flavour).
 */
#ifndef APB_EXPLORE_SCENES_H
#define APB_EXPLORE_SCENES_H

#include "sched.h"

#define SOLO 20000
#define PAIR 8192
#define SMALL 64
#define LARGE 40000

/* One kind of scenario each; a table ends with a program without name. */
extern const struct program scenes_free[]; /* frees from other threads */
extern const struct program scenes_heap[]; /* thread ends, takeover, trim */
extern const struct program scenes_shared[]; /* what all heaps share */

/* The one with this name, or NULL. */
const struct program *scene_find(const char *name);

/* Number @i of all of them, or NULL. */
const struct program *scene_nr(unsigned int i);

#endif /* APB_EXPLORE_SCENES_H */
