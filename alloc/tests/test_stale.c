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

static void test_behind_the_last_block(void **ctx)
{
	unsigned int cls, tried = 0;

	(void)ctx;
	fresh_sim(1, 0);
	apb_set_misuse(note_misuse, NULL);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t size = test_class_sizes[cls - 1];
		char *p = apb_malloc(size);
		struct apb_pool *pool = pool_of(p);
		char *end = (char *)pool->base + pool->count * size;
		uint8_t was;

		/* else it is the next pool's */
		if (pool_of(end - 1) != pool ||
		    (size_t)(end - (char *)apb_pool_start(pool)) >=
			    apb_pool_bytes(pool))
			continue;
		tried++;
		was = pool->states[pool->count];
		/* there the next pool's begin: it is out of bounds */
		if (pool->count == APB_MAX_BLOCKS)
			pool->states[pool->count] = APB_STATE_LIVE;
		times_told = 0;
		apb_free(end);
		assert_int_equal(times_told, 1);
		apb_free_sized(end, size);
		assert_int_equal(times_told, 2);
		assert_null(apb_realloc(end, size));
		assert_int_equal(times_told, 3);
		assert_int_equal(apb_usable_size(end), 0);
		assert_int_equal(times_told, 4);
		/* who asks the descriptor does not rely on what is there */
		pool->states[pool->count] = APB_STATE_LIVE;
		assert_int_equal(apb_usable_size(end), 0);
		assert_int_equal(times_told, 5);
		pool->states[pool->count] = was;
	}
	assert_in_range(tried, 20, APB_NR_CLASSES);
	assert_whole();
}

/*
 * A pool that is not in use has what its blocks had, and another pool may have its
 * state bytes by now: what is there is not asked.
 */
static void test_pool_not_in_use(void **ctx)
{
	struct apb_flat_entry *entry;
	struct apb_pool *pool;
	uintptr_t owner;
	char *p;

	(void)ctx;
	fresh_sim(1, 0);
	apb_set_misuse(note_misuse, NULL);
	p = apb_malloc(100);
	pool = pool_of(p);
	owner = pool->owner;
	entry = (struct apb_flat_entry *)(uintptr_t)apb_flat_at((uintptr_t)p);
	assert_int_equal(entry->owner, owner);
	pool->owner = entry->owner = 0;
	times_told = 0;
	apb_free(p);
	assert_int_equal(times_told, 1);
	assert_int_equal(apb_usable_size(p), 0);
	assert_int_equal(times_told, 2);
	assert_null(apb_realloc(p, 1));
	assert_int_equal(times_told, 3);
	pool->owner = entry->owner = owner;
	assert_whole();
	apb_free(p);
	assert_int_equal(times_told, 3);
}

/*
 * Where state bytes are: in the lowest group that has room, in as many lines as
 * it takes, aligned to their number.
 */
static void test_places_of_states(void **ctx)
{
	/* 512, 341, 256, 204, 102, 64 blocks: 8, 8, 4, 4, 2, 1 lines */
	static const struct {
		size_t size;
		unsigned int line;
	} places[] = {
		{16, 0},    {48, 8},  {64, 16}, {80, 20},  {160, 24},
		{160, 26},  {64, 28}, {16, 32}, {256, 40}, {160, 42},
		{1024, 41}, {80, 44}, {32, 48},
	};
	struct apb_pool *pools[NR_OF(places)];
	unsigned int i, j;

	(void)ctx;
	fresh_sim(1, 0);
	for (i = 0; i < NR_OF(places); i++) {
		/* up to the first block of another pool */
		do {
			pools[i] = pool_of(apb_malloc(places[i].size));
			for (j = 0; pools[j] != pools[i]; j++)
				;
		} while (j < i);
		assert_int_equal(
			(uintptr_t)pools[i]->states - arena_at(pools[i]),
			APB_STATES_OFFSET + places[i].line * APB_CACHE_LINE);
	}
	assert_whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unmapped_arenas),
		cmocka_unit_test(test_unmapped_large),
		cmocka_unit_test(test_behind_the_last_block),
		cmocka_unit_test(test_pool_not_in_use),
		cmocka_unit_test(test_places_of_states),
	};

	return cmocka_run_group_tests_name("stale", tests, NULL, test_teardown);
}
