/* SPDX-License-Identifier: MIT */
/*
 * Threads and their heaps.  A thread gets a heap at its first allocation (or
 * free): one that no thread has, as its thread has ended, with all that is in
 * it; else a new one.  When a thread ends, its heap waits for the next, those
 * of the last few as they are, others settled; a trim settles all of them, and
 * unmaps what owns no pool then.
 *
 * A thread that is about to end may go on allocating after its heap is gone
 * (other destructors run after ours); it then uses the common heap, under its
 * lock, as does one for which there was no memory, or whose end would not be
 * seen, as the process has no key for thread-specific data left, or no memory
 * for what it leads to.
 *
 * Invariant (checked by apb_check()):
 *   heaps.idle   every heap is on the list; those without a thread, and only
 *                they, are idle; but for the common heap, which is neither
 */
#ifndef APB_THREAD_H
#define APB_THREAD_H

#include "heap/heap.h"

/* The calling thread's heap; apb_empty_heap, not NULL, if it has none. */
extern __thread struct apb_heap *apb_tls
	__attribute__((tls_model("initial-exec")));

/* All bins are empty and full; nothing in it is ever written. */
extern const struct apb_heap apb_empty_heap;

/* The calling thread's heap, found or made; NULL: it has to do without. */
struct apb_heap *apb_thread_attach(void);

static inline struct apb_heap *apb_thread_heap(void)
{
	struct apb_heap *heap = apb_tls;

	if (__builtin_expect(heap != &apb_empty_heap, 1))
		return heap;
	return apb_thread_attach();
}

/* The common heap, ready for use under its lock. */
struct apb_heap *apb_common_heap(void);

/*
 * For harnesses, in which one thread plays many: make @heap (NULL: none, as a
 * thread that has just started) the calling thread's; returns the one it had,
 * or NULL.
 */
struct apb_heap *apb_thread_swap(struct apb_heap *heap);

/* What a thread's end does: its heap is up for the next one. */
void apb_thread_end(void);

/* Those that hold the heaps lock: the list of all, in the order of addresses. */
void apb_heaps_sort(void);

/* In a forked child, all locks held: the other threads are no more. */
void apb_threads_orphan(void);

/*
 * No other thread inside: unmap all heaps, but those that other threads have
 * stay theirs, empty.  Returns the bytes that are still mapped.
 */
size_t apb_threads_reset(void);

/* Unmap idle heaps that own nothing. */
void apb_threads_trim(void);

/*
 * Empty all queues into the pools, and settle the heaps that no thread has.
 * The calling thread holds @held's lock, or none (NULL): then it waits for
 * locks, else it passes over heaps that are locked.
 */
void apb_heaps_drain(const struct apb_heap *held);

#endif /* APB_THREAD_H */
