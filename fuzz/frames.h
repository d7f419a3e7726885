/* SPDX-License-Identifier: MIT */
/*
 * Where a process was when it died: return addresses, and the names of the
 * functions they are in, from the program's own symbol table.  No symbolizer
 * is started, so that it costs nothing to compare the stacks of a thousand
 * runs.  Functions that the compiler inlined have no name here.
 */
#ifndef APB_FUZZ_FRAMES_H
#define APB_FUZZ_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define FRAMES_MAX 32
#define FRAMES_TOP 3 /* make a signature */

struct frames {
	unsigned int nr;
	uintptr_t at[FRAMES_MAX]; /* relative to the program's load address */
};

/* Before the first frames_capture(), where allocating is harmless. */
void frames_prepare(void);

/* The caller's stack; for signal handlers. */
void frames_capture(struct frames *f);

/*
 * The top functions of the allocator that are on the stack, innermost first,
 * "a < b < c"; if there are none, the innermost one of the harness.  Returns
 * @buf, "" if nothing is known.
 */
char *frames_top(const struct frames *f, char *buf, size_t len);

/* The same, all of them, a line each: "  #0 name+0x12"; to a stream-less fd. */
void frames_print(const struct frames *f, int fd);

#endif /* APB_FUZZ_FRAMES_H */
