// SPDX-License-Identifier: MIT
/*
 * Statistics: counted by a walk when they are asked for, so that allocation
 * pays nothing for them.  State bytes tell which blocks the program holds,
 * whatever lists the others are in.
 */
#include "uninstrumented.h"

#include "api/lock.h"
#include "debug/walk.h"

#include <string.h>

static void count_pool(struct apb_pool *pool, void *arg)
{
	struct apb_stats *s = arg;
	struct apb_class_stats *c = &s->class_[apb_class_told(pool->cls) - 1];
	unsigned int live = apb_pool_live(pool);

	c->pools++;
	c->used += live;
	c->avail += pool->count - live;
	s->used_bytes += live * apb_class_size(pool->cls);
	s->avail_bytes += (pool->count - live) * apb_class_size(pool->cls);
	s->quant_bytes += apb_pool_remainder(pool);
	s->align_bytes += apb_pool_colour_bytes(pool);
}

static void count_arena(struct apb_arena *arena, void *arg)
{
	size_t pool = (size_t)1 << apb_kind_shift(arena->kind);
	struct apb_stats *s = arg;

	s->header_bytes += apb_first_slot(arena->kind) * pool;
	s->unused_pools[arena->kind].nr += arena->nr_unused;
	s->unused_pool_bytes += arena->nr_unused * pool;
	apb_walk_pools(arena, count_pool, s);
}

static void count_classes(struct apb_stats *s)
{
	unsigned int cls, kind;

	for (kind = 0; kind < APB_NR_POOL_KINDS; kind++)
		s->unused_pools[kind].size = (size_t)1 << apb_kind_shift(kind);
	/* the last of those that are told as one is the largest */
	for (cls = 1; cls <= APB_NR_BINS; cls++) {
		struct apb_class_stats *c = &s->class_[apb_class_told(cls) - 1];

		c->size = apb_class_size(cls);
		c->pool_size = (size_t)1 << apb_kind_shift(apb_class_kind(cls));
	}
}

static void count_heaps(struct apb_stats *s)
{
	struct apb_node *node;

	s->heaps = apb_state.heaps.nr;
	s->settles = apb_state.heaps.settles;
	s->settled = apb_state.heaps.settled;
	s->recovered = apb_state.heaps.recovered;
	s->heap_bytes = apb_state.heaps.nr_mapped * APB_HEAP_BYTES +
			apb_state.meta.nr_chunks * APB_META_CHUNK;
	for (node = apb_state.heaps.all; node; node = node->next) {
		const struct apb_heap *heap =
			apb_entry(node, struct apb_heap, node);

		s->settles += heap->settles;
		s->settled += heap->settled;
		s->recovered += heap->recovered;
	}
}

void apb_stats(struct apb_stats *s)
{
	const struct apb_state *st = &apb_state;

	memset(s, 0, sizeof(*s));
	apb_stop();
	apb_arena_for_each(count_arena, s);
	count_classes(s);
	s->arenas_total = st->arenas.total;
	s->arenas_reclaimed = st->arenas.reclaimed;
	s->arenas_highwater = st->arenas.highwater;
	s->arenas = st->arenas.nr;
	s->spares = st->arenas.nr_spares;
	s->arena_bytes = APB_ARENA;
	s->large = st->larges.nr;
	s->large_bytes = st->larges.bytes;
	s->large_slack_bytes = st->larges.slack;
	s->large_cached = st->larges.nr_cached;
	s->large_cached_bytes = st->larges.cached_bytes;
	s->map_bytes = st->map.nr_leaves * APB_LEAF_BYTES;
	s->slop_bytes = st->os.orphan_bytes;
	s->mapped_bytes = st->os.mapped;
	s->mapped_highwater = st->os.mapped_highwater;
	s->dirty_bytes = st->arenas.dirty_bytes;
	s->dirty_limit = apb_arena_dirty_limit();
	s->purges = st->os.purges;
	count_heaps(s);
	s->recovered += st->larges.recovered;
	s->unmap_failures = st->os.unmap_failures;
	apb_resume();
}

#include "instrumented.h"
