/* SPDX-License-Identifier: MIT */
/*
 * Memory for the allocator's own structures beyond those in arenas: heaps,
 * the bins' arrays, batches.  Pieces are powers of two, from 1 KiB to
 * 64 KiB, split from chunks of 128 KiB and kept by size when they are free;
 * chunks go back to the system when nothing of any of them is in use.
 * All of it under the state lock.
 *
 * Invariant (checked by apb_check()):
 *   meta.bytes  pieces in use, free pieces and chunk headers add up to chunks
 */
#ifndef APB_META_H
#define APB_META_H

#include "config.h"

struct apb_piece {
	struct apb_piece *next;
};

#define APB_META_ORDERS (APB_META_MAX_SHIFT - APB_META_MIN_SHIFT + 1)

struct apb_meta {
	struct apb_piece *free[APB_META_ORDERS];
	struct apb_piece *chunks;
	size_t nr_chunks;
	size_t used; /* bytes */
};

/* @size bytes, a power of two, not zeroed; aligned to a page from there up. */
void *apb_meta_alloc(size_t size);
void apb_meta_free(void *piece, size_t size);

/* Give the chunks back if nothing is in use. */
void apb_meta_trim(void);

/* Forget all pieces and unmap all chunks. */
void apb_meta_reset(void);

#endif /* APB_META_H */
