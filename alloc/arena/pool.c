// SPDX-License-Identifier: MIT
/* Pools; see pool.h. */
#include "uninstrumented.h"

#include "arena/pool.h"

#include "arena/arena.h"
#include "arena/flat.h"
#include "fill.h"
#include "heap/heap.h"

#include <string.h>

static inline struct apb_arena *arena_of(const struct apb_pool *pool)
{
	return apb_arena_of((uintptr_t)pool);
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

/*
 * The offset of block 0: whole cache lines, as far as the remainder of the pool
 * offers them on the page of the last block, so that none costs a page.  Blocks
 * whose size is a power of two stay at multiples of it, on which aligned requests
 * rely (apb_class_of_aligned()).
 */
static size_t colour_offset(size_t pool_bytes, size_t size, unsigned int colour)
{
	size_t lines = pool_bytes % size % APB_PAGE / APB_CACHE_LINE;

	return size & (size - 1) ? colour % (lines + 1) * APB_CACHE_LINE : 0;
}

/*
 * ---- state bytes --------------------------------------------------------
 *
 * Larger pools have a line each.  The smallest take 1, 2, 4 or 8 lines of a
 * group, aligned to their number; the lowest group that has them, so that few
 * pages are touched.  There are as many groups as slots: one is always free, as
 * each other pool is in one at most.  Masks of the lines in use are where the
 * slots of metadata would have their descriptors, those of 32 groups in each.
 */
#define GROUPS_IN_SLOT sizeof(((union apb_slot *)0)->meta.groups)

static_assert((APB_META_BYTES >> APB_POOL_SHIFT_SMALL) - 1 >=
		      APB_MAX_POOLS / GROUPS_IN_SLOT,
	      "there are slots of metadata for the masks of all groups");

static uint8_t *group_mask(const struct apb_pool *pool, unsigned int group)
{
	union apb_slot *slot = (union apb_slot *)arena_of(pool) + 1;

	return &slot[group / GROUPS_IN_SLOT]
			.meta.groups[group % GROUPS_IN_SLOT];
}

static uint8_t *groups_start(const struct apb_pool *pool)
{
	return (uint8_t *)arena_of(pool) + APB_STATES_OFFSET;
}

static unsigned int lines_of(size_t count)
{
	unsigned int lines = 1;

	while (lines * APB_CACHE_LINE < count)
		lines *= 2;
	return lines;
}

static uint8_t *get_states(const struct apb_pool *pool, size_t count)
{
	unsigned int lines = lines_of(count), group, line;

	if (arena_of(pool)->kind)
		return (uint8_t *)arena_of(pool) + APB_FEW_STATES_OFFSET +
		       apb_pool_slot(pool) * APB_FEW_BLOCKS;
	for (group = 0;; group++) {
		uint8_t *in_use = group_mask(pool, group);

		for (line = 0; line < APB_GROUP_LINES; line += lines) {
			unsigned int mask = ((1u << lines) - 1) << line;

			if (*in_use & mask)
				continue;
			*in_use |= (uint8_t)mask;
			return groups_start(pool) + (group * APB_GROUP_LINES +
						     line) * APB_CACHE_LINE;
		}
	}
}

void apb_pool_fini(struct apb_pool *pool)
{
	unsigned int line, lines = lines_of(pool->count);

	apb_flat_clear(pool);
	if (arena_of(pool)->kind)
		return;
	line = (unsigned int)(pool->states - groups_start(pool)) /
	       APB_CACHE_LINE;
	*group_mask(pool, line / APB_GROUP_LINES) &=
		(uint8_t)~(((1u << lines) - 1) << line % APB_GROUP_LINES);
}

/* The first @count bits of the bitmap set. */
static void fill_bits(uint64_t *bits, unsigned int count)
{
	unsigned int words = count / 64;

	apb_fill(bits, 0xff, words * sizeof(*bits));
	if (count % 64)
		bits[words] = (UINT64_C(1) << count % 64) - 1;
}

/*
 * All of the state lines is reset: what stands behind the last block's byte, in
 * the same line unless the blocks fill the pool, must not be LIVE (pool.h).
 */
void apb_pool_init(struct apb_pool *pool, struct apb_heap *heap,
		   unsigned int cls, unsigned int colour)
{
	size_t size = apb_class_size(cls);
	size_t bytes = apb_pool_bytes(pool);
	size_t offset = colour_offset(bytes, size, colour);
	size_t count = (bytes - offset) / size;

	if (count > APB_MAX_BLOCKS)
		count = APB_MAX_BLOCKS;
	pool->base = apb_pool_start(pool) + offset;
	pool->reciprocal = UINT64_MAX / size + 1;
	pool->count = (uint16_t)count;
	pool->states = get_states(pool, count);
	pool->cls = (uint8_t)cls;
	pool->used = 0;
	pool->node.pprev = NULL;
	pool->hint = 0;
	pool->sparse = 0;
	pool->swept = 0;
	pool->idle = 0;
	pool->let_be = false;
	pool->start = 0;
	if (bytes == (size_t)1 << APB_POOL_SHIFT_SMALL)
		pool->start = (uint16_t)(colour * APB_COLOUR_STEP % count);
	fill_bits(apb_pool_bits(pool), (unsigned int)count);
	if (APB_CHECKS)
		memset(pool->states, APB_STATE_NEVER,
		       lines_of(count) * APB_CACHE_LINE);
	pool->owner = (uintptr_t)&heap->bin[cls];
	apb_flat_set(pool);
}

/* Whether there are several bits, one after the other. */
static inline bool is_row(uint64_t bits)
{
	return (bits & (bits - 1)) && !(bits & (bits + (bits & -bits)));
}

/*
 * The blocks of a word whose bits @some are, as far as there is room, into what
 * lies between @to and @end, from its end; returns the bits that are left.
 *
 * In a fresh pool they follow each other, and the processor sees that for
 * itself.  Those that were left over are mostly scattered, and about to be
 * written.
 */
static inline uint64_t take_bits(const struct apb_pool *at, size_t size,
				 size_t word, uint64_t some,
				 struct apb_entry *to, struct apb_entry **end)
{
	size_t i = word * 64 + (size_t)__builtin_ctzll(some);
	struct apb_entry entry = apb_entry_make(at, at->base + i * size, i);
	struct apb_entry *p = *end;

	if (is_row(some)) {
		for (; some && p > to; some &= some - 1) {
			*--p = entry;
			entry = apb_entry_next(entry, size);
		}
	} else {
		for (; some && p > to; some &= some - 1) {
			i = word * 64 + (size_t)__builtin_ctzll(some);
			*--p = apb_entry_make(at, at->base + i * size, i);
			__builtin_prefetch(p->block, 1);
		}
	}
	*end = p;
	return some;
}

/*
 * Take blocks from number @from on, up to @left, into @to from its end; returns
 * how many are still wanted.
 */
static unsigned int take_from(struct apb_pool *pool, struct apb_entry *to,
			      unsigned int left, unsigned int from)
{
	unsigned int words = (pool->count + 63u) / 64, word = from / 64;
	uint64_t below = (UINT64_C(1) << from % 64) - 1;
	/* a copy: what is written to @to cannot change it */
	const struct apb_pool at = *pool;
	size_t size = apb_class_size(at.cls);
	uint64_t *bits = apb_pool_bits(pool);
	struct apb_entry *end = to + left;

	if (word < at.hint) {
		word = at.hint;
		below = 0;
	}
	for (; end > to && word < words; word++, below = 0) {
		uint64_t some = bits[word] & ~below;

		if (some)
			bits[word] ^= some ^ take_bits(&at, size, word, some,
						       to, &end);
		if (!from)
			pool->hint = (uint16_t)word;
	}
	return (unsigned int)(end - to);
}

unsigned int apb_pool_take(struct apb_pool *pool, struct apb_entry *to,
			   unsigned int n)
{
	unsigned int have = pool->count - pool->used, left;

	if (n > have)
		n = have;
	left = take_from(pool, to, n, pool->start);
	/* from now on those lowest in memory come first */
	if (left)
		take_from(pool, to, left, pool->start = 0);
	pool->used = (uint16_t)(pool->used + n);
	return n;
}

static inline void put_bits(struct apb_pool *pool, unsigned int word,
			    uint64_t mask)
{
	apb_pool_bits(pool)[word] |= mask;
	if (word < pool->hint)
		pool->hint = (uint16_t)word;
}

size_t apb_pool_put(struct apb_pool *pool, const struct apb_entry *entry,
		    size_t n)
{
	uintptr_t start = apb_pool_start(pool), bytes = apb_pool_bytes(pool);
	unsigned int word = (unsigned int)apb_entry_index(pool, *entry) / 64;
	uint64_t mask = 0;
	size_t k = 0;

	do {
		unsigned int i = (unsigned int)apb_entry_index(pool, entry[k]);

		/* a word's at once: each would wait for the store of the last */
		if (i / 64 != word) {
			put_bits(pool, word, mask);
			word = i / 64;
			mask = 0;
		}
		mask |= UINT64_C(1) << i % 64;
	} while (++k < n && ((uintptr_t)entry[k].block ^ start) < bytes);
	put_bits(pool, word, mask);
	pool->used = (uint16_t)(pool->used - k);
	return k;
}

#include "instrumented.h"
