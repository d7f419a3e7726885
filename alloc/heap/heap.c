// SPDX-License-Identifier: MIT
/* Heaps; see heap.h. */
#include "uninstrumented.h"

#include "heap/heap.h"

#include "api/lock.h"
#include "arena/arena.h"
#include "heap/remote.h"
#include "heap/sparse.h"
#include "heap/thread.h"
#include "state.h"

#include <stdatomic.h>
#include <string.h>

/* ---- how many blocks a bin may hold ----------------------------------- */

static unsigned int clamp(size_t n, unsigned int least, unsigned int most)
{
	if (n < least)
		return least;
	return n < most ? (unsigned int)n : most;
}

unsigned int apb_bin_first(unsigned int cls)
{
	return clamp(APB_BIN_FIRST_BYTES / apb_class_size(cls),
		     APB_BIN_FIRST_MIN, APB_BIN_FIRST_MAX);
}

unsigned int apb_bin_most(unsigned int cls)
{
	return clamp(APB_BIN_MAX_BYTES / apb_class_size(cls), APB_BIN_FIRST_MIN,
		     APB_BIN_LEARNT_MAX);
}

unsigned int apb_bin_step(unsigned int cls)
{
	return clamp(APB_BIN_STEP_BYTES / apb_class_size(cls),
		     APB_BIN_FIRST_MIN, APB_BIN_STEP_MAX);
}

static unsigned int fixed_period(void)
{
	return atomic_load_explicit(&apb_state.period, memory_order_relaxed);
}

/*
 * A grown array is made use of: what is to go back to the pools goes in larger
 * steps then.
 */
static void set_limit(struct apb_heap *heap, unsigned int cls)
{
	const struct apb_bin_info *info = &heap->info[cls];
	unsigned int n = info->want, step = apb_bin_step(cls);

	if (n < step && !fixed_period())
		n = step;
	heap->bin[cls].limit = info->base + (n < info->room ? n : info->room);
}

/* Bin @cls starts with the array that is in the heap, from @base on. */
static void first_array(struct apb_heap *heap, unsigned int cls,
			struct apb_entry *base)
{
	struct apb_bin_info *info = &heap->info[cls];
	unsigned int period = fixed_period();

	info->base = base;
	info->room = (uint16_t)apb_bin_first(cls);
	info->want = period ? (uint16_t)period : info->room;
	info->ran_empty = false;
	info->was_full = false;
	base->block = NULL;
	heap->bin[cls].top = base;
	set_limit(heap, cls);
}

/* All bins are empty. */
static void first_arrays(struct apb_heap *heap)
{
	struct apb_entry *base = heap->first + 1;
	unsigned int cls;

	for (cls = 1; cls <= APB_NR_BINS; cls++) {
		first_array(heap, cls, base);
		base += heap->info[cls].room + 1;
	}
	heap->trims =
		atomic_load_explicit(&apb_state.trims, memory_order_relaxed);
}

void apb_heap_init(struct apb_heap *heap)
{
	/* bin 0 is empty and full */
	heap->first[0].block = NULL;
	heap->bin[0].top = heap->bin[0].limit = heap->first;
	first_arrays(heap);
}

static bool in_heap(const struct apb_heap *heap, const struct apb_entry *base)
{
	return base >= heap->first && base < heap->first + APB_FIRST_ENTRIES;
}

static void free_array(struct apb_heap *heap, struct apb_bin_info *info)
{
	if (in_heap(heap, info->base))
		return;
	apb_enter();
	apb_meta_free(info->base, (info->room + 1u) * sizeof(*info->base));
	apb_leave();
}

/* Give bin @cls an array for @n entries, if there is memory. */
static void grow(struct apb_heap *heap, unsigned int cls, unsigned int n)
{
	struct apb_bin_info *info = &heap->info[cls];
	struct apb_bin *bin = &heap->bin[cls];
	size_t used = (size_t)(bin->top - info->base) + 1;
	unsigned int room = APB_BIN_GROWN;
	struct apb_entry *base;

	while (room < n)
		room = room * 2 + 1;
	apb_enter();
	base = apb_meta_alloc((room + 1u) * sizeof(*base));
	apb_leave();
	if (!base)
		return;
	memcpy(base, info->base, used * sizeof(*base));
	free_array(heap, info);
	info->base = base;
	info->room = (uint16_t)room;
	bin->top = base + used - 1;
}

/* Let bin @cls hold what it should; it never shrinks below what it holds. */
static void adjust(struct apb_heap *heap, unsigned int cls)
{
	struct apb_bin_info *info = &heap->info[cls];
	struct apb_bin *bin = &heap->bin[cls];

	if (info->want > info->room)
		grow(heap, cls, info->want);
	set_limit(heap, cls);
	if (bin->limit < bin->top)
		bin->limit = bin->top;
}

static void want_more(struct apb_bin_info *info, unsigned int cls,
		      unsigned int n)
{
	unsigned int most = apb_bin_most(cls);

	if (!fixed_period())
		info->want = (uint16_t)clamp(info->want + n, 0, most);
}

unsigned int apb_bin_fill(struct apb_heap *heap, unsigned int cls,
			  const uintptr_t *word, unsigned int n)
{
	struct apb_bin *bin = &heap->bin[cls];
	unsigned int i;

	if ((size_t)(bin->limit - bin->top) < n) {
		want_more(&heap->info[cls], cls, n);
		adjust(heap, cls);
	}
	n = clamp(n, 0, (unsigned int)(bin->limit - bin->top));
	for (i = 0; i < n; i++)
		bin->top[1 + i] = apb_entry_unpack(word[i]);
	/* as in apb_bin_push() */
	atomic_signal_fence(memory_order_release);
	bin->top += n;
	return n;
}

void apb_heap_apply_period(struct apb_heap *heap)
{
	unsigned int period = fixed_period(), cls;

	for (cls = 1; cls <= APB_NR_BINS; cls++) {
		heap->info[cls].want =
			(uint16_t)(period ? period : apb_bin_first(cls));
		adjust(heap, cls);
	}
}

/* ---- settling --------------------------------------------------------- */

/* Blocks were put into @pool. */
static void was_put(struct apb_heap *heap, struct apb_pool *pool)
{
	if (!pool->used) {
		if (apb_node_listed(&pool->node))
			apb_node_del(&pool->node);
		if (pool->sparse || pool->let_be)
			apb_sparse_forget(heap, pool);
		heap->pools--;
		apb_enter();
		apb_pool_fini(pool);
		apb_arena_put_pool(pool);
		apb_leave();
		return;
	}
	if (!apb_node_listed(&pool->node))
		apb_node_add(&heap->partial[pool->cls], &pool->node);
	if (apb_pool_sparse(pool))
		apb_sparse_note(heap, pool);
}

/*
 * Blocks that are freed one after the other are often of one pool: what is to
 * be done for a pool is done when the next entry is of another.
 */
void apb_heap_give_back(struct apb_heap *heap, const struct apb_entry *entry,
			size_t n)
{
	while (n) {
		struct apb_pool *pool = apb_pool_at((uintptr_t)entry->block);
		size_t put = apb_pool_put(pool, entry, n);

		was_put(heap, pool);
		entry += put;
		n -= put;
	}
}

/* Keep the @keep blocks of the bin that were freed last. */
static void settle_bin(struct apb_heap *heap, unsigned int cls, size_t keep)
{
	struct apb_entry *base = heap->info[cls].base;
	size_t have = (size_t)(heap->bin[cls].top - base), gone;

	if (have <= keep)
		return;
	gone = have - keep;
	apb_heap_give_back(heap, base + 1, gone);
	memmove(base + 1, base + 1 + gone, keep * sizeof(*base));
	heap->bin[cls].top = base + keep;
	heap->settles++;
	heap->settled += gone;
}

void apb_heap_settle_all(struct apb_heap *heap)
{
	unsigned int cls;

	for (cls = 1; cls <= APB_NR_BINS; cls++) {
		settle_bin(heap, cls, 0);
		free_array(heap, &heap->info[cls]);
	}
	first_arrays(heap);
}

void apb_heap_empty(struct apb_heap *heap)
{
	apb_remote_flush(heap);
	apb_remote_drain(heap, false);
	apb_heap_settle_all(heap);
}

size_t apb_heap_held(const struct apb_heap *heap)
{
	size_t bytes = 0;
	unsigned int cls;

	for (cls = 1; cls <= APB_NR_BINS; cls++)
		bytes += (size_t)(heap->bin[cls].top - heap->info[cls].base) *
			 apb_class_size(cls);
	return bytes;
}

void apb_heap_follow_trim(struct apb_heap *heap)
{
	apb_sparse_follow(heap);
	/* relaxed: nothing else is read that was written before */
	if (heap->trims ==
	    atomic_load_explicit(&apb_state.trims, memory_order_relaxed))
		return;
	apb_remote_flush(heap);
	apb_heap_settle_all(heap);
}

/* A bin is full: what that says about how much it should hold. */
static void learn(struct apb_bin_info *info, unsigned int cls)
{
	if (fixed_period())
		return;
	if (info->ran_empty) {
		want_more(info, cls, info->want);
		info->was_full = false;
	} else if (info->was_full) {
		info->want = (uint16_t)clamp(info->want / 2, apb_bin_first(cls),
					     APB_BIN_MAX);
	} else {
		info->was_full = true;
	}
	info->ran_empty = false;
}

void apb_heap_overflow(struct apb_heap *heap, unsigned int cls,
		       struct apb_entry entry)
{
	struct apb_bin_info *info = &heap->info[cls];
	struct apb_bin *bin = &heap->bin[cls];

	apb_heap_follow_trim(heap);
	if (bin->top >= bin->limit) {
		if (info->want <= bin->limit - info->base)
			learn(info, cls);
		if (info->want > bin->limit - info->base)
			adjust(heap, cls);
	}
	if (bin->top >= bin->limit) {
		settle_bin(heap, cls, info->want / 2);
		set_limit(heap, cls);
	}
	if (!apb_bin_push(bin, entry))
		apb_heap_give_back(heap, &entry, 1);
}

/* ---- refill ----------------------------------------------------------- */

static struct apb_pool *new_pool(struct apb_heap *heap, unsigned int cls,
				 bool may_map)
{
	struct apb_pool *pool;

	apb_enter();
	pool = apb_arena_get_pool(apb_class_kind(cls), may_map);
	if (pool)
		apb_pool_init(pool, heap, cls,
			      apb_arena_of((uintptr_t)pool)->colour++);
	apb_leave();
	if (!pool)
		return NULL;
	heap->pools++;
	apb_node_add(&heap->partial[cls], &pool->node);
	return pool;
}

static struct apb_pool *partial_pool(struct apb_heap *heap, unsigned int cls)
{
	if (!heap->partial[cls])
		return NULL;
	return apb_entry(heap->partial[cls], struct apb_pool, node);
}

/* When there is no memory: unmap what is retained; whether that was any. */
static bool drop_retained(void)
{
	bool some;

	apb_enter();
	some = apb_retain_drop();
	apb_leave();
	return some;
}

static struct apb_pool *some_pool(struct apb_heap *heap, unsigned int cls)
{
	struct apb_pool *pool = partial_pool(heap, cls);

	if (!pool)
		pool = new_pool(heap, cls, true);
	if (pool)
		return pool;
	/* lists may hold the last blocks of pools that are empty else */
	apb_heap_reclaim(heap);
	pool = partial_pool(heap, cls);
	if (!pool)
		pool = new_pool(heap, cls, false);
	if (!pool && drop_retained())
		pool = new_pool(heap, cls, true);
	if (pool)
		heap->recovered++;
	return pool;
}

void apb_heap_reclaim(struct apb_heap *heap)
{
	apb_heap_empty(heap);
	apb_heaps_drain(heap);
}

/* How many blocks to take at once: few at first. */
static unsigned int refill_size(struct apb_heap *heap, unsigned int cls)
{
	struct apb_bin_info *info = &heap->info[cls];
	unsigned int n = info->want;

	if (n <= apb_bin_first(cls))
		n = clamp(n, 1, APB_REFILL_FIRST);
	else
		n = clamp(APB_REFILL_BYTES / apb_class_size(cls),
			  APB_REFILL_MIN, n);
	if (n > info->room)
		adjust(heap, cls);
	return n < info->room ? n : info->room;
}

bool apb_heap_refill(struct apb_heap *heap, unsigned int cls,
		     struct apb_entry *entry)
{
	struct apb_bin_info *info = &heap->info[cls];
	struct apb_bin *bin = &heap->bin[cls];
	struct apb_pool *pool;
	unsigned int n;

	apb_heap_follow_trim(heap);
	info->ran_empty = true;
	info->was_full = false;
	apb_remote_drain(heap, true);
	apb_remote_refill(heap, cls);
	if (apb_bin_pop(bin, entry))
		return true;
	pool = some_pool(heap, cls);
	if (!pool)
		return false;
	/* may move the array */
	n = refill_size(heap, cls);
	n = apb_pool_take(pool, info->base + 1, n);
	if (!apb_pool_has(pool))
		apb_node_del(&pool->node);
	if (pool->used * 2u > pool->count)
		apb_sparse_forget(heap, pool);
	bin->top = info->base + n;
	want_more(info, cls, n);
	if (bin->top > bin->limit)
		bin->limit = bin->top;
	return apb_bin_pop(bin, entry);
}

#include "instrumented.h"
