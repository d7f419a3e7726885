// SPDX-License-Identifier: MIT
/*
 * Unit tests of shrinking: what is left is the least that still fails, whatever
 * failing means; and of the names of the functions on a stack.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "frames.h"
#include "minimize.h"
#include "ops.h"

#include <string.h>

#define OPS 200

static uint8_t data[OPS_HEADER_SIZE + OPS * OPS_RECORD_SIZE];
static uint8_t scratch[sizeof(data)];
static size_t size, tests;

static bool always(void *arg)
{
	(void)arg;
	return true;
}

static bool few_tests(void *arg)
{
	(void)arg;
	return tests < 40;
}

/* Any bytes, but the same each time, of four threads. */
static void fill(void)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < sizeof(data); i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
	data[2] = 6 << 5 | 3;
	size = sizeof(data);
	tests = 0;
}

static void put(size_t i, enum op_kind kind, uint8_t arg, uint16_t slot,
		uint32_t val, unsigned int thread)
{
	uint8_t *r = data + OPS_HEADER_SIZE + i * OPS_RECORD_SIZE;

	ops_encode(r, kind, arg, slot, val);
	ops_set_thread(r, thread);
}

/* ---- what fails ------------------------------------------------------- */

/* A realloc to 1000 bytes or more, behind an aligned_alloc to 256 at least. */
static bool aligned_then_realloc(const uint8_t *in, size_t n, void *arg)
{
	bool aligned = false;
	struct op op;

	(void)arg;
	tests++;
	for (size_t i = 0; i < ops_count(n); i++) {
		ops_decode(in, n, i, &op);
		if (op.kind == OP_ALIGNED && op.align >= 256)
			aligned = true;
		if (op.kind == OP_REALLOC && op.size >= 1000 && aligned)
			return true;
	}
	return false;
}

/* 77 blocks or more at once. */
static bool many(const uint8_t *in, size_t n, void *arg)
{
	struct op op;

	(void)arg;
	tests++;
	for (size_t i = 0; i < ops_count(n); i++) {
		ops_decode(in, n, i, &op);
		if (op.kind == OP_BULK_ALLOC && op.n >= 77)
			return true;
	}
	return false;
}

/* As many mallocs as frees, one at least, by two threads, in two slots. */
static bool pairs(const uint8_t *in, size_t n, void *arg)
{
	size_t mallocs = 0, frees = 0, others = 0;
	bool first = false, second = false;
	struct op op;

	(void)arg;
	tests++;
	for (size_t i = 0; i < ops_count(n); i++) {
		ops_decode(in, n, i, &op);
		mallocs += op.kind == OP_MALLOC;
		frees += op.kind == OP_FREE;
		others += op.kind != OP_MALLOC && op.kind != OP_FREE;
		first |= op.thread == 0;
		second |= op.thread != 0;
	}
	return mallocs && mallocs == frees && !others && first && second;
}

/* ---- tests ------------------------------------------------------------ */

static void test_operations_and_sizes(void **state)
{
	struct ops_header head;
	struct op first, second;

	(void)state;
	fill();
	put(50, OP_ALIGNED, 10 << 3 | OPS_MODE_EXACT, 77, ops_exact_size(5000),
	    2);
	put(150, OP_REALLOC, OPS_MODE_EXACT, 99, ops_exact_size(30000), 3);
	assert_true(aligned_then_realloc(data, size, NULL));
	minimize(data, &size, scratch, aligned_then_realloc, always, NULL);
	assert_true(aligned_then_realloc(data, size, NULL));
	assert_int_equal(ops_count(size), 2);
	ops_decode(data, size, 0, &first);
	ops_decode(data, size, 1, &second);
	assert_int_equal(first.kind, OP_ALIGNED);
	assert_int_equal(first.size, 0);
	assert_int_equal(second.kind, OP_REALLOC);
	assert_int_equal(second.size, 1000);
	assert_int_equal(first.slot + second.slot, 0);
	assert_int_equal(first.thread + second.thread, 0);
	ops_header(data, size, &head);
	assert_int_equal(head.threads, 1);
	assert_int_equal(head.sim_flags, 0);
	assert_int_equal(head.seed, 0);
}

static void test_bulk(void **state)
{
	struct op op;

	(void)state;
	fill();
	put(20, OP_BULK_ALLOC, 0xc0 | 2, 5, 899u << 16 | 700, 1);
	assert_true(many(data, size, NULL));
	minimize(data, &size, scratch, many, always, NULL);
	assert_int_equal(ops_count(size), 1);
	ops_decode(data, size, 0, &op);
	assert_int_equal(op.kind, OP_BULK_ALLOC);
	assert_int_equal(op.n, 77);
	assert_int_equal(op.size, 0);
	assert_int_equal(op.slot, 0);
}

/* Neither of two can be left out alone; and no thread more than it takes. */
static void test_pairs_slots_threads(void **state)
{
	struct ops_header head;
	struct op op;

	(void)state;
	fill();
	for (uint16_t i = 0; i < 20; i++)
		put(i, i % 3 == 1 ? OP_FREE : OP_MALLOC, 0,
		    (uint16_t)(1000 + i), 0, i % 4);
	for (uint16_t i = 20; i < 26; i++)
		put(i, OP_FREE, 0, 2000, 0, 1);
	size = OPS_HEADER_SIZE + 26 * OPS_RECORD_SIZE;
	put(26, OP_FREE, 0, 2000, 0, 1);
	put(27, OP_MALLOC, 0, 2000, 0, 1);
	size += 2 * OPS_RECORD_SIZE;
	assert_true(pairs(data, size, NULL));
	minimize(data, &size, scratch, pairs, always, NULL);
	assert_int_equal(ops_count(size), 2);
	ops_header(data, size, &head);
	assert_int_equal(head.threads, 2);
	for (size_t i = 0; i < 2; i++) {
		ops_decode(data, size, i, &op);
		assert_int_equal(op.slot, 0);
	}
}

/* Out of time it stops, with an input that fails. */
static void test_time(void **state)
{
	(void)state;
	fill();
	put(150, OP_BULK_ALLOC, 0xc0 | 2, 5, 899u << 16 | 700, 1);
	minimize(data, &size, scratch, many, few_tests, NULL);
	assert_true(tests <= 41);
	assert_true(many(data, size, NULL));
}

/* ---- stacks ----------------------------------------------------------- */

static struct frames frames;

__attribute__((noinline)) static void apb_frames_inner(void)
{
	frames_capture(&frames);
	__asm__ volatile("" ::: "memory"); /* no tail call */
}

__attribute__((noinline)) static void unprefixed_middle(void)
{
	apb_frames_inner();
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static void apb_frames_outer(void)
{
	unprefixed_middle();
	__asm__ volatile("" ::: "memory");
}

static void test_stack(void **state)
{
	char top[160];

	(void)state;
	frames_prepare();
	apb_frames_outer();
	assert_string_equal(frames_top(&frames, top, sizeof(top)),
			    "apb_frames_inner < unprefixed_middle < "
			    "apb_frames_outer");
	unprefixed_middle();
	assert_string_equal(frames_top(&frames, top, sizeof(top)),
			    "apb_frames_inner");
	frames.nr = 0;
	assert_string_equal(frames_top(&frames, top, sizeof(top)), "");
}

int main(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_operations_and_sizes),
		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_pairs_slots_threads),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_stack),
	};

	return cmocka_run_group_tests(list, NULL, NULL);
}
