/* SPDX-License-Identifier: MIT */
/*
 * In a tracking build the public functions that are about blocks are those of
 * track.c, which stand around the allocator's own: here are their names.  Only
 * files which define them include this.
 */
#ifndef APB_TRACK_CORE_H
#define APB_TRACK_CORE_H

#include "track/track.h"

#if APB_TRACK
#define apb_malloc apb_core_malloc
#define apb_calloc apb_core_calloc
#define apb_realloc apb_core_realloc
#define apb_reallocarray apb_core_reallocarray
#define apb_aligned_alloc apb_core_aligned_alloc
#define apb_free apb_core_free
#define apb_free_sized apb_core_free_sized
#define apb_free_aligned_sized apb_core_free_aligned_sized
#define apb_usable_size apb_core_usable_size
#define apb_trim apb_core_trim
#define apb_reset apb_core_reset
#endif

#endif /* APB_TRACK_CORE_H */
