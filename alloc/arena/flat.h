/* SPDX-License-Identifier: MIT */
/*
 * The flat map: what free must know of the pool at an address, in one table
 * that is indexed by the address, an entry for every 16 KiB.  It is reserved
 * but not touched, so the fast path of free needs no look-up before it: where
 * there is no pool in use the entry reads as 0.
 *
 * Entries copy what the pool's descriptor has; the map and the descriptors
 * remain what counts.  The table covers less than the address space, and an
 * address beyond shares its entry with others: an entry is of the pool whose
 * base it has, and what shares it is so far from that base that it cannot be
 * one of a pool's blocks, whatever their size.  A pool whose entry is taken by
 * another has none.  Frees of its blocks then take the slow path, which asks
 * the map, as all do where no table can be had.
 *
 * Entries are written under the state lock.  Their accesses are atomic, as a
 * free of a block that shares an entry may read it while it is written; relaxed,
 * as who frees a block of the pool has the block from one who saw the pool set
 * up, and to who frees another every base that the entry ever had is too far
 * away.  A block that two threads free at once while its pool is put back and
 * set up anew may be taken for one of the new pool: no program may do that, and
 * it is not always told.
 *
 * Invariant:
 *   flat.entry  an entry with an owner is as the descriptor of a pool in use
 *               has it; a pool in use has its entries unless another has them
 */
#ifndef APB_FLAT_H
#define APB_FLAT_H

#include "arena/pool.h"

struct apb_flat_entry {
	uintptr_t owner; /* the pool's; 0: none */
	uintptr_t base;
	uint64_t reciprocal;
	uint8_t *states;
};

static_assert(sizeof(struct apb_flat_entry) == (size_t)1
						       << APB_FLAT_ENTRY_SHIFT,
	      "entries are found by a shift");

struct apb_flat {
	const char *table; /* one entry of zeroes until there is one */
	uintptr_t mask; /* of an offset in it; 0 until then */
	bool tried;
	uint64_t open[APB_FLAT_BYTES_MAX / APB_FLAT_CHUNK / 64]; /* writable */
};

/* hidden: read without a way round over the global offset table */
extern struct apb_flat apb_flat __attribute__((visibility("hidden")));

/*
 * The entry of @addr.  The mask is acquire, against the release when the table
 * is there: who sees the mask sees the table.
 */
static inline const struct apb_flat_entry *apb_flat_at(uintptr_t addr)
{
	uintptr_t mask = __atomic_load_n(&apb_flat.mask, __ATOMIC_ACQUIRE);
	const char *table = __atomic_load_n(&apb_flat.table, __ATOMIC_RELAXED);

	return (const struct apb_flat_entry *)(table +
					       (addr >> (APB_POOL_SHIFT_SMALL -
							 APB_FLAT_ENTRY_SHIFT) &
						mask));
}

static inline uintptr_t apb_flat_owner(const struct apb_flat_entry *entry)
{
	return __atomic_load_n(&entry->owner, __ATOMIC_RELAXED);
}

#if APB_CHECKS
/*
 * Whether a live block of the pool that has the entry @at starts at @addr, and
 * what it is in a bin.
 */
static inline bool apb_flat_live(const struct apb_flat_entry *at,
				 uintptr_t addr, struct apb_entry *block)
{
	uintptr_t base = __atomic_load_n(&at->base, __ATOMIC_RELAXED);
	uint64_t reciprocal =
		__atomic_load_n(&at->reciprocal, __ATOMIC_RELAXED);
	uint64_t index;

	if (!apb_quotient(addr - base, reciprocal, &index))
		return false;
	block->block = (void *)addr;
	block->state = __atomic_load_n(&at->states, __ATOMIC_RELAXED) + index;
	return __builtin_expect(apb_state_get(block->state) == APB_STATE_LIVE,
				1);
}
#else
static inline bool apb_flat_live(const struct apb_flat_entry *at,
				 uintptr_t addr, struct apb_entry *block)
{
	block->block = (void *)addr;
	/* not what shares the entry with the pool */
	return __builtin_expect(
		addr - __atomic_load_n(&at->base, __ATOMIC_RELAXED) <
			(uintptr_t)1 << APB_POOL_SHIFT_BIG,
		1);
}
#endif

/* A pool was set up, or is put back. */
void apb_flat_set(const struct apb_pool *pool);
void apb_flat_clear(const struct apb_pool *pool);

/* Get ready for arenas at @addr, as the first pool there does; for harnesses that
 * want every input to find the same. */
void apb_flat_open(uintptr_t addr);

/* Whether that is so for @pool, as far as it must be; for apb_check(). */
bool apb_flat_right(const struct apb_pool *pool);

#endif /* APB_FLAT_H */
