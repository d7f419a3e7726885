/* SPDX-License-Identifier: MIT */
/*
 * What a program asked for: counters of all of its calls, not only of those
 * that are recorded, and the table that APB_RECORD_PROFILE=1 prints.
 *
 * Not thread-safe; memory is static.
 */
#ifndef APB_RECORD_PROFILE_H
#define APB_RECORD_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

/* The calls that are told apart. */
enum profile_call {
	PROFILE_MALLOC,
	PROFILE_CALLOC,
	PROFILE_REALLOC, /* reallocarray() too */
	PROFILE_ALIGNED, /* aligned_alloc(), memalign(), valloc(), ... */
	PROFILE_FREE, /* of a block; free_sized() and its like too */
	PROFILE_FREE_NULL,
	PROFILE_NR
};

void profile_reset(void);

/* A request for @size bytes, that failed or not. */
void profile_request(enum profile_call call, size_t size, bool failed);

/* A call that requests nothing: a free, a realloc() that frees. */
void profile_release(enum profile_call call);

/* Print to stderr, in one piece. */
void profile_print(void);

#endif /* APB_RECORD_PROFILE_H */
