/* SPDX-License-Identifier: MIT */
/*
 * Large blocks: beyond APB_MAX_POOLED bytes, or aligned beyond a page.  Each
 * is a mapping of its own, aligned to 1 MiB at least, so that the map's byte
 * and descriptor for its first MiB are its alone.
 *
 * Invariants (checked by apb_check()):
 *   large.kind   the map's byte at addr is APB_KIND_LARGE
 *   large.shape  addr is a multiple of 1 MiB, size of a page, neither is 0
 *   large.bytes  struct apb_larges counts what the list holds
 */
#ifndef APB_LARGE_H
#define APB_LARGE_H

#include "map/map.h"

struct apb_larges {
	struct apb_node *list;
	size_t nr;
	size_t bytes;
	uint64_t recovered; /* had by settling when there was no memory */
};

/*
 * Allocate @size bytes, 1 to PTRDIFF_MAX, aligned to @align, a power of two
 * (@size + @align is at most PTRDIFF_MAX); zeroed if @zero.  NULL with errno
 * ENOMEM.
 */
void *apb_large_alloc(size_t size, size_t align, bool zero);

void apb_large_free(struct apb_large *large);

/*
 * Resize to @size bytes, over APB_MAX_POOLED: in place, else by moving the
 * pages, else by copying.  NULL with errno ENOMEM; nothing has changed then.
 */
void *apb_large_resize(struct apb_large *large, size_t size);

/* The large block that starts at @addr, or NULL. */
struct apb_large *apb_large_find(uintptr_t addr);

/* The large block that @addr lies in, or NULL. */
struct apb_large *apb_large_around(uintptr_t addr);

static inline size_t apb_page_up(size_t size)
{
	return (size + APB_PAGE - 1) & ~(APB_PAGE - 1);
}

/* Unmap everything. */
void apb_large_reset(void);

#endif /* APB_LARGE_H */
