/* SPDX-License-Identifier: MIT */
/*
 * The log: the calls of a program as an input of the harness.
 *
 * Keeps which slot of the input each live block has, so that a replay puts
 * every block into the slot that was recorded and frees it from there.  The
 * slots follow the rules of fuzz/README.md: a block is made in a slot that is
 * free at that moment, the one freed last, and taken from a slot that holds
 * one; a call that cannot be said in that way is left out and counted.
 *
 * Not thread-safe, and its memory comes from mmap() only.
 */
#ifndef APB_RECORD_LOG_H
#define APB_RECORD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ops.h"

/* A call as the program made it. */
struct call {
	enum op_kind kind;
	size_t size; /* all of it; of a product that overflows: one element */
	size_t align; /* of OP_ALIGNED */
	bool overflow; /* calloc, reallocarray: the product does */
};

/* Calls that are not in the log, and why. */
struct log_left_out {
	uint64_t window; /* came before the window */
	uint64_t no_slot; /* made a block when every slot was taken */
	uint64_t unknown; /* freed or resized a block without a slot */
	uint64_t failed; /* failed where a replay might not */
};

/* Map the memory: at most @max operations, after @window calls. */
bool log_open(size_t max, uint64_t window);

/* Forget everything and start anew, in a forked child. */
void log_restart(void);

/* A block was made; @ptr is NULL when the call failed. */
void log_make(const struct call *call, void *ptr);

/* @old was resized; @ptr is NULL when the call failed and left it alone. */
void log_move(const struct call *call, void *old, void *ptr);

/* @ptr was given back. */
void log_free(enum op_kind kind, void *ptr);

bool log_full(void);
size_t log_count(void);
size_t log_clipped(void); /* sizes and alignments beyond what a record holds */
void log_left_out(struct log_left_out *left);

/* Write the file: all of it under @path, or nothing.  Returns 0 or -errno. */
int log_write(const char *path);

#endif /* APB_RECORD_LOG_H */
