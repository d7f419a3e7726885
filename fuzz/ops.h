/* SPDX-License-Identifier: MIT */
/*
 * The input format: a header of 8 bytes, then records of 8 bytes.  Every byte
 * string decodes; fuzz/README.md is its documentation.
 */
#ifndef APB_FUZZ_OPS_H
#define APB_FUZZ_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPS_VERSION 1
#define OPS_HEADER_SIZE 8
#define OPS_RECORD_SIZE 8
#ifndef OPS_SLOTS /* the recorder of the benchmarks wants more */
#define OPS_SLOTS 16384 /* power of two */
#endif
#define OPS_MAX_OPS (1u << 20) /* records beyond are ignored */
#define OPS_BULK_MAX 1024
#define OPS_THREADS 8 /* at most */

enum op_kind {
	OP_MALLOC,
	OP_FREE,
	OP_CALLOC,
	OP_REALLOC,
	OP_REALLOCARRAY,
	OP_ALIGNED,
	OP_FREE_SIZED,
	OP_FREE_ALIGNED_SIZED,
	OP_BULK_ALLOC,
	OP_BULK_FREE,
	OP_USABLE, /* usable size; write all of it */
	OP_VERIFY, /* content of every live block */
	OP_SETTLE,
	OP_TRIM,
	OP_CHECK, /* apb_check(), statistics against the model */
	OP_FAULT, /* arm or disarm a fault */
	OP_MISUSE, /* a misuse; must be reported and change nothing */
	OP_SCRIBBLE, /* write into a freed block */
	OP_OPTION, /* set an option */
	OP_RESET, /* drop everything */
	OP_THREAD_END, /* the operation's thread ends */
	OP_NR
};

enum misuse_op {
	MISUSE_DOUBLE_FREE, /* of the block freed last, if not reused */
	MISUSE_INTERIOR,
	MISUSE_NEVER_ALLOCATED,
	MISUSE_UNUSED_POOL,
	MISUSE_METADATA,
	MISUSE_FOREIGN,
	MISUSE_WRONG_SIZE,
	MISUSE_WRONG_ALIGN,
	MISUSE_NR
};

/* What an option operation sets. */
enum ops_option {
	OPTION_PERIOD, /* settle period */
	OPTION_DIRTY, /* dirty limit */
	OPTION_LARGE_CACHE,
	OPTION_PURGE_DELAY, /* ms */
	OPTION_TIME, /* none: so many ms pass */
	OPTION_NR
};
#define OPS_AUTO SIZE_MAX /* the option's value: automatic */

/* The header, decoded. */
struct ops_header {
	uint8_t version; /* 0 is taken as 1; others are read as 1 too */
	bool real_kernel; /* only where the runner allows it */
	bool check_often; /* apb_check() after each operation */
	bool locked; /* as in a process of several threads: locks are taken */
	bool junk; /* blocks are filled; not on the real kernel */
	bool small_period; /* settle after few frees */
	bool no_dirty; /* purge at once */
	unsigned int sim_flags; /* enum simos_flags, but for SIMOS_FILL */
	unsigned int threads; /* played: 1, 2, 4 or 8 */
	uint32_t seed;
};

/* A record, decoded: what it will do, before slots are resolved. */
struct op {
	enum op_kind kind;
	unsigned int thread; /* that does it, below the header's threads */
	uint8_t arg; /* raw */
	uint16_t slot; /* raw, modulo OPS_SLOTS when used */
	uint32_t val; /* raw */
	size_t size; /* of the kinds that take one */
	size_t n; /* reallocarray, calloc: elements; bulk: count */
	size_t align; /* aligned kinds; may be invalid on purpose */
	unsigned int stride; /* bulk free */
	unsigned int mode; /* fault: enum apb_fault_mode */
	unsigned int calls; /* fault: mask of 1u << enum apb_os_call */
	bool in_kernel; /* fault: in the simulated kernel */
	enum ops_option option;
	size_t value; /* of the option */
};

/* Bytes of one bulk allocation at most (but one block at least). */
#define OPS_BULK_BYTES ((size_t)2 << 20)

/* Size classes 1 to OPS_CLASSES, as the allocator's documentation has them. */
#define OPS_CLASSES 56
size_t ops_class_size(unsigned int c);

/* Decode the header; missing bytes are 0. */
void ops_header(const uint8_t *data, size_t size, struct ops_header *h);

/* Number of whole records. */
size_t ops_count(size_t size);

/* Decode record @i. */
void ops_decode(const uint8_t *data, size_t size, size_t i, struct op *op);

/*
 * Encode: the canonical record of @kind with operands such that ops_decode()
 * gives them back; for the recorder and the hand-made seeds.
 */
#define OPS_EXACT_MAX (((size_t)1 << 27) - 4096)
#define OPS_BYTEWISE ((size_t)32 << 10) /* beyond: exact to the page */
void ops_encode_header(uint8_t out[OPS_HEADER_SIZE],
		       const struct ops_header *h);
void ops_encode(uint8_t out[OPS_RECORD_SIZE], enum op_kind kind, uint8_t arg,
		uint16_t slot, uint32_t val);
/* The same record, done by @thread, which counts if there are so many. */
void ops_set_thread(uint8_t record[OPS_RECORD_SIZE], unsigned int thread);
/*
 * The val for size mode EXACT: @size to the byte up to OPS_BYTEWISE, rounded up
 * to pages beyond, clipped to OPS_EXACT_MAX.
 */
uint32_t ops_exact_size(size_t size);
#define OPS_MODE_OWN 0
#define OPS_MODE_EXACT 6

/* One line of words; returns @buf. */
char *ops_describe(const struct op *op, char *buf, size_t len);

extern const char *const op_names[OP_NR];

#endif /* APB_FUZZ_OPS_H */
