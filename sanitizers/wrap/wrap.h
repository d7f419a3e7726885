/* SPDX-License-Identifier: MIT */
/*
 * Whether a block is apb's: what decides where a whole program's free() goes.
 */
#ifndef APB_WRAP_H
#define APB_WRAP_H

#include "glue/glue.h"
#include "map/map.h"
#include "state.h"
#include "track/region.h"

#if APB_TRACK
/*
 * As apb_glue_refused(), of a request made of @fn, whose frame is @frame; false:
 * the tool makes nothing of such a request.
 */
static inline bool apb_wrap_refuse(enum apb_glue_refusal kind, size_t n,
				   size_t size, const void *fn,
				   const void *frame)
{
	apb_glue_refused(kind, n, size, apb_stack_take(fn, frame));
	return !APB_SAN_VALGRIND;
}

static inline bool apb_wrap_in_region(const void *ptr)
{
	return apb_region_has(ptr);
}
#else
static inline bool apb_wrap_refuse(enum apb_glue_refusal kind, size_t n,
				   size_t size, const void *fn,
				   const void *frame)
{
	(void)kind;
	(void)n;
	(void)size;
	(void)fn;
	(void)frame;
	return false;
}

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
