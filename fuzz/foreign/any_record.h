/* SPDX-License-Identifier: MIT */
/*
 * The calls that an input makes to the target, in order, with what came back:
 * recorded by functions in the place of the target's, into memory that a child
 * shares with its parent.  No address is in it: a block is the number of the
 * call that made it.  What a fault did is not what was armed, but how many calls
 * of the kernel failed in each call of the target's.
 */
#ifndef APB_FOREIGN_RECORD_H
#define APB_FOREIGN_RECORD_H

#include <apb/apb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_MAX 8192 /* calls */
#define RECORD_NONE UINT32_MAX
#define RECORD_ALL 1000000u /* calls */

enum record_kind {
	RECORD_MALLOC,
	RECORD_CALLOC,
	RECORD_REALLOC,
	RECORD_REALLOCARRAY,
	RECORD_ALIGNED_ALLOC,
	RECORD_MEMALIGN,
	RECORD_POSIX_MEMALIGN,
	RECORD_VALLOC,
	RECORD_PVALLOC,
	RECORD_FREE,
	RECORD_FREE_SIZED,
	RECORD_FREE_ALIGNED_SIZED,
	RECORD_USABLE, /* where the input asks; then all of it is written to */
	RECORD_TRIM,
	RECORD_THREAD_END, /* n: which */
};

struct record_event {
	enum record_kind kind;
	uint8_t thread; /* that calls */
	bool done; /* it came back */
	uint32_t old; /* the call that made the block passed, or RECORD_NONE */
	size_t n, size; /* arguments; n: also an alignment */
	uintptr_t result; /* a block's address; to tell blocks apart */
	/* calls of the kernel in it; all that may have, if it did not return */
	uint32_t failed[APB_OS_NR];
};

struct record {
	uint32_t nr;
	bool full; /* the rest is missing */
	struct record_event event[RECORD_MAX];
};

/* Record from now on, in this process and its children; NULL: no memory. */
struct record *record_start(void);

/* Whether a call makes a block, or resizes one into another. */
static inline bool record_makes(const struct record_event *e)
{
	return e->kind <= RECORD_PVALLOC;
}

#endif /* APB_FOREIGN_RECORD_H */
