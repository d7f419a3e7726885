/* SPDX-License-Identifier: MIT */
/*
 * Large blocks: beyond APB_MAX_POOLED bytes, or aligned beyond a page.  Each
 * is a mapping of its own, aligned to 1 MiB at least, so that the map's byte
 * and descriptor for its first MiB are its alone.
 *
 * Mappings come in geometric steps of pages, eight to a doubling but 64 MiB at
 * most, so that similar sizes can take each other's place and a block that
 * grows by little at a time is resized seldom.  What is mapped beyond the pages
 * asked for is *slack*: not usable, and, unless the block has been larger, never
 * touched.
 *
 * The mapping of a freed block is *cached* for a next one of its size, or one
 * down to half of that; of a larger one the front is taken, in whole MiBs, and
 * the rest stays.  What lies side by side in the cache is joined, and a block
 * that grows takes what it needs of what is cached behind it.
 *
 * The cache is retained memory (os/retain.h), bounded in bytes and in number:
 * LRU, and a mapping that was not used all through an epoch goes; so do all of
 * them at a trim, and when there is no memory.  As sizes differ, how full the
 * cache is does not tell how much of it is needed: that is the most that was
 * cached since, and with, a mapping that was then used.  A mapping that is made
 * was missed only if one of its size had been given back: not the next one of a
 * table that doubles.  A cached mapping keeps its place in the address map, with
 * a kind of its own: the address leads to no block, but the range is known to be
 * taken.
 *
 * Invariants (checked by apb_check()):
 *   large.kind    the map's byte at addr is APB_KIND_LARGE, for what is in the
 *                 cache APB_KIND_CACHED
 *   large.shape   addr is a multiple of 1 MiB, size and mapped of a page,
 *                 0 < size <= mapped (in the cache size is 0)
 *   large.bytes   struct apb_larges counts what the list holds
 *   large.cached  and what the cache holds; it holds no more than
 *                 APB_LARGE_CACHE_NR, each as long as its descriptor says,
 *                 no fewer than are idle, and no more bytes than its bound
 */
#ifndef APB_LARGE_H
#define APB_LARGE_H

#include "map/map.h"
#include "os/retain.h"

/* Compact, to be searched as a whole. */
struct apb_cached {
	uintptr_t addr;
	size_t mapped;
};

struct apb_larges {
	struct apb_node *list;
	size_t nr;
	size_t bytes; /* usable */
	size_t slack;
	size_t nr_cached;
	size_t nr_idle; /* of these, the oldest: not used in this epoch */
	size_t cached_bytes;
	struct apb_retain retain; /* of the cache; high: see above, low: 0 */
	size_t given_most; /* no mapping of those given back was larger */
	struct apb_cached cache[APB_LARGE_CACHE_NR]; /* oldest first */
	uint64_t recovered; /* had by settling when there was no memory */
};

/*
 * Allocate @size bytes, 1 to PTRDIFF_MAX, aligned to @align, a power of two
 * (@size + @align is at most PTRDIFF_MAX).  If zeroes are wanted, *@clear is
 * true; it is left so if the caller has to clear the block.  NULL with errno
 * ENOMEM.
 */
void *apb_large_alloc(size_t size, size_t align, bool *clear);

void apb_large_free(struct apb_large *large);

/*
 * Resize to @size bytes, over APB_MAX_POOLED: in place, or by moving the pages;
 * or else *@copy is set, and there is a new block, to which the caller has to
 * copy @large before he frees that.  NULL with errno ENOMEM; nothing has
 * changed then.
 */
void *apb_large_resize(struct apb_large *large, size_t size, bool *copy);

/* The large block that starts at @addr, or NULL. */
struct apb_large *apb_large_find(uintptr_t addr);

/* The large block that @addr lies in, or NULL. */
struct apb_large *apb_large_around(uintptr_t addr);

static inline size_t apb_page_up(size_t size)
{
	return (size + APB_PAGE - 1) & ~(APB_PAGE - 1);
}

/* Bytes to map for a block of @size, a multiple of the page size. */
size_t apb_large_step(size_t size);

/* Unmap all that is cached. */
void apb_large_uncache(void);

/* The bound on cached bytes that is in force now. */
size_t apb_large_cache_limit(void);

/* Apply it now. */
void apb_large_limit_cache(void);

/* See apb_retain_grow(). */
void apb_large_make_room(void);

/* Time has passed: it is @now. */
void apb_large_decay(uint64_t now);

/* Unmap everything. */
void apb_large_reset(void);

#endif /* APB_LARGE_H */
