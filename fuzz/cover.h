/* SPDX-License-Identifier: MIT */
/*
 * Which memory the live blocks cover, in granules of 16 bytes (apb's), so that an
 * overlap is found exactly and at once.
 *
 * The address space is divided into regions of 64 MiB, each with a bitmap.
 * Blocks that get no region (giant ones, or when all regions are taken) are
 * kept in a plain list.
 */
#ifndef APB_FUZZ_COVER_H
#define APB_FUZZ_COVER_H

#include "ops.h"

#define COVER_REGIONS 256
#define COVER_BUCKETS 1024 /* power of two, well above COVER_REGIONS */
#define COVER_REGION_SHIFT 26
#ifndef COVER_GRANULE_SHIFT /* of 8 bytes for other allocators (foreign/) */
#define COVER_GRANULE_SHIFT 4
#endif
#define COVER_WORDS (1 << (COVER_REGION_SHIFT - COVER_GRANULE_SHIFT - 6))

struct cover_region {
	uint64_t id; /* address >> COVER_REGION_SHIFT */
	uint64_t bits[COVER_WORDS];
};

struct cover_big {
	uintptr_t addr;
	size_t size;
};

struct cover {
	struct cover_region *bucket[COVER_BUCKETS];
	struct cover_region *pool[COVER_REGIONS]; /* mapped once, kept */
	size_t nr_mapped, nr_used;
	struct cover_region *last; /* looked up last */
	size_t nr_big;
	struct cover_big big[OPS_SLOTS];
};

/* Add [addr, addr + size); false if any of it is covered already. */
bool cover_add(struct cover *c, uintptr_t addr, size_t size);

/* Remove what was added with the same arguments. */
void cover_remove(struct cover *c, uintptr_t addr, size_t size);

/* Whether any of [addr, addr + size) is covered. */
bool cover_any(struct cover *c, uintptr_t addr, size_t size);

/* Nothing is covered any more; everything has been removed. */
void cover_reset(struct cover *c);

#endif /* APB_FUZZ_COVER_H */
