// SPDX-License-Identifier: MIT
/*
 * operator new(size_t), in C: with apb_malloc()'s fast path in it for small
 * sizes, a call and a comparison of its result are saved.  See new.cc for the
 * other operators.
 */
#include "shim/new.h"

#include "heap/thread.h"
#include "hints.h"

static noinline void *new_slow(size_t size)
{
	void *p = apb_malloc(size);

	return likely(p) ? p : apb_new_failed(size);
}

void *apb_own_new(size_t size)
{
	struct apb_heap *heap = apb_tls;
	struct apb_entry entry;

	if (likely(size <= APB_SMALL_MAX) &&
	    likely(apb_bin_pop(apb_bin_small(heap, size), &entry)))
		return apb_block_born(entry);
	return new_slow(size);
}

/* Its C++ name, which a program may have for its own. */
APB_API void *operator_new(size_t size) __asm__("_Znwm")
	__attribute__((weak, alias("apb_own_new")));
