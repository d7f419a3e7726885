/* SPDX-License-Identifier: MIT */
/*
 * The address map: for every MiB of the address space a byte that says what
 * starts there.  Two levels: a static table of 32,768 slices of 4 GiB, and a
 * leaf of 4,096 bytes for each slice in use.
 *
 * A table entry is not a pointer but the distance of the leaf's bytes from the
 * start of the map, where there are as many zeroes, so that zeroed memory is an
 * empty map and a look-up has no branch.
 *
 * A leaf also holds the descriptors of the large blocks that start in its
 * slice, one for each MiB; its pages are touched only where there are any.
 *
 * Invariants:
 *   map.entry   each leaf on the list is found by its slice's entry
 *   map.used    leaf->used is the number of its nonzero bytes; one leaf at
 *               most, the one named empty, has none
 *   map.kind    the byte of an arena's MiB is the shift of its pools, that of
 *               a large block's first MiB is APB_KIND_LARGE, that of a cached
 *               mapping's APB_KIND_CACHED, others are 0
 */
#ifndef APB_MAP_H
#define APB_MAP_H

#include "config.h"
#include "list.h"

#define APB_SLICE_SHIFT 32
#define APB_NR_SLICES (1u << (APB_ADDR_BITS - APB_SLICE_SHIFT))
#define APB_SLICE_MASK (((uintptr_t)1 << APB_SLICE_SHIFT) - 1)
#define APB_SLICE_KINDS (1u << (APB_SLICE_SHIFT - APB_ARENA_SHIFT))

enum {
	APB_KIND_NONE = 0,
	APB_KIND_LARGE = 1,
	APB_KIND_CACHED = 2, /* a mapping in the large layer's cache */
	/* from here on: the pool shift of an arena */
	APB_KIND_ARENA = APB_POOL_SHIFT_SMALL,
};

/**
 * struct apb_large - a large block, or a cached mapping
 * @node: in the list of all large blocks
 * @addr: the block and its mapping; a multiple of 1 MiB
 * @size: usable bytes; a multiple of the page size; 0: a cached mapping
 * @mapped: bytes mapped, at least @size; those behind @size are slack
 * @grown: how often a block has grown beyond what was mapped
 */
struct apb_large {
	struct apb_node node;
	uintptr_t addr;
	size_t size;
	size_t mapped;
	unsigned int grown;
};

struct apb_leaf {
	uint8_t kind[APB_SLICE_KINDS];
	struct apb_node node;
	unsigned int slice;
	unsigned int used;
	struct apb_large large[APB_SLICE_KINDS];
};

struct apb_map {
	uint8_t none[APB_SLICE_KINDS]; /* what all slices start with: 0 */
	uintptr_t slice[APB_NR_SLICES];
	struct apb_node *leaves;
	size_t nr_leaves;
	struct apb_leaf *empty; /* the one without a byte set that is kept */
	uintptr_t lowest; /* no byte below is set; 0: none at all */
	uintptr_t highest; /* no byte above is set */
	uintptr_t cursor; /* where the next search for a gap starts */
};

#define APB_LEAF_BYTES \
	((sizeof(struct apb_leaf) + APB_PAGE - 1) & ~(APB_PAGE - 1))

/*
 * Kind at the MiB of @addr.  Bits 47 and up are ignored here: the caller
 * compares the whole address with what it finds.
 *
 * Threads read the map without a lock.  The byte may be relaxed: that of a
 * live block was written before the block was handed out, and how the pointer
 * came to this thread orders the two; any other pointer is a misuse.  The
 * entry is acquire, against the release when it is set, so that even a wild
 * pointer finds a leaf's bytes set up.
 */
static inline unsigned int apb_map_kind(const struct apb_map *map,
					uintptr_t addr)
{
	uintptr_t slice = (addr >> APB_SLICE_SHIFT) & (APB_NR_SLICES - 1);
	uintptr_t leaf = (uintptr_t)map->none +
			 __atomic_load_n(&map->slice[slice], __ATOMIC_ACQUIRE);

	return __atomic_load_n(
		(const uint8_t *)(leaf + ((addr >> APB_ARENA_SHIFT) &
					  (APB_SLICE_KINDS - 1))),
		__ATOMIC_RELAXED);
}

/* The leaf of @addr, or NULL. */
struct apb_leaf *apb_map_leaf(uintptr_t addr);

/* Set the byte of @addr to @kind, not 0: 0, or -1 when there is no memory. */
int apb_map_set(uintptr_t addr, unsigned int kind);

/* Change the byte of @addr from one kind to another. */
void apb_map_change(uintptr_t addr, unsigned int kind);

/* Set the byte of @addr to 0. */
void apb_map_clear(uintptr_t addr);

/* The descriptor of a large block at @addr, whose byte is set. */
struct apb_large *apb_map_large(uintptr_t addr);

/*
 * Where a mapping of @size bytes might be put at a multiple of @align, at
 * least 1 MiB: in a gap between arenas and large blocks, else below them all;
 * 0 if there are none.  Only a hint: others map memory, too.  Filling gaps
 * keeps the range of addresses, and with it the map, small.  The search is
 * next-fit, over at most APB_HINT_STEPS gaps.
 */
#define APB_HINT_STEPS 256
uintptr_t apb_map_hint(size_t size, size_t align);

/* The highest address up to @addr whose byte is not 0, or 0. */
uintptr_t apb_map_below(uintptr_t addr);

/* Release the leaves that are all zero, or (@all) every leaf. */
void apb_map_release(bool all);

#endif /* APB_MAP_H */
