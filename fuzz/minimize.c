// SPDX-License-Identifier: MIT
/* Shrinking a failing input; see minimize.h. */
#include "minimize.h"

#include "ops.h"

#include <string.h>

struct shrink {
	uint8_t *data, *scratch;
	size_t size;
	minimize_test_fn test;
	minimize_time_fn time;
	void *arg;
};

static uint8_t *record(uint8_t *data, size_t i)
{
	return data + OPS_HEADER_SIZE + i * OPS_RECORD_SIZE;
}

/* The candidate in scratch, of @size bytes: keep it if it fails as well. */
static bool accept(struct shrink *s, size_t size)
{
	if (size == s->size && !memcmp(s->scratch, s->data, size))
		return false;
	if (!s->time(s->arg) || !s->test(s->scratch, size, s->arg))
		return false;
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
	bool any = false;

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

static bool shrink_bulk(struct shrink *s, size_t i)
{
	bool any = shrink_field(s, i, 16, 16);
	struct op op;

	get(s, i, &op);
	/* mode 2 takes the size as it is */
	if (op.kind == OP_BULK_ALLOC && op.arg % 64 != 2 && op.size <= 32768)
		any |= try_record(s, i, op.kind, (op.arg & 0xc0) | 2, op.slot,
				  (op.val & 0xffff0000) | (uint32_t)op.size);
	return shrink_field(s, i, 0, 16) || any;
}

static bool shrink_record(struct shrink *s, size_t i)
{
	bool any = try_thread(s, i, 0);
	struct op op;

	any |= plainer_kind(s, i);
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
	case OP_BULK_FREE:
		any |= shrink_bulk(s, i);
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
	get(s, i, &op);
	if (op.slot)
		any |= try_record(s, i, op.kind, op.arg, 0, op.val);
	return any;
}

static bool shrink_numbers(struct shrink *s)
{
	bool any = shrink_header(s);

	for (size_t i = 0; i < ops_count(s->size) && s->time(s->arg); i++)
		any |= shrink_record(s, i);
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
	int round = 0;

	drop_rest(&s);
	drop_operations(&s);
	/* smaller numbers make more operations superfluous */
	while (shrink_numbers(&s) && s.time(arg) && ++round < 8)
		drop_operations(&s);
	*size = s.size;
}
