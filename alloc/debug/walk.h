/* SPDX-License-Identifier: MIT */
/* Walks over pools and heaps that statistics, checks and tests share. */
#ifndef APB_WALK_H
#define APB_WALK_H

#include "api/lock.h"
#include "heap/thread.h"
#include "state.h"

/* Call @fn for each pool in use. */
static inline void apb_walk_pools(struct apb_arena *arena,
				  void (*fn)(struct apb_pool *pool, void *arg),
				  void *arg)
{
	uint64_t used = apb_slot_mask(arena->kind) & ~arena->unused;

	for (; used; used &= used - 1)
		fn(apb_arena_pool(arena, (unsigned int)__builtin_ctzll(used)),
		   arg);
}

/*
 * All threads are stopped (apb_stop()): whether nobody is in @heap's bins and
 * batches either.
 */
static inline bool apb_heap_at_rest(const struct apb_heap *heap)
{
	return apb_single_threaded() || !heap->attached || heap == apb_tls;
}

#endif /* APB_WALK_H */
