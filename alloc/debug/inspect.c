// SPDX-License-Identifier: MIT
/* Looking inside; see inspect.h. */
#include "debug/inspect.h"

#include "debug/walk.h"

struct search {
	size_t skip;
	size_t seen;
	const void *found;
};

uint64_t apb_inspect_key(void)
{
	return apb_state.heap.key;
}

static void see(struct search *s, uintptr_t addr)
{
	if (s->seen++ == s->skip)
		s->found = (const void *)addr;
}

static void see_uncarved(struct apb_pool *pool, void *arg)
{
	if (pool->carved < pool->count)
		see(arg, pool->base + pool->carved * apb_class_size(pool->cls));
}

static void find_uncarved(struct apb_arena *arena, void *arg)
{
	apb_walk_pools(arena, see_uncarved, arg);
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
	return search(find_uncarved, skip);
}

const void *apb_inspect_unused_pool(size_t skip)
{
	return search(find_unused, skip);
}
