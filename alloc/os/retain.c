// SPDX-License-Identifier: MIT
/*
 * Retained memory; see retain.h.  Here, and nowhere else, calls go upwards: an
 * event in either layer is one for both, and so is a lack of memory.
 */
#include "uninstrumented.h"

#include "os/retain.h"

#include "state.h"

#include <errno.h>

/* Apart from struct apb_state, which is all zeroes at first and so no file's. */
struct apb_policy apb_policy = {
	.dirty_limit = APB_DIRTY_AUTO,
	.purge_delay = APB_PURGE_DELAY_DEFAULT,
	.large_cache = APB_LARGE_CACHE_DEFAULT,
};

static size_t shifted(size_t n, uint64_t by)
{
	return by < 64 ? n >> by : 0;
}

bool apb_retain_pass(struct apb_retain *r, uint64_t now, size_t level,
		     size_t bound, size_t *target)
{
	uint64_t delay = apb_policy.purge_delay, epochs = 1;
	size_t needed, idle;

	if (!delay)
		return false;
	if (apb_os_has_clock())
		epochs = (now - r->epoch) / delay;
	else if (r->moved < APB_EPOCH_BYTES + bound * APB_EPOCH_BOUNDS)
		epochs = 0;
	if (!epochs)
		return false;
	needed = r->high - r->low;
	idle = r->low;
	/* the base may stay as long as something is needed, which varies */
	if (needed && idle <= APB_DIRTY_BASE + needed / 8)
		idle = 0;
	*target = level - idle;
	if (r->extra > needed)
		r->extra = needed + shifted(r->extra - needed, epochs);
	r->given = shifted(r->given, epochs);
	r->low = r->high = level;
	r->moved = 0;
	r->epoch = now;
	return true;
}

void apb_retain_tick(void)
{
	uint64_t now = apb_os_now();

	apb_arena_decay(now);
	apb_large_decay(now);
}

void apb_retain_grow(void)
{
	apb_arena_make_room();
	apb_large_make_room();
}

bool apb_retain_drop(void)
{
	size_t mapped = apb_state.os.mapped;

	apb_large_uncache();
	apb_arena_unmap_spares();
	apb_os_retry_orphans();
	return apb_state.os.mapped < mapped;
}

int apb_retain_set(enum apb_option opt, size_t value)
{
	switch (opt) {
	case APB_OPT_DIRTY_LIMIT:
		apb_policy.dirty_limit = value;
		break;
	case APB_OPT_PURGE_DELAY:
		apb_policy.purge_delay = value;
		break;
	case APB_OPT_LARGE_CACHE:
		apb_policy.large_cache = value;
		break;
	case APB_OPT_THP:
		if (value >= APB_THP_NR)
			return EINVAL;
		apb_policy.thp = (unsigned int)value;
		return 0;
	default:
		return EINVAL;
	}
	apb_state.arenas.purge_floor = 0;
	apb_arena_limit_dirty();
	apb_large_limit_cache();
	return 0;
}

#include "instrumented.h"
