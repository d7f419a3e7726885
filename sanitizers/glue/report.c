// SPDX-License-Identifier: MIT
/*
 * What is added to the tool's reports, in the tool's own words, and reports of
 * frees that are none.  Nothing here is on the way of a block.
 */
#include "glue/glue.h"
#include "glue/tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

void apb_glue_say(const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	tool_say(line);
}

/* ---- stacks ----------------------------------------------------------- */

void apb_glue_print_pcs(const uintptr_t *pcs, unsigned int nr)
{
	char text[LINE_MAX_BYTES];
	unsigned int frame = 0;
	const char *part;

	for (unsigned int i = 0; i < nr; i++) {
		tool_symbol((const void *)pcs[i], "%p %F %L", text,
			    sizeof(text));
		for (part = text; *part; part += strlen(part) + 1)
			apb_glue_say("    #%u %s", frame++, part);
	}
	if (!nr)
		apb_glue_say("    <empty stack>");
	apb_glue_say("%s", "");
}

void apb_glue_print_stack(uint32_t stack)
{
	const uintptr_t *pcs;
	unsigned int nr = apb_stack_get(stack, &pcs);

	apb_glue_print_pcs(pcs, nr);
}

void apb_glue_where(uint32_t stack, char *buf, size_t size)
{
	const uintptr_t *pcs;

	buf[0] = 0;
	if (apb_stack_get(stack, &pcs))
		tool_symbol((const void *)pcs[0], "%L %F", buf, size);
}

/* ---- blocks ----------------------------------------------------------- */

static void say_place(const void *addr, size_t access,
		      const struct apb_san_pool *pool,
		      const struct apb_san_block *block)
{
	uintptr_t at = (uintptr_t)addr;
	uintptr_t begin = (uintptr_t)block->addr, end = begin + block->size;
	const char *how = "inside of";
	size_t distance = at - begin;

	if (at < begin) {
		how = TOOL_BEFORE;
		distance = begin - at;
	} else if (at >= end || at + access > end) {
		/* of an access that begins inside, what is wrong is the rest */
		at = at > end ? at : end;
		how = TOOL_AFTER;
		distance = at - end;
	}
	apb_glue_say("0x%012lx is located %zu bytes %s %zu-byte region "
		     "[0x%012lx,0x%012lx)%s%s",
		     (unsigned long)at, distance, how, block->size,
		     (unsigned long)begin, (unsigned long)end,
		     pool && pool->name ? " of " : "",
		     pool && pool->name ? pool->name : "");
}

void apb_glue_describe(const void *addr, size_t access,
		       const struct apb_san_pool *pool,
		       const struct apb_san_block *block)
{
	bool dead = block->state == APB_SAN_DEAD;

	say_place(addr, access, pool, block);
	if (dead) {
		apb_glue_say("freed by thread T%u here:", block->died_thread);
		apb_glue_print_stack(block->died_stack);
	}
	apb_glue_say("%sallocated by thread T%u here:",
		     dead ? "previously " : "", block->born_thread);
	apb_glue_print_stack(block->born_stack);
	if (dead)
		tool_announce(block->died_thread);
	tool_announce(block->born_thread);
}

void apb_glue_reported(const void *addr, size_t access)
{
	struct apb_san_block block;
	const struct apb_san_pool *pool = apb_san_find(addr, &block);

	if (pool)
		apb_glue_describe(addr, access, pool, &block);
}

/* ---- frees that are none ---------------------------------------------- */

struct bad_free {
	enum apb_san_free kind;
	const void *addr;
	const struct apb_san_block *block;
	uint32_t stack;
};

static const struct {
	const char *title, *summary;
} frees[] = {
	[APB_SAN_FREE_DOUBLE] = {"attempting double-free on 0x%012lx "
				 "in thread T%u:",
				 "double-free"},
	[APB_SAN_FREE_INSIDE] = {"attempting free on address which was not "
				 "malloc()-ed: 0x%012lx in thread T%u",
				 "bad-free"},
	[APB_SAN_FREE_WILD] = {"attempting free on address which was not "
			       "malloc()-ed: 0x%012lx in thread T%u",
			       "bad-free"},
	[APB_SAN_FREE_SIZE] = {"new-delete-type-mismatch on 0x%012lx "
			       "in thread T%u: the size is not the block's",
			       "new-delete-type-mismatch"},
	[APB_SAN_FREE_ALIGN] = {"new-delete-type-mismatch on 0x%012lx "
				"in thread T%u: the alignment is not the "
				"block's",
				"new-delete-type-mismatch"},
};

static void print_bad_free(void *arg)
{
	const struct bad_free *bad = arg;
	char line[LINE_MAX_BYTES], where[LINE_MAX_BYTES];

	memset(line, '=', 65);
	line[65] = 0;
	apb_glue_say("%s", line);
	snprintf(line, sizeof(line), frees[bad->kind].title,
		 (unsigned long)bad->addr, apb_san_thread());
	apb_glue_say("==%d==ERROR: " TOOL_NAME ": %s", (int)getpid(), line);
	apb_glue_print_stack(bad->stack);
	if (bad->block)
		apb_glue_describe(bad->addr, 0, NULL, bad->block);
	else
		apb_glue_say("0x%012lx is in no block that is known",
			     (unsigned long)bad->addr);
	tool_announce(apb_san_thread());
	apb_glue_where(bad->stack, where, sizeof(where));
	apb_glue_say("SUMMARY: " TOOL_NAME ": %s %s", frees[bad->kind].summary,
		     where);
}

void apb_glue_report_free(enum apb_san_free kind, const void *addr,
			  const struct apb_san_block *block, uint32_t stack)
{
	struct bad_free bad = {kind, addr, block, stack};

	tool_report(print_bad_free, &bad);
}
