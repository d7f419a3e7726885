// SPDX-License-Identifier: MIT
/* Pools; see pool.h. */
#include "arena/pool.h"

#include "arena/arena.h"
#include "heap/heap.h"

#include <string.h>

static inline struct apb_arena *arena_of(const struct apb_pool *pool)
{
	return apb_arena_of((uintptr_t)pool);
}

unsigned int apb_pool_slot(const struct apb_pool *pool)
{
	return (unsigned int)(((uintptr_t)pool & (APB_PAGE - 1)) /
			      sizeof(union apb_slot));
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

/* Offset of the state bytes of the pool in @slot that has @count blocks. */
static unsigned int states_offset(unsigned int slot, unsigned int count)
{
	if (count <= APB_STATES_FEW)
		return APB_STATES_FEW_OFFSET + slot * APB_STATES_FEW;
	if (count <= APB_STATES_MORE)
		return APB_STATES_MORE_OFFSET + slot * APB_STATES_MORE;
	return APB_STATES_MANY_OFFSET + slot * APB_STATES_MANY;
}

/* The first @count bits of the bitmap set. */
static void fill_bits(uint64_t *bits, unsigned int count)
{
	for (; count >= 64; count -= 64)
		*bits++ = UINT64_MAX;
	if (count)
		*bits = (UINT64_C(1) << count) - 1;
}

void apb_pool_init(struct apb_pool *pool, struct apb_heap *heap,
		   unsigned int cls, unsigned int colour)
{
	size_t size = apb_class_size(cls);
	size_t bytes = apb_pool_bytes(pool);
	size_t offset = colour_offset(bytes, size, colour);
	unsigned int rotate = (unsigned int)__builtin_ctzl(size);
	size_t count = (bytes - offset) / size;

	if (count > APB_MAX_BLOCKS)
		count = APB_MAX_BLOCKS;
	pool->base = apb_pool_start(pool) + offset;
	pool->inverse = inverse_of(size >> rotate);
	pool->count = (uint16_t)count;
	pool->states = (uint8_t *)arena_of(pool) +
		       states_offset(apb_pool_slot(pool), (unsigned int)count);
	pool->rotate = (uint8_t)rotate;
	pool->cls = (uint8_t)cls;
	pool->used = 0;
	pool->node.pprev = NULL;
	pool->hint = 0;
	fill_bits(apb_pool_bits(pool), (unsigned int)count);
	memset(pool->states, APB_STATE_NEVER, count);
	pool->owner = (uintptr_t)&heap->bin[cls];
}

unsigned int apb_pool_take(struct apb_pool *pool, struct apb_entry *to,
			   unsigned int n)
{
	unsigned int have = pool->count - pool->used, word, i, left;
	size_t size = apb_class_size(pool->cls);
	uint64_t *bits = apb_pool_bits(pool);

	if (n > have)
		n = have;
	for (left = n, word = pool->hint; left; word++) {
		uint64_t some = bits[word];

		for (; some && left; some &= some - 1) {
			i = word * 64 + (unsigned int)__builtin_ctzll(some);
			to[--left] =
				apb_entry_make(pool, pool->base + i * size, i);
		}
		bits[word] = some;
		pool->hint = (uint16_t)word;
	}
	pool->used = (uint16_t)(pool->used + n);
	return n;
}

void apb_pool_put(struct apb_pool *pool, struct apb_entry entry)
{
	unsigned int i = (unsigned int)apb_entry_index(pool, entry);

	apb_pool_bits(pool)[i / 64] |= UINT64_C(1) << i % 64;
	if (i / 64 < pool->hint)
		pool->hint = (uint16_t)(i / 64);
	pool->used--;
}
