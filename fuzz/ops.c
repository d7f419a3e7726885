// SPDX-License-Identifier: MIT
/*
 * The input format: decoding, encoding, words.  Pure functions of the bytes;
 * README.md says what they mean.
 */
#include "ops.h"

#include "simos.h"

#include <stdio.h>
#include <string.h>

#define KIB ((size_t)1024)
#define MIB (KIB * KIB)
#define PAGE (4 * KIB)

const char *const op_names[OP_NR] = {
	[OP_MALLOC] = "malloc",
	[OP_FREE] = "free",
	[OP_CALLOC] = "calloc",
	[OP_REALLOC] = "realloc",
	[OP_REALLOCARRAY] = "reallocarray",
	[OP_ALIGNED] = "aligned_alloc",
	[OP_FREE_SIZED] = "free_sized",
	[OP_FREE_ALIGNED_SIZED] = "free_aligned_sized",
	[OP_BULK_ALLOC] = "bulk malloc",
	[OP_BULK_FREE] = "bulk free",
	[OP_USABLE] = "usable_size",
	[OP_VERIFY] = "verify",
	[OP_SETTLE] = "settle",
	[OP_TRIM] = "trim",
	[OP_CHECK] = "check",
	[OP_FAULT] = "fault",
	[OP_MISUSE] = "misuse",
	[OP_SCRIBBLE] = "scribble",
	[OP_OPTION] = "option",
	[OP_RESET] = "reset",
	[OP_THREAD_END] = "thread end",
};

/* What the low 5 bits of a record's first byte mean. */
static const uint8_t kind_of[32] = {
	OP_MALLOC,     OP_MALLOC,     OP_MALLOC,
	OP_MALLOC,     OP_MALLOC,     OP_FREE,
	OP_FREE,       OP_FREE,	      OP_FREE,
	OP_FREE,       OP_CALLOC,     OP_REALLOC,
	OP_REALLOC,    OP_REALLOC,    OP_REALLOCARRAY,
	OP_ALIGNED,    OP_FREE_SIZED, OP_FREE_ALIGNED_SIZED,
	OP_BULK_ALLOC, OP_BULK_ALLOC, OP_BULK_FREE,
	OP_BULK_FREE,  OP_USABLE,     OP_VERIFY,
	OP_SETTLE,     OP_TRIM,	      OP_CHECK,
	OP_FAULT,      OP_MISUSE,     OP_SCRIBBLE,
	OP_OPTION,     OP_RESET,
};

#define RESET_ARG 0xa5

/* What looks at everything is done for an arg below this only: 1 in 8. */
#define HEAVY_ARG 32
#define MISUSE_ARG 64
#define THREAD_END_ARG 64

/* The size modes are for an arg below this, and a slot below OPS_SLOTS */
#define MODE_ARG 32
#define BULK_MODE_BITS 0x3c /* of a bulk's arg: the same if any is set */

/* The high bits of a record's first byte are its thread. */
#define THREAD_SHIFT 5

/* By bits 5-7 of the header's byte 2: most random headers have one thread. */
static const uint8_t threads_of[8] = {1, 1, 1, 1, 1, 2, 4, OPS_THREADS};

/* The low bits of the header's byte 1. */
#define KERNEL_JUNK 6
#define KERNEL_REAL 7

/* Flags of the simulated kernel that stand in the header's byte 1. */
#define SIM_FLAGS_1 0xc0
/* The one that does not stand where its bit is. */
#define FEW_MAPPINGS 0x08

/* An option operation with an arg from here on is about the newer ones. */
#define NEW_OPTION_ARG 0xc0

static const struct {
	const char *name;
	const char *words[3];
	size_t values[3];
} options[OPTION_NR] = {
	[OPTION_PERIOD] = {"settle period",
			   {"automatic", "1", "64"},
			   {0, 1, 64}},
	[OPTION_DIRTY] = {"dirty limit",
			  {"automatic", "0", "64 KiB"},
			  {OPS_AUTO, 0, 64 * KIB}},
	[OPTION_LARGE_CACHE] = {"large cache",
				{"1 MiB", "0", "64 KiB"},
				{MIB, 0, 64 * KIB}},
	[OPTION_PURGE_DELAY] = {"purge delay",
				{"500 ms", "0", "10 ms"},
				{500, 0, 10}},
	[OPTION_TIME] = {"time passes:",
			 {"1 ms", "500 ms", "10 s"},
			 {1, 500, 10000}},
};

static const char *const misuse_words[MISUSE_NR] = {
	"double free", "interior pointer", "never allocated block",
	"unused pool", "metadata",	   "foreign pointer",
	"wrong size",  "wrong alignment",
};

static uint32_t le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static void put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* 16 to 512 in steps of 16, then four to a doubling. */
static const uint16_t class_size[OPS_CLASSES + 1] = {
	0,     16,    32,    48,    64,	   80,	  96,	 112,  128,  144,
	160,   176,   192,   208,   224,   240,	  256,	 272,  288,  304,
	320,   336,   352,   368,   384,   400,	  416,	 432,  448,  464,
	480,   496,   512,   640,   768,   896,	  1024,	 1280, 1536, 1792,
	2048,  2560,  3072,  3584,  4096,  5120,  6144,	 7168, 8192, 10240,
	12288, 14336, 16384, 20480, 24576, 28672, 32768,
};

size_t ops_class_size(unsigned int c)
{
	return class_size[c];
}

void ops_header(const uint8_t *data, size_t size, struct ops_header *h)
{
	uint8_t b[OPS_HEADER_SIZE] = {0};

	if (size)
		memcpy(b, data, size < sizeof(b) ? size : sizeof(b));
	*h = (struct ops_header){
		.version = OPS_VERSION,
		.real_kernel = (b[1] & 7) == KERNEL_REAL,
		.junk = (b[1] & 7) == KERNEL_JUNK,
		.small_period = b[1] & 0x10,
		.no_dirty = b[1] & 0x20,
		.sim_flags = (b[2] & 0x1f) | (b[1] & SIM_FLAGS_1),
		.threads = threads_of[b[2] >> 5],
		.check_often = (b[3] & 0x1f) == 0x1f,
		.locked = (b[3] & 0xe0) == 0xe0,
		.seed = le32(b + 4),
	};
	if (b[1] & FEW_MAPPINGS)
		h->sim_flags |= SIMOS_FEW;
}

void ops_encode_header(uint8_t out[OPS_HEADER_SIZE], const struct ops_header *h)
{
	memset(out, 0, OPS_HEADER_SIZE);
	out[0] = OPS_VERSION;
	out[1] = (h->real_kernel ? KERNEL_REAL :
		  h->junk	 ? KERNEL_JUNK :
				   0) |
		 (h->small_period ? 0x10 : 0) | (h->no_dirty ? 0x20 : 0);
	out[1] |= h->sim_flags & SIM_FLAGS_1;
	out[2] = h->sim_flags & 0x1f;
	for (unsigned int i = 0; h->threads > 1 && i < 8; i++)
		if (threads_of[i] == h->threads)
			out[2] |= (uint8_t)(i << 5);
	out[3] = (h->check_often ? 0x1f : 0) | (h->locked ? 0xe0 : 0);
	if (h->sim_flags & SIMOS_FEW)
		out[1] |= FEW_MAPPINGS;
	put_le32(out + 4, h->seed);
}

size_t ops_count(size_t size)
{
	size_t n = size < OPS_HEADER_SIZE ?
			   0 :
			   (size - OPS_HEADER_SIZE) / OPS_RECORD_SIZE;

	return n < OPS_MAX_OPS ? n : OPS_MAX_OPS;
}

uint32_t ops_exact_size(size_t size)
{
	if (size > OPS_EXACT_MAX)
		size = OPS_EXACT_MAX;
	if (size > OPS_BYTEWISE)
		size = (size + PAGE - 1) & ~(PAGE - 1);
	return (uint32_t)size << 5;
}

static size_t huge_size(uint32_t val)
{
	size_t low = (val >> 2) % 4096;

	switch (val & 3) {
	case 0:
		return (size_t)PTRDIFF_MAX - low;
	case 1:
		return (size_t)PTRDIFF_MAX + 1 + low;
	case 2:
		return SIZE_MAX - low;
	default:
		return (size_t)1 << (29 + (val >> 2) % 35);
	}
}

/*
 * Whole bytes, shifted to make small sizes likely.  Giant ones have to be
 * whole pages: no program minds, and random input has few of them.
 */
static size_t exact_size(uint32_t val)
{
	size_t size = (val >> 5) >> (val & 31);

	return size % PAGE ? size % OPS_BYTEWISE : size;
}

/*
 * One of four classes that the input is about, from the header's seed: with
 * sizes from everywhere every block would open a pool, and none would fill.
 * Most are of the smallest kind of pool, for the same reason.
 */
static size_t own_size(const uint8_t *seed, uint32_t val)
{
	uint8_t b = seed[val % 4];
	unsigned int cls = 1 + b % (b < 192 ? 36 : OPS_CLASSES);

	return class_size[cls] - (val >> 8) % 16;
}

static size_t decode_size(const uint8_t *seed, unsigned int mode, uint32_t val)
{
	size_t near = (val >> 8) % 3;
	size_t size;

	switch (mode) {
	case OPS_MODE_OWN:
		return own_size(seed, val);
	case 1:
		return class_size[1 + val % OPS_CLASSES] + near - 1;
	case 2:
		return val % (32 * KIB + 1);
	case 3:
		size = val % 9 * PAGE + (val >> 8) % 33;
		return size < 16 ? 0 : size - 16;
	case 4:
		return 32 * KIB + (val % MIB >> (val >> 20) % 8);
	case 5:
		return huge_size(val);
	case OPS_MODE_EXACT:
		return exact_size(val);
	default:
		return ((size_t)1 << val % 20) + near - 1;
	}
}

/* Elements and their size, of an array of about @size bytes. */
static void decode_array(struct op *op, size_t size)
{
	switch (op->arg >> 3 & 3) {
	case 0:
		op->n = 1;
		op->size = size;
		break;
	case 1:
		op->n = 1 + (op->val >> 16) % 16;
		op->size = size / op->n;
		break;
	case 2:
		op->n = size;
		op->size = 1;
		break;
	default:
		op->size = size < 2 ? 2 : size;
		op->n = SIZE_MAX / op->size + 1 + (op->val >> 24) % 2;
		break;
	}
}

static size_t decode_align(unsigned int code)
{
	static const size_t invalid[] = {0, 3, 24, 4097};

	if (code <= 22)
		return (size_t)1 << code;
	if (code <= 26)
		return invalid[code - 23];
	return 64;
}

static void decode_aligned(struct op *op, const uint8_t *seed)
{
	unsigned int code = op->arg >> 3;

	if (op->slot < OPS_SLOTS) {
		op->size = decode_size(seed, op->arg & 7, op->val);
		op->align = decode_align(code);
	} else {
		op->size = decode_size(seed, OPS_MODE_OWN, op->val);
		op->align = (size_t)1 << code % 13; /* up to a page */
	}
}

static size_t decode_count(uint8_t arg, uint32_t val)
{
	uint32_t v = val >> 16;

	if (arg >= 0xc0)
		return 1 + ((v % OPS_BULK_MAX) >> (v >> 10 & 31));
	return 1 + v % 8;
}

static void decode_bulk_alloc(struct op *op, const uint8_t *seed)
{
	unsigned int mode =
		op->arg & BULK_MODE_BITS ? OPS_MODE_OWN : op->arg & 3;

	op->size = decode_size(seed, mode, op->val & 0xffff);
	op->n = decode_count(op->arg, op->val);
	if (op->n * op->size > OPS_BULK_BYTES)
		op->n = OPS_BULK_BYTES / op->size;
}

static void decode_fault(struct op *op)
{
	op->mode = op->arg & 3;
	op->calls = op->arg >> 2 & 15;
	if (!op->calls)
		op->calls = 1;
	op->in_kernel = op->arg & 0x40;
	op->n = 1 + op->val % 16;
}

static const enum ops_option new_options[4] = {
	OPTION_LARGE_CACHE, OPTION_PURGE_DELAY, OPTION_TIME, OPTION_TIME};

static void decode_option(struct op *op)
{
	if (op->arg >= NEW_OPTION_ARG)
		op->option = new_options[op->arg & 3];
	else
		op->option = op->arg & 1 ? OPTION_PERIOD : OPTION_DIRTY;
	op->value = options[op->option].values[op->val % 3];
}

/*
 * Random input is not to spend its time on operations that take long.  A slot
 * of OPS_SLOTS or more is as good as one below; it says "something light".
 */
static enum op_kind light_kind(enum op_kind kind, uint8_t arg, uint16_t slot,
			       unsigned int threads)
{
	switch (kind) {
	case OP_VERIFY:
	case OP_SETTLE:
		return arg < HEAVY_ARG ? kind : OP_MALLOC;
	case OP_TRIM:
	case OP_CHECK:
		return arg < HEAVY_ARG ? kind : OP_FREE;
	case OP_BULK_ALLOC:
		return slot < OPS_SLOTS ? kind : OP_MALLOC;
	case OP_MISUSE:
		return arg < MISUSE_ARG ? kind : OP_FREE;
	case OP_RESET:
		if (threads > 1 && arg < THREAD_END_ARG)
			return OP_THREAD_END;
		return arg == RESET_ARG ? kind : OP_MALLOC;
	default:
		return kind;
	}
}

void ops_decode(const uint8_t *data, size_t size, size_t i, struct op *op)
{
	uint8_t b[OPS_RECORD_SIZE] = {0};
	size_t at = OPS_HEADER_SIZE + i * OPS_RECORD_SIZE;
	const uint8_t *seed = data + 4;
	unsigned int mode, threads = 1;

	if (i < ops_count(size)) {
		memcpy(b, data + at, sizeof(b));
		threads = threads_of[data[2] >> 5];
	} else {
		seed = b;
	}
	*op = (struct op){
		.kind = kind_of[b[0] & 31],
		.thread = (b[0] >> THREAD_SHIFT) % threads,
		.arg = b[1],
		.slot = (uint16_t)(b[2] | b[3] << 8),
		.val = le32(b + 4),
	};
	op->kind = light_kind(op->kind, op->arg, op->slot, threads);
	mode = op->arg < MODE_ARG && op->slot < OPS_SLOTS ? op->arg & 7 :
							    OPS_MODE_OWN;
	switch (op->kind) {
	case OP_MALLOC:
	case OP_REALLOC:
		op->size = decode_size(seed, mode, op->val);
		break;
	case OP_CALLOC:
	case OP_REALLOCARRAY:
		decode_array(op, decode_size(seed, mode, op->val));
		break;
	case OP_ALIGNED:
		decode_aligned(op, seed);
		break;
	case OP_BULK_ALLOC:
		decode_bulk_alloc(op, seed);
		break;
	case OP_BULK_FREE:
		op->n = decode_count(op->arg, op->val);
		op->stride = 1 + op->arg % 16;
		break;
	case OP_FAULT:
		decode_fault(op);
		break;
	case OP_OPTION:
		decode_option(op);
		break;
	default:
		break;
	}
}

void ops_set_thread(uint8_t record[OPS_RECORD_SIZE], unsigned int thread)
{
	record[0] = (uint8_t)((record[0] & 31) | thread << THREAD_SHIFT);
}

void ops_encode(uint8_t out[OPS_RECORD_SIZE], enum op_kind kind, uint8_t arg,
		uint16_t slot, uint32_t val)
{
	uint8_t code = 0;

	while (kind_of[code] != (kind == OP_THREAD_END ? OP_RESET : kind))
		code++;
	if (kind == OP_RESET)
		arg = RESET_ARG;
	else if (kind == OP_THREAD_END)
		arg %= THREAD_END_ARG;
	else if (light_kind(kind, arg, 0, 1) != kind)
		arg %= HEAVY_ARG; /* which is below MISUSE_ARG, too */
	out[0] = code;
	out[1] = arg;
	slot %= OPS_SLOTS;
	out[2] = (uint8_t)slot;
	out[3] = (uint8_t)(slot >> 8);
	put_le32(out + 4, val);
}

static void describe_fault(const struct op *op, char *buf, size_t len)
{
	static const char *const calls[] = {"map", "unmap", "purge", "remap"};
	const char *where = op->in_kernel ? "in the simulated kernel" :
					    "in the allocator's OS layer";
	char mask[32] = "";
	size_t used = 0;

	if (!op->mode) {
		snprintf(buf, len, "fault off, %s", where);
		return;
	}
	for (int i = 0; i < 4; i++) {
		if (op->calls & 1u << i)
			used += (size_t)snprintf(mask + used,
						 sizeof(mask) - used, "%s%s",
						 used ? "/" : "", calls[i]);
	}
	snprintf(buf, len,
		 op->mode == 1 ? "fault: %s call %zu fails, once, %s" :
		 op->mode == 2 ? "fault: %s calls fail from number %zu on, %s" :
				 "fault: %s calls fail, 1 in %zu, %s",
		 mask, op->n, where);
}

static void describe(const struct op *op, char *buf, size_t len)
{
	const char *name = op_names[op->kind];
	unsigned int slot = op->slot % OPS_SLOTS;

	switch (op->kind) {
	case OP_MALLOC:
	case OP_REALLOC:
		snprintf(buf, len, "%s(%zu), slot %u", name, op->size, slot);
		break;
	case OP_CALLOC:
	case OP_REALLOCARRAY:
		snprintf(buf, len, "%s(%zu x %zu), slot %u", name, op->n,
			 op->size, slot);
		break;
	case OP_ALIGNED:
		snprintf(buf, len, "%s(%zu, %zu), slot %u", name, op->align,
			 op->size, slot);
		break;
	case OP_BULK_ALLOC:
		snprintf(buf, len, "%s: %zu x %zu, slots from %u", name, op->n,
			 op->size, slot);
		break;
	case OP_BULK_FREE:
		snprintf(buf, len,
			 "%s: %zu blocks from live number %u, each %u "
			 "further",
			 name, op->n, op->slot, op->stride);
		break;
	case OP_FAULT:
		describe_fault(op, buf, len);
		break;
	case OP_MISUSE:
		snprintf(buf, len, "misuse: %s, slot %u, %u",
			 misuse_words[op->arg % MISUSE_NR], slot, op->val);
		break;
	case OP_OPTION:
		snprintf(buf, len, "option: %s %s", options[op->option].name,
			 options[op->option].words[op->val % 3]);
		break;
	case OP_FREE:
	case OP_FREE_SIZED:
	case OP_FREE_ALIGNED_SIZED:
	case OP_USABLE:
		snprintf(buf, len, "%s, slot %u", name, slot);
		break;
	case OP_SCRIBBLE:
		snprintf(buf, len, "%s over freed block %u", name, slot);
		break;
	default:
		snprintf(buf, len, "%s", name);
		break;
	}
}

/* Thread 0 goes without saying. */
char *ops_describe(const struct op *op, char *buf, size_t len)
{
	int n = 0;

	if (op->thread)
		n = snprintf(buf, len, "thread %u: ", op->thread);
	if ((size_t)n < len)
		describe(op, buf + n, len - (size_t)n);
	return buf;
}
