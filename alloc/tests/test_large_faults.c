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

/* ---- a move that loses what it was to move to --------------------------- */

static unsigned int losses; /* to come */

static int losing_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
			void *new_addr)
{
	(void)ctx;
	(void)addr;
	(void)old_size;
	errno = ENOMEM;
	if (!new_addr || !losses)
		return -1;
	losses--;
	assert_int_equal(apb_os_kernel.unmap(NULL, new_addr, new_size), 0);
	errno = ENXIO;
	return -1;
}

/* The block stays; it is tried again after that, as there may be memory now. */
static void test_lost_target(void **ctx)
{
	struct apb_os os = apb_os_kernel;
	unsigned int n;

	(void)ctx;
	os.remap = losing_remap;
	for (n = 0; n <= 2; n++) {
		char *p, *q;

		fresh_kernel();
		assert_int_equal(apb_set_os(&os), 0);
		apb_state.larges.retain.extra = APB_LARGE_CACHE_DEFAULT;
		losses = n;
		p = apb_malloc(2 * MIB);
		fill(p, 2 * MIB, n);
		/* below it, where it cannot grow */
		apb_free(apb_malloc(8 * MIB));
		errno = 0;
		q = apb_realloc(p, 4 * MIB);
		assert_int_equal(losses, 0);
		assert_int_equal(!q, n == 2);
		assert_int_equal(errno, n == 2 ? ENOMEM : errno);
		q = q ? q : p;
		assert_true(filled(q, 2 * MIB, n));
		assert_int_equal(stats_now().large, 1);
		assert_whole();
		apb_free(q);
		apb_trim();
		assert_int_equal(apb_state.os.mapped, 0);
	}
	assert_int_equal(apb_set_os(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_call_may_fail),
		cmocka_unit_test(test_lost_target),
	};

	return cmocka_run_group_tests_name("large-faults", tests, NULL,
					   test_teardown);
}
