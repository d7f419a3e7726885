/* SPDX-License-Identifier: MIT */
/*
 * Blocks freed by a thread that does not own them.  It collects them in
 * batches, one for each of the owners' bins that it meets (a small cache,
 * hashed by the bin's address), and posts a full batch on the owner's queue
 * with one compare-and-swap.  The owner empties the queue when it finds a bin
 * empty, and the batch goes into its bin as it is.
 *
 * The queue is bounded, asleep as the owner may be: who finds it too long
 * takes the owner's lock, if it is free (and waits for it if the queue is far
 * too long), and puts the blocks into their pools.
 *
 * Memory order.  The posting CAS is a release: the batch's contents, and all
 * the freeing threads did with the blocks, happen before.  Emptying is an
 * exchange with acquire, which sees all of that; the CAS of an earlier batch
 * needs no more, as later CASes on the same word continue its release
 * sequence.  The load before the CAS and its failure are relaxed: the old
 * value is only stored as a link, which the same CAS publishes.  The queue is
 * taken as a whole, hence no ABA: a head that came back is the same list.
 */
#ifndef APB_REMOTE_H
#define APB_REMOTE_H

#include "heap/heap.h"

/*
 * Send a free block to the bin @owner of another heap; @heap is the caller's.
 * Keeps errno, as does apb_remote_direct().
 */
void apb_remote_free(struct apb_heap *heap, uintptr_t owner,
		     struct apb_entry entry);

/* The same for a thread without heap; takes the owner's lock. */
void apb_remote_direct(uintptr_t owner, struct apb_entry entry);

/* Post all batches of @heap, the caller's, and let go of empty ones. */
void apb_remote_flush(struct apb_heap *heap);

/*
 * Under the heap's lock: empty its queue, into its bins if the caller may
 * touch them (@bins), else into its pools.
 */
void apb_remote_drain(struct apb_heap *heap, bool bins);

/* The queue's first batch, and how many there are, from its word. */
#define APB_QUEUE_SHIFT 48

static_assert(APB_QUEUE_MAX < 1u << (64 - APB_QUEUE_SHIFT),
	      "a queue's word counts its batches");

static inline struct apb_batch *apb_queue_first(uintptr_t queue)
{
	return (struct apb_batch *)(queue << (64 - APB_QUEUE_SHIFT) >>
				    (64 - APB_QUEUE_SHIFT));
}

static inline unsigned int apb_queue_length(uintptr_t queue)
{
	return (unsigned int)(queue >> APB_QUEUE_SHIFT);
}

#endif /* APB_REMOTE_H */
