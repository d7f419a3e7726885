// SPDX-License-Identifier: MIT
/* Looking inside; see inspect.h. */
#include "uninstrumented.h"

#include "debug/inspect.h"

#include "debug/walk.h"

struct search {
	size_t skip;
	size_t seen;
	const void *found;
};

static void see(struct search *s, uintptr_t addr)
{
	if (s->seen++ == s->skip)
		s->found = (const void *)addr;
}

/* The last block of a pool, if it is as it was: pools are used from below. */
static void see_last(struct apb_pool *pool, void *arg)
{
	unsigned int last = pool->count - 1u;

	if (apb_state_get(apb_pool_state(pool, last)) == APB_STATE_NEVER)
		see(arg, pool->base + last * apb_class_size(pool->cls));
}

static void find_never(struct apb_arena *arena, void *arg)
{
	apb_walk_pools(arena, see_last, arg);
}

static void find_unused(struct apb_arena *arena, void *arg)
{
	uint64_t left = arena->unused;

	for (; left; left &= left - 1)
		see(arg, (uintptr_t)arena + ((uintptr_t)__builtin_ctzll(left)
					     << apb_kind_shift(arena->kind)));
}

static const void *search(void (*fn)(struct apb_arena *, void *), size_t skip)
{
	struct search s = {.skip = skip};

	apb_arena_for_each(fn, &s);
	if (!s.seen || s.found)
		return s.found;
	s = (struct search){.skip = skip % s.seen};
	apb_arena_for_each(fn, &s);
	return s.found;
}

const void *apb_inspect_never_allocated(size_t skip)
{
	return search(find_never, skip);
}

const void *apb_inspect_unused_pool(size_t skip)
{
	return search(find_unused, skip);
}

#include "instrumented.h"
