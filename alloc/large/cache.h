/* SPDX-License-Identifier: MIT */
/* The cache of mappings, for large.c only; what it is for is in large.h. */
#ifndef APB_LARGE_CACHE_H
#define APB_LARGE_CACHE_H

#include "large/large.h"

/*
 * Take the smallest cached mapping of @least to @most bytes, at a multiple of
 * @align; or, if that @may_split, the front of a larger one, in whole MiBs.  It
 * is as if just mapped, with its byte set, and with what a freed block left in
 * it.  Returns NULL or its descriptor, of which addr and mapped are set.
 */
struct apb_large *apb_cache_take(size_t least, size_t most, size_t align,
				 bool may_split);

/*
 * Take @bytes, or some more, that are cached from @end on, with which a mapping
 * ends; returns how many they are, or 0.
 */
size_t apb_cache_extend(uintptr_t end, size_t bytes);

/* Put @large, which is on no list: cached or released. */
void apb_cache_put(struct apb_large *large);

/* Count @bytes that had to be mapped. */
void apb_cache_missed(size_t bytes);

#endif /* APB_LARGE_CACHE_H */
