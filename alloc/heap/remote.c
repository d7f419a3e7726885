// SPDX-License-Identifier: MIT
/* Frees from other threads; see remote.h. */
#include "uninstrumented.h"

#include "heap/remote.h"

#include "api/lock.h"
#include "state.h"

#include <errno.h>
#include <stdatomic.h>

/* ---- batches ---------------------------------------------------------- */

static unsigned int bin_class(uintptr_t owner)
{
	return (unsigned int)((struct apb_bin *)owner -
			      apb_heap_of(owner)->bin);
}

static uint32_t batch_max(uintptr_t owner)
{
	size_t n = APB_BATCH_BYTES / apb_class_size(bin_class(owner));

	if (!n)
		return 1;
	return n < APB_BATCH_MAX ? (uint32_t)n : APB_BATCH_MAX;
}

static void free_batch(struct apb_batch *batch)
{
	apb_enter();
	apb_meta_free(batch, APB_BATCH_SIZE);
	apb_leave();
}

static struct apb_batch *get_batch(struct apb_heap *heap)
{
	struct apb_batch *batch = heap->batches;

	if (batch) {
		heap->batches = batch->next;
		heap->nr_batches--;
		return batch;
	}
	apb_enter();
	batch = apb_meta_alloc(APB_BATCH_SIZE);
	apb_leave();
	return batch;
}

static void keep_batch(struct apb_heap *heap, struct apb_batch *batch)
{
	if (heap->nr_batches >= APB_BATCHES_KEPT) {
		free_batch(batch);
		return;
	}
	batch->next = heap->batches;
	heap->batches = batch;
	heap->nr_batches++;
}

/* ---- the freeing thread ----------------------------------------------- */

/*
 * The owner does not come: do its work, if it is not at it just now; one who
 * @waits does it in any case, if the queue is far too long.  Before a post:
 * the blocks in the batch keep the owner from being unmapped.
 */
static void help(struct apb_heap *owner, bool waits)
{
	unsigned int length = apb_queue_length(
		atomic_load_explicit(&owner->queue, memory_order_relaxed));

	if (length < APB_QUEUE_MAX)
		return;
	if (waits && length >= 4 * APB_QUEUE_MAX)
		apb_lock(&owner->lock);
	else if (!apb_trylock(&owner->lock))
		return;
	apb_remote_drain(owner, false);
	apb_unlock(&owner->lock);
}

/* @waits: the caller holds no lock. */
static __attribute__((noinline)) void post(struct apb_heap *heap,
					   struct apb_out *out, bool waits)
{
	int saved_errno = errno;
	struct apb_batch *batch = out->batch;
	struct apb_heap *owner = apb_heap_of(batch->owner);
	unsigned int length;
	uintptr_t old, new;

	help(owner, waits);
	errno = saved_errno;
	/* first: a child forked between must not have the batch twice */
	out->batch = NULL;
	atomic_signal_fence(memory_order_release);
	heap->posted++;
	old = atomic_load_explicit(&owner->queue, memory_order_relaxed);
	do {
		batch->next = apb_queue_first(old);
		length = apb_queue_length(old);
		new = (uintptr_t)batch |
		      (uintptr_t)(length < UINT16_MAX ? length + 1 : length)
			      << APB_QUEUE_SHIFT;
	} while (!atomic_compare_exchange_weak_explicit(
		&owner->queue, &old, new, memory_order_release,
		memory_order_relaxed));
}

/* A slot's batch for @owner, after posting what it had; or NULL. */
static struct apb_batch *open_batch(struct apb_heap *heap, struct apb_out *out,
				    uintptr_t owner)
{
	int saved_errno = errno;
	struct apb_batch *batch;

	if (out->batch)
		post(heap, out, true);
	batch = get_batch(heap);
	errno = saved_errno;
	if (!batch)
		return NULL;
	batch->owner = owner;
	batch->n = 0;
	batch->max = batch_max(owner);
	out->owner = owner;
	/* as in apb_bin_push() */
	atomic_signal_fence(memory_order_release);
	out->batch = batch;
	return batch;
}

/* Neighbouring classes of a heap have different slots. */
static struct apb_out *out_of(struct apb_heap *heap, uintptr_t owner)
{
	return &heap->out[(owner / sizeof(struct apb_bin) ^
			   owner / APB_HEAP_ALIGN) %
			  APB_NR_OUT];
}

static inline void append(struct apb_heap *heap, struct apb_out *out,
			  struct apb_batch *batch, struct apb_entry entry)
{
	uint32_t n = batch->n;

	batch->entry[n] = entry;
	/* as in apb_bin_push() */
	atomic_signal_fence(memory_order_release);
	batch->n = ++n;
	if (__builtin_expect(n == batch->max, 0))
		post(heap, out, true);
}

static __attribute__((noinline)) void free_slow(struct apb_heap *heap,
						struct apb_out *out,
						uintptr_t owner,
						struct apb_entry entry)
{
	struct apb_batch *batch = open_batch(heap, out, owner);

	if (batch)
		append(heap, out, batch, entry);
	else
		apb_remote_direct(owner, entry);
}

void apb_remote_free(struct apb_heap *heap, uintptr_t owner,
		     struct apb_entry entry)
{
	struct apb_out *out = out_of(heap, owner);
	struct apb_batch *batch = out->batch;

	/* a torn heap may have a full one */
	if (__builtin_expect(
		    batch && out->owner == owner && batch->n != batch->max, 1))
		append(heap, out, batch, entry);
	else
		free_slow(heap, out, owner, entry);
}

void apb_remote_direct(uintptr_t owner, struct apb_entry entry)
{
	struct apb_heap *heap = apb_heap_of(owner);
	int saved_errno = errno;

	apb_lock(&heap->lock);
	apb_heap_give_back(heap, &entry, 1);
	apb_unlock(&heap->lock);
	errno = saved_errno;
}

void apb_remote_flush(struct apb_heap *heap)
{
	struct apb_batch *batch;
	unsigned int i;

	for (i = 0; i < APB_NR_OUT; i++)
		if (heap->out[i].batch)
			post(heap, &heap->out[i], false);
	while ((batch = heap->batches)) {
		heap->batches = batch->next;
		heap->nr_batches--;
		free_batch(batch);
	}
}

/* ---- the owner -------------------------------------------------------- */

static void deliver(struct apb_heap *heap, const struct apb_batch *batch,
		    bool bins)
{
	struct apb_bin *bin = (struct apb_bin *)batch->owner;
	unsigned int cls = bin_class(batch->owner);
	uint32_t i = 0;

	if (bins) {
		apb_bin_expect(heap, cls, batch->n);
		while (i < batch->n && apb_bin_push(bin, batch->entry[i]))
			i++;
	}
	apb_heap_give_back(heap, batch->entry + i, batch->n - i);
}

void apb_remote_drain(struct apb_heap *heap, bool bins)
{
	struct apb_batch *batch, *next;
	uintptr_t queue;

	if (!atomic_load_explicit(&heap->queue, memory_order_relaxed))
		return;
	queue = atomic_exchange_explicit(&heap->queue, 0, memory_order_acquire);
	for (batch = apb_queue_first(queue); batch; batch = next) {
		next = batch->next;
		deliver(heap, batch, bins);
		if (bins)
			keep_batch(heap, batch);
		else
			free_batch(batch);
	}
}

#include "instrumented.h"
