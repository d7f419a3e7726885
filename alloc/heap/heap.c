// SPDX-License-Identifier: MIT
/* Heaps; see heap.h. */
#define _GNU_SOURCE /* syscall() */
#include "heap/heap.h"

#include "arena/arena.h"
#include "debug/report.h"
#include "state.h"

#include <errno.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- settle periods --------------------------------------------------- */

static uint16_t clamp_period(size_t frees)
{
	if (frees < APB_PERIOD_MIN)
		return APB_PERIOD_MIN;
	return frees < APB_PERIOD_MAX ? (uint16_t)frees : APB_PERIOD_MAX;
}

uint16_t apb_heap_period_min(unsigned int cls)
{
	return clamp_period(APB_PERIOD_MIN_BYTES / apb_class_size(cls));
}

uint16_t apb_heap_period_max(unsigned int cls)
{
	return clamp_period(APB_PERIOD_MAX_BYTES / apb_class_size(cls));
}

/* The period after one that ended with @surplus blocks given back. */
static uint16_t next_period(const struct apb_heap *heap, unsigned int cls,
			    uint32_t surplus)
{
	unsigned int period = heap->bin[cls].period;

	if (heap->fixed_period)
		return heap->fixed_period;
	period = surplus > period / 2 ? period / 2 : period * 2;
	if (period < apb_heap_period_min(cls))
		return apb_heap_period_min(cls);
	return period < apb_heap_period_max(cls) ? (uint16_t)period :
						   apb_heap_period_max(cls);
}

void apb_heap_set_period(struct apb_heap *heap, uint16_t period)
{
	unsigned int cls;

	heap->fixed_period = period;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_bin *bin = &heap->bin[cls];

		if (!bin->period)
			continue;
		bin->period = period ? period : apb_heap_period_min(cls);
		/* never later than it was to be: APB_BIN_MAX relies on it */
		if (bin->countdown > bin->period)
			bin->countdown = bin->period;
	}
}

/* ---- settling --------------------------------------------------------- */

static struct apb_block *check_mark(struct apb_heap *heap,
				    struct apb_block *block)
{
	if (!apb_marked(block, heap->key))
		apb_report_corrupt(block);
	return block;
}

/* Give a free block back to its pool, and an emptied pool to its arena. */
static void give_back(struct apb_heap *heap, struct apb_block *block)
{
	struct apb_pool *pool = apb_pool_at((uintptr_t)block);

	apb_pool_put(pool, block, heap->key);
	if (!pool->used) {
		if (apb_node_listed(&pool->node))
			apb_node_del(&pool->node);
		apb_arena_put_pool(pool);
	} else if (!apb_node_listed(&pool->node)) {
		apb_node_add(&heap->partial[pool->cls], &pool->node);
	}
}

/* Keep the first @keep blocks of the bin; returns how many others went. */
static uint32_t settle_bin(struct apb_heap *heap, unsigned int cls,
			   uint32_t keep)
{
	struct apb_block **link = &heap->bin[cls].head, *block;
	uint32_t n = 0;

	for (; keep && *link; keep--)
		link = &check_mark(heap, *link)->next;
	block = *link;
	if (!block)
		return 0;
	/* cut: the last block kept gets the mark of a last block */
	*link = NULL;
	if (link != &heap->bin[cls].head)
		apb_entry(link, struct apb_block, next)->mark =
			apb_mark(NULL, heap->key, APB_MARK_BIN);
	while (block) {
		struct apb_block *next = check_mark(heap, block)->next;

		give_back(heap, block);
		block = next;
		n++;
	}
	heap->settles++;
	heap->settled += n;
	return n;
}

void apb_heap_settle(struct apb_heap *heap, struct apb_bin *bin)
{
	unsigned int cls = (unsigned int)(bin - heap->bin);
	uint32_t surplus = 0;

	if (!bin->ran_empty)
		surplus = settle_bin(heap, cls, bin->period / 2);
	bin->ran_empty = false;
	bin->period = next_period(heap, cls, surplus);
	bin->countdown = bin->period;
}

void apb_heap_settle_all(struct apb_heap *heap)
{
	unsigned int cls;

	for (cls = 1; cls <= APB_NR_CLASSES; cls++)
		settle_bin(heap, cls, 0);
}

/* ---- refill ----------------------------------------------------------- */

/* Mix @x into a hash; the finaliser of splitmix64, Steele et al. 2014. */
static uint64_t mix(uint64_t hash, uint64_t x)
{
	x ^= hash;
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/*
 * The key of the marks: not to be guessed, and never 0.  A program can read it
 * from stale memory, so nothing else may follow from it: where the kernel has
 * no random bytes yet, those it gave the process at its start, of which the
 * stack protector's canary is made, are folded together with an address.
 */
static uint64_t new_key(void)
{
	const uint64_t *start = (const uint64_t *)getauxval(AT_RANDOM);
	uint64_t x = apb_state.seed;

	if (x)
		return mix(0, x) | 1;
	if (syscall(SYS_getrandom, &x, sizeof(x), GRND_NONBLOCK) !=
	    (long)sizeof(x)) {
		x = mix((uintptr_t)&x, (uintptr_t)&apb_state);
		if (start)
			x ^= mix(x, start[0]) + mix(~x, start[1]);
	}
	return x | 1;
}

static struct apb_pool *new_pool(struct apb_heap *heap, unsigned int cls,
				 bool may_map)
{
	struct apb_pool *pool;

	pool = apb_arena_get_pool(apb_class_kind(cls), may_map);
	if (!pool)
		return NULL;
	if (!heap->key)
		heap->key = new_key();
	apb_pool_init(pool, heap, cls, apb_arena_of((uintptr_t)pool)->colour++);
	apb_node_add(&heap->partial[cls], &pool->node);
	return pool;
}

static struct apb_pool *some_pool(struct apb_heap *heap, unsigned int cls)
{
	struct apb_pool *pool;

	if (heap->partial[cls])
		return apb_entry(heap->partial[cls], struct apb_pool, node);
	pool = new_pool(heap, cls, true);
	if (pool)
		return pool;
	/* other bins may hold the last blocks of pools that are empty else */
	apb_heap_settle_all(heap);
	pool = new_pool(heap, cls, false);
	if (!pool && apb_retain_drop())
		pool = new_pool(heap, cls, true);
	if (pool)
		heap->recovered++;
	return pool;
}

/* A bin that had to be refilled with @n blocks will have as many to keep. */
static void lengthen_period(const struct apb_heap *heap, unsigned int cls,
			    struct apb_bin *bin, uint32_t n)
{
	uint32_t room;

	if (heap->fixed_period)
		return;
	room = apb_heap_period_max(cls) - bin->period;
	if (n > room)
		n = room;
	bin->period = (uint16_t)(bin->period + n);
	bin->countdown += n;
}

struct apb_block *apb_heap_refill(struct apb_heap *heap, unsigned int cls)
{
	struct apb_bin *bin = &heap->bin[cls];
	struct apb_block *block = bin->head;
	struct apb_pool *pool;
	uint32_t used;

	/* the fast path comes here for a block without its mark, too */
	if (block)
		apb_report_corrupt(block);
	pool = some_pool(heap, cls);
	if (!pool) {
		errno = ENOMEM;
		return NULL;
	}
	if (!bin->period) {
		bin->period = heap->fixed_period ? heap->fixed_period :
						   apb_heap_period_min(cls);
		bin->countdown = bin->period;
	}
	used = pool->used;
	block = apb_pool_take(pool, heap->key);
	lengthen_period(heap, cls, bin, pool->used - used);
	if (!apb_pool_has(pool))
		apb_node_del(&pool->node);
	bin->ran_empty = true;
	bin->head = block->next;
	block->mark = 0;
	return block;
}
