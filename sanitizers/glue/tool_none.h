/* SPDX-License-Identifier: MIT */
/* A tool that is told nothing; the functions are described in tool.h. */
#ifndef APB_GLUE_TOOL_NONE_H
#define APB_GLUE_TOOL_NONE_H

#include "glue/glue.h"

#include <stdio.h>

#define TOOL_NAME "apb"
#define TOOL_STACKS 0
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
	(void)p;
	(void)n;
}

static inline void tool_pool_made(void *p, size_t n)
{
	(void)p;
	(void)n;
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
	(void)bad;
}

static inline uint32_t tool_thread(uint32_t own)
{
	return own;
}

static inline void tool_say(const char *line)
{
	fprintf(stderr, "%s\n", line);
}

static inline void tool_symbol(const void *pc, const char *format, char *buf,
			       size_t size)
{
	(void)format;
	snprintf(buf, size - 1, "%p", pc);
	buf[size - 1] = 0;
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
}

#endif /* APB_GLUE_TOOL_NONE_H */
