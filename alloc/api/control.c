// SPDX-License-Identifier: MIT
/*
 * Memory given back, reset, options, the OS table, faults, the handler: the
 * public functions that are not about one block.
 */
#include "api/lock.h"
#include "state.h"

#include <errno.h>
#include <string.h>

void apb_settle(void)
{
	bool locked = apb_enter();

	apb_heap_settle_all(&apb_state.heap);
	apb_leave(locked);
}

size_t apb_trim(void)
{
	bool locked = apb_enter();
	size_t mapped = apb_state.os.mapped, purged;

	/* what is purged and then unmapped would be counted twice */
	apb_state.arenas.purge_later = true;
	apb_heap_settle_all(&apb_state.heap);
	apb_state.arenas.purge_later = false;
	apb_arena_unmap_spares();
	purged = apb_arena_purge(0);
	apb_map_release(false);
	apb_os_retry_orphans();
	/* settling may unmap, too */
	mapped -= apb_state.os.mapped;
	apb_leave(locked);
	return mapped + purged;
}

/* What apb_reset() leaves as it is. */
static void keep_settings(struct apb_state *st)
{
	struct apb_os ops = st->os.ops;
	size_t dirty_limit = st->arenas.dirty_limit;
	uint16_t period = st->heap.fixed_period;

	memset(&st->heap, 0, sizeof(st->heap));
	memset(&st->larges, 0, sizeof(st->larges));
	memset(&st->arenas, 0, sizeof(st->arenas));
	memset(&st->os, 0, sizeof(st->os));
	st->os.ops = ops;
	st->arenas.dirty_limit = dirty_limit;
	st->heap.fixed_period = period;
}

int apb_reset(void)
{
	bool locked = apb_enter();
	bool left;

	apb_fault_arm(&apb_state.os.fault, NULL);
	apb_large_reset();
	apb_arena_reset();
	/* the map empties itself: its slices are 0 when its leaves are gone */
	apb_map_release(true);
	if (apb_state.os.orphans)
		apb_os_retry_orphans();
	left = apb_state.os.orphans;
	keep_settings(&apb_state);
	apb_leave(locked);
	if (left)
		errno = ENOMEM;
	return left ? -1 : 0;
}

int apb_set_os(const struct apb_os *os)
{
	bool locked;
	int err = 0;

	if (os && (!os->map || !os->unmap || !os->purge || !os->remap)) {
		errno = EINVAL;
		return -1;
	}
	locked = apb_enter();
	if (apb_state.os.mapped)
		err = EBUSY;
	else
		apb_state.os.ops = os ? *os : (struct apb_os){0};
	apb_leave(locked);
	if (err)
		errno = err;
	return err ? -1 : 0;
}

void apb_fault_set(const struct apb_fault *fault)
{
	bool locked = apb_enter();

	apb_fault_arm(&apb_state.os.fault, fault);
	apb_leave(locked);
}

void apb_fault_get(struct apb_fault_stats *stats)
{
	bool locked = apb_enter();

	*stats = apb_state.os.fault.stats;
	apb_leave(locked);
}

void apb_set_misuse(apb_misuse_fn fn, void *arg)
{
	bool locked = apb_enter();

	apb_state.misuse.fn = fn;
	apb_state.misuse.arg = arg;
	apb_leave(locked);
}

/* 0 or an errno. */
static int set_option(enum apb_option opt, size_t value)
{
	switch (opt) {
	case APB_OPT_SETTLE_PERIOD:
		if (value > UINT16_MAX)
			return EINVAL;
		apb_heap_set_period(&apb_state.heap, (uint16_t)value);
		return 0;
	case APB_OPT_DIRTY_LIMIT:
		apb_state.arenas.dirty_limit = value;
		apb_state.arenas.purge_floor = 0;
		apb_arena_limit_dirty();
		return 0;
	case APB_OPT_SEED:
		if (apb_state.heap.key)
			return EBUSY;
		apb_state.seed = value;
		return 0;
	case APB_OPT_PURGE_DELAY:
	case APB_OPT_LARGE_CACHE:
	case APB_OPT_THP:
	case APB_OPT_JUNK:
	case APB_OPT_NR:
		break;
	}
	return EINVAL;
}

int apb_set_option(enum apb_option opt, size_t value)
{
	bool locked = apb_enter();
	int err = set_option(opt, value);

	apb_leave(locked);
	if (err)
		errno = err;
	return err ? -1 : 0;
}
