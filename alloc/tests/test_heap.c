// SPDX-License-Identifier: MIT
/*
 * Unit tests of heaps: which block malloc gives, when and how far bins are
 * settled, and that memory can be found in other bins when there is none.
 */
#include "testlib.h"

#include <stdlib.h>

#define SIZE(cls) test_class_sizes[(cls) - 1]

static struct apb_bin *bin(unsigned int cls)
{
	return &apb_state.heap.bin[cls];
}

static size_t clamp(size_t n)
{
	if (n < 8)
		return 8;
	return n < 4096 ? n : 4096;
}

/* The bounds of the period: by frees and by bytes, see config.h. */
static size_t period_min(unsigned int cls)
{
	return clamp(2 * KIB / SIZE(cls));
}

static size_t period_max(unsigned int cls)
{
	return clamp(512 * KIB / SIZE(cls));
}

static void **alloc_n(size_t n, size_t size)
{
	void **p = calloc(n, sizeof(*p));
	size_t i;

	assert_non_null(p);
	for (i = 0; i < n; i++) {
		p[i] = apb_malloc(size);
		assert_non_null(p[i]);
	}
	return p;
}

static void free_n(void **p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		apb_free(p[i]);
	free(p);
}

static void shuffle(void **p, size_t n, uint64_t seed)
{
	for (; n > 1; n--) {
		size_t i = rnd(&seed) % n;
		void *t = p[i];

		p[i] = p[n - 1];
		p[n - 1] = t;
	}
}

/* ---- which block ------------------------------------------------------ */

static void test_freed_last_is_reused_first(void **ctx)
{
	unsigned int cls;
	void *p[5];
	int i;

	(void)ctx;
	fresh_sim(1, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		for (i = 0; i < 5; i++)
			p[i] = apb_malloc(SIZE(cls));
		for (i = 0; i < 5; i++)
			apb_free(p[i]);
		for (i = 5; i--;)
			assert_ptr_equal(apb_malloc(SIZE(cls)), p[i]);
	}
	assert_whole();
}

static void test_fresh_blocks_ascend(void **ctx)
{
	unsigned int cls;
	int i;

	(void)ctx;
	fresh_sim(2, SIMOS_NONZERO);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		char *p = apb_malloc(SIZE(cls));
		int count = pool_of(p)->count;

		assert_int_equal((uintptr_t)p, pool_of(p)->base);
		for (i = 1; i < count; i++)
			assert_ptr_equal(apb_malloc(SIZE(cls)),
					 p + (size_t)i * SIZE(cls));
		assert_ptr_not_equal(pool_of(apb_malloc(SIZE(cls))),
				     pool_of(p));
	}
	assert_whole();
}

static void test_malloc_clears_the_mark(void **ctx)
{
	uint64_t key;
	unsigned int cls;
	int i;

	(void)ctx;
	fresh_sim(3, SIMOS_NONZERO);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_block *block = NULL;

		for (i = 0; i < 3; i++) {
			block = apb_malloc(SIZE(cls));
			key = apb_state.heap.key;
			assert_false(apb_marked(block, key));
			assert_int_equal(block->mark, 0);
		}
		apb_free(block);
		assert_true(apb_marked(block, key));
		assert_ptr_equal(apb_malloc(SIZE(cls)), block);
		assert_int_equal(block->mark, 0);
		apb_free(block);
		assert_ptr_equal(apb_calloc(1, SIZE(cls)), block);
		assert_false(apb_marked(block, key));
	}
}

/* About a page of blocks at once, from pools that have them. */
static void test_refill_takes_from_pools_first(void **ctx)
{
	struct apb_pool *pool;
	size_t i, count;
	void **p;

	(void)ctx;
	fresh_sim(4, 0);
	p = alloc_n(640, 64);
	pool = pool_of(p[0]);
	count = pool->count;
	assert_true(pool->carved == count && count < 640);
	for (i = 10; i < 110; i++)
		apb_free(p[i]);
	apb_settle();
	assert_int_equal(pool->nr_free, 100);
	assert_int_equal(pool->used, count - 100);
	assert_int_equal(bin_length(4), 0);
	assert_whole();
	/* this pool was the last to become partial */
	assert_ptr_equal(pool_of(apb_malloc(64)), pool);
	assert_int_equal(pool->nr_free, 36);
	assert_int_equal(pool->used, count - 36);
	assert_int_equal(bin_length(4), 63);
	assert_whole();
	for (i = 1; i < 64; i++)
		assert_ptr_equal(pool_of(apb_malloc(64)), pool);
	assert_int_equal(bin_length(4), 0);
	assert_ptr_equal(pool_of(apb_malloc(64)), pool);
	assert_int_equal(pool->nr_free, 0);
	assert_int_equal(bin_length(4), 35);
	assert_false(apb_node_listed(&pool->node));
	assert_whole();
	free(p);
}

static void test_no_new_pool_while_blocks_are_free(void **ctx)
{
	unsigned int cls;
	size_t i;

	(void)ctx;
	fresh_sim(5, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls += 5) {
		size_t n = 3 * (test_pool_bytes(cls) / SIZE(cls));
		void **p = alloc_n(n, SIZE(cls));
		size_t pools = stats_now().class_[cls - 1].pools;

		shuffle(p, n, cls);
		for (i = 0; i < n / 2; i++)
			apb_free(p[i]);
		apb_settle();
		assert_int_equal(stats_now().class_[cls - 1].used, n - n / 2);
		for (i = 0; i < n / 2; i++) {
			p[i] = apb_malloc(SIZE(cls));
			/* settling may have emptied one */
			assert_true(stats_now().class_[cls - 1].pools <= pools);
		}
		assert_whole();
		free_n(p, n);
	}
}

/* ---- periods ---------------------------------------------------------- */

/* About a page of blocks that a refill takes, while the pool has them. */
static size_t batch(unsigned int cls)
{
	return SIZE(cls) < 4096 ? 4096 / SIZE(cls) : 1;
}

/* What a bin is refilled with is about to come back: a longer period. */
static void test_refills_lengthen_the_period(void **ctx)
{
	unsigned int cls;

	(void)ctx;
	fresh_sim(20, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t period = period_min(cls);
		unsigned int carved = 0;
		struct apb_pool *pool;
		void *p;

		do {
			p = apb_malloc(SIZE(cls));
			pool = pool_of(p);
			if (pool->carved != carved)
				period += pool->carved - carved;
			if (period > period_max(cls))
				period = period_max(cls);
			carved = pool->carved;
			assert_int_equal(bin(cls)->period, period);
			assert_int_equal(bin(cls)->countdown, period);
		} while (carved < pool->count);
		apb_free(p);
		assert_int_equal(bin(cls)->period, period);
		assert_int_equal(bin(cls)->countdown, period - 1);
	}
	assert_whole();
}

/* A program that churns has its period raised to the bound of its class. */
static void test_churning_raises_the_period(void **ctx)
{
	unsigned int cls;
	size_t i;

	(void)ctx;
	fresh_sim(6, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		uint64_t settled;

		apb_free(apb_malloc(SIZE(cls)));
		assert_in_range(bin(cls)->period, period_min(cls),
				period_min(cls) + batch(cls));
		for (i = 0; i < 4 * period_max(cls); i++) {
			apb_free(apb_malloc(SIZE(cls)));
			assert_in_range(bin(cls)->period, period_min(cls),
					period_max(cls));
		}
		assert_int_equal(bin(cls)->period, period_max(cls));
		settled = stats_now().settled;
		for (i = 0; i < 3 * period_max(cls); i++)
			apb_free(apb_malloc(SIZE(cls)));
		assert_int_equal(stats_now().settled, settled);
		assert_int_equal(bin(cls)->period, period_max(cls));
	}
	assert_whole();
}

/* One that gives back has it lowered, by halves, to the other bound. */
static void test_giving_back_lowers_the_period(void **ctx)
{
	unsigned int cls;
	size_t i;

	(void)ctx;
	fresh_sim(7, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t n = 4 * period_max(cls), last;
		void **p;

		for (i = 0; i < n; i++)
			apb_free(apb_malloc(SIZE(cls)));
		p = alloc_n(n, SIZE(cls));
		last = bin(cls)->period;
		assert_int_equal(last, period_max(cls));
		for (i = 0; i < n; i++) {
			size_t period;

			apb_free(p[i]);
			period = bin(cls)->period;
			assert_true(period == last || period == last / 2 ||
				    period == period_min(cls));
			last = period;
		}
		free(p);
		assert_int_equal(last, period_min(cls));
		/* no more than half a period stays, and what came since */
		assert_true(bin_length(cls) < last / 2 + last);
		assert_int_equal(stats_now().class_[cls - 1].used, 0);
	}
	assert_whole();
}

/* What stays is what was freed last, and it is reused in that order. */
static void test_what_stays_in_the_bin(void **ctx)
{
	void **p;
	size_t i, n;

	(void)ctx;
	fresh_sim(8, 0);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 10), 0);
	p = alloc_n(256, 64);
	/* 64 are carved at once, so none are left */
	assert_int_equal(pool_of(p[0])->count, 256);
	assert_int_equal(bin_length(4), 0);
	assert_int_equal(bin(4)->period, 10);
	/* the bin ran empty: the first period finds no surplus */
	for (i = 0; i < 10; i++)
		apb_free(p[i]);
	assert_int_equal(bin_length(4), 10);
	assert_int_equal(stats_now().settles, 0);
	for (; i < 19; i++)
		apb_free(p[i]);
	assert_int_equal(bin_length(4), 19);
	apb_free(p[i++]);
	assert_int_equal(bin_length(4), 5);
	assert_int_equal(pool_of(p[0])->nr_free, 15);
	assert_int_equal(stats_now().settles, 1);
	assert_int_equal(stats_now().settled, 15);
	assert_whole();
	/* from now on 10 go in, 10 go out */
	for (n = 2; i < 100; n++) {
		size_t j;

		for (j = 0; j < 9; j++)
			apb_free(p[i++]);
		assert_int_equal(bin_length(4), 14);
		apb_free(p[i++]);
		assert_int_equal(bin_length(4), 5);
		assert_int_equal(bin(4)->period, 10);
		assert_int_equal(stats_now().settles, n);
		assert_int_equal(stats_now().settled, 15 + (n - 1) * 10);
		assert_whole();
	}
	for (n = 1; n <= 5; n++)
		assert_ptr_equal(apb_malloc(64), p[i - n]);
	assert_int_equal(bin_length(4), 0);
	free(p);
}

static void test_period_of_one(void **ctx)
{
	void **p;
	size_t i;

	(void)ctx;
	fresh_sim(9, 0);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 1), 0);
	p = alloc_n(256, 64);
	apb_free(p[0]);
	assert_int_equal(bin_length(4), 1);
	for (i = 1; i < 255; i++) {
		apb_free(p[i]);
		assert_int_equal(bin_length(4), 0);
		assert_int_equal(pool_of(p[255])->nr_free, i + 1);
	}
	apb_free(p[255]);
	assert_int_equal(stats_now().class_[3].pools, 0);
	assert_whole();
	free(p);
}

/* A bin that ran empty is left alone once. */
static void test_a_bin_that_ran_empty_is_not_settled(void **ctx)
{
	void **p;
	size_t i;

	(void)ctx;
	fresh_sim(10, 0);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 16), 0);
	p = alloc_n(256, 64);
	for (i = 0; i < 32; i++)
		apb_free(p[i]);
	assert_int_equal(bin_length(4), 8);
	assert_int_equal(stats_now().settles, 1);
	/* taking all of them is not yet running empty, taking one more is */
	for (i = 24; i < 32; i++)
		p[i] = apb_malloc(64);
	assert_int_equal(bin(4)->ran_empty, 0);
	p[0] = apb_malloc(64);
	assert_int_equal(bin(4)->ran_empty, 1);
	for (i = 100; i < 116; i++)
		apb_free(p[i]);
	assert_int_equal(stats_now().settles, 1);
	assert_int_equal(bin(4)->ran_empty, 0);
	for (; i < 132; i++)
		apb_free(p[i]);
	assert_int_equal(stats_now().settles, 2);
	assert_whole();
	free(p);
}

static void test_changing_the_period(void **ctx)
{
	void **p;

	(void)ctx;
	fresh_sim(11, 0);
	p = alloc_n(100, 64);
	apb_free(p[0]);
	assert_int_equal(bin(4)->period, 32 + 128);
	assert_int_equal(bin(4)->countdown, 32 + 128 - 1);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 65535), 0);
	/* the one that runs is not made longer, but shorter */
	assert_int_equal(bin(4)->period, 65535);
	assert_int_equal(bin(4)->countdown, 32 + 128 - 1);
	/* bins never used stay so */
	assert_int_equal(bin(5)->period, 0);
	assert_int_equal(bin(5)->countdown, 0);
	assert_whole();
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 65536), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(bin(4)->period, 65535);
	apb_free(apb_malloc(80));
	assert_int_equal(bin(5)->period, 65535);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 0), 0);
	assert_int_equal(bin(4)->period, 32);
	assert_int_equal(bin(4)->countdown, 32);
	assert_int_equal(bin(5)->period, period_min(5));
	assert_whole();
	free(p);
}

/* ---- empty pools ------------------------------------------------------ */

static void test_settle_finds_empty_pools(void **ctx)
{
	unsigned int cls;
	void **all[APB_NR_CLASSES];
	size_t n[APB_NR_CLASSES];
	struct apb_stats s;

	(void)ctx;
	fresh_sim(12, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		n[cls - 1] = 2 * test_pool_bytes(cls) / SIZE(cls);
		all[cls - 1] = alloc_n(n[cls - 1], SIZE(cls));
	}
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		shuffle(all[cls - 1], n[cls - 1], cls);
		free_n(all[cls - 1], n[cls - 1]);
	}
	assert_whole();
	apb_settle();
	assert_whole();
	s = stats_now();
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		assert_int_equal(s.class_[cls - 1].pools, 0);
		assert_int_equal(bin_length(cls), 0);
		assert_null(apb_state.heap.partial[cls]);
	}
	assert_int_equal(s.arenas, 1);
	assert_int_equal(s.spares, 1);
	/* nothing left to settle: not counted */
	apb_settle();
	assert_int_equal(stats_now().settles, s.settles);
}

/* Most of them are found without being told to. */
static void test_empty_pools_are_found_on_the_way(void **ctx)
{
	unsigned int cls;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		/* enough frees for the period to become as short as it can */
		size_t n = 40 * (test_pool_bytes(cls) / SIZE(cls)) +
			   5 * period_max(cls);
		size_t kept = 3 * period_min(cls) / 2;
		void **p;

		fresh_sim(cls, 0);
		p = alloc_n(n, SIZE(cls));
		if (cls & 1)
			shuffle(p, n, cls);
		free_n(p, n);
		/* at worst each block that stayed is in another pool */
		assert_true(bin_length(cls) <= kept);
		assert_true(stats_now().class_[cls - 1].pools <= kept);
		assert_whole();
	}
}

/* ---- out of memory ---------------------------------------------------- */

static void fail_maps(void)
{
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_MAP), 1);
}

/* The last pool of the only arena is full of blocks in another class's bin. */
static void test_recovers_from_other_bins(void **ctx)
{
	struct apb_pool *pool;
	void *a[10];
	int i;

	(void)ctx;
	fresh_sim(13, 0);
	for (i = 0; i < 10; i++)
		a[i] = apb_malloc(1000);
	pool = pool_of(a[0]);
	for (i = 0; i < 10; i++)
		apb_free(a[i]);
	fail_maps();
	for (i = 0; i < 62 * 16; i++) {
		void *p = apb_malloc(1024 - 512 + 1);

		assert_non_null(p);
		if (pool_of(p) == pool)
			break;
		assert_int_equal(stats_now().recovered, 0);
	}
	/* one of them is where the ten were */
	for (; stats_now().recovered == 0; i++) {
		assert_true(i < 63 * 26);
		assert_non_null(apb_malloc(513));
	}
	assert_int_equal(stats_now().recovered, 1);
	assert_int_equal(pool->cls, 33);
	assert_whole();
	while (apb_malloc(513))
		assert_whole();
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(stats_now().recovered, 1);
	assert_int_equal(stats_now().class_[32].pools, 63);
	assert_whole();
}

/* A whole arena is found, and cut for pools of another size. */
static void test_recovers_an_arena(void **ctx)
{
	void **p;

	(void)ctx;
	fresh_sim(14, 0);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 65535), 0);
	p = alloc_n(1000, 512);
	free_n(p, 1000);
	fail_maps();
	assert_non_null(apb_malloc(32768));
	assert_int_equal(stats_now().recovered, 1);
	assert_int_equal(stats_now().arenas, 1);
	assert_int_equal(stats_now().class_[31].pools, 0);
	assert_whole();
	/* there is nothing left to be found for a small one */
	errno = 0;
	assert_null(apb_malloc(16));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(stats_now().recovered, 1);
	assert_whole();
}

/* ---- keys ------------------------------------------------------------- */

static uint64_t key_for(size_t seed)
{
	fresh_sim(15, 0);
	assert_int_equal(apb_set_option(APB_OPT_SEED, seed), 0);
	apb_free(apb_malloc(1));
	return apb_state.heap.key;
}

static void test_keys(void **ctx)
{
	uint64_t key;

	(void)ctx;
	key = key_for(1);
	assert_int_not_equal(key, 0);
	assert_int_not_equal(key_for(2), key);
	assert_int_equal(key_for(1), key);
	/* 0: not to be foretold; but never 0, which would mark zeroed memory */
	assert_int_not_equal(key_for(0), key);
	assert_int_not_equal(key_for(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_freed_last_is_reused_first),
		cmocka_unit_test(test_fresh_blocks_ascend),
		cmocka_unit_test(test_malloc_clears_the_mark),
		cmocka_unit_test(test_refill_takes_from_pools_first),
		cmocka_unit_test(test_no_new_pool_while_blocks_are_free),
		cmocka_unit_test(test_refills_lengthen_the_period),
		cmocka_unit_test(test_churning_raises_the_period),
		cmocka_unit_test(test_giving_back_lowers_the_period),
		cmocka_unit_test(test_what_stays_in_the_bin),
		cmocka_unit_test(test_period_of_one),
		cmocka_unit_test(test_a_bin_that_ran_empty_is_not_settled),
		cmocka_unit_test(test_changing_the_period),
		cmocka_unit_test(test_settle_finds_empty_pools),
		cmocka_unit_test(test_empty_pools_are_found_on_the_way),
		cmocka_unit_test(test_recovers_from_other_bins),
		cmocka_unit_test(test_recovers_an_arena),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests_name("heap", tests, NULL, test_teardown);
}
