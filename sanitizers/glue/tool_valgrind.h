/* SPDX-License-Identifier: MIT */
/*
 * valgrind; the functions are described in tool.h.
 *
 * All of it are client requests: a few instructions that do nothing unless the
 * program runs under valgrind.  memcheck and DRD know of blocks; helgrind is
 * told to forget what was in the memory before, and knows of its own malloc's
 * blocks only: apb's have to be some (tool_lends()).
 *
 * memcheck counts leaks of blocks that lie in its own heap only in part right:
 * memory of mmap() it takes for a root, all of it.  So pools should be blocks of
 * malloc (as apb's arenas are in this build), which then are not looked at but
 * for the blocks in them.
 */
#ifndef APB_GLUE_TOOL_VALGRIND_H
#define APB_GLUE_TOOL_VALGRIND_H

#include "glue/glue.h"
#include "glue/real.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <valgrind/helgrind.h>
#include <valgrind/memcheck.h>

#define TOOL_NAME "valgrind"
#define TOOL_STACKS 0
#define TOOL_REFUSES
#define TOOL_QUARANTINE ((size_t)20 << 20)
#define TOOL_CLOSED_HEADER 0
/* An address 16 bytes from a block is told to be of it: of one block only. */
#define TOOL_SHIFT_MIN 5u
#define TOOL_SHIFT_MAX 5u
#define TOOL_EMPTY 1
#define TOOL_RESET_EACH 1
#define TOOL_BEFORE "before"
#define TOOL_AFTER "after"
#define TOOL_STATE int apb_valgrind_helgrind;

static inline void tool_start(void)
{
}

/* 0: not asked yet, 1: it is helgrind, -1: it is not. */
extern int apb_valgrind_helgrind;

/* Only helgrind answers this; others do not know the request. */
__attribute__((noinline, cold, unused)) static bool valgrind_ask(void)
{
	char probe = 0;
	int is = VALGRIND_HG_GET_ABITS(&probe, NULL, 1) == 1 ? 1 : -1;

	__atomic_store_n(&apb_valgrind_helgrind, is, __ATOMIC_RELAXED);
	return is > 0;
}

#define TOOL_LENDS
static inline bool tool_lends(void)
{
	int is = __atomic_load_n(&apb_valgrind_helgrind, __ATOMIC_RELAXED);

	return __builtin_expect(is >= 0, 0) && (is > 0 || valgrind_ask());
}

/* What is closed to the program is not to apb. */
static inline void tool_enter(void)
{
	VALGRIND_DISABLE_ERROR_REPORTING;
}

static inline void tool_leave(void)
{
	VALGRIND_ENABLE_ERROR_REPORTING;
}

static inline void tool_heap(void *p, size_t n)
{
	(void)p;
	(void)n;
}

/*
 * A block of its own malloc that others are cut from.  To memcheck it is as
 * small as a block can be from now on, so that it is not what an address in it
 * is said to be in, and nothing in it is a pointer but in blocks.
 */
#define TOOL_BORROWED
static inline void tool_borrowed(void *p, size_t n)
{
	VALGRIND_RESIZEINPLACE_BLOCK(p, n, 1, 0);
	VALGRIND_MAKE_MEM_UNDEFINED(p, n);
}

static inline void tool_pool_made(void *p, size_t n)
{
	VALGRIND_HG_CLEAN_MEMORY(p, n);
	VALGRIND_MAKE_MEM_NOACCESS(p, n);
}

static inline void tool_pool_gone(void *p, size_t n)
{
	VALGRIND_HG_CLEAN_MEMORY(p, n);
	VALGRIND_MAKE_MEM_DEFINED(p, n);
}

static inline void tool_born(void *p, size_t n, unsigned int flags)
{
	VALGRIND_HG_CLEAN_MEMORY(p, n);
	/* what is kept cannot be asked for: all of it is taken for defined */
	VALGRIND_MALLOCLIKE_BLOCK(p, n, 0,
				  flags & (APB_SAN_ZEROED | APB_SAN_KEEP));
}

static inline void tool_died(void *p, size_t n)
{
	(void)n;
	VALGRIND_FREELIKE_BLOCK(p, 0);
}

/* What is resized to no bytes is a bad free to memcheck: it is another block. */
static inline void tool_resized(void *p, size_t old, size_t size)
{
	if (size) {
		VALGRIND_RESIZEINPLACE_BLOCK(p, old, size, 0);
	} else {
		VALGRIND_FREELIKE_BLOCK(p, 0);
		VALGRIND_MALLOCLIKE_BLOCK(p, 0, 0, 0);
	}
}

static inline void tool_reset(void *p, size_t n)
{
	VALGRIND_MAKE_MEM_NOACCESS(p, n);
}

/* ---- reports ---------------------------------------------------------- */

static inline uint32_t tool_thread(uint32_t own)
{
	return own;
}

static inline void tool_say(const char *line)
{
	VALGRIND_PRINTF("%s\n", line);
}

static inline void tool_symbol(const void *pc, const char *format, char *buf,
			       size_t size)
{
	(void)format;
	memset(buf, 0, size);
	snprintf(buf, size - 1, "%p", pc);
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

/* It says itself what is wrong with a block that is not there to be freed. */
static inline void tool_bad_free(const struct apb_glue_free *bad)
{
	if (bad->kind == APB_SAN_FREE_SIZE || bad->kind == APB_SAN_FREE_ALIGN)
		apb_glue_report_free(bad);
	else
		VALGRIND_FREELIKE_BLOCK(bad->addr, 0);
}

/* memcheck wonders at sizes that would be negative, and at nothing else. */
static inline bool tool_refuse(enum apb_glue_refusal kind, size_t n,
			       size_t size, uint32_t stack)
{
	(void)stack;
	if (kind == APB_GLUE_SIZE && size > PTRDIFF_MAX)
		apb_real_refuse(kind, n, size);
	return false;
}

#endif /* APB_GLUE_TOOL_VALGRIND_H */
