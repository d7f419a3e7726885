// SPDX-License-Identifier: MIT
/*
 * apb_check(): every invariant that is stated beside a structure, verified.
 *
 * Lists are walked before the pools: each entry is tagged in its block's state
 * byte, so that a block that stands in two lists is seen, and counted in its
 * pool's scratch word, so that no block can get lost between them.  While other
 * threads run, their bins and batches cannot be looked at; what is out may then
 * be there as well.
 */
#include "uninstrumented.h"

#include "api/lock.h"
#include "arena/flat.h"
#include "debug/walk.h"
#include "heap/remote.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct check {
	struct apb_violation *v;
	bool failed;
	bool all_listed; /* every list could be walked */
	size_t arenas;
	size_t used_pool_bytes;
	size_t dirty_bytes;
	size_t dirty_arenas;
	size_t sparse_bytes;
	size_t pools;
	size_t listed_pools; /* that have to be on a partial list */
	size_t meta; /* bytes of metadata in use */
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

#define TAG 0x80

/*
 * Whether @entry is a good one of @bin, for @invariant.  Of what is wrong the
 * first is told; the pool is returned if it is safe to count in it.
 */
static struct apb_pool *check_entry(struct check *c, const char *invariant,
				    const struct apb_bin *bin,
				    struct apb_entry entry)
{
	uintptr_t addr = (uintptr_t)entry.block;
	struct apb_pool *pool;
	uint64_t index;

	if (apb_map_kind(&apb_state.map, addr) < APB_KIND_ARENA) {
		fail(c, invariant, (void *)addr, "not in an arena");
		return NULL;
	}
	pool = apb_pool_at(addr);
	if (pool->owner != (uintptr_t)bin) {
		fail(c, invariant, (void *)addr, "in another's pool");
		return NULL;
	}
	index = apb_pool_index(pool, addr);
	if (index >= pool->count || apb_entry_index(pool, entry) != index) {
		fail(c, invariant, (void *)addr, "no block of class %u",
		     pool->cls);
		return NULL;
	}
	if (apb_pool_bits(pool)[index / 64] >> index % 64 & 1) {
		fail(c, invariant, (void *)addr, "in the pool, too");
		return NULL;
	}
	return pool;
}

/* Walk over an entry. */
static void see_entry(struct check *c, const char *invariant,
		      const struct apb_bin *bin, struct apb_entry entry)
{
	struct apb_pool *pool = check_entry(c, invariant, bin, entry);
	uint8_t *state, value;

	if (!pool)
		return;
	state = apb_pool_state(pool, apb_entry_index(pool, entry));
	value = apb_state_get(state);
	pool->scratch++;
	expect(c, !(value & TAG), invariant, entry.block, "listed twice");
	expect(c, !APB_CHECKS || (value & ~TAG) != APB_STATE_LIVE, invariant,
	       entry.block, "live");
	apb_state_set(state, value | TAG);
}

static void see_batch(struct check *c, const char *invariant,
		      const struct apb_batch *batch, uint32_t n)
{
	uint32_t i;

	expect(c,
	       batch->first <= APB_BATCH_MAX &&
		       n <= APB_BATCH_MAX - batch->first,
	       invariant, batch, "%u blocks from %u on", n, batch->first);
	for (i = 0; i < n && !c->failed; i++)
		see_entry(c, invariant, (struct apb_bin *)batch->owner,
			  apb_entry_unpack(batch->word[batch->first + i]));
	c->meta += APB_BATCH_SIZE;
}

static void see_queue(struct check *c, struct apb_heap *heap)
{
	uintptr_t queue = atomic_load(&heap->queue);
	const struct apb_batch *batch = apb_queue_first(queue);
	unsigned int n = 0;

	for (; batch && n <= apb_queue_length(queue); batch = batch->next) {
		expect(c, apb_heap_of(batch->owner) == heap, "heap.queue",
		       batch, "of another heap");
		see_batch(c, "heap.queue", batch, batch->n);
		n++;
	}
	expect(c, n == apb_queue_length(queue), "heap.queue", heap,
	       "%u batches, not %u", n, apb_queue_length(queue));
}

static void see_arrived(struct check *c, struct apb_heap *heap)
{
	const struct apb_batch *batch;
	unsigned int cls, n = 0;

	for (cls = 1; cls <= APB_NR_BINS; cls++) {
		batch = heap->arrived[cls];
		for (; batch && n <= heap->nr_arrived; batch = batch->next) {
			expect(c, batch->owner == (uintptr_t)&heap->bin[cls],
			       "heap.arrived", batch, "of another bin");
			see_batch(c, "heap.arrived", batch, batch->n);
			n++;
		}
	}
	expect(c, n == heap->nr_arrived, "heap.arrived", heap,
	       "%u batches, not %u", n, heap->nr_arrived);
}

static void see_bin(struct check *c, const struct apb_heap *heap,
		    unsigned int cls)
{
	const struct apb_bin_info *info = &heap->info[cls];
	const struct apb_bin *bin = &heap->bin[cls];
	const struct apb_entry *entry;

	if (info->base->block || bin->top < info->base ||
	    bin->top > bin->limit || bin->limit > info->base + info->room) {
		fail(c, "bin.array", bin, "%p <= %p <= %p <= %p + %u",
		     (void *)info->base, (void *)bin->top, (void *)bin->limit,
		     (void *)info->base, info->room);
		return;
	}
	for (entry = info->base + 1; entry <= bin->top && !c->failed; entry++)
		see_entry(c, "bin.entries", bin, *entry);
}

static void see_arrays(struct check *c, const struct apb_heap *heap)
{
	unsigned int cls;

	for (cls = 1; cls <= APB_NR_BINS; cls++) {
		const struct apb_bin_info *info = &heap->info[cls];

		if (info->base < heap->first ||
		    info->base >= heap->first + APB_FIRST_ENTRIES)
			c->meta += (info->room + 1u) * sizeof(*info->base);
	}
}

/* What only a heap's thread may look at. */
static void see_own(struct check *c, const struct apb_heap *heap)
{
	const struct apb_batch *batch;
	unsigned int i, cls, n = 0;

	expect(c,
	       !heap->bin[0].top->block &&
		       heap->bin[0].top == heap->bin[0].limit,
	       "bin.class0", &heap->bin[0], "in use");
	for (cls = 1; cls <= APB_NR_BINS && !c->failed; cls++)
		see_bin(c, heap, cls);
	for (i = 0; i < APB_NR_OUT && !c->failed; i++) {
		const struct apb_out *out = &heap->out[i];

		batch = apb_out_batch(out);
		expect(c,
		       out->owner == (batch ? batch->owner : 0) ||
			       (!batch && apb_state.heaps.torn),
		       "heap.out", out, "of another bin");
		if (batch)
			see_batch(c, "heap.out", batch, apb_out_count(out));
	}
	batch = heap->batches;
	for (; batch && n <= heap->nr_batches; batch = batch->next, n++)
		c->meta += APB_BATCH_SIZE;
	expect(c, n == heap->nr_batches || apb_state.heaps.torn, "heap.out",
	       heap, "%u empty batches, not %u", n, heap->nr_batches);
}

static void see_lists(struct check *c)
{
	struct apb_node *node = apb_state.heaps.all;

	for (; node && !c->failed; node = node->next) {
		struct apb_heap *heap = apb_entry(node, struct apb_heap, node);

		see_queue(c, heap);
		see_arrived(c, heap);
		see_arrays(c, heap);
		if (apb_heap_at_rest(heap))
			see_own(c, heap);
		else
			c->all_listed = false;
	}
}

/* ---- pools and arenas ------------------------------------------------- */

static void check_geometry(struct check *c, const struct apb_pool *pool)
{
	const struct apb_arena *arena = apb_arena_of((uintptr_t)pool);
	size_t size = apb_class_size(pool->cls);
	size_t colour = pool->base - apb_pool_start(pool);
	size_t align = size & (size - 1) ? APB_MIN_ALIGN : size;

	if (align > APB_PAGE)
		align = APB_PAGE;
	expect(c,
	       pool->count && colour < apb_pool_bytes(pool) &&
		       colour + pool->count * size <= apb_pool_bytes(pool) &&
		       (apb_pool_remainder(pool) < size ||
			pool->count == APB_MAX_BLOCKS),
	       "pool.geometry", pool, "%u blocks of %zu bytes from %zu on",
	       pool->count, size, colour);
	expect(c, apb_class_kind(pool->cls) == arena->kind, "pool.geometry",
	       pool, "class %u in an arena of kind %u", pool->cls, arena->kind);
	expect(c, !(pool->base & (align - 1)), "pool.geometry", pool,
	       "blocks of %zu bytes start at %#lx", size,
	       (unsigned long)pool->base);
	expect(c, pool->reciprocal - 1 == UINT64_MAX / size, "pool.geometry",
	       pool, "reciprocal of %zu", size);
}

static void check_bits(struct check *c, const struct apb_pool *pool)
{
	const uint64_t *bits = apb_pool_bits(pool);
	unsigned int i, n = 0;

	for (i = 0; i < (pool->count + 63u) / 64; i++) {
		expect(c, i >= pool->hint || !bits[i], "pool.bits", pool,
		       "word %u is %#lx, hint %u", i, (unsigned long)bits[i],
		       pool->hint);
		n += (unsigned int)__builtin_popcountll(bits[i]);
	}
	expect(c, !(pool->count % 64) || !(bits[i - 1] >> pool->count % 64),
	       "pool.bits", pool, "bits beyond block %u", pool->count);
	expect(c, pool->used + n == pool->count, "pool.conservation", pool,
	       "%u blocks, %u out, %u in the pool", pool->count, pool->used, n);
}

/* Every block that is out is live or in a list. */
static void check_states(struct check *c, const struct apb_pool *pool)
{
	const uint64_t *bits = apb_pool_bits(pool);
	unsigned int i, listed = pool->scratch, live = 0;
	/* whether an address of the pool leads to what stands there */
	bool behind = APB_CHECKS && pool->count < APB_MAX_BLOCKS &&
		      apb_pool_remainder(pool);

	for (i = 0; i < pool->count && APB_CHECKS; i++) {
		uint8_t state = apb_state_get(apb_pool_state(pool, i)) & ~TAG;

		expect(c, state <= APB_STATE_FREED, "pool.state", pool,
		       "%u of block %u", state, i);
		if (state != APB_STATE_LIVE)
			continue;
		live++;
		expect(c, !(bits[i / 64] >> i % 64 & 1), "pool.state", pool,
		       "block %u is live, and in the pool", i);
	}
	expect(c,
	       !behind ||
		       apb_state_get(apb_pool_state(pool, i)) != APB_STATE_LIVE,
	       "pool.state", pool, "live behind the last block, %u", i);
	expect(c,
	       c->all_listed && APB_CHECKS ? live + listed == pool->used :
					     live + listed <= pool->used,
	       "pool.conservation", pool, "%u out, but %u live, %u listed",
	       pool->used, live, listed);
}

/* Whether @owner is the bin of class @cls of a heap there is. */
static bool is_bin(uintptr_t owner, unsigned int cls)
{
	const struct apb_node *node = apb_state.heaps.all;

	for (; node; node = node->next)
		if (owner == (uintptr_t)&apb_entry(node, struct apb_heap, node)
				     ->bin[cls])
			return true;
	return false;
}

static void check_pool(struct apb_pool *pool, void *arg)
{
	struct check *c = arg;
	bool partial = apb_pool_has(pool);

	if (c->failed)
		return;
	c->pools++;
	c->used_pool_bytes += apb_pool_bytes(pool);
	c->listed_pools += partial;
	if (pool->let_be)
		c->sparse_bytes += pool->idle * APB_PAGE;
	if (pool->cls < 1 || pool->cls > APB_NR_BINS || !pool->count ||
	    pool->count > APB_MAX_BLOCKS) {
		fail(c, "pool.geometry", pool, "class %u, %u blocks", pool->cls,
		     pool->count);
		return;
	}
	expect(c, is_bin(pool->owner, pool->cls), "pool.unused", pool,
	       "in use, owner %#lx", (unsigned long)pool->owner);
	check_geometry(c, pool);
	check_bits(c, pool);
	if (c->failed)
		return;
	check_states(c, pool);
	expect(c,
	       pool->sparse <= APB_NR_SPARSE &&
		       (!pool->sparse ||
			apb_heap_of(pool->owner)->sparse[pool->sparse - 1] ==
				pool),
	       "heap.sparse", pool, "not in place %u", pool->sparse - 1);
	expect(c, pool->used, "pool.used", pool, "no block out");
	expect(c, partial == apb_node_listed(&pool->node), "pool.partial", pool,
	       "%s on the partial list", partial ? "not" : "wrongly");
	expect(c, apb_flat_right(pool), "flat.entry", pool,
	       "the flat map has something else");
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
	for (slot = 1; slot < apb_first_slot(arena->kind); slot++)
		expect(c, !apb_arena_pool(arena, slot)->owner, "arena.masks",
		       arena, "slot %u has an owner", slot);
	for (; slot < apb_arena_slots(arena); slot++)
		expect(c,
		       !(arena->unused >> slot & 1) ==
			       !!apb_arena_pool(arena, slot)->owner,
		       "pool.unused", apb_arena_pool(arena, slot),
		       "owner and mask differ");
	for (slot = apb_first_slot(arena->kind); slot < apb_arena_slots(arena);
	     slot++)
		expect(c,
		       !(arena->unused >> slot & 1) ||
			       apb_flat_right(apb_arena_pool(arena, slot)),
		       "flat.entry", apb_arena_pool(arena, slot),
		       "unused, but in the flat map");
	if (!c->failed)
		apb_walk_pools(arena, check_pool, c);
}

static void clear_scratch(struct apb_pool *pool, void *arg)
{
	(void)arg;
	pool->scratch = 0;
}

static void untag_pool(struct apb_pool *pool, void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < pool->count; i++) {
		uint8_t *state = apb_pool_state(pool, i);

		if (apb_state_get(state) & TAG)
			apb_state_set(state, apb_state_get(state) & ~TAG);
	}
}

static void untag_arena(struct apb_arena *arena, void *arg)
{
	apb_walk_pools(arena, untag_pool, arg);
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
	expect(c, !n || head->next->prev == head, "arena.dirty", head,
	       "the first has another before it");
	expect(c, n == c->dirty_arenas, "arena.dirty", head,
	       "%zu arenas in the ring, %zu are dirty", n, c->dirty_arenas);
}

/* ---- heaps ------------------------------------------------------------ */

static void check_partial(struct check *c, const struct apb_heap *heap,
			  size_t *n)
{
	struct apb_node *node;
	unsigned int cls;

	for (cls = 0; cls <= APB_NR_BINS; cls++) {
		for (node = heap->partial[cls]; node; node = node->next) {
			const struct apb_pool *pool =
				apb_entry(node, struct apb_pool, node);

			++*n;
			expect(c,
			       pool->cls == cls &&
				       pool->owner ==
					       (uintptr_t)&heap->bin[cls],
			       "heap.partial", pool, "class %u on list %u",
			       pool->cls, cls);
		}
	}
}

static void check_sparse(struct check *c, const struct apb_heap *heap)
{
	unsigned int i;

	for (i = 0; i < APB_NR_SPARSE; i++) {
		const struct apb_pool *pool = heap->sparse[i];

		expect(c,
		       !pool || (apb_heap_owns(heap, pool->owner) &&
				 pool->sparse == i + 1),
		       "heap.sparse", pool, "place %u", i);
	}
}

static void check_heaps(struct check *c)
{
	const struct apb_heaps *hs = &apb_state.heaps;
	size_t nr = 0, mapped = 0, idle = 0, partial = 0, pools = 0;
	const struct apb_heap *heap;
	struct apb_node *node;

	for (heap = hs->idle; heap && idle <= hs->nr; heap = heap->next_idle) {
		idle++;
		expect(c, !heap->attached && heap != &apb_state.common,
		       "heaps.idle", heap, "but attached");
	}
	for (node = hs->all; node; node = node->next) {
		heap = apb_entry(node, struct apb_heap, node);
		nr++;
		pools += heap->pools;
		check_sparse(c, heap);
		mapped += heap != &apb_state.main && heap != &apb_state.common;
		idle -= !heap->attached && heap != &apb_state.common;
		check_partial(c, heap, &partial);
	}
	expect(c, !idle, "heaps.idle", hs, "%zu idle too many", idle);
	expect(c, nr == hs->nr && mapped == hs->nr_mapped, "heaps.idle", hs,
	       "%zu heaps, %zu mapped", nr, mapped);
	expect(c, pools == c->pools, "heaps.idle", hs, "%zu pools, not %zu",
	       pools, c->pools);
	expect(c, partial == c->listed_pools, "heap.partial", hs,
	       "%zu listed, not %zu", partial, c->listed_pools);
}

static void check_meta(struct check *c)
{
	const struct apb_meta *meta = &apb_state.meta;
	size_t chunks = 0, bytes = 0, used = 0;
	const struct apb_chunk *chunk;
	const struct apb_piece *p;
	unsigned int order;

	for (chunk = meta->chunks; chunk && chunks <= meta->nr_chunks;
	     chunk = chunk->next) {
		chunks++;
		used += chunk->used;
	}
	expect(c, used == meta->used, "meta.used", meta, "%zu, not %zu", used,
	       meta->used);
	bytes = chunks << APB_META_MIN_SHIFT;
	for (order = 0; order < APB_META_ORDERS; order++)
		for (p = meta->free[order];
		     p && bytes <= chunks * APB_META_CHUNK; p = p->next)
			bytes += (size_t)1 << (APB_META_MIN_SHIFT + order);
	expect(c,
	       chunks == meta->nr_chunks &&
		       bytes + meta->used == chunks * APB_META_CHUNK,
	       "meta.bytes", meta, "%zu of %zu chunks, %zu + %zu bytes", chunks,
	       meta->nr_chunks, bytes, meta->used);
	expect(c, c->all_listed ? c->meta == meta->used : c->meta <= meta->used,
	       "meta.bytes", meta, "%zu in use, not %zu", c->meta, meta->used);
}

/* ---- large blocks, the map, the sums ---------------------------------- */

static void check_cached(struct check *c)
{
	const struct apb_larges *ls = &apb_state.larges;
	size_t i, bytes = 0;

	expect(c,
	       ls->nr_cached <= APB_LARGE_CACHE_NR &&
		       ls->nr_idle <= ls->nr_cached && !ls->retain.low,
	       "large.cached", ls, "%zu mappings, %zu idle", ls->nr_cached,
	       ls->nr_idle);
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
		expect(c, !used == (leaf == map->empty), "map.used", leaf,
		       "empty, but not the one that is kept, or not empty");
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
			apb_state.heaps.nr_mapped * APB_HEAP_BYTES +
			apb_state.meta.nr_chunks * APB_META_CHUNK +
			apb_state.os.orphan_bytes;

	expect(c,
	       c->arenas == as->nr && as->nr == as->total - as->reclaimed &&
		       as->nr <= as->highwater,
	       "arenas.counts", as, "%zu arenas, not %zu", c->arenas, as->nr);
	expect(c, c->used_pool_bytes == as->used_pool_bytes, "arenas.counts",
	       as, "%zu bytes in pools, not %zu", c->used_pool_bytes,
	       as->used_pool_bytes);
	expect(c, c->sparse_bytes == as->sparse_bytes, "sparse.bytes", as,
	       "%zu idle bytes, not %zu", c->sparse_bytes, as->sparse_bytes);
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
	see_lists(c);
	apb_arena_for_each(check_arena, c);
	apb_arena_for_each(untag_arena, NULL);
	if (c->failed)
		return;
	check_ring(c);
	check_heaps(c);
	check_meta(c);
	check_large(c);
	check_cached(c);
	check_retain(c, &apb_state.arenas.retain, apb_state.arenas.dirty_bytes);
	check_retain(c, &apb_state.arenas.sparse,
		     apb_state.arenas.sparse_bytes);
	check_map(c);
	check_sums(c);
}

int apb_check(struct apb_violation *v)
{
	struct apb_violation own;
	struct check c = {
		.v = v ? v : &own,
	};

	apb_stop();
	c.all_listed =
		!apb_state.heaps.torn &&
		(apb_single_threaded() ||
		 !__atomic_load_n(&apb_state.heaps.heapless, __ATOMIC_RELAXED));
	check_all(&c);
	apb_resume();
	if (!c.failed)
		return 0;
	if (!v)
		dprintf(STDERR_FILENO, "apb: invariant %s\n", own.text);
	errno = EUCLEAN;
	return -1;
}

#include "instrumented.h"
