// SPDX-License-Identifier: MIT
/*
 * Unit tests of the input format and of the minimizer: every byte string
 * decodes to something in range, what is encoded comes back, and a failing
 * input shrinks to what makes it fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "minimize.h"
#include "ops.h"
#include "simos.h"

#define INPUT(n) (OPS_HEADER_SIZE + (n) * OPS_RECORD_SIZE)

static uint64_t rng = 1;

static uint64_t draw(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

/* The header's byte that says how many threads there are. */
#define THREADS_AT 2
#define EIGHT_THREADS 0xe0

/* One record with an empty header; of a thread's end, with eight threads. */
static struct op decode(enum op_kind kind, uint8_t arg, uint16_t slot,
			uint32_t val)
{
	uint8_t data[INPUT(1)] = {0};
	struct op op;

	if (kind == OP_THREAD_END)
		data[THREADS_AT] = EIGHT_THREADS;
	ops_encode(data + OPS_HEADER_SIZE, kind, arg, slot, val);
	ops_decode(data, sizeof(data), 0, &op);
	return op;
}

/* ---- classes, header, counts ------------------------------------------ */

static void test_class_sizes(void **ctx)
{
	size_t size = 0;

	(void)ctx;
	for (unsigned int c = 1; c <= OPS_CLASSES; c++) {
		/* up to 512 in steps of 16, then four to a doubling */
		size_t step = 16, doubling = 512;

		while (doubling * 2 <= size)
			doubling *= 2;
		if (size >= doubling)
			step = doubling / 4;
		size += step;
		assert_int_equal(ops_class_size(c), size);
	}
	assert_int_equal(size, 32768);
}

static void test_header_round_trip(void **ctx)
{
	struct ops_header in = {0}, out;
	uint8_t data[OPS_HEADER_SIZE];

	(void)ctx;
	for (unsigned int i = 0; i < 1024; i++) {
		in.version = OPS_VERSION;
		in.real_kernel = i & 1;
		in.junk = !in.real_kernel && i % 3 == 0;
		in.check_often = i & 2;
		in.small_period = i & 4;
		in.no_dirty = i & 8;
		in.sim_flags = i >> 4 & 0x1f;
		in.sim_flags |= i & 1 ? SIMOS_FEW : 0;
		in.locked = i & 512;
		in.threads = 1u << i % 4;
		in.seed = (uint32_t)draw();
		ops_encode_header(data, &in);
		ops_header(data, sizeof(data), &out);
		assert_int_equal(out.version, in.version);
		assert_int_equal(out.real_kernel, in.real_kernel);
		assert_int_equal(out.junk, in.junk);
		assert_int_equal(out.check_often, in.check_often);
		assert_int_equal(out.small_period, in.small_period);
		assert_int_equal(out.no_dirty, in.no_dirty);
		assert_int_equal(out.sim_flags, in.sim_flags);
		assert_int_equal(out.locked, in.locked);
		assert_int_equal(out.threads, in.threads);
		assert_int_equal(out.seed, in.seed);
	}
}

static void test_short_inputs(void **ctx)
{
	uint8_t data[INPUT(1)];
	struct ops_header h;
	struct op op;

	(void)ctx;
	memset(data, 0xff, sizeof(data));
	ops_header(NULL, 0, &h);
	assert_int_equal(h.version, OPS_VERSION);
	assert_false(h.real_kernel || h.check_often || h.sim_flags || h.seed);
	ops_header(data, 5, &h);
	assert_int_equal(h.seed, 0xff);
	for (size_t size = 0; size < INPUT(1); size++)
		assert_int_equal(ops_count(size), 0);
	assert_int_equal(ops_count(INPUT(1)), 1);
	assert_int_equal(ops_count(INPUT(3) - 1), 2);
	assert_int_equal(ops_count(SIZE_MAX), OPS_MAX_OPS);
	/* a record that is not there is zeroes */
	ops_decode(data, sizeof(data), 1, &op);
	assert_int_equal(op.kind, OP_MALLOC);
	assert_int_equal(op.val, 0);
}

/* ---- records ---------------------------------------------------------- */

static void test_kinds_round_trip(void **ctx)
{
	(void)ctx;
	for (int i = 0; i < 2000; i++) {
		enum op_kind kind = (enum op_kind)(i % OP_NR);
		uint8_t arg = (uint8_t)(draw() % 32);
		uint16_t slot = (uint16_t)(draw() % OPS_SLOTS);
		uint32_t val = (uint32_t)draw();
		struct op op = decode(kind, arg, slot, val);

		assert_int_equal(op.kind, kind);
		if (kind != OP_RESET)
			assert_int_equal(op.arg, arg);
		assert_int_equal(op.slot, slot);
		assert_int_equal(op.val, val);
	}
}

/* What is rare in random input can be encoded with any operands. */
static void test_encoding_keeps_the_kind(void **ctx)
{
	(void)ctx;
	for (int kind = 0; kind < OP_NR; kind++)
		for (int arg = 0; arg < 256; arg++)
			assert_int_equal(decode((enum op_kind)kind,
						(uint8_t)arg, UINT16_MAX, 0)
						 .kind,
					 kind);
}

static void test_every_record_is_in_range(void **ctx)
{
	uint8_t data[INPUT(1)];
	char words[160];
	struct op op;

	(void)ctx;
	for (int i = 0; i < 200000; i++) {
		for (size_t b = 0; b < sizeof(data); b++)
			data[b] = (uint8_t)draw();
		data[OPS_HEADER_SIZE] = (uint8_t)i;
		ops_decode(data, sizeof(data), 0, &op);
		assert_true(op.kind < OP_NR);
		if (op.kind == OP_BULK_ALLOC) {
			assert_in_range(op.n, 1, OPS_BULK_MAX);
			assert_true(op.n == 1 ||
				    op.n * op.size <= OPS_BULK_BYTES);
		}
		if (op.kind == OP_BULK_FREE) {
			assert_in_range(op.n, 1, OPS_BULK_MAX);
			assert_in_range(op.stride, 1, 16);
		}
		if (op.kind == OP_FAULT) {
			assert_in_range(op.mode, 0, 3);
			assert_in_range(op.calls, 1, 15);
			assert_in_range(op.n, 1, 16);
		}
		assert_ptr_equal(ops_describe(&op, words, sizeof(words)),
				 words);
		assert_in_range(strlen(words), 1, sizeof(words) - 2);
	}
}

static void test_exact_sizes(void **ctx)
{
	(void)ctx;
	for (size_t size = 0; size <= OPS_BYTEWISE; size++)
		assert_int_equal(decode(OP_MALLOC, OPS_MODE_EXACT, 0,
					ops_exact_size(size))
					 .size,
				 size);
	for (int i = 0; i < 10000; i++) {
		size_t size = draw() % OPS_EXACT_MAX;
		size_t got = decode(OP_REALLOC, OPS_MODE_EXACT, 0,
				    ops_exact_size(size))
				     .size;

		assert_in_range(got - size, 0, 4095);
	}
	assert_int_equal(
		decode(OP_MALLOC, OPS_MODE_EXACT, 0, ops_exact_size(SIZE_MAX))
			.size,
		OPS_EXACT_MAX);
}

/* Each mode reaches what it is for. */
static void test_size_modes(void **ctx)
{
	bool below[OPS_CLASSES + 1] = {0}, at[OPS_CLASSES + 1] = {0};
	bool above[OPS_CLASSES + 1] = {0};

	(void)ctx;
	for (uint32_t val = 0; val < 3 << 8; val++) {
		size_t size = decode(OP_MALLOC, 1, 0, val).size;
		unsigned int c = 1 + val % OPS_CLASSES;

		below[c] |= size == ops_class_size(c) - 1;
		at[c] |= size == ops_class_size(c);
		above[c] |= size == ops_class_size(c) + 1;
	}
	for (unsigned int c = 1; c <= OPS_CLASSES; c++)
		assert_true(below[c] && at[c] && above[c]);
	assert_int_equal(decode(OP_MALLOC, 2, 0, 32768).size, 32768);
	assert_int_equal(decode(OP_MALLOC, 3, 0, 8).size, 8 * 4096 - 16);
	assert_int_equal(decode(OP_MALLOC, 3, 0, 0).size, 0);
	assert_int_equal(decode(OP_MALLOC, 4, 0, 1).size, 32769);
	assert_int_equal(decode(OP_MALLOC, 5, 0, 0).size, PTRDIFF_MAX);
	assert_int_equal(decode(OP_MALLOC, 5, 0, 1).size,
			 (size_t)PTRDIFF_MAX + 1);
	assert_int_equal(decode(OP_MALLOC, 5, 0, 2).size, SIZE_MAX);
	assert_int_equal(decode(OP_MALLOC, 7, 0, 269).size, 512);
}

static void test_arrays_overflow(void **ctx)
{
	(void)ctx;
	for (uint32_t val = 0; val < 100000; val += 7) {
		struct op op = decode(OP_CALLOC, 3 << 3 | 6, 0, val << 5);
		size_t bytes;

		assert_true(__builtin_mul_overflow(op.n, op.size, &bytes));
		op = decode(OP_REALLOCARRAY, 1 << 3 | 6, 0, val << 5);
		assert_false(__builtin_mul_overflow(op.n, op.size, &bytes));
		assert_true(bytes <= val);
	}
}

/* ---- threads ---------------------------------------------------------- */

static void assert_same(const struct op *a, const struct op *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->arg, b->arg);
	assert_int_equal(a->slot, b->slot);
	assert_int_equal(a->val, b->val);
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->n, b->n);
	assert_int_equal(a->align, b->align);
}

/* Without threads in the header a record means what it always did. */
static void test_one_thread_ignores_the_bits(void **ctx)
{
	uint8_t data[INPUT(1)] = {0};
	struct op plain, op;

	(void)ctx;
	for (int i = 0; i < 20000; i++) {
		for (size_t b = OPS_HEADER_SIZE; b < sizeof(data); b++)
			data[b] = (uint8_t)draw();
		data[THREADS_AT] = (uint8_t)(draw() % 0xa0);
		ops_decode(data, sizeof(data), 0, &op);
		data[OPS_HEADER_SIZE] &= 31;
		ops_decode(data, sizeof(data), 0, &plain);
		assert_int_equal(op.thread, 0);
		assert_int_not_equal(op.kind, OP_THREAD_END);
		assert_same(&op, &plain);
	}
}

/* A record's thread is three bits of one byte, and changes nothing else. */
static void test_threads_of_records(void **ctx)
{
	static const uint8_t header[] = {0xa0, 0xc0, 0xe0};
	uint8_t data[INPUT(1)] = {0};
	struct ops_header h;
	struct op first, op;

	(void)ctx;
	for (int i = 0; i < 3000; i++) {
		for (size_t b = OPS_HEADER_SIZE; b < sizeof(data); b++)
			data[b] = (uint8_t)draw();
		data[THREADS_AT] = header[i % 3];
		ops_header(data, sizeof(data), &h);
		assert_int_equal(h.threads, 2u << i % 3);
		ops_set_thread(data + OPS_HEADER_SIZE, 0);
		ops_decode(data, sizeof(data), 0, &first);
		for (unsigned int t = 0; t < OPS_THREADS; t++) {
			ops_set_thread(data + OPS_HEADER_SIZE, t);
			ops_decode(data, sizeof(data), 0, &op);
			assert_int_equal(op.thread, t % h.threads);
			assert_same(&op, &first);
		}
	}
}

/* ---- minimizer -------------------------------------------------------- */

static size_t tests_left;

static bool some_time(void *arg)
{
	(void)arg;
	return tests_left && tests_left--;
}

/* Fails if a malloc of 100 bytes or more comes before a trim. */
static bool malloc_then_trim(const uint8_t *data, size_t size, void *arg)
{
	bool seen = false;
	struct op op;

	(void)arg;
	for (size_t i = 0; i < ops_count(size); i++) {
		ops_decode(data, size, i, &op);
		seen |= op.kind == OP_MALLOC && op.size >= 100 &&
			op.size < 1 << 20;
		if (seen && op.kind == OP_TRIM)
			return true;
	}
	return false;
}

static void random_input(uint8_t *data, size_t size)
{
	do {
		for (size_t i = 0; i < size; i++)
			data[i] = (uint8_t)draw();
	} while (!malloc_then_trim(data, size, NULL));
}

static void test_minimize_to_the_cause(void **ctx)
{
	uint8_t data[INPUT(500) + 3], scratch[sizeof(data)];
	struct ops_header header;
	struct op first, second;

	(void)ctx;
	for (int i = 0; i < 50; i++) {
		size_t size = sizeof(data);

		random_input(data, size);
		tests_left = 10000;
		minimize(data, &size, scratch, malloc_then_trim, some_time,
			 NULL);
		assert_true(tests_left);
		assert_int_equal(size, INPUT(2));
		ops_decode(data, size, 0, &first);
		ops_decode(data, size, 1, &second);
		assert_int_equal(first.kind, OP_MALLOC);
		assert_int_equal(first.size, 100);
		assert_int_equal(first.slot, 0);
		assert_int_equal(second.kind, OP_TRIM);
		ops_header(data, size, &header);
		assert_int_equal(header.seed, 0);
		assert_int_equal(header.sim_flags, 0);
		assert_int_equal(header.threads, 1);
	}
}

/* Whenever time runs out, what is there still fails. */
static void test_minimize_out_of_time(void **ctx)
{
	uint8_t data[INPUT(100)], scratch[sizeof(data)];

	(void)ctx;
	for (size_t tests = 0; tests < 200; tests += 5) {
		size_t size = sizeof(data);

		random_input(data, size);
		tests_left = tests;
		minimize(data, &size, scratch, malloc_then_trim, some_time,
			 NULL);
		assert_true(malloc_then_trim(data, size, NULL));
	}
}

static bool always(const uint8_t *data, size_t size, void *arg)
{
	(void)data;
	(void)size;
	(void)arg;
	return true;
}

static void test_minimize_to_nothing(void **ctx)
{
	uint8_t data[INPUT(100)], scratch[sizeof(data)];
	size_t size;

	(void)ctx;
	for (size = 0; size < sizeof(data); size += 13) {
		size_t left = size;

		for (size_t i = 0; i < size; i++)
			data[i] = (uint8_t)draw();
		tests_left = 10000;
		minimize(data, &left, scratch, always, some_time, NULL);
		assert_int_equal(ops_count(left), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_class_sizes),
		cmocka_unit_test(test_header_round_trip),
		cmocka_unit_test(test_short_inputs),
		cmocka_unit_test(test_kinds_round_trip),
		cmocka_unit_test(test_encoding_keeps_the_kind),
		cmocka_unit_test(test_every_record_is_in_range),
		cmocka_unit_test(test_exact_sizes),
		cmocka_unit_test(test_size_modes),
		cmocka_unit_test(test_arrays_overflow),
		cmocka_unit_test(test_one_thread_ignores_the_bits),
		cmocka_unit_test(test_threads_of_records),
		cmocka_unit_test(test_minimize_to_the_cause),
		cmocka_unit_test(test_minimize_out_of_time),
		cmocka_unit_test(test_minimize_to_nothing),
	};

	return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
