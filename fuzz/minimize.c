// SPDX-License-Identifier: MIT
/* Shrinking a failing input; see minimize.h. */
#include "minimize.h"

#include "ops.h"

#include <string.h>

#define ROUNDS 8
#define PAIRS_MAX 32 /* operations, up to which pairs of them are tried */
#define SEEN 65536 /* a power of two */

struct shrink {
	uint8_t *data, *scratch;
	size_t size;
	minimize_test_fn test;
	minimize_time_fn time;
	void *arg;
};

/*
 * Hashes of candidates that did not fail: later rounds come across most of them
 * again.  A collision costs one candidate.
 */
static uint64_t seen[SEEN];

static uint8_t *record(uint8_t *data, size_t i)
{
	return data + OPS_HEADER_SIZE + i * OPS_RECORD_SIZE;
}

static uint64_t hash(const uint8_t *data, size_t size)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (size_t i = 0; i < size; i++)
		h = (h ^ data[i]) * UINT64_C(0x100000001b3);
	return h | 1; /* 0 is an empty entry */
}

/* The candidate in scratch, of @size bytes: keep it if it fails as well. */
static bool accept(struct shrink *s, size_t size)
{
	uint64_t h;

	if (size == s->size && !memcmp(s->scratch, s->data, size))
		return false;
	h = hash(s->scratch, size);
	if (seen[h % SEEN] == h || !s->time(s->arg))
		return false;
	if (!s->test(s->scratch, size, s->arg)) {
		seen[h % SEEN] = h;
		return false;
	}
	memcpy(s->data, s->scratch, size);
	s->size = size;
	return true;
}

/* ---- fewer operations ------------------------------------------------- */

static bool drop(struct shrink *s, size_t first, size_t n)
{
	size_t at = OPS_HEADER_SIZE + first * OPS_RECORD_SIZE;
	size_t end = at + n * OPS_RECORD_SIZE;

	if (end > s->size)
		end = s->size;
	memcpy(s->scratch, s->data, at);
	memcpy(s->scratch + at, s->data + end, s->size - end);
	return accept(s, s->size - (end - at));
}

/* The rest at the end that is no record. */
static void drop_rest(struct shrink *s)
{
	size_t size = OPS_HEADER_SIZE + ops_count(s->size) * OPS_RECORD_SIZE;

	if (size >= s->size)
		return;
	memcpy(s->scratch, s->data, size);
	accept(s, size);
}

/* Ever smaller runs of operations, from the back: later ones matter less. */
static bool drop_operations(struct shrink *s)
{
	size_t n = ops_count(s->size);
	bool any = false;

	while (n && s->time(s->arg)) {
		size_t count = ops_count(s->size);
		bool some = false;

		for (size_t i = count; i > 0;) {
			i -= i < n ? i : n;
			some |= drop(s, i, n);
		}
		any |= some;
		if (!some || n > 1)
			n /= 2;
	}
	return any;
}

/* Two that need each other, such as a malloc and its free. */
static bool drop_pairs(struct shrink *s)
{
	bool any = false;

	if (ops_count(s->size) > PAIRS_MAX)
		return false;
	for (size_t i = ops_count(s->size); i-- > 0;) {
		for (size_t k = i; k-- > 0;) {
			size_t n = ops_count(s->size);
			uint8_t *to = s->scratch;

			if (i >= n)
				break;
			memcpy(to, s->data, OPS_HEADER_SIZE);
			to += OPS_HEADER_SIZE;
			for (size_t at = 0; at < n; at++) {
				if (at == i || at == k)
					continue;
				memcpy(to, record(s->data, at),
				       OPS_RECORD_SIZE);
				to += OPS_RECORD_SIZE;
			}
			any |= accept(s, (size_t)(to - s->scratch));
		}
	}
	return any;
}

/* ---- smaller numbers -------------------------------------------------- */

static bool try_header(struct shrink *s, size_t at, uint8_t byte)
{
	memcpy(s->scratch, s->data, s->size);
	if (at >= s->size || s->scratch[at] == byte)
		return false;
	s->scratch[at] = byte;
	return accept(s, s->size);
}

static bool shrink_header(struct shrink *s)
{
	bool any;

	memcpy(s->scratch, s->data, s->size);
	memset(s->scratch, 0, s->size < 4 ? s->size : 4);
	any = accept(s, s->size);
	for (size_t i = 0; i < OPS_HEADER_SIZE; i++) {
		if (try_header(s, i, 0)) {
			any = true;
			continue;
		}
		/* one flag less at a time */
		for (int bit = 0; i < 4 && i < s->size && bit < 8; bit++)
			any |= try_header(s, i,
					  s->data[i] & (uint8_t)~(1 << bit));
	}
	return any;
}

static bool try_record(struct shrink *s, size_t i, enum op_kind kind,
		       uint8_t arg, uint16_t slot, uint32_t val)
{
	unsigned int thread = record(s->data, i)[0] >> 5;

	memcpy(s->scratch, s->data, s->size);
	ops_encode(record(s->scratch, i), kind, arg, slot, val);
	ops_set_thread(record(s->scratch, i), thread);
	return accept(s, s->size);
}

static bool try_thread(struct shrink *s, size_t i, unsigned int thread)
{
	memcpy(s->scratch, s->data, s->size);
	ops_set_thread(record(s->scratch, i), thread);
	return accept(s, s->size);
}

static void get(struct shrink *s, size_t i, struct op *op)
{
	ops_decode(s->data, s->size, i, op);
}

/* The kinds that do the same in a plainer way. */
static bool plainer_kind(struct shrink *s, size_t i)
{
	static const struct {
		enum op_kind from, to;
	} plainer[] = {
		{OP_CALLOC, OP_MALLOC},		  {OP_ALIGNED, OP_MALLOC},
		{OP_REALLOCARRAY, OP_REALLOC},	  {OP_FREE_SIZED, OP_FREE},
		{OP_FREE_ALIGNED_SIZED, OP_FREE}, {OP_BULK_ALLOC, OP_MALLOC},
		{OP_BULK_FREE, OP_FREE},	  {OP_TRIM, OP_SETTLE},
	};
	struct op op;

	get(s, i, &op);
	for (size_t k = 0; k < sizeof(plainer) / sizeof(plainer[0]); k++)
		if (op.kind == plainer[k].from && op.size <= OPS_EXACT_MAX &&
		    try_record(s, i, plainer[k].to, OPS_MODE_EXACT, op.slot,
			       ops_exact_size(op.size)))
			return true;
	return false;
}

static bool try_val(struct shrink *s, size_t i, uint32_t val)
{
	struct op op;

	get(s, i, &op);
	return try_record(s, i, op.kind, op.arg, op.slot, val);
}

/*
 * The least number that still fails, as far as halving finds it: bits
 * @shift .. @shift + @bits of val.
 */
static bool shrink_field(struct shrink *s, size_t i, int shift, int bits)
{
	uint32_t mask = (bits < 32 ? (1u << bits) - 1 : UINT32_MAX) << shift;
	uint32_t step, now;
	bool any = false;
	struct op op;

	get(s, i, &op);
	if (!(op.val & mask))
		return false;
	if (try_val(s, i, op.val & ~mask))
		return true;
	now = (op.val & mask) >> shift;
	for (step = now / 2; step; step /= 2) {
		while (now >= step &&
		       try_val(s, i,
			       (op.val & ~mask) | (now - step) << shift)) {
			now -= step;
			any = true;
		}
	}
	return any;
}

/* Round sizes are easier to read than the least one that fails. */
static bool round_size(struct shrink *s, size_t i)
{
	static const size_t round[] = {16, 64, 512, 1024, 4096, 32768, 65536};
	struct op op;

	get(s, i, &op);
	for (size_t k = 0; k < sizeof(round) / sizeof(round[0]); k++) {
		if (op.size <= round[k])
			return false;
		if (try_val(s, i, ops_exact_size(round[k])))
			return true;
	}
	return false;
}

/* The arg with which the exact mode gives the same; -1 if there is none. */
static int exact_arg(const struct op *op, size_t *size)
{
	*size = op->size;
	switch (op->kind) {
	case OP_CALLOC:
	case OP_REALLOCARRAY:
		/* one element of the whole size */
		if (__builtin_mul_overflow(op->n, op->size, size))
			return -1;
		break;
	case OP_ALIGNED:
		if (!op->align || (op->align & (op->align - 1)))
			return -1;
		return __builtin_ctzl(op->align) << 3 | OPS_MODE_EXACT;
	default:
		break;
	}
	return OPS_MODE_EXACT;
}

static bool shrink_size(struct shrink *s, size_t i)
{
	struct op op;
	size_t size;
	bool any;
	int arg;

	get(s, i, &op);
	arg = exact_arg(&op, &size);
	if (arg < 0 || size > OPS_EXACT_MAX)
		return false;
	/* in itself no gain, but now it can be made smaller */
	if ((op.arg != arg || (op.val & 31)) &&
	    !try_record(s, i, op.kind, (uint8_t)arg, op.slot,
			ops_exact_size(size)))
		return false;
	any = round_size(s, i);
	return shrink_field(s, i, 5, 27) || any;
}

/* A bulk operation whose numbers are what they say; see README.md. */
#define BULK_ARG 0xc0 /* any count */
#define BULK_SIZE_MODE 2 /* the size as it is */

static bool shrink_bulk_alloc(struct shrink *s, size_t i)
{
	static const size_t round[] = {16, 64, 512, 1024, 4096, 32768};
	bool any = false;
	struct op op;

	get(s, i, &op);
	if (op.size > 32768 || op.n > OPS_BULK_MAX || !op.n)
		return shrink_field(s, i, 16, 16);
	if (op.arg != (BULK_ARG | BULK_SIZE_MODE) || op.val >> 26)
		any = try_record(
			s, i, op.kind, BULK_ARG | BULK_SIZE_MODE, op.slot,
			(uint32_t)(op.n - 1) << 16 | (uint32_t)op.size);
	any |= shrink_field(s, i, 16, 10);
	get(s, i, &op);
	for (size_t k = 0; k < sizeof(round) / sizeof(round[0]); k++)
		if (op.size > round[k] &&
		    try_val(s, i, (op.val & 0xffff0000) | (uint32_t)round[k])) {
			any = true;
			break;
		}
	return shrink_field(s, i, 0, 16) || any;
}

static bool shrink_bulk_free(struct shrink *s, size_t i)
{
	bool any = false;
	struct op op;

	get(s, i, &op);
	if (op.arg < BULK_ARG || op.val >> 26)
		any = try_record(s, i, op.kind,
				 (uint8_t)(BULK_ARG + op.stride - 1), op.slot,
				 (uint32_t)(op.n - 1) << 16);
	get(s, i, &op);
	/* each one further */
	any |= try_record(s, i, op.kind, BULK_ARG, op.slot, op.val);
	any |= shrink_field(s, i, 16, 10);
	return shrink_field(s, i, 0, 16) || any;
}

static bool shrink_record(struct shrink *s, size_t i)
{
	bool any = plainer_kind(s, i);
	struct op op;

	get(s, i, &op);
	switch (op.kind) {
	case OP_MALLOC:
	case OP_REALLOC:
	case OP_CALLOC:
	case OP_REALLOCARRAY:
	case OP_ALIGNED:
		any |= shrink_size(s, i);
		break;
	case OP_BULK_ALLOC:
		any |= shrink_bulk_alloc(s, i);
		break;
	case OP_BULK_FREE:
		any |= shrink_bulk_free(s, i);
		break;
	case OP_FAULT:
	case OP_MISUSE:
	case OP_OPTION:
		any |= shrink_field(s, i, 0, 32);
		break;
	default:
		any |= try_record(s, i, op.kind, 0, op.slot, 0);
		break;
	}
	return any;
}

static bool shrink_sizes(struct shrink *s)
{
	bool any = false;

	for (size_t i = 0; i < ops_count(s->size) && s->time(s->arg); i++)
		any |= shrink_record(s, i);
	return any;
}

/* ---- slots and threads ------------------------------------------------ */

static bool try_slot(struct shrink *s, size_t i, uint16_t slot)
{
	memcpy(s->scratch, s->data, s->size);
	record(s->scratch, i)[2] = (uint8_t)slot;
	record(s->scratch, i)[3] = (uint8_t)(slot >> 8);
	return accept(s, s->size);
}

/* The slots that are in use become 0, 1, 2, ... in the order they are met. */
static bool renumber_slots(struct shrink *s)
{
	static uint16_t number[UINT16_MAX + 1];
	size_t n = ops_count(s->size);
	uint16_t next = 0;
	struct op op;

	memset(number, 0xff, sizeof(number));
	memcpy(s->scratch, s->data, s->size);
	for (size_t i = 0; i < n; i++) {
		uint8_t *r = record(s->scratch, i);

		get(s, i, &op);
		if (number[op.slot] == UINT16_MAX)
			number[op.slot] = next++;
		r[2] = (uint8_t)number[op.slot];
		r[3] = (uint8_t)(number[op.slot] >> 8);
	}
	return accept(s, s->size);
}

static bool shrink_slots(struct shrink *s)
{
	bool any = renumber_slots(s);
	struct op op;

	for (size_t i = 0; i < ops_count(s->size) && s->time(s->arg); i++) {
		get(s, i, &op);
		if (op.slot)
			any |= try_slot(s, i, 0);
	}
	return any;
}

/* All that one thread does is done by another one. */
static bool merge_threads(struct shrink *s, unsigned int from, unsigned int to)
{
	struct op op;

	memcpy(s->scratch, s->data, s->size);
	for (size_t i = 0; i < ops_count(s->size); i++) {
		get(s, i, &op);
		if (op.thread == from)
			ops_set_thread(record(s->scratch, i), to);
	}
	return accept(s, s->size);
}

static bool shrink_threads(struct shrink *s)
{
	struct ops_header head;
	bool any = false;
	struct op op;

	ops_header(s->data, s->size, &head);
	for (unsigned int from = head.threads; from-- > 1;)
		for (unsigned int to = 0; to < from; to++)
			if (merge_threads(s, from, to)) {
				any = true;
				break;
			}
	for (size_t i = 0; i < ops_count(s->size) && s->time(s->arg); i++) {
		get(s, i, &op);
		if (op.thread)
			any |= try_thread(s, i, 0);
	}
	/* fewer of them in the header: 8, 4, 2 */
	for (uint8_t code = 7; s->size > 2 && code > 4; code--)
		if (s->data[2] >> 5 == code)
			any |= try_header(s, 2,
					  (uint8_t)((s->data[2] & 0x1f) |
						    (code - 1) << 5));
	return any;
}

void minimize(uint8_t *data, size_t *size, uint8_t *scratch,
	      minimize_test_fn test, minimize_time_fn time, void *arg)
{
	struct shrink s = {
		.data = data,
		.scratch = scratch,
		.size = *size,
		.test = test,
		.time = time,
		.arg = arg,
	};
	bool any = true;

	memset(seen, 0, sizeof(seen));
	drop_rest(&s);
	/* off the real kernel, on which addresses are chance */
	if (s.size > 1)
		try_header(&s, 1, s.data[1] & (uint8_t)~7);
	drop_operations(&s);
	/* smaller numbers make more operations superfluous */
	for (int round = 0; any && s.time(arg) && round < ROUNDS; round++) {
		any = shrink_sizes(&s);
		any |= shrink_slots(&s);
		any |= shrink_threads(&s);
		any |= shrink_header(&s);
		any |= drop_operations(&s);
		any |= drop_pairs(&s);
	}
	*size = s.size;
}
