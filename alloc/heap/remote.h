/* SPDX-License-Identifier: MIT */
/*
 * Blocks freed by a thread that does not own them.  It collects them in
 * batches, one for each of the owners' bins that it meets (a small cache,
 * hashed by the bin's address), and posts a full batch on the owner's queue
 * with one compare-and-swap.  The owner empties the queue when it finds a bin
 * empty.  Batches that have arrived wait, some of them, until their own bin is
 * empty, and go into it as they are.
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

/* Neighbouring classes of a heap have different slots. */
static inline struct apb_out *apb_remote_out(struct apb_heap *heap,
					     uintptr_t owner)
{
	/* in bytes: a slot is as large as bins are apart, so no shift is left */
	uintptr_t at = (owner ^ owner / (APB_HEAP_ALIGN / sizeof(*heap->out))) %
		       sizeof(heap->out);

	return (struct apb_out *)((char *)heap->out +
				  at / sizeof(*heap->out) * sizeof(*heap->out));
}

static_assert(sizeof(struct apb_out) == sizeof(struct apb_bin),
	      "slots are as far apart as bins");

/* The batch of a slot, or NULL, and how many blocks are in it. */
static inline struct apb_batch *apb_out_batch(const struct apb_out *out)
{
	return (struct apb_batch *)((uintptr_t)out->next &
				    ~(APB_BATCH_SIZE - 1));
}

static inline uint32_t apb_out_count(const struct apb_out *out)
{
	const struct apb_batch *batch = apb_out_batch(out);

	return (uint32_t)(out->next - batch->word) - batch->first;
}

/*
 * Whether the batch of @out takes a block of @owner just like that.  Not if it
 * would be the last one, with which a batch is posted: none is ever full, as a
 * fork by another thread may find it; nor if @owner is 0.
 */
static inline bool apb_out_takes(const struct apb_out *out, uintptr_t owner)
{
	uintptr_t next = (uintptr_t)out->next;

	return __builtin_expect(out->owner == owner, 1) &&
	       __builtin_expect(next, 1) &&
	       __builtin_expect((next + sizeof(*out->next)) % APB_BATCH_SIZE,
				1);
}

static inline void apb_out_put(struct apb_out *out, struct apb_entry entry)
{
	*out->next = apb_entry_pack(entry);
	/* as in apb_bin_push() */
	__atomic_signal_fence(__ATOMIC_RELEASE);
	out->next++;
}

/*
 * Send a free block to the bin @owner of another heap; @heap is the caller's,
 * which holds no lock.  Keeps errno, as does apb_remote_direct().
 */
void apb_remote_free(struct apb_heap *heap, uintptr_t owner,
		     struct apb_entry entry);

/* The same for a thread without heap; takes the owner's lock. */
void apb_remote_direct(uintptr_t owner, struct apb_entry entry);

/* Post all batches of @heap, the caller's, and let go of empty ones. */
void apb_remote_flush(struct apb_heap *heap);

/*
 * Under the heap's lock: empty its queue.  @keep: the batches wait for their
 * bins to be empty, as far as there may be so many; for the heap's thread.
 * Else they and all that wait go into their pools.
 */
void apb_remote_drain(struct apb_heap *heap, bool keep);

/* Fill bin @cls, which is empty, from a batch that waits for that, if any. */
void apb_remote_refill(struct apb_heap *heap, unsigned int cls);

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
