/* SPDX-License-Identifier: MIT */
/*
 * Pools: equal blocks in a row.
 *
 *	pool start | colour | block 0 | block 1 | ... | block n-1 | remainder
 *
 * The colour offsets the blocks by some cache lines so that the first blocks
 * of all pools do not meet in one set of the cache.  Blocks are carved in
 * order of address; below @carved they have been handed out at least once.
 *
 * A free block holds a link and a mark: the link XOR the heap's key, and in
 * the pool's own list XOR 1.  So a second free is seen (the mark is there) and
 * so is a write to a free block (it is not when the block is handed out or
 * settled).  malloc clears the mark: a live block has none, hence no block is
 * handed out while it is live, whatever was written to free ones.  The two
 * kinds of mark keep the counts right in the same way: no block goes to the
 * pool's list twice.
 *
 * A carved block is live (the program's), in its heap's bin, or in the pool's
 * own list.  Bins are not counted: @used counts live and binned blocks.
 *
 * The owner word is the address of the bin that the pool's blocks go to: one
 * load and one comparison answer whose a block is and where it goes.
 *
 * The check of a pointer: with d the block size, d = 2^k * m, m odd, and i
 * the inverse of m modulo 2^64, ror((p - base) * i, k) is the quotient if d
 * divides p - base, and at least 2^64 / d otherwise (Granlund & Montgomery,
 * "Division by Invariant Integers using Multiplication", 1994, section 9).
 * One comparison with @carved thus proves that p is the start of a block that
 * has been handed out; a negative or wild distance fails it too.
 *
 * Invariants (checked by apb_check()):
 *   pool.geometry      base, count, inverse and rotation fit class and slot
 *   pool.carved        1 <= carved <= count
 *   pool.conservation  carved == used + nr_free
 *   pool.used          used >= 1: a pool without a block in use is put back
 *   pool.free          the list has nr_free blocks, each of them carved, a
 *                      block's start, marked, and none twice
 *   pool.partial       on its heap's partial list exactly if nr_free > 0 or
 *                      carved < count
 */
#ifndef APB_POOL_H
#define APB_POOL_H

#include "config.h"
#include "list.h"

struct apb_heap;

struct apb_block {
	struct apb_block *next;
	uint64_t mark;
};

/* The descriptor, one cache line; see above. */
struct apb_pool {
	uintptr_t owner; /* address of the heap's bin, or 0: unused */
	uintptr_t base; /* block 0 */
	uint64_t inverse;
	struct apb_block *free;
	struct apb_node node; /* in the heap's partial list */
	uint32_t carved;
	uint16_t count;
	uint16_t used;
	uint16_t nr_free;
	uint16_t scratch; /* of apb_check() */
	uint8_t cls;
	uint8_t rotate;
};

static_assert(sizeof(struct apb_pool) == APB_CACHE_LINE,
	      "a descriptor is a cache line, found by a shift");
static_assert(sizeof(struct apb_pool) * APB_MAX_POOLS <= APB_PAGE,
	      "descriptors fill a page");

/* The descriptor of the pool that @addr, in an arena of pools of 1 << @shift,
 * lies in (of slot 0: the arena's header). */
static inline struct apb_pool *apb_pool_of(uintptr_t addr, unsigned int shift)
{
	uintptr_t arena = addr & ~(APB_ARENA - 1) & APB_ADDR_MASK;

	return (struct apb_pool *)arena + ((addr & (APB_ARENA - 1)) >> shift);
}

/*
 * Index of the block that starts at @addr; a number beyond every pool's count
 * if none does.
 */
static inline uint64_t apb_pool_index(const struct apb_pool *pool,
				      uintptr_t addr)
{
	uint64_t q = (addr - pool->base) * pool->inverse;

	return q >> (pool->rotate & 63) | q << (-pool->rotate & 63);
}

#define APB_MARK_BIN UINT64_C(0)
#define APB_MARK_POOL UINT64_C(1)

/* The mark of a free block with link @next in a list of @kind. */
static inline uint64_t apb_mark(const struct apb_block *next, uint64_t key,
				uint64_t kind)
{
	return (uintptr_t)next ^ key ^ kind;
}

/* Whether a block from a bin is as it was left there. */
static inline bool apb_marked(const struct apb_block *block, uint64_t key)
{
	return block->mark == apb_mark(block->next, key, APB_MARK_BIN);
}

/* Whether a block holds a mark of either kind. */
static inline bool apb_looks_free(const struct apb_block *block, uint64_t key)
{
	return apb_mark(block->next, key, block->mark) <= APB_MARK_POOL;
}

/* Set up an unused pool for class @cls; @colour is any number. */
void apb_pool_init(struct apb_pool *pool, struct apb_heap *heap,
		   unsigned int cls, unsigned int colour);

/* First address, slot and size of a pool, from where its descriptor is. */
uintptr_t apb_pool_start(const struct apb_pool *pool);
unsigned int apb_pool_slot(const struct apb_pool *pool);
size_t apb_pool_bytes(const struct apb_pool *pool);

/* Bytes before block 0 and behind the last one. */
size_t apb_pool_colour_bytes(const struct apb_pool *pool);
size_t apb_pool_remainder(const struct apb_pool *pool);

/*
 * Take free blocks for a bin, about a page of them, at least one, linked and
 * marked: from the pool's list, else fresh ones.  The pool has some.
 */
struct apb_block *apb_pool_take(struct apb_pool *pool, uint64_t key);

/* Whether the pool has blocks to take. */
static inline bool apb_pool_has(const struct apb_pool *pool)
{
	return pool->nr_free || pool->carved < pool->count;
}

/* Put a block that is in use into the pool's list. */
void apb_pool_put(struct apb_pool *pool, struct apb_block *block, uint64_t key);

#endif /* APB_POOL_H */
