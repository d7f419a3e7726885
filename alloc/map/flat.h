/* SPDX-License-Identifier: MIT */
/*
 * The flat map: the kinds of map.h once more, in one table over the whole
 * address space, 128 MiB that are reserved but not touched, so that the fast
 * path of free finds a kind with one load.  A page of it, which is 4 GiB of
 * addresses, is made writable when the first arena is mapped there; all else
 * reads as 0.
 *
 * Where it cannot be had (RLIMIT_AS, say) every look-up yields 0, and frees
 * take the slow path, which asks the map.
 *
 * Invariant:
 *   flat.kind  the byte of a MiB is 0, or what the map has
 */
#ifndef APB_FLAT_H
#define APB_FLAT_H

#include "config.h"

#define APB_FLAT_BYTES ((size_t)1 << (APB_ADDR_BITS - APB_ARENA_SHIFT))

struct apb_flat {
	const uint8_t *kinds; /* one zero byte until there is a table */
	uintptr_t mask; /* of its index; 0 until then */
	bool tried;
	uint64_t open[APB_FLAT_BYTES / APB_PAGE / 64]; /* writable pages */
};

extern struct apb_flat apb_flat;

/*
 * The kind at @addr, or 0.  The mask is acquire, against the release when the
 * table is there: who sees the mask sees the table.
 */
static inline unsigned int apb_flat_kind(uintptr_t addr)
{
	uintptr_t mask = __atomic_load_n(&apb_flat.mask, __ATOMIC_ACQUIRE);
	const uint8_t *kinds =
		__atomic_load_n(&apb_flat.kinds, __ATOMIC_RELAXED);

	return __atomic_load_n(kinds + ((addr >> APB_ARENA_SHIFT) & mask),
			       __ATOMIC_RELAXED);
}

/* Make the page of @addr writable, if it can be. */
void apb_flat_open(uintptr_t addr);

/* Set the byte of @addr, if there is one. */
void apb_flat_set(uintptr_t addr, unsigned int kind);

/* Set all bytes of the page of @addr to 0. */
void apb_flat_clear(uintptr_t addr);

#endif /* APB_FLAT_H */
