/* SPDX-License-Identifier: MIT */
/*
 * Sparse pools: so few blocks are out that some of their pages have none.  As
 * the allocator never touches free blocks, such pages can be given back though
 * the pool is in use: it is *swept*.
 *
 * Not at once: a pool that becomes sparse is about to become empty, more often
 * than not.  A heap remembers the last APB_NR_SPARSE of them, and sweeps the
 * one that drops out.  A pool that was swept is looked at again when a quarter
 * of the blocks are left, or when more than half of all have been out since.
 *
 * Nor at all, if the pages are needed again soon, as in a program that builds
 * and drops the same again and again: idle pages are retained memory
 * (os/retain.h), whose bound follows from how much was swept too early.  A pool
 * within the bound is *let be*; when an epoch was over in which that was not
 * needed, heaps sweep such pools on their slow paths.
 *
 * All of it under the heap's lock.
 *
 * Invariant (checked by apb_check()):
 *   heap.sparse   a pool in the ring is one of the heap's, and says where; one
 *                 that says so is there
 *   sparse.bytes  the arenas' count of idle bytes is that of the pools let be
 */
#ifndef APB_SPARSE_H
#define APB_SPARSE_H

#include "heap/heap.h"

static inline bool apb_pool_sparse(const struct apb_pool *pool)
{
	return pool->used <= APB_SPARSE_MAX && pool->used * 8u <= pool->count;
}

/* A block was put into @pool, and @pool is sparse; it still has one out. */
void apb_sparse_note(struct apb_heap *heap, struct apb_pool *pool);

/* Sweep what was let be for too long, if there is such. */
void apb_sparse_follow(struct apb_heap *heap);

/* @pool has become empty, or more than half full. */
void apb_sparse_forget(struct apb_heap *heap, struct apb_pool *pool);

/* Sweep all pools that have blocks. */
void apb_sparse_sweep_all(struct apb_heap *heap);

#endif /* APB_SPARSE_H */
