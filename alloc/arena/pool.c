// SPDX-License-Identifier: MIT
/* Pools; see pool.h. */
#include "arena/pool.h"

#include "arena/arena.h"
#include "debug/report.h"
#include "heap/heap.h"

static inline struct apb_arena *arena_of(const struct apb_pool *pool)
{
	return apb_arena_of((uintptr_t)pool);
}

unsigned int apb_pool_slot(const struct apb_pool *pool)
{
	return (unsigned int)(pool - (const struct apb_pool *)arena_of(pool));
}

size_t apb_pool_bytes(const struct apb_pool *pool)
{
	return (size_t)1 << apb_kind_shift(arena_of(pool)->kind);
}

uintptr_t apb_pool_start(const struct apb_pool *pool)
{
	return (uintptr_t)arena_of(pool) +
	       apb_pool_slot(pool) * apb_pool_bytes(pool);
}

size_t apb_pool_colour_bytes(const struct apb_pool *pool)
{
	return pool->base - apb_pool_start(pool);
}

size_t apb_pool_remainder(const struct apb_pool *pool)
{
	return apb_pool_bytes(pool) - apb_pool_colour_bytes(pool) -
	       pool->count * apb_class_size(pool->cls);
}

/* Inverse of an odd number modulo 2^64, by Newton's iteration. */
static uint64_t inverse_of(uint64_t odd)
{
	uint64_t x = odd * 3 ^ 2; /* right in the low 5 bits */
	int bits;

	for (bits = 5; bits < 64; bits *= 2)
		x *= 2 - odd * x;
	return x;
}

/*
 * The offset of block 0.  It keeps blocks at multiples of the largest power of
 * two in their size (up to a page), on which aligned requests rely, and takes
 * no more than the remainder of the pool and APB_COLOUR_SPAN.
 */
static size_t colour_offset(size_t pool_bytes, size_t size, unsigned int colour)
{
	size_t unit = size & -size;
	size_t room = pool_bytes % size;

	if (unit < APB_CACHE_LINE)
		unit = APB_CACHE_LINE;
	if (room < APB_COLOUR_SPAN &&
	    pool_bytes == (size_t)1 << APB_POOL_SHIFT_SMALL)
		room = APB_COLOUR_SPAN;
	if (unit > room)
		return 0;
	return colour % (room / unit + 1) % APB_COLOUR_LINES * unit;
}

void apb_pool_init(struct apb_pool *pool, struct apb_heap *heap,
		   unsigned int cls, unsigned int colour)
{
	size_t size = apb_class_size(cls);
	size_t bytes = apb_pool_bytes(pool);
	size_t offset = colour_offset(bytes, size, colour);
	unsigned int rotate = (unsigned int)__builtin_ctzl(size);

	pool->owner = (uintptr_t)&heap->bin[cls];
	pool->base = apb_pool_start(pool) + offset;
	pool->inverse = inverse_of(size >> rotate);
	pool->free = NULL;
	pool->node.pprev = NULL;
	pool->carved = 0;
	pool->count = (uint16_t)((bytes - offset) / size);
	pool->used = 0;
	pool->nr_free = 0;
	pool->cls = (uint8_t)cls;
	pool->rotate = (uint8_t)rotate;
}

/* How many blocks move at once. */
static unsigned int batch_of(const struct apb_pool *pool, unsigned int most)
{
	unsigned int n =
		(unsigned int)(APB_REFILL_BYTES / apb_class_size(pool->cls));

	if (!n)
		n = 1;
	return n < most ? n : most;
}

/* A fresh pool starts slowly: most classes of most programs need little. */
static unsigned int carve_batch(const struct apb_pool *pool)
{
	unsigned int most = pool->count - pool->carved;
	unsigned int n =
		pool->carved > APB_CARVE_MIN ? pool->carved : APB_CARVE_MIN;

	return batch_of(pool, n < most ? n : most);
}

static struct apb_block *carve(struct apb_pool *pool, uint64_t key)
{
	unsigned int n = carve_batch(pool);
	size_t size = apb_class_size(pool->cls);
	uintptr_t addr = pool->base + pool->carved * size;
	struct apb_block *first = (struct apb_block *)addr, *block = first;

	pool->carved += n;
	pool->used = (uint16_t)(pool->used + n);
	while (--n) {
		addr += size;
		block->next = (struct apb_block *)addr;
		block->mark = apb_mark(block->next, key, APB_MARK_BIN);
		block = block->next;
	}
	block->next = NULL;
	block->mark = apb_mark(NULL, key, APB_MARK_BIN);
	return first;
}

struct apb_block *apb_pool_take(struct apb_pool *pool, uint64_t key)
{
	struct apb_block *first = pool->free, *block, *next;
	unsigned int n;

	if (!first)
		return carve(pool, key);
	n = batch_of(pool, pool->nr_free);
	pool->used = (uint16_t)(pool->used + n);
	pool->nr_free = (uint16_t)(pool->nr_free - n);
	for (block = first;; block = next) {
		next = block->next;
		if (block->mark != apb_mark(next, key, APB_MARK_POOL))
			apb_report_corrupt(block);
		if (!--n)
			break;
		block->mark = apb_mark(next, key, APB_MARK_BIN);
	}
	pool->free = next;
	block->next = NULL;
	block->mark = apb_mark(NULL, key, APB_MARK_BIN);
	return first;
}

void apb_pool_put(struct apb_pool *pool, struct apb_block *block, uint64_t key)
{
	block->next = pool->free;
	block->mark = apb_mark(pool->free, key, APB_MARK_POOL);
	pool->free = block;
	pool->nr_free++;
	pool->used--;
}
