// SPDX-License-Identifier: MIT
/* Threads and their heaps; see thread.h. */
#include "uninstrumented.h"

#include "heap/thread.h"

#include "api/lock.h"
#include "api/options.h"
#include "heap/remote.h"
#include "state.h"
#include "track/track.h"

#include <stdatomic.h>
#include <string.h>

/* What all bins of the empty heap have on top. */
static struct apb_entry nothing;

const struct apb_heap apb_empty_heap = {
	.bin = {[0 ... APB_NR_BINS] = {&nothing, &nothing}},
};

__thread struct apb_heap *apb_tls = (struct apb_heap *)&apb_empty_heap;

/* The thread's destructor has run: no further heap, nobody would end it. */
static __thread bool is_over __attribute__((tls_model("initial-exec")));

static pthread_key_t key;
static bool key_made;

/* ---- the list --------------------------------------------------------- */

static struct apb_heaps *heaps(void)
{
	return &apb_state.heaps;
}

static void enlist(struct apb_heap *heap)
{
	apb_heap_init(heap);
	apb_node_add(&heaps()->all, &heap->node);
	heaps()->nr++;
}

static void put_idle(struct apb_heap *heap)
{
	heap->attached = false;
	heap->next_idle = heaps()->idle;
	heaps()->idle = heap;
}

/*
 * The heaps of the threads that ended last stay as they are, as threads that
 * are short are many, and the next one goes on with what is there; others are
 * settled.
 */
static void cool(void)
{
	struct apb_heap *heap = heaps()->idle;
	unsigned int i;

	for (i = 0; heap && i < APB_WARM_HEAPS; i++)
		heap = heap->next_idle;
	if (!heap || !heap->warm)
		return;
	apb_lock(&heap->lock);
	apb_heap_empty(heap);
	apb_unlock(&heap->lock);
	heap->warm = false;
}

/* New ones are in front, and mostly in order already. */
void apb_heaps_sort(void)
{
	struct apb_node *node = heaps()->all, *next, *last = NULL, **at;

	heaps()->all = NULL;
	for (; node; node = next) {
		next = node->next;
		at = last && (uintptr_t)node > (uintptr_t)last ? &last->next :
								 &heaps()->all;
		while (*at && (uintptr_t)*at < (uintptr_t)node)
			at = &(*at)->next;
		apb_node_add(at, node);
		if (!node->next)
			last = node;
	}
}

static struct apb_heap *new_heap(void)
{
	struct apb_heap *heap;
	bool zero;

	if (!apb_node_listed(&apb_state.main.node)) {
		heap = &apb_state.main;
	} else {
		apb_enter();
		heap = apb_os_map(0, APB_HEAP_BYTES, APB_HEAP_ALIGN, &zero);
		apb_leave();
		if (!heap)
			return NULL;
		if (!zero)
			memset(heap, 0, sizeof(*heap));
		heaps()->nr_mapped++;
	}
	enlist(heap);
	return heap;
}

struct apb_heap *apb_common_heap(void)
{
	struct apb_heap *heap = &apb_state.common;

	apb_lock(&apb_heaps_lock);
	if (!apb_node_listed(&heap->node))
		enlist(heap);
	apb_unlock(&apb_heaps_lock);
	return heap;
}

/* ---- threads ---------------------------------------------------------- */

static void thread_over(void *arg)
{
	(void)arg;
	is_over = true;
	apb_thread_end();
}

/* Known to a check before the thread has anything in hand, hence the lock. */
static struct apb_heap *without_heap(void)
{
	if (__atomic_load_n(&heaps()->heapless, __ATOMIC_RELAXED))
		return NULL;
	apb_lock(&apb_heaps_lock);
	__atomic_store_n(&heaps()->heapless, true, __ATOMIC_RELAXED);
	apb_unlock(&apb_heaps_lock);
	return NULL;
}

static struct apb_heap *get_heap(void)
{
	struct apb_heap *heap = heaps()->idle;

	if (heap)
		heaps()->idle = heap->next_idle;
	else
		heap = new_heap();
	if (heap)
		heap->attached = true;
	return heap;
}

struct apb_heap *apb_thread_attach(void)
{
	struct apb_heap *heap;

	apb_options_want();
	if (is_over || apb_junk())
		return without_heap();
	apb_lock(&apb_heaps_lock);
	if (!key_made)
		key_made = !pthread_key_create(&key, thread_over);
	/* without a key its end would not be seen, but for the main thread's */
	heap = key_made || apb_single_threaded() ? get_heap() : NULL;
	apb_unlock(&apb_heaps_lock);
	if (!heap)
		return without_heap();
	apb_tls = heap;
	/* may allocate: from the heap just set */
	if (!key_made || !pthread_setspecific(key, heap) ||
	    apb_single_threaded())
		return heap;
	/* no memory, so nor would its end be seen now */
	apb_thread_end();
	return without_heap();
}

/*
 * A library that is linked with libapb.a may be closed while threads live that
 * have used it: they do not call then what is not there any more.  Who has the
 * lock at exit() may be in the midst of anything.
 */
__attribute__((destructor(101))) static void forget_key(void)
{
	if (!apb_trylock(&apb_heaps_lock))
		return;
	if (key_made)
		pthread_key_delete(key);
	key_made = false;
	apb_unlock(&apb_heaps_lock);
}

struct apb_heap *apb_thread_swap(struct apb_heap *heap)
{
	struct apb_heap *had = apb_tls;

	apb_tls = heap ? heap : (struct apb_heap *)&apb_empty_heap;
	return had == &apb_empty_heap ? NULL : had;
}

void apb_thread_end(void)
{
	struct apb_heap *heap;
	bool warm;

	apb_track_thread_end();
	heap = apb_thread_swap(NULL);
	if (!heap)
		return;
	apb_lock(&heap->lock);
	apb_remote_flush(heap);
	apb_remote_drain(heap, false);
	warm = apb_heap_held(heap) <= APB_WARM_BYTES;
	if (!warm)
		apb_heap_settle_all(heap);
	apb_unlock(&heap->lock);
	apb_lock(&apb_heaps_lock);
	heap->warm = warm;
	put_idle(heap);
	cool();
	apb_unlock(&apb_heaps_lock);
}

void apb_threads_orphan(void)
{
	struct apb_node *node;

	heaps()->torn = true;
	for (node = heaps()->all; node; node = node->next) {
		struct apb_heap *heap = apb_entry(node, struct apb_heap, node);

		if (!heap->attached || heap == apb_tls)
			continue;
		put_idle(heap);
	}
}

static bool is_mapped(const struct apb_heap *heap)
{
	return heap != &apb_state.main && heap != &apb_state.common;
}

static void unmap_heap(struct apb_heap *heap)
{
	apb_enter();
	apb_os_release(heap, APB_HEAP_BYTES);
	apb_leave();
}

/* @heap, which another thread has, is as new, and where it was on the list. */
static void renew(struct apb_heap *heap)
{
	struct apb_node node = heap->node;

	memset(heap, 0, sizeof(*heap));
	heap->node = node;
	apb_heap_init(heap);
	heap->attached = true;
}

size_t apb_threads_reset(void)
{
	struct apb_node *node = heaps()->all, *next;

	heaps()->idle = NULL;
	heaps()->torn = heaps()->heapless = false;
	heaps()->settles = heaps()->settled = heaps()->recovered = 0;
	for (; node; node = next) {
		struct apb_heap *heap = apb_entry(node, struct apb_heap, node);

		next = node->next;
		if (heap->attached && heap != apb_tls) {
			renew(heap);
			continue;
		}
		apb_node_del(&heap->node);
		heaps()->nr--;
		if (is_mapped(heap)) {
			heaps()->nr_mapped--;
			apb_os_release(heap, APB_HEAP_BYTES);
		} else {
			memset(heap, 0, sizeof(*heap));
		}
	}
	apb_thread_swap(NULL);
	return heaps()->nr_mapped * APB_HEAP_BYTES;
}

/*
 * Whether @heap, idle, can go.  Nobody sends a block to a heap without pools
 * (one that is in a batch keeps its pool in use), but somebody may be on his
 * way out of having emptied its queue.  Its thread may just have ended: what is
 * warm has bins.
 */
static bool is_unused(struct apb_heap *heap)
{
	bool unused;

	if (!is_mapped(heap) || !apb_trylock(&heap->lock))
		return false;
	apb_heap_empty(heap);
	unused = !heap->pools;
	apb_unlock(&heap->lock);
	return unused;
}

void apb_threads_trim(void)
{
	struct apb_heap **link = &apb_state.heaps.idle, *heap;

	/* fork() has locked them, and will unlock them */
	if (apb_forking)
		return;
	apb_lock(&apb_heaps_lock);
	while ((heap = *link)) {
		if (!is_unused(heap)) {
			link = &heap->next_idle;
			continue;
		}
		*link = heap->next_idle;
		heaps()->settles += heap->settles;
		heaps()->settled += heap->settled;
		heaps()->recovered += heap->recovered;
		apb_node_del(&heap->node);
		heaps()->nr--;
		heaps()->nr_mapped--;
		unmap_heap(heap);
	}
	apb_unlock(&apb_heaps_lock);
}

static bool lock_heap(struct apb_heap *heap, const struct apb_heap *held)
{
	if (held)
		return heap != held && apb_trylock(&heap->lock);
	apb_lock(&heap->lock);
	return true;
}

void apb_heaps_drain(const struct apb_heap *held)
{
	struct apb_node *node;

	if (held && !apb_trylock(&apb_heaps_lock))
		return;
	if (!held)
		apb_lock(&apb_heaps_lock);
	for (node = heaps()->all; node; node = node->next) {
		struct apb_heap *heap = apb_entry(node, struct apb_heap, node);

		if (!lock_heap(heap, held))
			continue;
		if (heap->attached)
			apb_remote_drain(heap, false);
		else
			apb_heap_empty(heap);
		apb_unlock(&heap->lock);
	}
	apb_unlock(&apb_heaps_lock);
}

#include "instrumented.h"
