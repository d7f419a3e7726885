/* SPDX-License-Identifier: MIT */
/*
 * Pools: equal blocks in a row.
 *
 *	pool start | colour | block 0 | block 1 | ... | block n-1 | remainder
 *
 * The colour offsets the blocks by some cache lines, as many as the remainder
 * offers, so that the first blocks of all pools do not meet in one set of the
 * cache.  For the same reason a fresh pool's blocks are not taken from the
 * first one on, but from one that depends on the colour, then from the first.
 *
 * Everything that is known about a block stands elsewhere: the allocator never
 * reads or writes the memory of a block, live or free.  So a program that
 * writes where it must not cannot mislead it, a free costs no cache miss on
 * the block, and a page of which no block was handed out is never touched.
 *
 * A block is in the pool if its bit in the pool's bitmap is set.  Otherwise it
 * is *out*: live (the program's), in its heap's bin, or in a batch on its way
 * there.  The bitmap, @used and @hint are the owning heap's slow path's, under
 * its lock.
 *
 * A state byte per block says what the program may do with it: LIVE from
 * malloc until free, else FREED, or NEVER if it was not handed out since the
 * pool was set up.  It is written by whoever makes the block live or free,
 * which may be any thread; a correct program does not do so in two threads at
 * once.  So every second free is seen at once, whoever did the first one and
 * wherever the block is since.  Accesses are atomic (relaxed) as the check of
 * a misuse and statistics may look at a byte that another thread writes: it
 * orders nothing, the block itself is handed from thread to thread by the
 * program.
 *
 * The owner word is the address of the bin that the pool's blocks go to: one
 * load and one comparison answer whose a block is and where it goes.
 *
 * The check of a pointer: with d <= 2^16 the block size, n = p - base and the
 * reciprocal r = ceil(2^64 / d), n * r is q * 2^64 + f.  If n = q * d for a
 * q < 2^32, then f < r, as r * d < 2^64 + d; and if f < r and q < 2^32, then
 * n = q * d: it is not less as q * d * (r * d - 2^64) < 2^64, and q * d + 1 is
 * r too much (Lemire, Kaser & Kurz, "Faster Remainder by Direct Computation",
 * 2019, have it for small n).  So two comparisons prove that p is where block
 * q starts, if there is one; a negative or wild distance has too large a q.
 *
 * On the fast path the bound on q is the same for all pools, as the state byte
 * that stands behind those of a pool's blocks is never LIVE, if there is an
 * address in the pool that leads to it.
 *
 * Invariants (checked by apb_check()):
 *   pool.geometry      base, count and reciprocal fit class and slot
 *   pool.bits          the bitmap has no bit beyond count, and none in a word
 *                      below hint
 *   pool.conservation  used and the bits of the bitmap add up to count
 *   pool.used          used >= 1: a pool without a block out is put back
 *   pool.state         a block in the pool is not LIVE; those that are out
 *                      and in no list are LIVE; nor is what stands behind the
 *                      last one's LIVE
 *   pool.partial       on its heap's partial list exactly if it has a block
 */
#ifndef APB_POOL_H
#define APB_POOL_H

#include "config.h"
#include "list.h"

struct apb_heap;

#define APB_ARENA_GUARD UINT64_C(0x616e657261627061) /* not a bin */

enum {
	APB_STATE_NEVER,
	APB_STATE_LIVE,
	APB_STATE_FREED,
};

/* The descriptor, one cache line; see above. */
struct apb_pool {
	uintptr_t owner; /* address of the heap's bin, or 0: unused */
	uintptr_t base; /* block 0 */
	uint64_t reciprocal; /* of the block size, times 2^64 */
	uint8_t *states; /* of block 0 */
	uint16_t count;
	uint8_t cls;
	uint16_t used; /* blocks that are out */
	uint16_t swept; /* heap/sparse.h: how many were out then, or 0 */
	struct apb_node node; /* in the heap's partial list */
	uint16_t hint; /* words of the bitmap below have no bit */
	uint16_t scratch; /* of apb_check(): blocks in lists */
	uint16_t start; /* the block taken first, until all from it on were */
	uint8_t sparse; /* heap/sparse.h: place in the ring, from 1 up, or 0 */
	/* heap/sparse.h: pages without a block, given back or let be */
	uint8_t idle : 7; /* is left as it is when the pool is put back */
	uint8_t let_be : 1;
};

static_assert(sizeof(struct apb_pool) <= APB_CACHE_LINE,
	      "a descriptor is a cache line");

/*
 * Descriptors are found by a shift.  In the place of those of slots that hold
 * metadata, from the second one on: no owner, and in arenas of the smallest
 * pools masks of the state lines in use, a byte for each group (pool.c).
 */
union apb_slot {
	struct apb_pool pool;
	struct {
		uintptr_t owner;
		uint8_t groups[APB_CACHE_LINE / 2];
	} meta;
	char line[APB_CACHE_LINE];
};

static_assert(sizeof(union apb_slot) == (size_t)1 << APB_SLOT_SHIFT,
	      "slots are found by a shift");

/* The descriptor of the pool that @addr, in an arena of pools of 1 << @shift,
 * lies in (of slot 0: the arena's header). */
static inline struct apb_pool *apb_pool_of(uintptr_t addr, unsigned int shift)
{
	uintptr_t arena = addr & ~(APB_ARENA - 1) & APB_ADDR_MASK;

	return &((union apb_slot *)arena + ((addr & (APB_ARENA - 1)) >> shift))
			->pool;
}

/*
 * See above: whether @distance is a multiple of the block size, as far as a pool
 * may have blocks, and which.
 */
static inline bool apb_quotient(uintptr_t distance, uint64_t reciprocal,
				uint64_t *index)
{
	__extension__ unsigned __int128 product =
		(unsigned __int128)distance * reciprocal;

	*index = (uint64_t)(product >> 64);
	return __builtin_expect((uint64_t)product < reciprocal, 1) &&
	       __builtin_expect(*index < APB_MAX_BLOCKS, 1);
}

/*
 * Index of the block that starts at @addr; if none does, a number that is not
 * less than the pool's count.
 */
static inline uint64_t apb_pool_index(const struct apb_pool *pool,
				      uintptr_t addr)
{
	uint64_t index;

	if (apb_quotient(addr - pool->base, pool->reciprocal, &index))
		return index;
	return UINT64_MAX;
}

/* Whether it is a pool, and in use; what stands in an arena's header is not. */
static inline bool apb_pool_in_use(const struct apb_pool *pool)
{
	return pool->owner && pool->owner != APB_ARENA_GUARD;
}

/* The class of blocks that go to the bin @owner. */
static inline unsigned int apb_bin_class(uintptr_t owner)
{
	return (unsigned int)(owner & (APB_PAGE - 1)) >> APB_BIN_SHIFT;
}

static inline uint8_t apb_state_get(const uint8_t *state)
{
	return __atomic_load_n(state, __ATOMIC_RELAXED);
}

static inline void apb_state_set(uint8_t *state, uint8_t value)
{
	__atomic_store_n(state, value, __ATOMIC_RELAXED);
}

/* The state byte of block @index. */
static inline uint8_t *apb_pool_state(const struct apb_pool *pool,
				      uint64_t index)
{
	return pool->states + index;
}

/* ---- entries ---------------------------------------------------------- */

/*
 * An entry names a free block in a bin, and its state byte, so that malloc
 * finds the byte without the pool.  Two words rather than one that is packed:
 * what malloc returns does then not wait for the division by which free found
 * the byte.
 */
struct apb_entry {
	void *block; /* NULL: no entry */
#if APB_CHECKS
	uint8_t *state;
#endif
};

/*
 * In a batch an entry is one word, as that moves between the caches of two
 * processors: the address, and above it the low 16 bits of that of its state
 * byte, which stands in the first 64 KiB of the same arena.
 */
#define APB_WORD_SHIFT 48

static_assert(APB_META_BYTES <= (size_t)1 << (64 - APB_WORD_SHIFT) &&
		      APB_ADDR_BITS <= APB_WORD_SHIFT,
	      "an entry fits a word");

/* ---- what the misuse checks need -------------------------------------- */

#if APB_CHECKS
static inline uintptr_t apb_entry_pack(struct apb_entry entry)
{
	uint16_t state = (uint16_t)(uintptr_t)entry.state;

	return (uintptr_t)entry.block | (uintptr_t)state << APB_WORD_SHIFT;
}

static inline struct apb_entry apb_entry_unpack(uintptr_t word)
{
	uintptr_t addr = word & APB_ADDR_MASK;

	return (struct apb_entry){
		(void *)addr,
		(uint8_t *)((addr & ~(APB_ARENA - 1)) | word >> APB_WORD_SHIFT),
	};
}

static inline struct apb_entry apb_entry_make(const struct apb_pool *pool,
					      uintptr_t addr, uint64_t index)
{
	return (struct apb_entry){(void *)addr, apb_pool_state(pool, index)};
}

/* The block behind it in its pool, of blocks of @size bytes. */
static inline struct apb_entry apb_entry_next(struct apb_entry entry,
					      size_t size)
{
	return (struct apb_entry){(char *)entry.block + size, entry.state + 1};
}

/* Make the block of an entry live; returns it. */
static inline void *apb_block_born(struct apb_entry entry)
{
	apb_state_set(entry.state, APB_STATE_LIVE);
	return entry.block;
}

/* Whether @addr is the start of a live block of @pool; its index then. */
static inline bool apb_block_live(const struct apb_pool *pool, uintptr_t addr,
				  uint64_t *index)
{
	*index = apb_pool_index(pool, addr);
	return __builtin_expect(*index < pool->count, 1) &&
	       __builtin_expect(apb_state_get(apb_pool_state(pool, *index)) ==
					APB_STATE_LIVE,
				1);
}

/* Whether it still is, of an entry that apb_flat_live() made. */
static inline bool apb_entry_live(struct apb_entry entry)
{
	return apb_state_get(entry.state) == APB_STATE_LIVE;
}

/* Make the block of an entry free. */
static inline struct apb_entry apb_block_died(struct apb_entry entry)
{
	apb_state_set(entry.state, APB_STATE_FREED);
	return entry;
}

/* Whether a block that is not live has been, since its pool was set up. */
static inline bool apb_entry_freed(struct apb_entry entry)
{
	return apb_state_get(entry.state) == APB_STATE_FREED;
}

/* How many blocks the program holds. */
static inline unsigned int apb_pool_live(const struct apb_pool *pool)
{
	unsigned int i, n = 0;

	for (i = 0; i < pool->count; i++)
		n += apb_state_get(apb_pool_state(pool, i)) == APB_STATE_LIVE;
	return n;
}

/* Index of an entry's block in its pool. */
static inline uint64_t apb_entry_index(const struct apb_pool *pool,
				       struct apb_entry entry)
{
	return (uint64_t)(entry.state - pool->states);
}
#else
/* Blocks that are out count as live, entries are addresses. */
static inline uintptr_t apb_entry_pack(struct apb_entry entry)
{
	return (uintptr_t)entry.block;
}

static inline struct apb_entry apb_entry_unpack(uintptr_t word)
{
	return (struct apb_entry){(void *)word};
}

static inline struct apb_entry apb_entry_make(const struct apb_pool *pool,
					      uintptr_t addr, uint64_t index)
{
	(void)pool;
	(void)index;
	return (struct apb_entry){(void *)addr};
}

static inline struct apb_entry apb_entry_next(struct apb_entry entry,
					      size_t size)
{
	return (struct apb_entry){(char *)entry.block + size};
}

static inline void *apb_block_born(struct apb_entry entry)
{
	return entry.block;
}

static inline bool apb_block_live(const struct apb_pool *pool, uintptr_t addr,
				  uint64_t *index)
{
	(void)pool;
	(void)addr;
	*index = 0;
	return true;
}

static inline bool apb_entry_live(struct apb_entry entry)
{
	(void)entry;
	return true;
}

static inline struct apb_entry apb_block_died(struct apb_entry entry)
{
	return entry;
}

static inline bool apb_entry_freed(struct apb_entry entry)
{
	(void)entry;
	return false;
}

static inline unsigned int apb_pool_live(const struct apb_pool *pool)
{
	return pool->used;
}

static inline uint64_t apb_entry_index(const struct apb_pool *pool,
				       struct apb_entry entry)
{
	return apb_pool_index(pool, (uintptr_t)entry.block);
}
#endif

/* ---- slow paths ------------------------------------------------------- */

/*
 * Under the state lock: set up an unused pool for class @cls (@colour is any
 * number), and give back what that took.
 */
void apb_pool_init(struct apb_pool *pool, struct apb_heap *heap,
		   unsigned int cls, unsigned int colour);
void apb_pool_fini(struct apb_pool *pool);

/* First address and size of a pool, from where its descriptor is. */
uintptr_t apb_pool_start(const struct apb_pool *pool);
size_t apb_pool_bytes(const struct apb_pool *pool);

/* Bytes before block 0 and behind the last one. */
size_t apb_pool_colour_bytes(const struct apb_pool *pool);
size_t apb_pool_remainder(const struct apb_pool *pool);

static inline unsigned int apb_pool_slot(const struct apb_pool *pool)
{
	return (unsigned int)(((uintptr_t)pool & (APB_ARENA - 1)) >>
			      APB_SLOT_SHIFT);
}

/* Whether the pool has blocks to take. */
static inline bool apb_pool_has(const struct apb_pool *pool)
{
	return pool->used < pool->count;
}

/*
 * Take up to @n blocks, at least one; the pool has some.  They are put into
 * @to, that which comes first last; returns how many.
 */
unsigned int apb_pool_take(struct apb_pool *pool, struct apb_entry *to,
			   unsigned int n);

/*
 * Put the first of @n blocks, which are out and not live, into its pool, and
 * those behind it until there comes one of another pool; returns how many.
 */
size_t apb_pool_put(struct apb_pool *pool, const struct apb_entry *entry,
		    size_t n);

#endif /* APB_POOL_H */
