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

static void push_empty(struct apb_heap *heap, struct apb_batch *batch)
{
	batch->next = heap->batches;
	heap->batches = batch;
	heap->nr_batches++;
}

static struct apb_batch *pop_empty(struct apb_heap *heap)
{
	struct apb_batch *batch = heap->batches;

	if (batch) {
		heap->batches = batch->next;
		heap->nr_batches--;
	}
	return batch;
}

/*
 * Empty batches come and go several at a time: between a thread that only
 * frees and one that only allocates the state lock moves for each time.
 */
static void get_empty(struct apb_heap *heap)
{
	unsigned int n = heap->posted ? APB_BATCHES_KEPT : 1;
	struct apb_batch *batch;

	apb_enter();
	for (; n && (batch = apb_meta_alloc(APB_BATCH_SIZE)); n--)
		push_empty(heap, batch);
	apb_leave();
}

static void free_empty(struct apb_heap *heap)
{
	struct apb_batch *batch;

	if (heap->batches) {
		apb_enter();
		while ((batch = pop_empty(heap)))
			apb_meta_free(batch, APB_BATCH_SIZE);
		apb_leave();
	}
	/* in a forked child that of another thread may have been off by one */
	heap->nr_batches = 0;
}

static struct apb_batch *get_batch(struct apb_heap *heap)
{
	if (!heap->batches)
		get_empty(heap);
	return pop_empty(heap);
}

static void keep_batch(struct apb_heap *heap, struct apb_batch *batch)
{
	if (heap->nr_batches >= APB_BATCHES_KEPT)
		free_empty(heap);
	push_empty(heap, batch);
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

/* Send off the batch of @out, of @n blocks.  @waits: the caller holds no lock. */
static void post(struct apb_heap *heap, struct apb_out *out, uint32_t n,
		 bool waits)
{
	int saved_errno = errno;
	struct apb_batch *batch = apb_out_batch(out);
	struct apb_heap *owner = apb_heap_of(batch->owner);
	unsigned int length;
	uintptr_t old, new;

	help(owner, waits);
	errno = saved_errno;
	batch->n = n;
	/* first: a child forked between must not have the batch twice */
	out->next = NULL;
	atomic_signal_fence(memory_order_release);
	out->owner = 0;
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

	if (out->next)
		post(heap, out, apb_out_count(out), true);
	batch = get_batch(heap);
	errno = saved_errno;
	if (!batch)
		return NULL;
	batch->owner = owner;
	batch->first = APB_BATCH_MAX - batch_max(owner);
	out->owner = owner;
	/* a child forked between may have an owner without a batch, no more */
	atomic_signal_fence(memory_order_release);
	out->next = &batch->word[batch->first];
	return batch;
}

void apb_remote_free(struct apb_heap *heap, uintptr_t owner,
		     struct apb_entry entry)
{
	struct apb_out *out = apb_remote_out(heap, owner);

	if ((out->owner != owner || !out->next) &&
	    !open_batch(heap, out, owner)) {
		apb_remote_direct(owner, entry);
		return;
	}
	if (apb_out_takes(out, owner)) {
		apb_out_put(out, entry);
		return;
	}
	*out->next = apb_entry_pack(entry);
	post(heap, out, apb_out_count(out) + 1, true);
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
	unsigned int i;

	for (i = 0; i < APB_NR_OUT; i++)
		if (heap->out[i].next)
			post(heap, &heap->out[i], apb_out_count(&heap->out[i]),
			     false);
	free_empty(heap);
}

/* ---- the owner -------------------------------------------------------- */

/* Put the blocks of @batch from number @from on into their pools. */
static void give_back(struct apb_heap *heap, const struct apb_batch *batch,
		      unsigned int from)
{
	const uintptr_t *word = batch->word + batch->first;
	struct apb_entry some[32];

	while (from < batch->n) {
		unsigned int n = 0;

		while (n < sizeof(some) / sizeof(some[0]) && from < batch->n)
			some[n++] = apb_entry_unpack(word[from++]);
		apb_heap_give_back(heap, some, n);
	}
}

static void settle_batch(struct apb_heap *heap, struct apb_batch *batch)
{
	give_back(heap, batch, 0);
	free_batch(batch);
}

static void settle_arrived(struct apb_heap *heap)
{
	struct apb_batch *batch;
	unsigned int cls;

	for (cls = 1; heap->nr_arrived; cls++) {
		while ((batch = heap->arrived[cls])) {
			heap->arrived[cls] = batch->next;
			heap->nr_arrived--;
			settle_batch(heap, batch);
		}
	}
}

static void arrive(struct apb_heap *heap, struct apb_batch *batch)
{
	struct apb_batch **list = &heap->arrived[bin_class(batch->owner)];

	batch->next = *list;
	*list = batch;
	heap->nr_arrived++;
}

void apb_remote_drain(struct apb_heap *heap, bool keep)
{
	struct apb_batch *batch, *next;
	uintptr_t queue = 0;

	if (atomic_load_explicit(&heap->queue, memory_order_relaxed))
		queue = atomic_exchange_explicit(&heap->queue, 0,
						 memory_order_acquire);
	for (batch = apb_queue_first(queue); batch; batch = next) {
		next = batch->next;
		if (keep && heap->nr_arrived < APB_ARRIVED_MAX)
			arrive(heap, batch);
		else
			settle_batch(heap, batch);
	}
	if (!keep)
		settle_arrived(heap);
}

void apb_remote_refill(struct apb_heap *heap, unsigned int cls)
{
	struct apb_batch *batch = heap->arrived[cls];
	unsigned int n;

	if (!batch)
		return;
	heap->arrived[cls] = batch->next;
	heap->nr_arrived--;
	n = apb_bin_fill(heap, cls, batch->word + batch->first, batch->n);
	give_back(heap, batch, n);
	keep_batch(heap, batch);
}

#include "instrumented.h"
