// SPDX-License-Identifier: MIT
/* Sparse pools; see sparse.h. */
#include "uninstrumented.h"

#include "heap/sparse.h"

#include "api/lock.h"
#include "state.h"

static_assert(APB_NR_SPARSE <= UINT8_MAX, "a place in the ring fits a byte");
static_assert((size_t)1 << (APB_POOL_SHIFT_BIG - APB_PAGE_SHIFT) <= 32,
	      "a pool's pages fit a mask");

/* Mask of the pages from @at on, @size bytes, from the pool's start. */
static uint32_t pages_of(size_t at, size_t size)
{
	unsigned int first = (unsigned int)(at >> APB_PAGE_SHIFT);
	unsigned int last = (unsigned int)((at + size - 1) >> APB_PAGE_SHIFT);

	return (uint32_t)((UINT64_C(2) << last) - (UINT64_C(1) << first));
}

/* Mask of the pages on which a block is out. */
static uint32_t busy_pages(const struct apb_pool *pool)
{
	size_t size = apb_class_size(pool->cls), colour;
	const uint64_t *bits = apb_pool_bits(pool);
	uint32_t busy = 0;
	unsigned int i;

	colour = apb_pool_colour_bytes(pool);
	for (i = 0; i < pool->count; i++)
		if (!(bits[i / 64] >> i % 64 & 1))
			busy |= pages_of(colour + i * size, size);
	return busy;
}

static size_t idle_bytes(const struct apb_pool *pool)
{
	return pool->idle * APB_PAGE;
}

/* Give the pages of @idle back; under the state lock. */
static void purge(const struct apb_pool *pool, uint32_t idle)
{
	char *start = (char *)apb_pool_start(pool);

	while (idle) {
		unsigned int first = (unsigned int)__builtin_ctz(idle);
		unsigned int n = (unsigned int)__builtin_ctzll(
			~((uint64_t)idle >> first));

		idle &= ~(uint32_t)(((UINT64_C(1) << n) - 1) << first);
		apb_os_purge(start + first * APB_PAGE, n * APB_PAGE);
	}
}

/* Sweep @pool, or, if it @may, let it be. */
static void sweep(struct apb_pool *pool, bool may)
{
	unsigned int pages =
		(unsigned int)(apb_pool_bytes(pool) >> APB_PAGE_SHIFT);
	uint32_t idle =
		(uint32_t)((UINT64_C(1) << pages) - 1) & ~busy_pages(pool);
	size_t old = pool->let_be ? idle_bytes(pool) : 0;

	pool->swept = pool->used;
	pool->idle = (uint8_t)__builtin_popcount(idle) & 0x7f;
	apb_enter();
	if (!may)
		apb_arena_sparse_del(old, true);
	pool->let_be = may && apb_arena_sparse_stays(old, idle_bytes(pool));
	if (!pool->let_be)
		purge(pool, idle);
	apb_leave();
}

/* Empty place @i of the ring, sweeping the pool there if it is still sparse. */
static void drop(struct apb_heap *heap, unsigned int i)
{
	struct apb_pool *pool = heap->sparse[i];

	if (!pool)
		return;
	heap->sparse[i] = NULL;
	pool->sparse = 0;
	if (apb_pool_sparse(pool))
		sweep(pool, true);
}

void apb_sparse_note(struct apb_heap *heap, struct apb_pool *pool)
{
	unsigned int i;

	/* junk is looked for in free blocks */
	if (apb_junk() || pool->sparse ||
	    (pool->swept && pool->used * 4u > pool->swept))
		return;
	i = heap->next_sparse++ % APB_NR_SPARSE;
	drop(heap, i);
	heap->sparse[i] = pool;
	pool->sparse = (uint8_t)(i + 1);
}

static void leave_ring(struct apb_heap *heap, struct apb_pool *pool)
{
	if (pool->sparse)
		heap->sparse[pool->sparse - 1] = NULL;
	pool->sparse = 0;
}

void apb_sparse_forget(struct apb_heap *heap, struct apb_pool *pool)
{
	leave_ring(heap, pool);
	if (pool->idle) {
		apb_enter();
		if (pool->let_be)
			apb_arena_sparse_del(idle_bytes(pool), false);
		else if (pool->used)
			apb_arena_sparse_missed(idle_bytes(pool));
		apb_leave();
	}
	/* if it is empty, whoever uses it next will miss what was swept */
	if (pool->used || pool->let_be)
		pool->idle = 0;
	pool->let_be = false;
	pool->swept = 0;
}

/* Sweep the pools let be, or (@all) all that have blocks. */
static void sweep_heap(struct apb_heap *heap, bool all)
{
	struct apb_node *node;
	unsigned int cls;

	if (apb_junk())
		return;
	for (cls = 1; cls <= APB_NR_BINS; cls++) {
		for (node = heap->partial[cls]; node; node = node->next) {
			struct apb_pool *pool =
				apb_entry(node, struct apb_pool, node);

			if (pool->let_be ||
			    (all &&
			     (!pool->swept || pool->used < pool->swept))) {
				leave_ring(heap, pool);
				sweep(pool, false);
			}
		}
	}
}

void apb_sparse_sweep_all(struct apb_heap *heap)
{
	sweep_heap(heap, true);
}

void apb_sparse_follow(struct apb_heap *heap)
{
	/* relaxed: nothing else is read that was written before */
	uint64_t sweeps =
		__atomic_load_n(&apb_state.arenas.sweeps, __ATOMIC_RELAXED);

	if (heap->sweeps == sweeps)
		return;
	heap->sweeps = sweeps;
	sweep_heap(heap, false);
}

#include "instrumented.h"
