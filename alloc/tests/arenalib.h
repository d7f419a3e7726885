/* SPDX-License-Identifier: MIT */
/* What tests of arenas need: pools without a heap. */
#ifndef APB_ARENALIB_H
#define APB_ARENALIB_H

#include "testlib.h"

#include "arena/arena.h"

static inline struct apb_arenas *as(void)
{
	return &apb_state.arenas;
}

static inline struct apb_arena *arena_of(const struct apb_pool *pool)
{
	return apb_arena_of((uintptr_t)pool);
}

static inline size_t pool_bytes(unsigned int kind)
{
	return (size_t)1 << apb_kind_shift(kind);
}

/* Pools of an arena of @kind. */
static inline unsigned int slots(unsigned int kind)
{
	return (unsigned int)(APB_ARENA / pool_bytes(kind)) -
	       apb_first_slot(kind);
}

/* A pool, with an owner, as a heap would have it; or NULL. */
struct apb_pool *get(unsigned int kind);

/* A whole arena's pools, in ascending order. */
struct apb_arena *get_arena(unsigned int kind, struct apb_pool **pool);

/* Put @n pools, the last first. */
void put_all(struct apb_pool **pool, unsigned int n);

/* Nothing may be dirty from now on. */
void no_dirt(void);

/* Calls that the simulated kernel has seen. */
uint64_t calls(enum apb_os_call call);

#endif /* APB_ARENALIB_H */
