/* SPDX-License-Identifier: MIT */
/*
 * Memory for the allocator's own structures beyond those in arenas: the bins'
 * arrays, batches.  Pieces are powers of two, from 1 KiB to
 * 64 KiB, split from chunks of 128 KiB and kept by size when they are free.
 * A trim gives back the chunks of which nothing is in use.  All of it under
 * the state lock.
 *
 * Invariants (checked by apb_check()):
 *   meta.bytes  pieces in use, free pieces and chunk headers add up to chunks
 *   meta.used   what is in use of the chunks is what is in use of all
 */
#ifndef APB_META_H
#define APB_META_H

#include "config.h"

struct apb_piece {
	struct apb_piece *next;
};

/* The first piece of a chunk, which is aligned to its size. */
struct apb_chunk {
	struct apb_chunk *next;
	size_t used; /* bytes, without this */
};

#define APB_META_ORDERS (APB_META_MAX_SHIFT - APB_META_MIN_SHIFT + 1)

struct apb_meta {
	struct apb_piece *free[APB_META_ORDERS];
	struct apb_chunk *chunks;
	size_t nr_chunks;
	size_t used; /* bytes */
};

/* @size bytes, a power of two, not zeroed; aligned to a page from there up. */
void *apb_meta_alloc(size_t size);
void apb_meta_free(void *piece, size_t size);

/* Give back the chunks that are not in use. */
void apb_meta_trim(void);

/* Forget all pieces and unmap all chunks. */
void apb_meta_reset(void);

#endif /* APB_META_H */
