/* SPDX-License-Identifier: MIT */
/*
 * The tool that this build is for.  Each tool_*.h has the same functions and
 * constants, all static inline:
 *
 *   TOOL_NAME                    as in its reports
 *   TOOL_STACKS                  1: the layer keeps the stacks of blocks
 *   TOOL_QUARANTINE              bytes of dead blocks that apb holds back
 *   TOOL_OPTIONS                 its variable in the environment
 *   TOOL_DEFAULTS                the program's function for the same
 *   TOOL_LARGEST                 bytes that a block of its malloc can have, if
 *                                that is few
 *   TOOL_CLOSED_HEADER           1: apb's own code may use what is closed
 *   tool_enter(), tool_leave()   between them apb uses what is closed
 *   tool_start()                 once, before anything else is told; idempotent
 *   tool_heap(p, n)              all memory that apb ever cuts blocks from
 *   tool_borrowed(p, n)          a block of malloc that blocks are cut from;
 *                                only where there is TOOL_BORROWED
 *   tool_lends()                 whether the program's blocks have to be those of
 *                                its own malloc; only where there is TOOL_LENDS
 *   tool_pool_made(p, n)         nobody may use the range, but for blocks
 *   tool_pool_gone(p, n)         it is ordinary memory
 *   tool_reset(p, n)             all blocks in the range have died
 *   tool_born(p, n, flags)       a block; see apb_san_born()
 *   tool_died(p, n)
 *   tool_resized(p, old, new)
 *   tool_bad_free(bad)           report it
 *   tool_thread(own)             the tool's number of the calling thread; @own,
 *                                the layer's, if it has none
 *   tool_say(line)               a line, without \n, to where its reports go
 *   tool_symbol(pc, format, buf, size)  what is at a return address, in the
 *                                format of __sanitizer_symbolize_pc(), with
 *                                inlined functions first, a NUL after each,
 *                                and one more at the end
 *   tool_announce(thread)        "Thread T1 created by T0 here:" if it can
 *   tool_listen()                from now on, call apb_glue_reported() at the
 *                                end of each of its reports
 *   tool_refuse(kind, n, size, stack)  a request is refused: report that, if
 *                                it does so; or true: the layer is to report
 *                                it; only where there is TOOL_REFUSES.
 *                                With TOOL_MALLOC_REFUSES its own malloc is
 *                                asked for the same, and reports it
 *   tool_compares_sizes()        whether a free with a wrong size is to be
 *                                reported; only where there is TOOL_COMPARES
 *   tool_report(print, arg)      make a report: @print says it; then end as
 *                                after any report, or return if the tool goes
 *                                on; one at a time
 *
 * TOOL_BEFORE, TOOL_AFTER are its words; TOOL_STATE are the definitions of the
 * variables that the functions have.
 */
#ifndef APB_GLUE_TOOL_H
#define APB_GLUE_TOOL_H

#include <apb/sanitize.h>

#if APB_SAN_ADDRESS
#include "glue/tool_asan.h"
#elif APB_SAN_LEAK
#include "glue/tool_leak.h"
#elif APB_SAN_MEMORY
#include "glue/tool_msan.h"
#elif APB_SAN_THREAD
#include "glue/tool_tsan.h"
#elif APB_SAN_VALGRIND
#include "glue/tool_valgrind.h"
#else
#include "glue/tool_none.h"
#endif

/* What apb's own blocks need: see track/track.c. */
#ifndef TOOL_SHIFT_MIN
#define TOOL_SHIFT_MIN 4u /* of the least that is in front of a block */
#define TOOL_SHIFT_MAX 11u /* of the most */
#endif
#ifndef TOOL_EMPTY
#define TOOL_EMPTY 0 /* 1: of no bytes, it wants to be told, not of one */
#endif
#ifndef TOOL_RESET_EACH
#define TOOL_RESET_EACH 0 /* 1: a reset is the death of each block */
#endif

#ifdef TOOL_MALLOC_REFUSES
static inline bool tool_refuse(enum apb_glue_refusal kind, size_t n,
			       size_t size, uint32_t stack)
{
	(void)stack;
	apb_real_refuse(kind, n, size);
	return false;
}
#elif !defined(TOOL_REFUSES)
static inline bool tool_refuse(enum apb_glue_refusal kind, size_t n,
			       size_t size, uint32_t stack)
{
	(void)stack;
	(void)kind;
	(void)n;
	(void)size;
	return false;
}
#endif
#ifndef TOOL_OPTIONS
#define TOOL_OPTIONS "APB_TOOL_OPTIONS" /* it has none of its own */
#define TOOL_DEFAULTS apb_tool_default_options
#endif
#ifndef TOOL_COMPARES
static inline bool tool_compares_sizes(void)
{
	return true;
}
#endif
#ifndef TOOL_LARGEST
#define TOOL_LARGEST SIZE_MAX
#endif

#ifndef TOOL_BORROWED
static inline void tool_borrowed(void *p, size_t n)
{
	(void)p;
	(void)n;
}
#endif

#ifndef TOOL_LENDS
static inline bool tool_lends(void)
{
	return false;
}
#endif

#endif /* APB_GLUE_TOOL_H */
