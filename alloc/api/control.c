// SPDX-License-Identifier: MIT
/*
 * Memory given back, reset, options, the OS table, faults, the handler: the
 * public functions that are not about one block.
 */
#include "uninstrumented.h"

#include "api/lock.h"
#include "heap/remote.h"
#include "heap/sparse.h"
#include "heap/thread.h"
#include "state.h"
#include "track/core.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

void apb_settle(void)
{
	struct apb_heap *heap = apb_tls;

	if (heap != &apb_empty_heap) {
		apb_lock(&heap->lock);
		apb_heap_empty(heap);
		apb_unlock(&heap->lock);
	}
	apb_heaps_drain(NULL);
}

/* Give back pages of pools that are in use but hardly. */
static void sweep_heaps(void)
{
	struct apb_node *node;

	apb_lock(&apb_heaps_lock);
	for (node = apb_state.heaps.all; node; node = node->next) {
		struct apb_heap *heap = apb_entry(node, struct apb_heap, node);

		apb_lock(&heap->lock);
		apb_sparse_sweep_all(heap);
		apb_unlock(&heap->lock);
	}
	apb_unlock(&apb_heaps_lock);
}

size_t apb_trim(void)
{
	size_t mapped, purged;

	apb_enter();
	mapped = apb_state.os.mapped;
	purged = apb_state.os.purged;
	/* what is purged and then unmapped would be counted twice */
	apb_state.arenas.purge_later = true;
	apb_leave();
	/* other threads do their part when they come by: apb_heap_follow_trim() */
	atomic_fetch_add_explicit(&apb_state.trims, 1, memory_order_relaxed);
	apb_settle();
	sweep_heaps();
	apb_threads_trim();
	apb_enter();
	apb_state.arenas.purge_later = false;
	apb_retain_drop();
	apb_arena_purge(0);
	purged = apb_state.os.purged - purged;
	apb_meta_trim();
	apb_map_release(false);
	apb_os_retry_orphans();
	/* settling may unmap, too; other threads may have mapped more */
	mapped =
		mapped > apb_state.os.mapped ? mapped - apb_state.os.mapped : 0;
	apb_leave();
	return mapped + purged;
}

/* What apb_reset() leaves as it is. */
static void keep_settings(struct apb_state *st, size_t mapped)
{
	struct apb_os ops = st->os.ops;

	memset(&st->larges, 0, sizeof(st->larges));
	memset(&st->arenas, 0, sizeof(st->arenas));
	memset(&st->os, 0, sizeof(st->os));
	st->os.ops = ops;
	st->os.mapped = st->os.mapped_highwater = mapped;
}

int apb_reset(void)
{
	size_t mapped;
	bool left;

	apb_lock(&apb_heaps_lock);
	apb_enter();
	apb_fault_arm(&apb_state.os.fault, NULL);
	apb_large_reset();
	apb_arena_reset();
	/* the map empties itself: its slices are 0 when its leaves are gone */
	apb_map_release(true);
	apb_meta_reset();
	mapped = apb_threads_reset();
	if (apb_state.os.orphans)
		apb_os_retry_orphans();
	left = apb_state.os.orphans;
	keep_settings(&apb_state, mapped);
	apb_leave();
	apb_unlock(&apb_heaps_lock);
	if (left)
		errno = ENOMEM;
	return left ? -1 : 0;
}

int apb_set_os(const struct apb_os *os)
{
	int err = 0;

	if (os && (!os->map || !os->unmap || !os->purge || !os->remap)) {
		errno = EINVAL;
		return -1;
	}
	apb_enter();
	if (apb_state.os.mapped)
		err = EBUSY;
	else
		apb_state.os.ops = os ? *os : (struct apb_os){0};
	apb_leave();
	if (err)
		errno = err;
	return err ? -1 : 0;
}

void apb_fault_set(const struct apb_fault *fault)
{
	apb_enter();
	apb_fault_arm(&apb_state.os.fault, fault);
	apb_leave();
}

void apb_fault_get(struct apb_fault_stats *stats)
{
	apb_enter();
	*stats = apb_state.os.fault.stats;
	apb_leave();
}

void apb_set_misuse(apb_misuse_fn fn, void *arg)
{
	apb_enter();
	apb_state.misuse.fn = fn;
	apb_state.misuse.arg = arg;
	apb_leave();
}

/* All heaps' lists are as long as the option says from now on. */
static void set_period(uint16_t period)
{
	struct apb_node *node;

	atomic_store_explicit(&apb_state.period, period, memory_order_relaxed);
	apb_lock(&apb_heaps_lock);
	for (node = apb_state.heaps.all; node; node = node->next) {
		struct apb_heap *heap = apb_entry(node, struct apb_heap, node);

		apb_lock(&heap->lock);
		/* of other threads' bins only their slow path may know */
		if (apb_single_threaded() || !heap->attached || heap == apb_tls)
			apb_heap_apply_period(heap);
		else
			heap->trims--;
		apb_unlock(&heap->lock);
	}
	apb_unlock(&apb_heaps_lock);
}

/* Before there is any heap, as threads that have one would go on with it. */
static int set_junk(size_t value)
{
	int err = 0;

	if (value > 1)
		return EINVAL;
	apb_lock(&apb_heaps_lock);
	if (apb_state.heaps.nr)
		err = EBUSY;
	else
		__atomic_store_n(&apb_policy.junk, value, __ATOMIC_RELAXED);
	apb_unlock(&apb_heaps_lock);
	return err;
}

/* 0 or an errno. */
static int set_option(enum apb_option opt, size_t value)
{
	int err;

	switch (opt) {
	case APB_OPT_SETTLE_PERIOD:
		if (value > APB_BIN_MAX)
			return EINVAL;
		set_period((uint16_t)value);
		return 0;
	case APB_OPT_JUNK:
		return set_junk(value);
	case APB_OPT_QUARANTINE:
		return apb_track_set_quarantine(value);
	case APB_OPT_DIRTY_LIMIT:
	case APB_OPT_PURGE_DELAY:
	case APB_OPT_LARGE_CACHE:
	case APB_OPT_THP:
		apb_enter();
		err = apb_retain_set(opt, value);
		apb_leave();
		return err;
	default:
		return EINVAL;
	}
}

int apb_set_option(enum apb_option opt, size_t value)
{
	int err = set_option(opt, value);

	if (err)
		errno = err;
	return err ? -1 : 0;
}

#include "instrumented.h"
