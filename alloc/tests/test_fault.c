// SPDX-License-Identifier: MIT
/* Unit tests of fault injection: which calls fail, and what is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "os/fault.h"

#define MASK(call) (1u << (call))
#define MASK_ALL (MASK(APB_OS_NR) - 1)

static void arm(struct apb_fault_state *st, enum apb_fault_mode mode,
		unsigned int calls, uint64_t n, uint64_t seed)
{
	struct apb_fault fault = {
		.mode = mode, .calls = calls, .n = n, .seed = seed};

	apb_fault_arm(st, &fault);
}

static void test_zeroed_state_never_fails(void **ctx)
{
	struct apb_fault_state st;
	int i, call;

	(void)ctx;
	memset(&st, 0, sizeof(st));
	for (i = 0; i < 100; i++)
		for (call = 0; call < APB_OS_NR; call++)
			assert_false(apb_fault_hit(&st, call));
	for (call = 0; call < APB_OS_NR; call++) {
		assert_int_equal(st.stats.calls[call], 100);
		assert_int_equal(st.stats.failed[call], 0);
	}
}

static void test_off_never_fails(void **ctx)
{
	struct apb_fault_state st;
	int i;

	(void)ctx;
	arm(&st, APB_FAULT_OFF, MASK_ALL, 1, 1);
	for (i = 0; i < 100; i++)
		assert_false(apb_fault_hit(&st, APB_OS_MAP));
	assert_int_equal(st.stats.failed[APB_OS_MAP], 0);
}

static void test_once(void **ctx)
{
	struct apb_fault_state st;
	int call;
	uint64_t n, i;

	(void)ctx;
	for (call = 0; call < APB_OS_NR; call++) {
		for (n = 1; n <= 20; n++) {
			arm(&st, APB_FAULT_ONCE, MASK(call), n, 0);
			for (i = 1; i <= 50; i++)
				assert_int_equal(apb_fault_hit(&st, call),
						 i == n);
			assert_int_equal(st.stats.calls[call], 50);
			assert_int_equal(st.stats.failed[call], 1);
		}
	}
}

static void test_from(void **ctx)
{
	struct apb_fault_state st;
	int call;
	uint64_t n, i;

	(void)ctx;
	for (call = 0; call < APB_OS_NR; call++) {
		for (n = 1; n <= 20; n++) {
			arm(&st, APB_FAULT_FROM, MASK(call), n, 0);
			for (i = 1; i <= 50; i++)
				assert_int_equal(apb_fault_hit(&st, call),
						 i >= n);
			assert_int_equal(st.stats.calls[call], 50);
			assert_int_equal(st.stats.failed[call], 51 - n);
		}
	}
}

static void test_n_of_0_is_1(void **ctx)
{
	static const enum apb_fault_mode modes[] = {
		APB_FAULT_ONCE, APB_FAULT_FROM, APB_FAULT_RANDOM};
	struct apb_fault_state st;
	size_t i;

	(void)ctx;
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		arm(&st, modes[i], MASK_ALL, 0, 0);
		assert_true(apb_fault_hit(&st, APB_OS_UNMAP));
		assert_int_equal(apb_fault_hit(&st, APB_OS_UNMAP),
				 modes[i] != APB_FAULT_ONCE);
	}
}

/* Every subset of the calls: those outside are counted, but not towards n. */
static void test_masks(void **ctx)
{
	struct apb_fault_state st;
	unsigned int mask;
	int call, i, seen;

	(void)ctx;
	for (mask = 0; mask <= MASK_ALL; mask++) {
		arm(&st, APB_FAULT_FROM, mask, 6, 0);
		for (i = 0, seen = 0; i < 5; i++) {
			for (call = 0; call < APB_OS_NR; call++) {
				bool want = false;

				if (mask & MASK(call))
					want = ++seen >= 6;
				assert_int_equal(apb_fault_hit(&st, call),
						 want);
			}
		}
		for (call = 0; call < APB_OS_NR; call++) {
			assert_int_equal(st.stats.calls[call], 5);
			if (!(mask & MASK(call)))
				assert_int_equal(st.stats.failed[call], 0);
		}
	}
}

static unsigned int random_failures(uint64_t n, uint64_t seed,
				    unsigned int calls)
{
	struct apb_fault_state st;
	unsigned int i, failed = 0;

	arm(&st, APB_FAULT_RANDOM, MASK(APB_OS_PURGE), n, seed);
	for (i = 0; i < calls; i++)
		failed += apb_fault_hit(&st, APB_OS_PURGE);
	assert_int_equal(st.stats.calls[APB_OS_PURGE], calls);
	assert_int_equal(st.stats.failed[APB_OS_PURGE], failed);
	return failed;
}

static void test_random_rate(void **ctx)
{
	static const uint64_t seeds[] = {
		0, 1, 2, 1u << 31, UINT64_MAX / 2, UINT64_MAX};
	unsigned int n, calls = 20000;
	size_t s;

	(void)ctx;
	for (s = 0; s < sizeof(seeds) / sizeof(seeds[0]); s++) {
		assert_int_equal(random_failures(1, seeds[s], 100), 100);
		for (n = 2; n <= 16; n++) {
			unsigned int failed, want = calls / n;

			failed = random_failures(n, seeds[s], calls);
			/* at least four standard deviations at n = 16 */
			assert_in_range(failed, want - want / 8,
					want + want / 8);
		}
	}
}

static uint64_t random_pattern(uint64_t seed)
{
	struct apb_fault_state st;
	uint64_t bits = 0;
	int i;

	arm(&st, APB_FAULT_RANDOM, MASK(APB_OS_MAP), 2, seed);
	for (i = 0; i < 64; i++)
		bits = bits << 1 | apb_fault_hit(&st, APB_OS_MAP);
	return bits;
}

static void test_random_is_seeded(void **ctx)
{
	uint64_t seed, other;

	(void)ctx;
	for (seed = 0; seed < 100; seed++) {
		assert_true(random_pattern(seed) == random_pattern(seed));
		for (other = 0; other < seed; other++)
			assert_true(random_pattern(seed) !=
				    random_pattern(other));
	}
}

/*
 * Vigna's xorshift64*, of which the upper half counts; the same faults for the
 * same seed in whatever version.
 */
static void test_random_is_known(void **ctx)
{
	static const uint64_t seeds[] = {0, 1, 12345,
					 UINT64_C(0x9e3779b97f4a7c15)};
	struct apb_fault_state st;
	unsigned int s, i, n;

	(void)ctx;
	for (s = 0; s < sizeof(seeds) / sizeof(seeds[0]); s++) {
		for (n = 2; n < 200; n += 9) {
			uint64_t x = seeds[s] ^ UINT64_C(0x9e3779b97f4a7c15);

			x += !x;
			arm(&st, APB_FAULT_RANDOM, MASK_ALL, n, seeds[s]);
			for (i = 0; i < 500; i++) {
				uint64_t high;

				x ^= x / 4096;
				x ^= x * 33554432;
				x ^= x / 134217728;
				high = x * UINT64_C(0x2545f4914f6cdd1d) /
				       UINT64_C(4294967296);
				assert_int_equal(apb_fault_hit(&st, i % 4),
						 high % n == 0);
			}
		}
	}
}

static void test_arm_starts_anew(void **ctx)
{
	struct apb_fault_state st;
	int call;

	(void)ctx;
	arm(&st, APB_FAULT_ONCE, MASK_ALL, 3, 0);
	assert_false(apb_fault_hit(&st, APB_OS_MAP));
	assert_false(apb_fault_hit(&st, APB_OS_MAP));
	arm(&st, APB_FAULT_ONCE, MASK_ALL, 3, 0);
	assert_int_equal(st.stats.calls[APB_OS_MAP], 0);
	assert_false(apb_fault_hit(&st, APB_OS_MAP));
	assert_false(apb_fault_hit(&st, APB_OS_UNMAP));
	assert_true(apb_fault_hit(&st, APB_OS_REMAP));
	assert_int_equal(st.stats.failed[APB_OS_REMAP], 1);

	apb_fault_arm(&st, NULL);
	for (call = 0; call < APB_OS_NR; call++) {
		assert_int_equal(st.stats.calls[call], 0);
		assert_int_equal(st.stats.failed[call], 0);
		assert_false(apb_fault_hit(&st, call));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zeroed_state_never_fails),
		cmocka_unit_test(test_off_never_fails),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_from),
		cmocka_unit_test(test_n_of_0_is_1),
		cmocka_unit_test(test_masks),
		cmocka_unit_test(test_random_rate),
		cmocka_unit_test(test_random_is_seeded),
		cmocka_unit_test(test_random_is_known),
		cmocka_unit_test(test_arm_starts_anew),
	};

	return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
