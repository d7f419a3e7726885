/* SPDX-License-Identifier: MIT */
/*
 * Misuse reports as they are expected: built from what a test knows of a
 * pointer, then compared with what the allocator says of it through each
 * function that takes a pointer.
 */
#ifndef APB_TESTREPORT_H
#define APB_TESTREPORT_H

#include "testlib.h"

enum entry {
	FREE,
	FREE_SIZED,
	FREE_ALIGNED_SIZED,
	REALLOC,
	REALLOCARRAY,
	USABLE_SIZE,
	NR_ENTRIES
};

/* A call that is a misuse. */
struct call {
	enum entry entry;
	void *ptr;
	size_t align;
	size_t size;
};

/* Make it; fails unless it returns what the header says. */
void do_call(const struct call *c);

/* What is expected; @place: all lines but the first. */
struct report {
	struct apb_misuse m;
	char place[600];
};

/* @ptr points to no memory of the allocator. */
void report_nowhere(struct report *r, const void *ptr);

/* Into a pool of @cls in use whose first block is @first, so many are out. */
void report_in_pool(struct report *r, enum apb_misuse_kind kind,
		    const void *ptr, unsigned int cls, const void *first,
		    unsigned int out);

/* Into an arena's header or an unused pool; the pools have @pool_bytes. */
void report_in_arena(struct report *r, enum apb_misuse_kind kind,
		     const void *ptr, size_t pool_bytes);

/* Into the large block @large of @size bytes. */
void report_in_large(struct report *r, enum apb_misuse_kind kind,
		     const void *ptr, const void *large, size_t size);

/* A further line. */
__attribute__((format(printf, 2, 3))) void report_say(struct report *r,
						      const char *fmt, ...);

/* The text is complete but for the first line, which names the function. */
void report_finish(struct report *r, const char *call);

/* A handler that notes what it is told; @arg is ignored. */
extern struct apb_misuse told;
extern int times_told;
void note_misuse(const struct apb_misuse *m, void *arg);

/* Fails unless that is what was told, once. */
void assert_told(const struct report *want);

/*
 * Make the call with a handler that returns: told once, all as expected, and
 * nothing in memory has changed.
 */
void assert_noted(struct report *want, const struct call *c);

/*
 * That, and with no handler, in a child: the text on stderr, and SIGABRT.
 */
void assert_reported(struct report *want, const struct call *c);

/* Through every function, with @size, which would be right. */
void assert_misuse_noted(struct report *want, size_t size);
void assert_misuse(struct report *want, size_t size);

#endif /* APB_TESTREPORT_H */
