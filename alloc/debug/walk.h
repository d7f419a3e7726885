/* SPDX-License-Identifier: MIT */
/* Walks over pools and bins that statistics, checks and tests share. */
#ifndef APB_WALK_H
#define APB_WALK_H

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

/* The pool of a block that is known to be in one. */
static inline struct apb_pool *apb_walk_pool(const struct apb_block *block)
{
	uintptr_t addr = (uintptr_t)block;

	return apb_pool_of(addr, apb_map_kind(&apb_state.map, addr));
}

#endif /* APB_WALK_H */
