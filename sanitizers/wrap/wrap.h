/* SPDX-License-Identifier: MIT */
/*
 * Whether a block is apb's: what decides where a whole program's free() goes.
 */
#ifndef APB_WRAP_H
#define APB_WRAP_H

#include "map/map.h"
#include "state.h"

/*
 * Any address of apb's memory, whether there is a live block or not: a bad
 * free of that is apb's to report.
 */
static inline bool apb_wrap_owns(const void *ptr)
{
	return apb_map_kind(&apb_state.map, (uintptr_t)ptr) != APB_KIND_NONE;
}

#endif /* APB_WRAP_H */
