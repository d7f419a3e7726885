/* SPDX-License-Identifier: MIT */
/*
 * A trace: the calls that an input made to the allocator, in order, as far as
 * they change anything, with what came back; and, below each, the calls that
 * it made to the kernel.  No address is in it: a block is the number of the
 * call that made it, any other pointer is told from a block.
 *
 * It lies in memory that a child shares with its parent, so that it is there
 * when the child is not.  One is recorded at a time in a process.
 */
#ifndef APB_FUZZ_TRACE_H
#define APB_FUZZ_TRACE_H

#include "ops.h"
#include "run.h"

#define TRACE_MAX ((size_t)1 << 19) /* events */
#define TRACE_NONE UINT32_MAX

enum trace_kind {
	TRACE_MALLOC,
	TRACE_CALLOC,
	TRACE_REALLOC,
	TRACE_REALLOCARRAY,
	TRACE_ALIGNED,
	TRACE_FREE,
	TRACE_FREE_SIZED,
	TRACE_FREE_ALIGNED_SIZED,
	TRACE_USABLE, /* only where the input asks for it */
	TRACE_SETTLE,
	TRACE_TRIM,
	TRACE_RESET,
	TRACE_FAULT, /* n: mode, align: calls, size: n, seed */
	TRACE_OPTION, /* n: which, size: value */
	TRACE_THREAD, /* n: which runs from now on */
	TRACE_THREAD_END,
	TRACE_FILL, /* all that is usable of a block is written to */
	TRACE_SCRIBBLE, /* so is a freed block: n: how, size, seed: val */
	TRACE_TIME, /* n milliseconds pass */
	TRACE_OS, /* n: enum apb_os_call, size, align: whether zero */
	TRACE_NR
};

/* What a pointer is told from. */
enum trace_ref {
	REF_NULL,
	REF_BLOCK, /* the start of a block, live or not, and delta */
	REF_ARENA, /* the start of the MiB a block is in, and delta */
	REF_BIT, /* a block with bit delta changed */
	REF_SPACE, /* an address of the simulated kernel's, and delta */
	REF_NUMBER, /* delta, a small number */
	REF_OTHER, /* not the allocator's; delta, below 64 */
};

struct trace_event {
	enum trace_kind kind;
	uint8_t ref; /* enum trace_ref, of the pointer passed */
	bool done; /* it came back */
	bool null; /* with NULL; of the kernel's: with a failure */
	bool misuse; /* on purpose */
	int error; /* errno after it */
	uint32_t op; /* of the input; its number of operations: the end */
	uint32_t block; /* that a call makes; TRACE_NONE: it makes none */
	uint32_t old; /* that ref is about, or TRACE_NONE */
	int64_t delta; /* of ref; of the kernel's map: the address's offset */
	size_t n, size, align;
	uint64_t seed;
};

struct trace {
	size_t nr;
	uint32_t blocks; /* calls that make one */
	uint32_t ops; /* the operation that runs */
	enum op_kind op_kind; /* OP_NR: none */
	bool full; /* the rest is missing */
	bool stopped;
	uint32_t suspect; /* the block that a finding is about, or TRACE_NONE */
	bool ended; /* the input's operations are done */
	struct ops_header head;
	struct trace_event event[];
};

/* NULL with errno if there is no memory. */
struct trace *trace_new(void);
void trace_free(struct trace *t);

/* Start anew: nothing recorded, of an input with this header. */
void trace_begin(struct trace *t, const struct ops_header *head);

/*
 * Something was found: record no more, the rest is cleaning up; and remember
 * the block whose address the detail names (the last, if it names several).
 */
void trace_found(struct trace *t, const struct run_finding *f);

/* One more event, a copy of @e; what is left to fill in, or NULL if no more fits or is wanted. */
struct trace_event *trace_add(struct trace *t, const struct trace_event *e);

/* A table that records in @t what goes through it to @real. */
const struct apb_api *trace_api(struct trace *t, const struct apb_api *real);

/* From struct run_observer. */
void trace_op(struct trace *t, const struct op *op, size_t index);
void trace_write(struct trace *t, const void *p, size_t size, unsigned int how,
		 uint32_t val);

#endif /* APB_FUZZ_TRACE_H */
