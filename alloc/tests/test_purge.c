// SPDX-License-Identifier: MIT
/*
 * Unit tests of purging: when, in which order, and what if that is refused.
 */
#include "arenalib.h"

static void test_dirty_limit(void **ctx)
{
	struct apb_pool *pool[64];
	struct simos_stats s;
	unsigned int i;

	(void)ctx;
	fresh_sim(9, 0);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 8 * 16 * KIB), 0);
	get_arena(0, pool);
	for (i = 0; i < 8; i++)
		apb_arena_put_pool(pool[2 * i]);
	assert_int_equal(as()->dirty_bytes, 8 * 16 * KIB);
	assert_int_equal(calls(APB_OS_PURGE), 0);
	/* one too many: the arena is purged, a call for each pool */
	apb_arena_put_pool(pool[2 * i]);
	assert_int_equal(as()->dirty_bytes, 0);
	assert_int_equal(calls(APB_OS_PURGE), 9);
	simos_stats(&s);
	assert_int_equal(s.purged, 9 * 16 * KIB);
	/* neighbours go in one call */
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 3 * 16 * KIB), 0);
	apb_arena_put_pool(pool[58]);
	apb_arena_put_pool(pool[59]);
	apb_arena_put_pool(pool[21]);
	assert_int_equal(calls(APB_OS_PURGE), 9);
	apb_arena_put_pool(pool[55]);
	assert_int_equal(calls(APB_OS_PURGE), 12);
	simos_stats(&s);
	assert_int_equal(s.purged, 13 * 16 * KIB);
	/* lowering the limit acts at once */
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, MIB), 0);
	apb_arena_put_pool(pool[31]);
	assert_int_equal(as()->dirty_bytes, 16 * KIB);
	no_dirt();
	assert_int_equal(as()->dirty_bytes, 0);
	assert_int_equal(calls(APB_OS_PURGE), 13);
}

/* Where nothing was ever dirty nothing is given back. */
static void test_nothing_dirty(void **ctx)
{
	(void)ctx;
	fresh_sim(9, 0);
	assert_int_equal(apb_arena_purge(0), 0);
	assert_non_null(get(0));
	assert_int_equal(apb_arena_purge(0), 0);
	assert_int_equal(calls(APB_OS_PURGE), 0);
}

/* As many spares go as must, and none that need not. */
static void test_spares_to_the_byte(void **ctx)
{
	struct apb_pool *pool[3][64];
	unsigned int i, j;

	(void)ctx;
	fresh_sim(9, 0);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 16 * MIB), 0);
	for (i = 0; i < 3; i++)
		get_arena(0, pool[i]);
	for (i = 0; i < 3; i++)
		for (j = 0; j < 61; j++)
			apb_arena_put_pool(pool[i][j]);
	assert_int_equal(as()->nr_spares, 3);
	assert_int_equal(as()->dirty_bytes, 3 * 61 * 16 * KIB);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 2 * 61 * 16 * KIB),
			 0);
	assert_int_equal(as()->nr_spares, 2);
	assert_int_equal(as()->dirty_bytes, 2 * 61 * 16 * KIB);
	assert_int_equal(calls(APB_OS_PURGE), 0);
}

/* Neighbours that are clean go along: one call for what lies between. */
static void test_purge_joins_runs(void **ctx)
{
	struct apb_pool *pool[64];
	unsigned int i;

	(void)ctx;
	fresh_sim(9, 0);
	get_arena(0, pool);
	no_dirt();
	for (i = 10; i < 20; i++)
		apb_arena_put_pool(pool[i]);
	assert_int_equal(calls(APB_OS_PURGE), 10);
	apb_set_option(APB_OPT_DIRTY_LIMIT, MIB);
	for (i = 5; i < 10; i++)
		apb_arena_put_pool(pool[i]);
	for (i = 20; i < 25; i++)
		apb_arena_put_pool(pool[i]);
	apb_arena_put_pool(pool[30]);
	assert_int_equal(apb_arena_purge(0), 11 * 16 * KIB);
	assert_int_equal(calls(APB_OS_PURGE), 12);
	assert_int_equal(arena_of(pool[0])->dirty, 0);
}

/* 1 MiB, and 1/128 of what is in use. */
static void test_automatic_limit(void **ctx)
{
	static struct apb_pool *pool[150][64];
	size_t limit, want = 0;
	unsigned int i, j;

	(void)ctx;
	fresh_sim(10, 0);
	for (i = 0; i < NR_OF(pool); i++)
		get_arena(0, pool[i]);
	/* from each arena a few pools: none is empty */
	for (j = 0; j < 4; j++) {
		for (i = 0; i < NR_OF(pool); i++) {
			apb_arena_put_pool(pool[i][j]);
			want += 16 * KIB;
			limit = MIB + as()->used_pool_bytes / 128;
			assert_int_equal(limit, apb_arena_dirty_limit());
			if (want > limit) {
				assert_true(as()->dirty_bytes <= limit / 2);
				assert_true(as()->dirty_bytes + 16 * KIB * 4 >
					    limit / 2);
				assert_true(limit > 2 * MIB);
				return;
			}
			assert_int_equal(as()->dirty_bytes, want);
			assert_int_equal(calls(APB_OS_PURGE), 0);
		}
	}
	fail_msg("the limit was never reached");
}

/* Arenas are purged in the order in which they became dirty. */
static void test_purge_order(void **ctx)
{
	static const unsigned int order[] = {3, 0, 4, 1, 2};
	struct apb_pool *pool[5][64];
	struct apb_arena *a[5];
	unsigned int i, j;

	(void)ctx;
	fresh_sim(11, 0);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 10 * 16 * KIB), 0);
	for (i = 0; i < 5; i++)
		a[i] = get_arena(0, pool[i]);
	/* one pool of each in order, then a second of each, against it */
	for (i = 0; i < 5; i++)
		apb_arena_put_pool(pool[order[i]][5]);
	for (i = 5; i--;)
		apb_arena_put_pool(pool[order[i]][9]);
	assert_int_equal(calls(APB_OS_PURGE), 0);
	/* 11 pools: down to 5 at most, that is 3 arenas of two each */
	apb_arena_put_pool(pool[order[4]][20]);
	for (i = 0; i < 5; i++)
		assert_int_equal(!a[order[i]]->dirty, i < 3);
	assert_int_equal(as()->dirty_bytes, 5 * 16 * KIB);
	/* the third was dirty last before: now the first is again */
	apb_arena_put_pool(pool[order[0]][30]);
	for (j = 0; j < 5; j++)
		apb_arena_put_pool(pool[order[4]][40 + j]);
	for (i = 0; i < 5; i++)
		assert_int_equal(!a[order[i]]->dirty, i != 0);
	assert_int_equal(as()->dirty_bytes, 16 * KIB);
}

/*
 * An arena that leaves the ring (its dirty pools are used again) and comes
 * back stands at the end.
 */
static void test_purge_order_after_use(void **ctx)
{
	struct apb_pool *a[64], *b[64];

	(void)ctx;
	fresh_sim(12, 0);
	get_arena(0, a);
	get_arena(0, b);
	apb_arena_put_pool(a[0]);
	apb_arena_put_pool(b[0]);
	/* both have one unused: get whichever twice, put b, then a */
	assert_non_null(get(0));
	assert_non_null(get(0));
	assert_int_equal(as()->dirty_bytes, 0);
	apb_arena_put_pool(b[0]);
	apb_arena_put_pool(a[0]);
	assert_int_equal(apb_arena_purge(16 * KIB), 16 * KIB);
	assert_int_equal(arena_of(b[0])->dirty, 0);
	assert_int_not_equal(arena_of(a[0])->dirty, 0);
	assert_int_equal(apb_arena_purge(16 * KIB), 0);
	assert_int_equal(apb_arena_purge(0), 16 * KIB);
	assert_int_equal(arena_of(a[0])->dirty, 0);
	assert_int_equal(apb_arena_purge(0), 0);
}

/* After a refusal nothing is tried before another MiB is dirty. */
static void test_purge_backs_off(void **ctx)
{
	struct apb_pool *pool[3][64];
	unsigned int i, j = 0;
	size_t refused_at;
	uint64_t tries;

	(void)ctx;
	fresh_sim(13, 0);
	for (i = 0; i < 3; i++)
		get_arena(0, pool[i]);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 4 * 16 * KIB), 0);
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_PURGE), 1);
	for (; j < 5; j++)
		apb_arena_put_pool(pool[j % 3][j / 3]);
	refused_at = as()->dirty_bytes;
	assert_int_equal(refused_at, 5 * 16 * KIB);
	tries = apb_state.os.fault.stats.calls[APB_OS_PURGE];
	assert_true(tries >= 1);
	for (; as()->dirty_bytes < refused_at + MIB; j++) {
		assert_true(j < 3 * 59);
		apb_arena_put_pool(pool[j % 3][j / 3]);
		assert_int_equal(apb_state.os.fault.stats.calls[APB_OS_PURGE],
				 tries);
	}
	/* now it is tried again, and works */
	fault_arm(APB_FAULT_OFF, 0, 1);
	apb_arena_put_pool(pool[j % 3][j / 3]);
	assert_true(as()->dirty_bytes <= 2 * 16 * KIB);
	assert_int_equal(as()->purge_floor, 0);
	/* trim does not back off */
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_PURGE), 1);
	for (i = 0; i < 8; i++, j++)
		apb_arena_put_pool(pool[j % 3][j / 3]);
	assert_int_not_equal(as()->purge_floor, 0);
	tries = as()->dirty_bytes;
	fault_arm(APB_FAULT_OFF, 0, 1);
	assert_int_equal(apb_trim(), tries);
	assert_int_equal(as()->dirty_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dirty_limit),
		cmocka_unit_test(test_nothing_dirty),
		cmocka_unit_test(test_spares_to_the_byte),
		cmocka_unit_test(test_purge_joins_runs),
		cmocka_unit_test(test_automatic_limit),
		cmocka_unit_test(test_purge_order),
		cmocka_unit_test(test_purge_order_after_use),
		cmocka_unit_test(test_purge_backs_off),
	};

	return cmocka_run_group_tests_name("purge", tests, NULL, test_teardown);
}
