/* SPDX-License-Identifier: MIT */
/*
 * A trace made ready for replay: header, then steps.  It is closed in itself
 * (a slot that is filled is empty before, one that is freed or resized is not,
 * at the end all are empty), so that the replay needs no conditions.
 */
#ifndef APB_BENCH_TRACE_H
#define APB_BENCH_TRACE_H

#include <stdint.h>

#define TRACE_MAGIC 0x3165636172747061ull
#define TRACE_SLOT_BITS 20

struct trace_header {
	uint64_t magic;
	uint64_t steps;
	uint64_t slots;
};

enum trace_kind {
	TRACE_MALLOC,
	TRACE_CALLOC,
	TRACE_ALIGNED,
	TRACE_REALLOC,
	TRACE_FREE
};

/* kind << 28 | log2 of the alignment << TRACE_SLOT_BITS | slot */
struct trace_step {
	uint32_t what;
	uint32_t size;
};

static inline uint32_t trace_what(enum trace_kind kind, unsigned int shift,
				  uint32_t slot)
{
	return (uint32_t)kind << 28 | shift << TRACE_SLOT_BITS | slot;
}

#endif /* APB_BENCH_TRACE_H */
