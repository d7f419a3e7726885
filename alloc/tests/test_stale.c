// SPDX-License-Identifier: MIT
/*
 * Unit tests of pointers that are none any more: into arenas and large blocks
 * that the system has got back, so that whoever looks at what was there dies;
 * and right behind the last block of a pool.  Each call tells, and does nothing.
 */
#include "testreport.h"

#include "arena/flat.h"

#define NR 4000

static char *block[NR];

static void all_calls(char *p, size_t size)
{
	struct report r;

	report_nowhere(&r, p);
	assert_misuse_noted(&r, size);
}

static void test_unmapped_arenas(void **ctx)
{
	static const size_t sizes[] = {16, 700, 5000, 32768};
	unsigned int i, n, kernel;

	(void)ctx;
	for (kernel = 0; kernel < 2; kernel++) {
		for (n = 0; n < NR_OF(sizes); n++) {
			size_t size = sizes[n];

			if (kernel)
				fresh_kernel();
			else
				fresh_sim(n, 0);
			for (i = 0; i < NR; i++)
				assert_non_null(block[i] = apb_malloc(size));
			for (i = 0; i < NR; i++)
				apb_free(block[i]);
			apb_trim();
			assert_int_equal(stats_now().arenas, 0);
			for (i = 0; i < NR; i += 1000)
				all_calls(block[i], size);
			assert_whole();
		}
	}
}

static void test_unmapped_large(void **ctx)
{
	char *p;

	(void)ctx;
	fresh_kernel();
	p = apb_malloc(3 * MIB);
	apb_free(p);
	apb_trim();
	all_calls(p, 3 * MIB);
	assert_whole();
}

/* Whatever stands behind the states of a pool's blocks. */
static void test_behind_the_last_block(void **ctx)
{
	struct apb_entry entry;
	unsigned int cls;

	(void)ctx;
	fresh_sim(1, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		char *p = apb_malloc(test_class_sizes[cls - 1]);
		const struct apb_flat_entry *at = apb_flat_at((uintptr_t)p);
		struct apb_pool *pool = pool_of(p);
		char *end = (char *)pool->base +
			    pool->count * test_class_sizes[cls - 1];
		uint8_t was = pool->states[pool->count];

		assert_true(apb_flat_live(at, (uintptr_t)p, &entry));
		pool->states[pool->count] = APB_STATE_LIVE;
		assert_false(apb_flat_live(at, (uintptr_t)end, &entry));
		pool->states[pool->count] = was;
	}
	assert_whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unmapped_arenas),
		cmocka_unit_test(test_unmapped_large),
		cmocka_unit_test(test_behind_the_last_block),
	};

	return cmocka_run_group_tests_name("stale", tests, NULL, test_teardown);
}
