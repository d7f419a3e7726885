// SPDX-License-Identifier: MIT
/*
 * Unit tests of large blocks with every OS call refused, one after the other:
 * contents and invariants hold, and nothing is lost.
 */
#include "testlib.h"

#include "large/large.h"

#define SLOTS 12

static struct {
	char *p;
	size_t size;
	uint64_t seed;
} slots[SLOTS];

static void verify(unsigned int i)
{
	if (slots[i].p)
		assert_true(filled(slots[i].p, slots[i].size, slots[i].seed));
}

static void allocate(unsigned int i, size_t size, uint64_t r)
{
	char *p;

	if (r % 3 == 0)
		p = apb_calloc(1, size);
	else if (r % 3 == 1)
		p = apb_aligned_alloc((size_t)8192 << r / 3 % 9, size);
	else
		p = apb_malloc(size);
	if (!p) {
		assert_int_equal(errno, ENOMEM);
		return;
	}
	if (r % 3 == 0)
		assert_true(all_bytes(p, size, 0));
	slots[i].p = p;
	slots[i].size = size;
	slots[i].seed = r;
	fill(p, size, r);
}

static void reallocate(unsigned int i, size_t size, uint64_t r)
{
	char *p = apb_realloc(slots[i].p, size);

	if (!p) {
		assert_int_equal(errno, ENOMEM);
		return;
	}
	slots[i].p = p;
	if (size > slots[i].size) {
		assert_true(
			filled(p, slots[i].size & ~(size_t)7, slots[i].seed));
	}
	slots[i].size = size;
	slots[i].seed = r;
	fill(p, size, r);
}

static void scenario(uint64_t seed)
{
	static const size_t most[] = {90000, 90000, MIB / 4, MIB};
	unsigned int step, i;
	uint64_t r;

	memset(slots, 0, sizeof(slots));
	for (step = 0; step < 60; step++) {
		r = rnd(&seed);
		i = (unsigned int)(r % SLOTS);
		r >>= 8;
		verify(i);
		if (!slots[i].p) {
			allocate(i, 33000 + (r >> 8) % most[r >> 6 & 3], r);
		} else if (r % 3 == 0) {
			reallocate(i, 33000 + (r >> 8) % most[r >> 6 & 3],
				   r >> 2);
		} else {
			apb_free(slots[i].p);
			slots[i].p = NULL;
		}
		if (r % 16 == 0)
			simos_pass(300);
	}
	for (i = 0; i < SLOTS; i++) {
		verify(i);
		apb_free(slots[i].p);
	}
}

static void test_every_call_may_fail(void **ctx)
{
	static const enum apb_fault_mode modes[] = {APB_FAULT_ONCE,
						    APB_FAULT_FROM};
	unsigned int calls, hit = 0;
	uint64_t n, total;
	size_t m;

	(void)ctx;
	for (calls = 1; calls <= FAULT_ALL; calls++) {
		for (m = 0; m < NR_OF(modes); m++) {
			n = 1;
			do {
				fresh_sim(calls,
					  SIMOS_HINTS |
						  (n % 2 ? SIMOS_PURGE_ZEROES :
							   0));
				apb_state.larges.retain.extra =
					APB_LARGE_CACHE_DEFAULT;
				fault_arm(modes[m], calls, n);
				scenario(n);
				total = apb_state.os.fault.seen;
				hit += total >= n;
				assert_whole();
				fault_arm(APB_FAULT_OFF, 0, 1);
				apb_trim();
				assert_int_equal(apb_state.os.mapped, 0);
				n += 1 + n / 2;
			} while (n <= total);
		}
	}
	assert_true(hit > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_call_may_fail),
	};

	return cmocka_run_group_tests_name("large-faults", tests, NULL,
					   test_teardown);
}
