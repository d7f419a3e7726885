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

#endif /* APB_WALK_H */
