// SPDX-License-Identifier: MIT
/*
 * apb_check(): every invariant that is stated beside a structure, verified.
 *
 * A block that stands in two lists is seen without any memory for it: its mark
 * says whether it is in a bin or in a pool's list, its pool says in which one,
 * and twice in the same list makes a circle.  Descriptors' scratch words count
 * how many of a pool's blocks are in a bin; nothing else is written.
 */
#include "api/lock.h"
#include "debug/walk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct check {
	struct apb_violation *v;
	bool failed;
	size_t arenas;
	size_t used_pool_bytes;
	size_t dirty_bytes;
	size_t dirty_arenas;
	size_t listed_pools; /* that have to be on a partial list */
	size_t kinds; /* bytes of the map that have to be set */
};

__attribute__((format(printf, 4, 5))) static void fail(struct check *c,
						       const char *invariant,
						       const void *where,
						       const char *fmt, ...)
{
	va_list ap;
	int n;

	if (c->failed)
		return;
	c->failed = true;
	c->v->invariant = invariant;
	c->v->addr = (uintptr_t)where;
	n = snprintf(c->v->text, sizeof(c->v->text), "%s at %p: ", invariant,
		     where);
	va_start(ap, fmt);
	vsnprintf(c->v->text + n, sizeof(c->v->text) - (size_t)n, fmt, ap);
	va_end(ap);
}

#define expect(c, cond, invariant, where, ...)                  \
	do {                                                    \
		if (!(cond))                                    \
			fail(c, invariant, where, __VA_ARGS__); \
	} while (0)

/* ---- free blocks ------------------------------------------------------ */

/* Whether @block is a good free block of class @cls, of @pool or in a bin. */
static bool check_free(struct check *c, const char *invariant,
		       const struct apb_block *block,
		       const struct apb_pool *pool, unsigned int cls)
{
	uint64_t kind = pool ? APB_MARK_POOL : APB_MARK_BIN;
	uintptr_t addr = (uintptr_t)block;
	struct apb_pool *in;

	if (addr & ~APB_ADDR_MASK ||
	    apb_map_kind(&apb_state.map, addr) < APB_KIND_ARENA) {
		fail(c, invariant, block, "not in an arena");
		return false;
	}
	in = apb_pool_at(addr);
	if (pool ? in != pool :
		   in->owner != (uintptr_t)&apb_state.heap.bin[cls]) {
		fail(c, invariant, block, "in another pool");
		return false;
	}
	if (in->cls != cls || apb_pool_index(in, addr) >= in->carved) {
		fail(c, invariant, block, "no block of class %u", cls);
		return false;
	}
	if (block->mark != apb_mark(block->next, apb_state.heap.key, kind)) {
		fail(c, invariant, block, "not marked, or in another list");
		return false;
	}
	if (!pool)
		in->scratch++;
	return true;
}

/*
 * Check the blocks of @list, which is a bin of @cls or the list of @pool;
 * returns how many there are.  Circles are found as Brent does (1980): the
 * walk is compared with a block that moves up at each power of two.
 */
static size_t check_list(struct check *c, const char *invariant,
			 const struct apb_block *list,
			 const struct apb_pool *pool, unsigned int cls)
{
	const struct apb_block *seen = NULL;
	size_t n = 0;

	for (; list; list = list->next) {
		if (list == seen) {
			fail(c, invariant, list, "listed twice");
			break;
		}
		if (!check_free(c, invariant, list, pool, cls))
			break;
		n++;
		if (!(n & (n - 1)))
			seen = list;
	}
	return n;
}

/* ---- pools and arenas ------------------------------------------------- */

static void check_geometry(struct check *c, const struct apb_pool *pool)
{
	const struct apb_arena *arena = apb_arena_of((uintptr_t)pool);
	size_t size = apb_class_size(pool->cls);
	size_t colour = pool->base - apb_pool_start(pool);
	size_t align = size & -size;

	if (align > APB_PAGE)
		align = APB_PAGE;
	expect(c,
	       pool->count && colour < apb_pool_bytes(pool) &&
		       colour + pool->count * size <= apb_pool_bytes(pool) &&
		       apb_pool_remainder(pool) < size,
	       "pool.geometry", pool, "%u blocks of %zu bytes from %zu on",
	       pool->count, size, colour);
	expect(c, apb_class_kind(pool->cls) == arena->kind, "pool.geometry",
	       pool, "class %u in an arena of kind %u", pool->cls, arena->kind);
	expect(c, !(pool->base & (align - 1)), "pool.geometry", pool,
	       "blocks of %zu bytes start at %#lx", size,
	       (unsigned long)pool->base);
	expect(c,
	       1u << pool->rotate == (size & -size) &&
		       pool->inverse * (size >> pool->rotate) == 1,
	       "pool.geometry", pool, "inverse and rotation of %zu", size);
}

static void check_pool(struct apb_pool *pool, void *arg)
{
	struct check *c = arg;
	bool partial = apb_pool_has(pool);
	size_t n;

	c->used_pool_bytes += apb_pool_bytes(pool);
	c->listed_pools += partial;
	if (pool->cls < 1 || pool->cls > APB_NR_CLASSES) {
		fail(c, "pool.geometry", pool, "class %u", pool->cls);
		return;
	}
	expect(c, pool->owner == (uintptr_t)&apb_state.heap.bin[pool->cls],
	       "pool.unused", pool, "in use, owner %#lx",
	       (unsigned long)pool->owner);
	check_geometry(c, pool);
	expect(c, pool->carved >= 1 && pool->carved <= pool->count,
	       "pool.carved", pool, "%u of %u", pool->carved, pool->count);
	expect(c, pool->carved == (uint32_t)pool->used + pool->nr_free,
	       "pool.conservation", pool, "carved %u, used %u, free %u",
	       pool->carved, pool->used, pool->nr_free);
	expect(c, pool->used, "pool.used", pool, "no block in use");
	expect(c, pool->scratch <= pool->used, "pool.conservation", pool,
	       "%u blocks in bins, %u in use", pool->scratch, pool->used);
	expect(c, partial == apb_node_listed(&pool->node), "pool.partial", pool,
	       "%s on the partial list", partial ? "not" : "wrongly");
	n = check_list(c, "pool.free", pool->free, pool, pool->cls);
	expect(c, n == pool->nr_free, "pool.free", pool, "%zu listed, not %u",
	       n, pool->nr_free);
}

static void check_arena(struct apb_arena *arena, void *arg)
{
	struct check *c = arg;
	unsigned int slot;
	uint64_t all;

	c->arenas++;
	c->kinds++;
	if (arena->guard != APB_ARENA_GUARD ||
	    arena->kind >= APB_NR_POOL_KINDS) {
		fail(c, "arena.kind", arena, "header overwritten");
		return;
	}
	all = apb_slot_mask(arena->kind);
	expect(c,
	       apb_map_kind(&apb_state.map, (uintptr_t)arena) ==
		       apb_kind_shift(arena->kind),
	       "arena.kind", arena, "map has another kind");
	expect(c, !(arena->unused & ~all) && !(arena->dirty & ~arena->unused),
	       "arena.masks", arena, "unused %#lx, dirty %#lx",
	       (unsigned long)arena->unused, (unsigned long)arena->dirty);
	expect(c, arena->nr_unused == __builtin_popcountll(arena->unused),
	       "arena.bucket", arena, "%u unused pools counted",
	       arena->nr_unused);
	expect(c, !arena->dirty == !arena->ring.next, "arena.dirty", arena,
	       "dirty %#lx", (unsigned long)arena->dirty);
	c->dirty_arenas += arena->dirty != 0;
	c->dirty_bytes += (size_t)__builtin_popcountll(arena->dirty)
			  << apb_kind_shift(arena->kind);
	for (slot = 1; slot < apb_arena_slots(arena); slot++)
		expect(c,
		       !(arena->unused >> slot & 1) ==
			       !!apb_arena_pool(arena, slot)->owner,
		       "pool.unused", apb_arena_pool(arena, slot),
		       "owner and mask differ");
	if (!c->failed)
		apb_walk_pools(arena, check_pool, c);
}

static void clear_scratch(struct apb_pool *pool, void *arg)
{
	(void)arg;
	pool->scratch = 0;
}

static void clear_scratches(struct apb_arena *arena, void *arg)
{
	apb_walk_pools(arena, clear_scratch, arg);
}

/* Each arena is where its number of unused pools says. */
static void check_buckets(struct check *c)
{
	const struct apb_arenas *as = &apb_state.arenas;
	struct apb_node *node;
	unsigned int kind, n;
	size_t spares = 0;

	for (kind = 0; kind < APB_NR_POOL_KINDS; kind++) {
		for (n = 0; n < APB_MAX_POOLS; n++) {
			node = as->bucket[kind][n];
			expect(c, !node == !(as->buckets[kind] >> n & 1),
			       "arena.bucket", &as->bucket[kind][n],
			       "mask %#lx", (unsigned long)as->buckets[kind]);
			for (; node; node = node->next) {
				struct apb_arena *arena =
					apb_entry(node, struct apb_arena, node);

				expect(c,
				       arena->kind == kind &&
					       arena->nr_unused == n &&
					       arena->unused !=
						       apb_slot_mask(kind),
				       "arena.bucket", arena,
				       "%u unused pools of kind %u in %u/%u",
				       arena->nr_unused, arena->kind, kind, n);
			}
		}
	}
	for (node = as->spares; node; node = node->next) {
		struct apb_arena *arena =
			apb_entry(node, struct apb_arena, node);

		spares++;
		expect(c, arena->unused == apb_slot_mask(arena->kind),
		       "arena.bucket", arena, "a spare with pools in use");
	}
	expect(c, spares == as->nr_spares, "arenas.counts", as,
	       "%zu spares, not %zu", spares, as->nr_spares);
}

/* The dirty ring has @c->dirty_arenas members, all of them dirty. */
static void check_ring(struct check *c)
{
	const struct apb_ring *head = &apb_state.arenas.dirty, *ring;
	size_t n = 0;

	if (head->next)
		for (ring = head->next; ring != head; ring = ring->next)
			if (!apb_entry(ring, struct apb_arena, ring)->dirty ||
			    ring->next->prev != ring || ++n > c->dirty_arenas)
				break;
	expect(c, n == c->dirty_arenas, "arena.dirty", head,
	       "%zu arenas in the ring, %zu are dirty", n, c->dirty_arenas);
}

/* ---- heap ------------------------------------------------------------- */

static void check_partial(struct check *c)
{
	const struct apb_heap *heap = &apb_state.heap;
	struct apb_node *node;
	unsigned int cls;
	size_t n = 0;

	for (cls = 0; cls <= APB_NR_CLASSES; cls++) {
		for (node = heap->partial[cls]; node; node = node->next) {
			const struct apb_pool *pool =
				apb_entry(node, struct apb_pool, node);

			n++;
			expect(c,
			       pool->cls == cls &&
				       pool->owner ==
					       (uintptr_t)&heap->bin[cls],
			       "heap.partial", pool, "class %u on list %u",
			       pool->cls, cls);
		}
	}
	expect(c, n == c->listed_pools, "heap.partial", heap,
	       "%zu listed, not %zu", n, c->listed_pools);
}

static void check_bins(struct check *c)
{
	const struct apb_heap *heap = &apb_state.heap;
	unsigned int cls;

	expect(c, !heap->bin[0].head, "bin.class0", &heap->bin[0], "in use");
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		const struct apb_bin *bin = &heap->bin[cls];

		check_list(c, "bin.free", bin->head, NULL, cls);
		expect(c,
		       bin->period ? bin->countdown >= 1 &&
					     bin->countdown <= bin->period :
				     !bin->head,
		       "bin.countdown", bin, "%u of %u", bin->countdown,
		       bin->period);
		if (!bin->period)
			continue;
		expect(c,
		       heap->fixed_period ?
			       bin->period == heap->fixed_period :
			       bin->period >= apb_heap_period_min(cls) &&
				       bin->period <= apb_heap_period_max(cls),
		       "bin.period", bin, "%u", bin->period);
	}
}

/* ---- large blocks, the map, the sums ---------------------------------- */

static void check_cached(struct check *c)
{
	const struct apb_larges *ls = &apb_state.larges;
	size_t i, bytes = 0;

	expect(c, ls->nr_cached <= APB_LARGE_CACHE_NR, "large.cached", ls,
	       "%zu mappings", ls->nr_cached);
	for (i = 0; i < ls->nr_cached && !c->failed; i++) {
		uintptr_t addr = ls->cache[i].addr;

		bytes += ls->cache[i].mapped;
		c->kinds++;
		if (apb_map_kind(&apb_state.map, addr) != APB_KIND_CACHED) {
			fail(c, "large.kind", &ls->cache[i],
			     "map has another kind");
			return;
		}
		expect(c,
		       !(addr & (APB_ARENA - 1)) &&
			       !apb_map_large(addr)->size &&
			       apb_map_large(addr)->mapped ==
				       ls->cache[i].mapped,
		       "large.cached", &ls->cache[i], "%zu bytes at %#lx",
		       ls->cache[i].mapped, (unsigned long)addr);
	}
	expect(c, bytes == ls->cached_bytes && bytes <= apb_large_cache_limit(),
	       "large.cached", ls, "%zu bytes, not %zu, of %zu", bytes,
	       ls->cached_bytes, apb_large_cache_limit());
}

static void check_retain(struct check *c, const struct apb_retain *r,
			 size_t level)
{
	expect(c, r->low <= level && level <= r->high, "retain.level", r,
	       "%zu bytes, not %zu to %zu", level, r->low, r->high);
}

static void check_large(struct check *c)
{
	struct apb_node *node = apb_state.larges.list;
	size_t nr = 0, bytes = 0, slack = 0;

	for (; node; node = node->next) {
		const struct apb_large *large =
			apb_entry(node, struct apb_large, node);

		nr++;
		bytes += large->size;
		slack += large->mapped - large->size;
		c->kinds++;
		expect(c,
		       apb_map_kind(&apb_state.map, large->addr) ==
			       APB_KIND_LARGE,
		       "large.kind", large, "map has another kind");
		expect(c,
		       large->addr && !(large->addr & (APB_ARENA - 1)) &&
			       large->size && large->size <= large->mapped &&
			       !((large->size | large->mapped) &
				 (APB_PAGE - 1)),
		       "large.shape", large, "%zu bytes at %#lx", large->size,
		       (unsigned long)large->addr);
	}
	expect(c,
	       nr == apb_state.larges.nr && bytes == apb_state.larges.bytes &&
		       slack == apb_state.larges.slack,
	       "large.bytes", &apb_state.larges,
	       "%zu blocks, %zu bytes, %zu of slack", nr, bytes, slack);
}

/* Nonzero bytes of a leaf; most words of eight have none. */
static unsigned int count_kinds(const struct apb_leaf *leaf)
{
	unsigned int i, n = 0;
	uint64_t word;

	for (i = 0; i < APB_SLICE_KINDS; i += sizeof(word)) {
		memcpy(&word, leaf->kind + i, sizeof(word));
		for (; word; word >>= 8)
			n += (word & 0xff) != APB_KIND_NONE;
	}
	return n;
}

static void check_map(struct check *c)
{
	const struct apb_map *map = &apb_state.map;
	struct apb_node *node;
	size_t leaves = 0, kinds = 0;

	for (node = map->leaves; node; node = node->next) {
		const struct apb_leaf *leaf =
			apb_entry(node, struct apb_leaf, node);
		unsigned int used = count_kinds(leaf);

		leaves++;
		kinds += used;
		expect(c, used == leaf->used, "map.used", leaf, "%u, not %u",
		       used, leaf->used);
		expect(c, used || leaf == map->empty, "map.used", leaf,
		       "empty, but not the one that is kept");
		expect(c,
		       apb_map_leaf((uintptr_t)leaf->slice
				    << APB_SLICE_SHIFT) == leaf,
		       "map.entry", leaf, "slice %u", leaf->slice);
	}
	expect(c, leaves == map->nr_leaves, "map.entry", map, "%zu leaves",
	       leaves);
	expect(c, kinds == c->kinds, "map.kind", map, "%zu set, not %zu", kinds,
	       c->kinds);
}

static void check_sums(struct check *c)
{
	const struct apb_arenas *as = &apb_state.arenas;
	size_t mapped = as->nr * APB_ARENA + apb_state.larges.bytes +
			apb_state.larges.slack + apb_state.larges.cached_bytes +
			apb_state.map.nr_leaves * APB_LEAF_BYTES +
			apb_state.os.orphan_bytes;

	expect(c,
	       c->arenas == as->nr && as->nr == as->total - as->reclaimed &&
		       as->nr <= as->highwater,
	       "arenas.counts", as, "%zu arenas, not %zu", c->arenas, as->nr);
	expect(c, c->used_pool_bytes == as->used_pool_bytes, "arenas.counts",
	       as, "%zu bytes in pools, not %zu", c->used_pool_bytes,
	       as->used_pool_bytes);
	expect(c, c->dirty_bytes == as->dirty_bytes, "arenas.counts", as,
	       "%zu dirty bytes, not %zu", c->dirty_bytes, as->dirty_bytes);
	expect(c, apb_state.os.mapped == mapped, "os.mapped", &apb_state.os,
	       "%zu bytes mapped, not %zu", mapped, apb_state.os.mapped);
}

static void check_all(struct check *c)
{
	check_buckets(c);
	if (c->failed)
		return;
	apb_arena_for_each(clear_scratches, NULL);
	/* bins first: they count what is compared pool by pool */
	check_bins(c);
	apb_arena_for_each(check_arena, c);
	if (c->failed)
		return;
	check_ring(c);
	check_partial(c);
	check_large(c);
	check_cached(c);
	check_retain(c, &apb_state.arenas.retain, apb_state.arenas.dirty_bytes);
	check_retain(c, &apb_state.larges.retain,
		     apb_state.larges.cached_bytes);
	check_map(c);
	check_sums(c);
}

int apb_check(struct apb_violation *v)
{
	struct apb_violation own;
	struct check c = {.v = v ? v : &own};
	bool locked = apb_enter();

	check_all(&c);
	apb_leave(locked);
	if (!c.failed)
		return 0;
	if (!v)
		dprintf(STDERR_FILENO, "apb: invariant %s\n", own.text);
	errno = EUCLEAN;
	return -1;
}
