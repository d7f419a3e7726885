/* SPDX-License-Identifier: MIT */
/*
 * Whether a block is apb's: what decides where a whole program's free() goes.
 */
#ifndef APB_WRAP_H
#define APB_WRAP_H

#include "map/map.h"
#include "state.h"
#include "track/region.h"

#if APB_TRACK
static inline bool apb_wrap_in_region(const void *ptr)
{
	return apb_region_has(ptr);
}
#else
static inline bool apb_wrap_in_region(const void *ptr)
{
	(void)ptr;
	return false;
}
#endif

/*
 * Any address of apb's memory, whether there is a live block or not: a bad
 * free of that is apb's to report.  In a tracking build that is the range
 * where all blocks are and were, except in valgrind's, which has none.
 */
static inline bool apb_wrap_owns(const void *ptr)
{
	return apb_wrap_in_region(ptr) ||
	       apb_map_kind(&apb_state.map, (uintptr_t)ptr) != APB_KIND_NONE;
}

#endif /* APB_WRAP_H */
