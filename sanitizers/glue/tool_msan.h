/* SPDX-License-Identifier: MIT */
/*
 * MemorySanitizer; the functions are described in tool.h.
 *
 * It keeps for each byte whether it is initialised, and for four bytes together
 * the *origin*: a number for the stack from which they are not, and for what
 * happened there.  The public interface makes origins that say "memory was
 * marked as uninitialized"; those of malloc and free say that it was allocated
 * or freed.  So a byte is had from malloc, and given back for a block that dies,
 * and its origin, which is of this stack, is the block's.  Whether there is to
 * be one at all (poison_in_malloc, poison_in_free) shows there, too.
 *
 * That a pool's memory is no block's is not told: whoever reads it reads what
 * nobody initialised, or what was freed.
 */
#ifndef APB_GLUE_TOOL_MSAN_H
#define APB_GLUE_TOOL_MSAN_H

#include "glue/glue.h"
#include "glue/real.h"
#include "glue/tool_common.h"

#include <sanitizer/msan_interface.h>

#include <stdlib.h>

#define TOOL_NAME "MemorySanitizer"
#define TOOL_OPTIONS "MSAN_OPTIONS"
#define TOOL_DEFAULTS __msan_default_options
/* Each byte is two of the tool's, which are all written. */
#define TOOL_LARGEST ((size_t)8 << 30)
#define TOOL_STACKS 1
#define TOOL_MALLOC_REFUSES
#define TOOL_QUARANTINE ((size_t)0)
#define TOOL_CLOSED_HEADER 0
#define TOOL_BEFORE "before"
#define TOOL_AFTER "after"
#define TOOL_STATE

static inline void tool_start(void)
{
}

static inline void tool_enter(void)
{
}

static inline void tool_leave(void)
{
}

/* As far as the tool's own byte at @like is. */
APB_RAW static inline void msan_mark(void *p, size_t n, void *like)
{
	if (__msan_test_shadow(like, 1) < 0) {
		__msan_unpoison(p, n);
		return;
	}
	__msan_poison(p, n);
	if (__msan_get_track_origins())
		__msan_set_origin(p, n, __msan_get_origin(like));
}

APB_RAW static inline void msan_allocated(void *p, size_t n)
{
	void *like = apb_real_malloc(1);

	if (!like) {
		__msan_allocated_memory(p, n);
		return;
	}
	msan_mark(p, n, like);
	apb_real_free(like);
}

APB_RAW static inline void msan_freed(void *p, size_t n)
{
	void *like = apb_real_malloc(1);

	if (!like) {
		__msan_allocated_memory(p, n);
		return;
	}
	apb_real_free(like);
	/* it is not read, and what is known of it is another's at worst */
	__asm__("" : "+r"(like));
	msan_mark(p, n, like);
}

static inline void tool_heap(void *p, size_t n)
{
	(void)p;
	(void)n;
}

APB_RAW static inline void tool_pool_made(void *p, size_t n)
{
	msan_allocated(p, n);
}

APB_RAW static inline void tool_pool_gone(void *p, size_t n)
{
	__msan_unpoison(p, n);
}

APB_RAW static inline void tool_reset(void *p, size_t n)
{
	msan_freed(p, n);
}

APB_RAW static inline void tool_born(void *p, size_t n, unsigned int flags)
{
	if (flags & APB_SAN_ZEROED)
		__msan_unpoison(p, n);
	else if (!(flags & APB_SAN_KEEP))
		msan_allocated(p, n);
}

APB_RAW static inline void tool_died(void *p, size_t n)
{
	msan_freed(p, n);
}

APB_RAW static inline void tool_resized(void *p, size_t old, size_t size)
{
	if (size > old)
		msan_allocated((char *)p + old, size - old);
	else
		msan_freed((char *)p + size, old - size);
}

/* ---- reports ---------------------------------------------------------- */

/* It has no callback, and its reports say all that there is to be said. */
static inline void tool_listen(void)
{
}

/* A report of its own that nobody sees ends as all of them do. */
static inline void tool_report(void (*print)(void *arg), void *arg)
{
	void __msan_warning(void);

	print(arg);
	tool_quiet();
	__msan_warning();
	tool_loud();
}

static inline void tool_bad_free(const struct apb_glue_free *bad)
{
	apb_glue_report_free(bad);
}

#endif /* APB_GLUE_TOOL_MSAN_H */
