// SPDX-License-Identifier: MIT
/*
 * What is added to the tool's reports, in the tool's own words, and reports of
 * frees that are none.  Nothing here is on the way of a block.
 */
#include "glue/glue.h"
#include "glue/tool.h"

#include <pthread.h>
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

#define OWN_FRAMES 4

/*
 * How many frames are of no interest: those of the allocator up to the function
 * that was called from outside, if that is one of apb.
 */
static unsigned int own_frames(const uintptr_t *pcs, unsigned int nr)
{
	char text[LINE_MAX_BYTES];
	unsigned int frame = 0;
	const char *part;

	for (unsigned int i = 0; i < nr && frame < OWN_FRAMES; i++) {
		tool_symbol((const void *)pcs[i], "%F", text, sizeof(text));
		for (part = text; *part; part += strlen(part) + 1) {
			if (!strncmp(part, "in apb_", 7))
				return frame;
			frame++;
		}
	}
	return 0;
}

/* A stack, a frame after the other. */
struct frames {
	const uintptr_t *pcs;
	unsigned int left;
	const char *format;
	const char *next;
	char text[LINE_MAX_BYTES];
};

static const char *next_frame(struct frames *f)
{
	const char *part;

	while (!f->next || !*f->next) {
		if (!f->left)
			return NULL;
		tool_symbol((const void *)*f->pcs, f->format, f->text,
			    sizeof(f->text));
		f->next = f->text;
		f->pcs++;
		f->left--;
	}
	part = f->next;
	f->next += strlen(part) + 1;
	return part;
}

void apb_glue_print_pcs(const uintptr_t *pcs, unsigned int nr)
{
	struct frames frames = {.pcs = pcs, .left = nr, .format = "%p %F %L"};
	unsigned int skipped = own_frames(pcs, nr), i;
	const char *frame;

	for (i = 0; (frame = next_frame(&frames)); i++)
		if (i >= skipped)
			apb_glue_say("    #%u %s", i - skipped, frame);
	if (!i)
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
	struct frames frames = {.format = "%L %F"};
	unsigned int skipped;
	const char *frame;

	frames.left = apb_stack_get(stack, &frames.pcs);
	skipped = own_frames(frames.pcs, frames.left);
	while ((frame = next_frame(&frames)) && skipped--)
		;
	snprintf(buf, size, "%s", frame ? frame : "");
}

/* ---- blocks ----------------------------------------------------------- */

static void say_place(const void *addr, size_t access,
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
		     "[0x%012lx,0x%012lx)",
		     (unsigned long)at, distance, how, block->size,
		     (unsigned long)begin, (unsigned long)end);
}

void apb_glue_describe(const void *addr, size_t access,
		       const struct apb_san_block *block)
{
	bool dead = block->state == APB_SAN_DEAD;

	say_place(addr, access, block);
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

void apb_glue_reported(const void *addr, size_t access, bool wild)
{
	struct apb_san_block block;
	const struct apb_san_pool *pool = apb_san_find(addr, &block);

	if (!pool)
		return;
	if (wild)
		apb_glue_say("The pointer is not wild: it is at a block of %s.",
			     pool->name ? pool->name : "a pool");
	apb_glue_describe(addr, access, &block);
}

/* ---- frees that are none ---------------------------------------------- */

#define NOT_MALLOCED "attempting free on address which was not malloc()-ed: "
#define MISMATCH "new-delete-type-mismatch"

static const struct {
	const char *before, *after, *summary;
} words[] = {
	[APB_SAN_FREE_DOUBLE] = {"attempting double-free on ", ":",
				 "double-free"},
	[APB_SAN_FREE_INSIDE] = {NOT_MALLOCED, "", "bad-free"},
	[APB_SAN_FREE_WILD] = {NOT_MALLOCED, "", "bad-free"},
	[APB_SAN_FREE_SIZE] = {MISMATCH " on ", ":", MISMATCH},
	[APB_SAN_FREE_ALIGN] = {MISMATCH " on ", ":", MISMATCH},
	[APB_SAN_FREE_USABLE] = {"attempting to call malloc_usable_size() for "
				 "pointer which is not owned: ",
				 "", "bad-malloc_usable_size"},
};

/* What a block was aligned to by request is not known, only what it is. */
static void say_mismatch(const struct apb_glue_free *bad)
{
	uintptr_t at = (uintptr_t)bad->addr;

	if (bad->kind != APB_SAN_FREE_SIZE && bad->kind != APB_SAN_FREE_ALIGN)
		return;
	apb_glue_say("  object passed to delete has wrong type:");
	if (bad->block)
		apb_glue_say("  size of the allocated type:   %zu bytes;",
			     bad->block->size);
	if (bad->size)
		apb_glue_say("  size of the deallocated type: %zu bytes.",
			     bad->size);
	if (bad->kind != APB_SAN_FREE_ALIGN)
		return;
	apb_glue_say("  alignment of the allocated type:   "
		     "%zu bytes at most;",
		     (size_t)(at & -at));
	apb_glue_say("  alignment of the deallocated type: %zu bytes.",
		     bad->align);
}

static void print_free(void *arg)
{
	const struct apb_glue_free *bad = arg;
	char text[LINE_MAX_BYTES];

	memset(text, '=', 65);
	text[65] = 0;
	apb_glue_say("%s", text);
	apb_glue_say("==%d==ERROR: " TOOL_NAME ": %s0x%012lx in thread T%u%s",
		     (int)getpid(), words[bad->kind].before,
		     (unsigned long)bad->addr, apb_san_thread(),
		     words[bad->kind].after);
	say_mismatch(bad);
	apb_glue_print_stack(bad->stack);
	if (bad->block)
		apb_glue_describe(bad->addr, 0, bad->block);
	else
		apb_glue_say("0x%012lx is in no block that is known.",
			     (unsigned long)bad->addr);
	tool_announce(apb_san_thread());
	apb_glue_where(bad->stack, text, sizeof(text));
	apb_glue_say("SUMMARY: " TOOL_NAME ": %s %s", words[bad->kind].summary,
		     text);
}

/*
 * One report after the other: where the tool's go is one place for all threads.
 * Who has the lock may be about to end the process, and may come back here then,
 * from a handler.
 */
static struct {
	uint32_t taken;
	pthread_t owner;
} reporting;

static void report(void (*print)(void *arg), void *arg)
{
	while (__atomic_exchange_n(&reporting.taken, 1, __ATOMIC_ACQUIRE)) {
		if (pthread_equal(reporting.owner, pthread_self())) {
			print(arg);
			return;
		}
		usleep(1000);
	}
	reporting.owner = pthread_self();
	tool_report(print, arg);
	reporting.owner = 0;
	__atomic_store_n(&reporting.taken, 0, __ATOMIC_RELEASE);
}

void apb_glue_report_free(const struct apb_glue_free *bad)
{
	report(print_free, (void *)(uintptr_t)bad);
}

/* ---- requests that cannot be served ----------------------------------- */

struct refused {
	enum apb_glue_refusal kind;
	size_t n, size;
	uint32_t stack;
};

#define TOO_MANY                                                      \
	"%s parameters overflow: count * size (%zu * %zu) cannot be " \
	"represented in type size_t (thread T%u)"

static const char *say_refused(const struct refused *r, char *text, size_t size)
{
	unsigned int thread = apb_san_thread();

	switch (r->kind) {
	case APB_GLUE_CALLOC:
		snprintf(text, size, TOO_MANY, "calloc", r->n, r->size, thread);
		return "calloc-overflow";
	case APB_GLUE_REALLOCARRAY:
		snprintf(text, size, TOO_MANY, "reallocarray", r->n, r->size,
			 thread);
		return "reallocarray-overflow";
	case APB_GLUE_SIZE:
		snprintf(text, size,
			 "requested allocation size 0x%zx exceeds maximum "
			 "supported size (thread T%u)",
			 r->size, thread);
		return "allocation-size-too-big";
	case APB_GLUE_MEMORY:
		snprintf(text, size,
			 "out of memory: allocator is trying to allocate "
			 "0x%zx bytes",
			 r->size);
		return "out-of-memory";
	case APB_GLUE_PVALLOC:
		snprintf(
			text, size,
			"pvalloc parameters overflow: size 0x%zx rounded up to "
			"system page size cannot be represented in type size_t "
			"(thread T%u)",
			r->size, thread);
		return "pvalloc-overflow";
	case APB_GLUE_MEMALIGN:
		snprintf(text, size,
			 "invalid allocation alignment: %zu, alignment must be "
			 "a power of two (thread T%u)",
			 r->n, thread);
		return "invalid-allocation-alignment";
	case APB_GLUE_POSIX_MEMALIGN:
		snprintf(text, size,
			 "invalid alignment requested in posix_memalign: %zu, "
			 "alignment must be a power of two and a multiple of "
			 "sizeof(void*) == %zu (thread T%u)",
			 r->n, sizeof(void *), thread);
		return "invalid-posix-memalign-alignment";
	default:
		snprintf(text, size,
			 "invalid alignment requested in aligned_alloc: %zu, "
			 "alignment must be a power of two%s (thread T%u)",
			 r->n,
			 r->n & (r->n - 1) || !r->n ?
				 "" :
				 " and the requested size a multiple of it",
			 thread);
		return "invalid-aligned-alloc-alignment";
	}
}

static void print_refused(void *arg)
{
	const struct refused *r = arg;
	char text[LINE_MAX_BYTES];
	const char *summary;

	memset(text, '=', 65);
	text[65] = 0;
	apb_glue_say("%s", text);
	summary = say_refused(r, text, sizeof(text));
	apb_glue_say("==%d==ERROR: " TOOL_NAME ": %s", (int)getpid(), text);
	apb_glue_print_stack(r->stack);
	apb_glue_say("==%d==HINT: if you don't care about these errors you may "
		     "set allocator_may_return_null=1",
		     (int)getpid());
	tool_announce(apb_san_thread());
	apb_glue_where(r->stack, text, sizeof(text));
	apb_glue_say("SUMMARY: " TOOL_NAME ": %s %s", summary, text);
}

/* Not seen by the tool: ThreadSanitizer has the stack without it. */
APB_RAW void apb_glue_refused(enum apb_glue_refusal kind, size_t n, size_t size,
			      uint32_t stack)
{
	struct refused refused = {kind, n, size, stack};

	if (tool_refuse(kind, n, size, stack))
		report(print_refused, &refused);
}

void apb_glue_report_forked(void)
{
	__atomic_store_n(&reporting.taken, 0, __ATOMIC_RELEASE);
}
