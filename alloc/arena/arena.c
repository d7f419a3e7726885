// SPDX-License-Identifier: MIT
/* Arenas; see arena.h. */
#include "arena/arena.h"

#include "state.h"

#include <string.h>

static inline struct apb_arenas *arenas(void)
{
	return &apb_state.arenas;
}

static size_t pool_bytes(unsigned int kind)
{
	return (size_t)1 << apb_kind_shift(kind);
}

/* ---- buckets ---------------------------------------------------------- */

static void bucket_add(struct apb_arena *arena)
{
	struct apb_arenas *as = arenas();

	apb_node_add(&as->bucket[arena->kind][arena->nr_unused], &arena->node);
	as->buckets[arena->kind] |= UINT64_C(1) << arena->nr_unused;
}

static void bucket_del(struct apb_arena *arena)
{
	struct apb_arenas *as = arenas();

	apb_node_del(&arena->node);
	if (!as->bucket[arena->kind][arena->nr_unused])
		as->buckets[arena->kind] &= ~(UINT64_C(1) << arena->nr_unused);
}

static void spare_add(struct apb_arena *arena)
{
	apb_node_add(&arenas()->spares, &arena->node);
	arenas()->nr_spares++;
}

static void spare_del(struct apb_arena *arena)
{
	apb_node_del(&arena->node);
	arenas()->nr_spares--;
}

/* The fullest arena of @kind with an unused pool, or NULL. */
static struct apb_arena *fullest(unsigned int kind)
{
	uint64_t some = arenas()->buckets[kind] & ~UINT64_C(1);

	if (!some)
		return NULL;
	return apb_entry(arenas()->bucket[kind][__builtin_ctzll(some)],
			 struct apb_arena, node);
}

/* ---- dirty pools ------------------------------------------------------ */

static void ring_add(struct apb_arena *arena)
{
	struct apb_ring *head = &arenas()->dirty, *ring = &arena->ring;

	if (!head->next)
		head->next = head->prev = head;
	ring->next = head->next;
	ring->prev = head;
	head->next->prev = ring;
	head->next = ring;
}

static void dirty_add(struct apb_arena *arena, uint64_t mask)
{
	if (!arena->dirty)
		ring_add(arena);
	arena->dirty |= mask;
	arenas()->dirty_bytes +=
		(size_t)__builtin_popcountll(mask) * pool_bytes(arena->kind);
}

static void dirty_del(struct apb_arena *arena, uint64_t mask)
{
	arenas()->dirty_bytes -=
		(size_t)__builtin_popcountll(mask) * pool_bytes(arena->kind);
	arena->dirty &= ~mask;
	if (arena->dirty)
		return;
	arena->ring.prev->next = arena->ring.next;
	arena->ring.next->prev = arena->ring.prev;
	arena->ring.next = NULL;
}

/* Purge @arena's dirty pools, a call for each run of neighbours. */
static size_t purge_arena(struct apb_arena *arena)
{
	size_t bytes = 0, size = pool_bytes(arena->kind);
	uint64_t left = arena->dirty;

	while (left) {
		unsigned int first = (unsigned int)__builtin_ctzll(left);
		/* slot 0 is never dirty, so a run ends below bit 64 */
		unsigned int n =
			(unsigned int)__builtin_ctzll(~(left >> first));
		uint64_t run = (UINT64_MAX >> (64 - n)) << first;

		left &= ~run;
		if (apb_os_purge((char *)arena + first * size, n * size))
			continue;
		dirty_del(arena, run);
		bytes += n * size;
	}
	return bytes;
}

size_t apb_arena_purge(size_t target)
{
	struct apb_arenas *as = arenas();
	struct apb_ring *ring, *prev;
	size_t bytes = 0;

	if (!as->dirty.next)
		return 0;
	for (ring = as->dirty.prev; ring != &as->dirty; ring = prev) {
		prev = ring->prev;
		if (as->dirty_bytes <= target)
			break;
		bytes += purge_arena(apb_entry(ring, struct apb_arena, ring));
	}
	/* what the system refused now it would refuse at the next free too */
	as->purge_floor =
		as->dirty_bytes > target ? as->dirty_bytes + APB_DIRTY_BASE : 0;
	return bytes;
}

void apb_arena_limit_dirty(void)
{
	struct apb_arenas *as = arenas();
	size_t limit = as->dirty_limit;

	if (as->purge_later)
		return;
	if (limit == APB_DIRTY_AUTO)
		limit = APB_DIRTY_BASE +
			(as->used_pool_bytes >> APB_DIRTY_SHARE_SHIFT);
	if (as->dirty_bytes > limit && as->dirty_bytes > as->purge_floor)
		apb_arena_purge(limit / 2);
}

/* ---- arenas ----------------------------------------------------------- */

/* Unmap an arena that is on no list and has no pool in use: 0 or -1. */
static int unmap_arena(struct apb_arena *arena)
{
	struct apb_arenas *as = arenas();
	uint64_t dirty = arena->dirty;

	/* the header is gone after the call */
	if (dirty)
		dirty_del(arena, dirty);
	if (apb_os_unmap(arena, APB_ARENA)) {
		if (dirty)
			dirty_add(arena, dirty);
		return -1;
	}
	apb_map_clear((uintptr_t)arena);
	as->nr--;
	as->reclaimed++;
	return 0;
}

static void cut(struct apb_arena *arena, unsigned int kind)
{
	unsigned int slot;

	arena->kind = (uint8_t)kind;
	arena->unused = apb_slot_mask(kind);
	arena->nr_unused = (uint8_t)__builtin_popcountll(arena->unused);
	/* masks of state lines: pool.c */
	memset(((struct apb_slot *)arena)->few, 0, APB_STATES_FEW);
	for (slot = 1; slot < apb_arena_slots(arena); slot++)
		apb_arena_pool(arena, slot)->owner = 0;
}

static struct apb_arena *map_arena(unsigned int kind)
{
	struct apb_arenas *as = arenas();
	struct apb_arena *arena;
	bool zero;

	arena = apb_os_map(apb_map_hint(APB_ARENA, APB_ARENA), APB_ARENA,
			   APB_ARENA, &zero);
	if (!arena)
		return NULL;
	if (apb_map_set((uintptr_t)arena, apb_kind_shift(kind))) {
		apb_os_release(arena, APB_ARENA);
		return NULL;
	}
	arena->guard = APB_ARENA_GUARD;
	arena->ring.next = NULL;
	arena->dirty = 0;
	arena->colour = (uint8_t)as->total;
	cut(arena, kind);
	as->total++;
	as->nr++;
	if (as->nr > as->highwater)
		as->highwater = as->nr;
	return arena;
}

/* A spare, cut to @kind, or NULL. */
static struct apb_arena *take_spare(unsigned int kind)
{
	struct apb_arenas *as = arenas();
	struct apb_arena *arena;
	bool dirty;

	if (!as->spares)
		return NULL;
	arena = apb_entry(as->spares, struct apb_arena, node);
	spare_del(arena);
	if (arena->kind == kind)
		return arena;
	dirty = arena->dirty;
	if (dirty)
		dirty_del(arena, arena->dirty);
	cut(arena, kind);
	/* pages that may be resident are spread over the new pools: all dirty */
	if (dirty)
		dirty_add(arena, arena->unused);
	apb_map_change((uintptr_t)arena, apb_kind_shift(kind));
	return arena;
}

struct apb_pool *apb_arena_get_pool(unsigned int kind, bool may_map)
{
	struct apb_arena *arena = fullest(kind);
	unsigned int slot;
	uint64_t bit;

	if (arena)
		bucket_del(arena);
	else
		arena = take_spare(kind);
	if (!arena && may_map)
		arena = map_arena(kind);
	if (!arena)
		return NULL;
	slot = (unsigned int)__builtin_ctzll(arena->dirty ? arena->dirty :
							    arena->unused);
	bit = UINT64_C(1) << slot;
	if (arena->dirty & bit)
		dirty_del(arena, bit);
	arena->unused &= ~bit;
	arena->nr_unused--;
	bucket_add(arena);
	arenas()->used_pool_bytes += pool_bytes(kind);
	return apb_arena_pool(arena, slot);
}

void apb_arena_put_pool(struct apb_pool *pool)
{
	struct apb_arena *arena = apb_arena_of((uintptr_t)pool);
	struct apb_arenas *as = arenas();
	uint64_t bit = UINT64_C(1) << apb_pool_slot(pool);

	pool->owner = 0;
	bucket_del(arena);
	arena->unused |= bit;
	arena->nr_unused++;
	as->used_pool_bytes -= pool_bytes(arena->kind);
	dirty_add(arena, bit);
	if (arena->unused != apb_slot_mask(arena->kind)) {
		bucket_add(arena);
	} else if (!as->spares) {
		spare_add(arena);
	} else if (unmap_arena(arena)) {
		if (!as->purge_later)
			purge_arena(arena);
		spare_add(arena);
	}
	apb_arena_limit_dirty();
}

void apb_arena_unmap_spares(void)
{
	struct apb_node *node, *next;

	for (node = arenas()->spares; node; node = next) {
		struct apb_arena *arena =
			apb_entry(node, struct apb_arena, node);

		next = node->next;
		spare_del(arena);
		if (unmap_arena(arena))
			spare_add(arena);
	}
}

void apb_arena_for_each(void (*fn)(struct apb_arena *arena, void *arg),
			void *arg)
{
	struct apb_arenas *as = arenas();
	struct apb_node *node, *next;
	unsigned int kind;
	uint64_t left;

	for (kind = 0; kind < APB_NR_POOL_KINDS; kind++) {
		for (left = as->buckets[kind]; left; left &= left - 1) {
			node = as->bucket[kind][__builtin_ctzll(left)];
			for (; node; node = next) {
				next = node->next;
				fn(apb_entry(node, struct apb_arena, node),
				   arg);
			}
		}
	}
	for (node = as->spares; node; node = next) {
		next = node->next;
		fn(apb_entry(node, struct apb_arena, node), arg);
	}
}

static void release_arena(struct apb_arena *arena, void *arg)
{
	(void)arg;
	apb_os_release(arena, APB_ARENA);
}

void apb_arena_reset(void)
{
	apb_arena_for_each(release_arena, NULL);
}
