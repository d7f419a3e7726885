/* SPDX-License-Identifier: MIT */
/*
 * LeakSanitizer on its own; the functions are described in tool.h.
 *
 * It looks at nothing that a program does with its memory: all that it is told
 * is told by the leak check, leak.h.  A free that is none is reported, as its
 * own malloc falls over most of them.
 */
#ifndef APB_GLUE_TOOL_LEAK_H
#define APB_GLUE_TOOL_LEAK_H

#include "glue/glue.h"
#include "glue/leak.h"
#include "glue/real.h"

#include <sanitizer/common_interface_defs.h>

#include <string.h>
#include <unistd.h>

#define TOOL_NAME "LeakSanitizer"
#define TOOL_OPTIONS "LSAN_OPTIONS"
#define TOOL_DEFAULTS __lsan_default_options
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

static inline void tool_heap(void *p, size_t n)
{
	apb_leak_heap_made(p, n);
}

APB_RAW static inline void tool_pool_made(void *p, size_t n)
{
	apb_leak_heap_used(p, n);
}

static inline void tool_pool_gone(void *p, size_t n)
{
	(void)p;
	(void)n;
}

static inline void tool_reset(void *p, size_t n)
{
	(void)p;
	(void)n;
}

static inline void tool_born(void *p, size_t n, unsigned int flags)
{
	(void)p;
	(void)n;
	(void)flags;
}

static inline void tool_died(void *p, size_t n)
{
	(void)p;
	(void)n;
}

static inline void tool_resized(void *p, size_t old, size_t size)
{
	(void)p;
	(void)old;
	(void)size;
}

static inline void tool_bad_free(const struct apb_glue_free *bad)
{
	apb_glue_report_free(bad);
}

static inline uint32_t tool_thread(uint32_t own)
{
	return own;
}

/* The tool prints its line for a summary to wherever its reports go. */
static inline void tool_say(const char *line)
{
	__sanitizer_report_error_summary(line);
}

static inline void tool_symbol(const void *pc, const char *format, char *buf,
			       size_t size)
{
	memset(buf, 0, size);
	__sanitizer_symbolize_pc((void *)(uintptr_t)pc, format, buf, size - 1);
}

static inline void tool_announce(uint32_t thread)
{
	(void)thread;
}

static inline void tool_listen(void)
{
}

static inline void tool_report(void (*print)(void *arg), void *arg)
{
	print(arg);
	if (apb_leak_options()->exitcode)
		_exit(apb_leak_options()->exitcode);
}

#endif /* APB_GLUE_TOOL_LEAK_H */
