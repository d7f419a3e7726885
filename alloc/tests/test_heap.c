// SPDX-License-Identifier: MIT
/*
 * Unit tests of heaps: which block malloc gives, when and how far bins are
 * settled, and that memory can be found in other bins when there is none.
 */
#include "testlib.h"

#include <stdlib.h>

#define SIZE(cls) test_class_sizes[(cls) - 1]

static struct apb_bin_info *info(unsigned int cls)
{
	return &apb_tls->info[cls];
}

/* How many a bin can hold as it is. */
static size_t capacity(unsigned int cls)
{
	return (size_t)(apb_tls->bin[cls].limit - info(cls)->base);
}

static size_t clamp(size_t n, size_t least, size_t most)
{
	if (n < least)
		return least;
	return n < most ? n : most;
}

/* What a bin holds at first and at most, see config.h. */
static size_t first(unsigned int cls)
{
	return clamp(KIB / SIZE(cls), 6, 32);
}

/* How many a grown array is filled with at least. */
static size_t step(unsigned int cls)
{
	return clamp(16 * KIB / SIZE(cls), 6, 127);
}

static size_t most(unsigned int cls)
{
	return clamp(512 * KIB / SIZE(cls), 6, 1023);
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

/* From some block of the pool on, and then from its first. */
static void test_fresh_blocks_ascend(void **ctx)
{
	unsigned int cls, i, start;

	(void)ctx;
	fresh_sim(2, SIMOS_NONZERO);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		char *p = apb_malloc(SIZE(cls));
		struct apb_pool *pool = pool_of(p);
		unsigned int count = pool->count;

		start = (unsigned int)apb_pool_index(pool, (uintptr_t)p);
		assert_true(start < count);
		/* not in the larger pools */
		assert_true(!start || SIZE(cls) <= 1024);
		for (i = 1; i < count; i++)
			assert_int_equal((uintptr_t)apb_malloc(SIZE(cls)),
					 pool->base + (start + i) % count *
							      SIZE(cls));
		assert_ptr_not_equal(pool_of(apb_malloc(SIZE(cls))), pool);
	}
	assert_whole();
}

/* A few blocks at first, then about a page of them, or four. */
static void test_refills(void **ctx)
{
	unsigned int cls, used;

	(void)ctx;
	fresh_sim(4, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t some = clamp(4096 / SIZE(cls), 4, most(cls));
		struct apb_pool *pool = pool_of(apb_malloc(SIZE(cls)));
		unsigned int left = pool->count;

		used = left < 6 ? left : 6;
		assert_int_equal(pool->used, used);
		assert_int_equal(bin_length(cls), used - 1);
		while (used < left) {
			while (bin_length(cls))
				apb_malloc(SIZE(cls));
			assert_ptr_equal(pool_of(apb_malloc(SIZE(cls))), pool);
			assert_true(pool->used - used <= (some > 6 ? some : 6));
			assert_true(pool->used - used >= 4 ||
				    pool->used == left);
			assert_int_equal(bin_length(cls),
					 pool->used - used - 1);
			used = pool->used;
		}
		/* all that can be had is on its way */
		assert_false(apb_node_listed(&pool->node));
	}
	assert_whole();
}

static void test_refill_takes_from_pools_first(void **ctx)
{
	struct apb_pool *pool;
	unsigned int count;
	size_t i;
	void **p;

	(void)ctx;
	fresh_sim(4, 0);
	p = alloc_n(640, 64);
	pool = pool_of(p[0]);
	count = pool->count;
	assert_true(count < 640);
	for (i = 10; i < 110; i++)
		apb_free(p[i]);
	apb_settle();
	assert_int_equal(pool->used, count - 100);
	assert_int_equal(bin_length(4), 0);
	assert_whole();
	/* this pool was the last to become partial; its lowest come first */
	for (i = 10; i < 110; i++) {
		assert_ptr_equal(apb_malloc(64), p[i]);
		assert_int_equal(pool->used,
				 count - 100 + (i - 9) + bin_length(4));
	}
	assert_int_equal(pool->used, count);
	assert_int_equal(bin_length(4), 0);
	assert_false(apb_node_listed(&pool->node));
	assert_ptr_not_equal(pool_of(apb_malloc(64)), pool);
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

/* ---- how much a bin holds --------------------------------------------- */

/* A bin that is emptied between being full twice is let grow. */
static void test_churning_lets_a_bin_grow(void **ctx)
{
	unsigned int cls;
	size_t i, round;

	(void)ctx;
	fresh_sim(6, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls += 3) {
		uint64_t settled = 0;
		size_t n = most(cls) / 2, last = 0;
		void **p;

		apb_free(apb_malloc(SIZE(cls)));
		assert_true(capacity(cls) >= first(cls));
		for (round = 0; round < 20; round++) {
			/* the last half of them is steady */
			if (round == 10)
				settled = stats_now().settled;
			p = alloc_n(n, SIZE(cls));
			for (i = 0; i < n; i++) {
				apb_free(p[i]);
				assert_true(bin_length(cls) <= capacity(cls));
				assert_true(info(cls)->want <= most(cls));
			}
			free(p);
			assert_true(capacity(cls) >= last);
			last = capacity(cls);
		}
		assert_int_equal(stats_now().settled, settled);
		assert_true(capacity(cls) >= n);
		assert_whole();
	}
}

/* One that is full again and again, and not emptied, shrinks by halves. */
static void test_giving_back_shrinks_a_bin(void **ctx)
{
	unsigned int cls;
	size_t i;

	(void)ctx;
	fresh_sim(7, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls += 5) {
		size_t n = 8 * most(cls), want;
		void **p = alloc_n(n, SIZE(cls));

		want = info(cls)->want;
		for (i = 0; i < n; i++) {
			apb_free(p[i]);
			assert_true(bin_length(cls) <= capacity(cls));
			/* after having grown once */
			assert_true(i < n / 4 || info(cls)->want <= want);
			want = info(cls)->want;
		}
		free(p);
		assert_int_equal(info(cls)->want, first(cls));
		assert_true(bin_length(cls) <= step(cls));
		assert_int_equal(stats_now().class_[cls - 1].used, 0);
		/* at worst each block that stayed is in another pool */
		assert_true(stats_now().class_[cls - 1].pools <= step(cls));
	}
	assert_whole();
}

/* A full bin keeps the half that was freed last, in that order. */
static void test_what_stays_in_the_bin(void **ctx)
{
	struct apb_pool *pool;
	size_t i, n, in;
	void **p;

	(void)ctx;
	fresh_sim(8, 0);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 10), 0);
	p = alloc_n(255, 64);
	while (bin_length(4))
		apb_malloc(64);
	pool = pool_of(p[0]);
	in = pool->count - pool->used;
	for (i = 0; i < 10; i++)
		apb_free(p[i]);
	assert_int_equal(bin_length(4), 10);
	assert_int_equal(capacity(4), 10);
	assert_int_equal(stats_now().settles, 0);
	/* the next one finds it full: five go, and it comes */
	for (n = 1; i < 100; n++) {
		size_t k;

		apb_free(p[i++]);
		assert_int_equal(bin_length(4), 6);
		assert_int_equal(stats_now().settles, n);
		assert_int_equal(stats_now().settled, n * 5);
		assert_int_equal(pool->count - pool->used, in + n * 5);
		for (k = 0; k < 4; k++)
			apb_free(p[i++]);
		assert_int_equal(bin_length(4), 10);
		assert_whole();
	}
	for (n = 1; n <= 10; n++)
		assert_ptr_equal(apb_malloc(64), p[i - n]);
	assert_int_equal(bin_length(4), 0);
	free(p);
}

static void test_period_of_one(void **ctx)
{
	struct apb_pool *pool;
	size_t i;
	void **p;

	(void)ctx;
	fresh_sim(9, 0);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 1), 0);
	p = alloc_n(200, 64);
	pool = pool_of(p[199]);
	assert_int_equal(bin_length(4), 0);
	for (i = 0; i < 200; i++) {
		apb_free(p[i]);
		assert_int_equal(bin_length(4), 1);
		assert_int_equal(stats_now().settled, i);
	}
	assert_int_equal(pool->used, 1);
	assert_int_equal(stats_now().class_[3].pools, 1);
	assert_whole();
	free(p);
}

static void test_changing_the_period(void **ctx)
{
	void **p;
	size_t i;

	(void)ctx;
	fresh_sim(11, 0);
	p = alloc_n(3000, 64);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 4095), 0);
	assert_true(capacity(4) >= 4095);
	assert_true(capacity(5) >= 4095);
	assert_int_equal(info(1)->want, 4095);
	assert_int_equal(info(56)->want, 4095);
	for (i = 0; i < 3000; i++)
		apb_free(p[i]);
	assert_true(bin_length(4) >= 3000);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 4096), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(info(4)->want, 4095);
	/* what is in a bin stays there, but it is full */
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 0), 0);
	assert_int_equal(info(4)->want, first(4));
	assert_int_equal(capacity(5), step(5));
	assert_int_equal(info(1)->want, first(1));
	assert_int_equal(info(56)->want, first(56));
	assert_int_equal(capacity(4), bin_length(4));
	assert_whole();
	apb_malloc(64);
	apb_free(apb_malloc(64));
	p[0] = apb_malloc(80);
	apb_free(p[0]);
	assert_whole();
	/* a heap that is made later has it as well */
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 9), 0);
	apb_reset();
	apb_free(apb_malloc(64));
	assert_int_equal(info(4)->want, 9);
	assert_int_equal(info(56)->want, 9);
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
		assert_null(apb_tls->partial[cls]);
	}
	assert_int_equal(s.arenas, s.spares);
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
		/* enough frees for the bin to become as short as it can */
		size_t n =
			40 * (test_pool_bytes(cls) / SIZE(cls)) + 8 * most(cls);
		size_t kept = step(cls);
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

#define SMALL_POOLS 61 /* of an arena */

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
	/* in the end one of them is where the ten were */
	for (i = 0; stats_now().recovered == 0; i++) {
		assert_true(i < SMALL_POOLS * 26);
		assert_non_null(apb_malloc(513));
		assert_true(stats_now().recovered || pool->cls == 36);
	}
	assert_int_equal(stats_now().recovered, 1);
	assert_int_equal(pool->cls, 33);
	assert_whole();
	while (apb_malloc(513))
		assert_whole();
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(stats_now().recovered, 1);
	assert_int_equal(stats_now().class_[32].pools, SMALL_POOLS);
	assert_whole();
}

/* A whole arena is found, and cut for pools of another size. */
static void test_recovers_an_arena(void **ctx)
{
	void **p;

	(void)ctx;
	fresh_sim(14, 0);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 4095), 0);
	p = alloc_n(1000, 512);
	free_n(p, 1000);
	assert_true(bin_length(32) >= 1000);
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

/* A list that cannot grow stays as it is, and all goes on. */
static void test_lists_that_cannot_grow(void **ctx)
{
	size_t round, i;
	void **p;

	(void)ctx;
	fresh_sim(15, 0);
	/* an arena and a leaf of the map, but no metadata */
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_MAP), 3);
	p = alloc_n(2000, 48);
	for (round = 0; round < 5; round++) {
		for (i = 0; i < 2000; i++)
			apb_free(p[i]);
		assert_int_equal(info(3)->room, first(3));
		assert_true(bin_length(3) <= first(3));
		assert_whole();
		for (i = 0; i < 2000; i++)
			assert_non_null(p[i] = apb_malloc(48));
		assert_whole();
	}
	free_n(p, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_freed_last_is_reused_first),
		cmocka_unit_test(test_fresh_blocks_ascend),
		cmocka_unit_test(test_refills),
		cmocka_unit_test(test_refill_takes_from_pools_first),
		cmocka_unit_test(test_no_new_pool_while_blocks_are_free),
		cmocka_unit_test(test_churning_lets_a_bin_grow),
		cmocka_unit_test(test_giving_back_shrinks_a_bin),
		cmocka_unit_test(test_what_stays_in_the_bin),
		cmocka_unit_test(test_period_of_one),
		cmocka_unit_test(test_changing_the_period),
		cmocka_unit_test(test_settle_finds_empty_pools),
		cmocka_unit_test(test_empty_pools_are_found_on_the_way),
		cmocka_unit_test(test_recovers_from_other_bins),
		cmocka_unit_test(test_recovers_an_arena),
		cmocka_unit_test(test_lists_that_cannot_grow),
	};

	return cmocka_run_group_tests_name("heap", tests, NULL, test_teardown);
}
