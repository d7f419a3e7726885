// SPDX-License-Identifier: MIT
/* Arenas; see arena.h. */
#include "uninstrumented.h"

#include "arena/arena.h"

#include "arena/flat.h"
#include "state.h"
#include "track/track.h"

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

static size_t mask_bytes(const struct apb_arena *arena, uint64_t mask)
{
	return (size_t)__builtin_popcountll(mask) * pool_bytes(arena->kind);
}

static void dirty_add(struct apb_arena *arena, uint64_t mask)
{
	if (!arena->dirty)
		ring_add(arena);
	arena->dirty |= mask;
	arenas()->dirty_bytes += mask_bytes(arena, mask);
}

/* Returns the bytes that are dirty no more. */
static size_t dirty_del(struct apb_arena *arena, uint64_t mask)
{
	size_t bytes = mask_bytes(arena, mask);

	arenas()->dirty_bytes -= bytes;
	arena->dirty &= ~mask;
	if (bytes && !arena->dirty) {
		arena->ring.prev->next = arena->ring.next;
		arena->ring.next->prev = arena->ring.prev;
		arena->ring.next = NULL;
	}
	return bytes;
}

static void gave_back(size_t bytes)
{
	apb_retain_gave(&arenas()->retain, arenas()->dirty_bytes, bytes);
}

/*
 * Purge @arena's dirty pools, a call for each run of unused neighbours: to
 * purge what is clean costs nothing.
 */
static size_t purge_arena(struct apb_arena *arena)
{
	size_t bytes = 0, size = pool_bytes(arena->kind);
	uint64_t left = arena->dirty;

	while (left) {
		unsigned int first = (unsigned int)__builtin_ctzll(left);
		/* slot 0 is never unused, so a run ends below bit 64 */
		unsigned int n = (unsigned int)__builtin_ctzll(
			~(arena->unused >> first));
		uint64_t run = (UINT64_MAX >> (64 - n)) << first;
		unsigned int last =
			63u ^ (unsigned int)__builtin_clzll(left & run);

		left &= ~run;
		if (apb_os_purge((char *)arena + first * size,
				 (last + 1 - first) * size))
			continue;
		bytes += dirty_del(arena, arena->dirty & run);
	}
	gave_back(bytes);
	return bytes;
}

/*
 * Purge the oldest dirty pools until @target bytes are left, or, if not
 * @below, as long as more are; returns the bytes purged.
 */
static size_t purge_to(size_t target, bool below)
{
	struct apb_arenas *as = arenas();
	struct apb_ring *ring, *prev;
	size_t bytes = 0;

	if (!as->dirty.next)
		return 0;
	for (ring = as->dirty.prev; ring != &as->dirty; ring = prev) {
		struct apb_arena *arena =
			apb_entry(ring, struct apb_arena, ring);

		prev = ring->prev;
		if (as->dirty_bytes <= target)
			break;
		if (!below &&
		    as->dirty_bytes - target < mask_bytes(arena, arena->dirty))
			break;
		bytes += purge_arena(arena);
	}
	return bytes;
}

size_t apb_arena_purge(size_t target)
{
	struct apb_arenas *as = arenas();
	size_t bytes = purge_to(target, true);

	/* what the system refused now it would refuse at the next free too */
	as->purge_floor =
		as->dirty_bytes > target ? as->dirty_bytes + APB_DIRTY_BASE : 0;
	return bytes;
}

/* ---- arenas ----------------------------------------------------------- */

/* Unmap an arena that is on no list and has no pool in use: 0 or -1. */
static int unmap_arena(struct apb_arena *arena)
{
	struct apb_arenas *as = arenas();
	uint64_t dirty = arena->dirty;
	size_t bytes;

	/* the header is gone after the call */
	bytes = dirty_del(arena, dirty);
	if (apb_os_unmap(arena, APB_ARENA)) {
		if (dirty)
			dirty_add(arena, dirty);
		return -1;
	}
	apb_map_clear((uintptr_t)arena);
	as->nr--;
	as->reclaimed++;
	gave_back(bytes);
	return 0;
}

/* Unmap a spare; if that is refused purge it, if @purge: 0 or -1. */
static int unmap_spare(struct apb_arena *arena, bool purge)
{
	spare_del(arena);
	if (!unmap_arena(arena))
		return 0;
	if (purge)
		purge_arena(arena);
	spare_add(arena);
	return -1;
}

static struct apb_node *oldest_spare(void)
{
	struct apb_node *node = arenas()->spares;

	while (node && node->next)
		node = node->next;
	return node;
}

/* The spare emptied after the one at @node, or NULL. */
static struct apb_node *next_spare(struct apb_node *node)
{
	/* the link to a node is the first member of the one before */
	return node->pprev == &arenas()->spares ?
		       NULL :
		       (struct apb_node *)node->pprev;
}

/*
 * Unmap the oldest spares that are dirty until @target bytes are, or, if not
 * @below, as long as more are; or until the system refuses.
 */
static void unmap_to(size_t target, bool below)
{
	struct apb_arenas *as = arenas();
	struct apb_node *node, *next;

	if (as->dirty_bytes <= target)
		return;
	for (node = oldest_spare(); node; node = next) {
		struct apb_arena *arena =
			apb_entry(node, struct apb_arena, node);

		next = next_spare(node);
		if (as->dirty_bytes <= target)
			break;
		if (!below &&
		    as->dirty_bytes - target < mask_bytes(arena, arena->dirty))
			break;
		/* without a dirty pool it could not be unmapped before */
		if (arena->dirty && unmap_spare(arena, true))
			break;
	}
}

/* Unmap the spares that have nothing dirty, as far as the system lets. */
static void unmap_clean_spares(void)
{
	struct apb_node *node, *next;

	for (node = arenas()->spares; node; node = next) {
		struct apb_arena *arena =
			apb_entry(node, struct apb_arena, node);

		next = node->next;
		if (!arena->dirty && unmap_spare(arena, false))
			break;
	}
}

static size_t dirty_cap(void)
{
	return APB_DIRTY_CAP +
	       (arenas()->used_pool_bytes >> APB_DIRTY_CAP_SHIFT);
}

size_t apb_arena_dirty_limit(void)
{
	const struct apb_arenas *as = arenas();
	size_t extra = as->retain.extra, cap = dirty_cap();

	if (!apb_policy.purge_delay)
		return 0;
	if (apb_policy.dirty_limit != APB_DIRTY_AUTO)
		return apb_policy.dirty_limit;
	return APB_DIRTY_BASE + (as->used_pool_bytes >> APB_DIRTY_SHARE_SHIFT) +
	       (extra < cap ? extra : cap);
}

void apb_arena_limit_dirty(void)
{
	struct apb_arenas *as = arenas();
	size_t limit = apb_arena_dirty_limit();

	if (as->purge_later || as->dirty_bytes <= limit ||
	    as->dirty_bytes <= as->purge_floor)
		return;
	unmap_to(limit, true);
	if (as->dirty_bytes > limit)
		apb_arena_purge(limit / 2);
	else
		as->purge_floor = 0;
}

/* There is no spare, nor a pool of the size that is wanted. */
void apb_arena_make_room(void)
{
	size_t given = arenas()->retain.given;

	if (apb_policy.dirty_limit == APB_DIRTY_AUTO)
		purge_to(apb_retain_grown(arenas()->dirty_bytes), true);
	arenas()->retain.given = given;
}

static size_t sparse_limit(void)
{
	const struct apb_arenas *as = arenas();
	size_t cap = apb_policy.dirty_limit, extra = as->sparse.extra;

	if (!apb_policy.purge_delay)
		return 0;
	if (cap == APB_DIRTY_AUTO)
		cap = dirty_cap();
	return extra < cap ? extra : cap;
}

bool apb_arena_sparse_stays(size_t old, size_t bytes)
{
	struct apb_arenas *as = arenas();

	as->sparse_bytes -= old;
	/* trim sweeps when it has settled, and counts */
	if (!as->purge_later && as->sparse_bytes + bytes > sparse_limit()) {
		apb_retain_gave(&as->sparse, as->sparse_bytes, bytes);
		return false;
	}
	as->sparse_bytes += bytes;
	apb_retain_put(&as->sparse, as->sparse_bytes, bytes);
	apb_retain_taken(&as->sparse, as->sparse_bytes, 0);
	return true;
}

void apb_arena_sparse_del(size_t bytes, bool gave)
{
	struct apb_arenas *as = arenas();

	as->sparse_bytes -= bytes;
	if (gave)
		apb_retain_gave(&as->sparse, as->sparse_bytes, bytes);
	else
		apb_retain_taken(&as->sparse, as->sparse_bytes, bytes);
}

void apb_arena_sparse_missed(size_t bytes)
{
	apb_retain_missed(&arenas()->sparse, bytes, dirty_cap());
}

/* Idle pages are the heaps': tell them if there are too many. */
static void decay_sparse(uint64_t now)
{
	struct apb_arenas *as = arenas();
	size_t target;

	if (apb_retain_pass(&as->sparse, now, as->sparse_bytes, sparse_limit(),
			    &target) &&
	    (as->sparse_bytes > target || as->sparse_bytes > sparse_limit()))
		__atomic_store_n(&as->sweeps, as->sweeps + 1, __ATOMIC_RELAXED);
}

void apb_arena_decay(uint64_t now)
{
	struct apb_arenas *as = arenas();
	size_t target;

	if (as->purge_later)
		return;
	decay_sparse(now);
	if (!apb_retain_pass(&as->retain, now, as->dirty_bytes,
			     apb_arena_dirty_limit(), &target))
		return;
	unmap_to(target, false);
	purge_to(target, false);
	unmap_clean_spares();
	/* the bound may be lower now */
	apb_arena_limit_dirty();
}

static void cut(struct apb_arena *arena, unsigned int kind)
{
	unsigned int slot;

	arena->kind = (uint8_t)kind;
	arena->unused = apb_slot_mask(kind);
	arena->nr_unused = (uint8_t)__builtin_popcountll(arena->unused);
	for (slot = 1; slot < apb_first_slot(kind); slot++)
		memset((union apb_slot *)arena + slot, 0, APB_CACHE_LINE);
	for (; slot < apb_arena_slots(arena); slot++) {
		apb_arena_pool(arena, slot)->owner = 0;
		apb_arena_pool(arena, slot)->idle = 0;
	}
}

static struct apb_arena *map_arena(unsigned int kind)
{
	struct apb_arenas *as = arenas();
	struct apb_arena *arena;
	bool zero;

	apb_retain_grow();
	arena = apb_os_map(apb_map_hint(APB_ARENA, APB_ARENA), APB_ARENA,
			   APB_ARENA, &zero);
	if (!arena)
		return NULL;
	if (apb_map_set((uintptr_t)arena, apb_kind_shift(kind))) {
		apb_os_release(arena, APB_ARENA);
		return NULL;
	}
	apb_track_arena(arena);
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

/* ---- spares cut anew -------------------------------------------------- */

/* Slots of the smallest pools in one of @kind. */
static unsigned int grains(unsigned int kind)
{
	return 1u << (apb_kind_shift(kind) - APB_POOL_SHIFT_SMALL);
}

/* What of an arena a mask of slots of @kind covers, in the smallest slots. */
static uint64_t spread(uint64_t mask, unsigned int kind)
{
	uint64_t slot = UINT64_MAX >> (64 - grains(kind)), all = 0;

	for (; mask; mask &= mask - 1)
		all |= slot
		       << (unsigned int)__builtin_ctzll(mask) * grains(kind);
	return all;
}

/* The slots of @kind in which a mask of the smallest ones has any. */
static uint64_t gather(uint64_t all, unsigned int kind)
{
	uint64_t slot = UINT64_MAX >> (64 - grains(kind)), mask = 0;
	unsigned int i;

	for (i = 0; i < 64 / grains(kind); i++)
		if (all & slot << i * grains(kind))
			mask |= UINT64_C(1) << i;
	return mask;
}

/* Cut a spare to another @kind. */
static void recut(struct apb_arena *arena, unsigned int kind)
{
	unsigned int from = arena->kind;
	uint64_t dirty, header;

	dirty = spread(arena->dirty, from);
	dirty_del(arena, arena->dirty);
	cut(arena, kind);
	apb_map_change((uintptr_t)arena, apb_kind_shift(kind));
	/* what becomes a part of the header is of no use to anyone */
	header = dirty & ~spread(arena->unused, kind);
	if (header) {
		unsigned int first = (unsigned int)__builtin_ctzll(header);
		unsigned int n = 64u - (unsigned int)__builtin_clzll(header);

		apb_os_purge((char *)arena +
				     ((size_t)first << APB_POOL_SHIFT_SMALL),
			     (size_t)(n - first) << APB_POOL_SHIFT_SMALL);
	}
	dirty = gather(dirty, kind) & arena->unused;
	if (dirty)
		dirty_add(arena, dirty);
	/* a slot is dirty wholly: there may be more than before */
	apb_retain_put(&arenas()->retain, arenas()->dirty_bytes, 0);
}

/* A spare, cut to @kind, or NULL: of that kind if there is one. */
static struct apb_arena *take_spare(unsigned int kind)
{
	struct apb_arena *arena;
	struct apb_node *node;

	for (node = arenas()->spares; node; node = node->next) {
		arena = apb_entry(node, struct apb_arena, node);
		if (arena->kind != kind)
			continue;
		spare_del(arena);
		return arena;
	}
	if (!arenas()->spares)
		return NULL;
	arena = apb_entry(arenas()->spares, struct apb_arena, node);
	spare_del(arena);
	recut(arena, kind);
	return arena;
}

/* ---- pools ------------------------------------------------------------ */

/* Count a pool that is taken, dirty or not. */
static void took_pool(size_t size, bool dirty)
{
	struct apb_arenas *as = arenas();

	as->used_pool_bytes += size;
	apb_retain_taken(&as->retain, as->dirty_bytes, size);
	if (!dirty)
		apb_retain_missed(&as->retain, size, dirty_cap());
}

struct apb_pool *apb_arena_get_pool(unsigned int kind, bool may_map)
{
	struct apb_arena *arena;
	unsigned int slot;
	bool dirty;
	uint64_t bit;

	apb_retain_tick();
	arena = fullest(kind);
	if (arena)
		bucket_del(arena);
	else
		arena = take_spare(kind);
	if (!arena && may_map)
		arena = map_arena(kind);
	if (!arena)
		return NULL;
	dirty = arena->dirty;
	slot = (unsigned int)__builtin_ctzll(dirty ? arena->dirty :
						     arena->unused);
	bit = UINT64_C(1) << slot;
	if (dirty)
		dirty_del(arena, bit);
	arena->unused &= ~bit;
	arena->nr_unused--;
	bucket_add(arena);
	took_pool(pool_bytes(kind), dirty);
	/* swept when it was last in use: that was too early */
	if (dirty)
		apb_arena_sparse_missed(apb_arena_pool(arena, slot)->idle *
					APB_PAGE);
	/* a spare that was cut anew may have more that is dirty now */
	apb_arena_limit_dirty();
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
	apb_retain_put(&as->retain, as->dirty_bytes, pool_bytes(arena->kind));
	if (arena->unused != apb_slot_mask(arena->kind))
		bucket_add(arena);
	else
		spare_add(arena);
	apb_retain_tick();
	apb_arena_limit_dirty();
}

void apb_arena_unmap_spares(void)
{
	struct apb_node *node, *next;

	for (node = arenas()->spares; node; node = next) {
		next = node->next;
		unmap_spare(apb_entry(node, struct apb_arena, node), false);
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
	uint64_t used = ~arena->unused & apb_slot_mask(arena->kind);

	(void)arg;
	for (; used; used &= used - 1)
		apb_flat_clear(apb_arena_pool(
			arena, (unsigned int)__builtin_ctzll(used)));
	apb_os_release(arena, APB_ARENA);
}

void apb_arena_reset(void)
{
	apb_arena_for_each(release_arena, NULL);
}

#include "instrumented.h"
