// SPDX-License-Identifier: MIT
/*
 * Unit tests of apb_reset() and apb_set_os(): after a reset all is as before
 * the first call but for the settings, to the last byte of the state, and the
 * same calls give the same addresses.
 */
#define _GNU_SOURCE /* MAP_FIXED_NOREPLACE */
#include "testlib.h"

#include <sys/mman.h>

#define SLOTS 500

static void *slots[SLOTS];

/* Calls that depend on @seed only; NULL where there is no memory. */
static uint64_t some_calls(uint64_t seed, int n)
{
	uint64_t hash = 0;

	while (n--) {
		uint64_t x = rnd(&seed);
		void **p = &slots[x % SLOTS];

		x >>= 32;
		if (*p && x % 4 == 0)
			*p = apb_realloc(*p, 1 + (x >> 8) % 3000);
		else if (*p)
			apb_free(*p);
		if (*p && x % 4)
			*p = NULL;
		else if (!*p)
			*p = x % 32 ? apb_malloc((x >> 8) % 2000) :
				      apb_aligned_alloc(64 << (x >> 8) % 10,
							(x >> 12) % 200000);
		if (x % 256 == 7)
			apb_settle();
		if (x % 256 == 8)
			apb_trim();
		hash = hash * 31 + (uintptr_t)*p;
	}
	return hash;
}

static void forget(void)
{
	memset(slots, 0, sizeof(slots));
}

/* ---- as fresh --------------------------------------------------------- */

static void assert_fresh(const struct apb_state *fresh)
{
	/* of the lists' arrays nothing is read that is not set */
	assert_memory_equal(&apb_state.main, &fresh->main,
			    offsetof(struct apb_heap, first));
	assert_memory_equal(&apb_state.common, &fresh->common,
			    offsetof(struct apb_heap, first));
	assert_memory_equal(&apb_state.heaps, &fresh->heaps,
			    sizeof(fresh->heaps));
	assert_memory_equal(&apb_state.meta, &fresh->meta, sizeof(fresh->meta));
	assert_ptr_equal(apb_tls, &apb_empty_heap);
	assert_memory_equal(&apb_state.larges, &fresh->larges,
			    sizeof(fresh->larges));
	assert_memory_equal(&apb_state.arenas, &fresh->arenas,
			    sizeof(fresh->arenas));
	assert_memory_equal(&apb_state.os, &fresh->os, sizeof(fresh->os));
	assert_int_equal(
		memcmp(&apb_state.map, &fresh->map, sizeof(fresh->map)), 0);
}

static void test_all_is_as_fresh(void **ctx)
{
	static struct apb_state fresh;
	uint64_t round;

	(void)ctx;
	for (round = 0; round < 100; round++) {
		struct simos_stats sim;

		fresh_sim(round, round % 16);
		fresh = apb_state;
		forget();
		some_calls(round, 2000);
		assert_whole();
		assert_int_equal(apb_reset(), 0);
		assert_fresh(&fresh);
		simos_stats(&sim);
		assert_int_equal(sim.mapped, 0);
		assert_whole();
	}
}

static void test_before_any_call(void **ctx)
{
	static struct apb_state fresh;

	(void)ctx;
	fresh_sim(1, 0);
	fresh = apb_state;
	assert_int_equal(apb_reset(), 0);
	assert_int_equal(apb_reset(), 0);
	assert_fresh(&fresh);
	assert_int_equal(apb_trim(), 0);
	apb_settle();
	assert_fresh(&fresh);
}

static void test_same_calls_same_addresses(void **ctx)
{
	uint64_t seed, first;
	unsigned int flags;

	(void)ctx;
	for (seed = 0; seed < 10; seed++) {
		for (flags = 0; flags < SIMOS_TIGHT; flags += 3) {
			fresh_sim(seed, flags);
			forget();
			first = some_calls(seed, 2000);
			/* another seed in between leaves no trace */
			assert_int_equal(apb_reset(), 0);
			simos_reset(seed + 1, flags);
			forget();
			assert_int_not_equal(some_calls(seed + 1, 1000), first);
			assert_int_equal(apb_reset(), 0);
			simos_reset(seed, flags);
			forget();
			assert_int_equal(some_calls(seed, 2000), first);
			assert_whole();
		}
	}
}

/* Nor do faults that were met. */
static void test_reset_after_faults(void **ctx)
{
	static struct apb_state fresh;
	uint64_t seed;

	(void)ctx;
	for (seed = 0; seed < 60; seed++) {
		struct apb_fault f = {
			.mode = APB_FAULT_RANDOM,
			.calls = FAULT_ALL,
			.n = 2 + seed % 4,
			.seed = seed,
		};
		struct apb_fault_stats faults;

		fresh_sim(seed, seed % 16);
		fresh = apb_state;
		forget();
		apb_fault_set(&f);
		some_calls(seed, 1000);
		assert_whole();
		apb_fault_get(&faults);
		assert_true(faults.failed[APB_OS_MAP] > 0);
		/* faults are disarmed: all is returned, orphans too */
		assert_int_equal(apb_reset(), 0);
		assert_fresh(&fresh);
		assert_whole();
		apb_fault_get(&faults);
		assert_true(all_bytes(&faults, sizeof(faults), 0));
		assert_non_null(apb_malloc(100000));
	}
}

/* ---- what stays ------------------------------------------------------- */

static int misuses;

static void count_misuse(const struct apb_misuse *m, void *arg)
{
	(void)m;
	assert_ptr_equal(arg, &misuses);
	misuses++;
}

static void test_settings_stay(void **ctx)
{
	uint64_t maps;
	struct simos_stats sim;
	void *p;

	(void)ctx;
	fresh_sim(2, 0);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 7), 0);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 12345), 0);
	apb_set_misuse(count_misuse, &misuses);
	p = apb_malloc(1);
	assert_int_equal(apb_tls->info[1].want, 7);
	simos_stats(&sim);
	maps = sim.calls[APB_OS_MAP];
	assert_int_equal(apb_reset(), 0);
	misuses = 0;
	apb_free(p);
	assert_int_equal(misuses, 1);
	assert_non_null(apb_malloc(1));
	assert_int_equal(apb_tls->info[1].want, 7);
	assert_int_equal(apb_policy.dirty_limit, 12345);
	simos_stats(&sim);
	assert_true(sim.calls[APB_OS_MAP] >= maps + 2);
}

static void test_faults_do_not_stay(void **ctx)
{
	(void)ctx;
	fresh_sim(3, 0);
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	assert_null(apb_malloc(1));
	assert_int_equal(apb_reset(), 0);
	assert_non_null(apb_malloc(1));
	assert_non_null(apb_malloc(100000));
}

/* ---- mappings that do not go ------------------------------------------ */

static void test_failing_unmaps(void **ctx)
{
	static struct apb_state fresh;
	struct apb_fault f = {
		.calls = FAULT_MASK(APB_OS_UNMAP),
		.mode = APB_FAULT_FROM,
		.n = 1,
	};
	uint64_t n, first;

	(void)ctx;
	fresh_sim(4, 0);
	fresh = apb_state;
	forget();
	first = some_calls(4, 1500);
	/* from the n-th on; at last there is none to fail */
	for (n = 1;; n++) {
		struct simos_stats sim;
		int result;

		f.n = n;
		simos_fault(&f);
		errno = 0;
		result = apb_reset();
		simos_fault(NULL);
		assert_fresh(&fresh);
		simos_stats(&sim);
		if (!result) {
			assert_int_equal(sim.mapped, 0);
			break;
		}
		assert_int_equal(result, -1);
		assert_int_equal(errno, ENOMEM);
		assert_int_not_equal(sim.mapped, 0);
		/* it is forgotten: what follows is not disturbed by it */
		assert_int_equal(stats_now().mapped_bytes, 0);
		assert_int_equal(apb_check(NULL), 0);
		forget();
		some_calls(5, 500);
		assert_int_equal(apb_check(NULL), 0);
		assert_int_equal(apb_reset(), 0);
		simos_reset(4, 0);
		forget();
		assert_int_equal(some_calls(4, 1500), first);
	}
	assert_true(n > 10);
}

/* One refusal is made up for: there is a second try. */
static void test_a_second_try(void **ctx)
{
	struct apb_fault f = {
		.calls = FAULT_MASK(APB_OS_UNMAP),
		.mode = APB_FAULT_ONCE,
		.n = 2,
	};
	struct simos_stats sim;

	(void)ctx;
	fresh_sim(5, 0);
	apb_malloc(1);
	apb_malloc(100000);
	simos_fault(&f);
	assert_int_equal(apb_reset(), 0);
	simos_stats(&sim);
	assert_int_equal(sim.failed[APB_OS_UNMAP], 1);
	assert_int_equal(sim.mapped, 0);
}

/* ---- many slices of the map ------------------------------------------- */

#define SPREAD_NR 99 /* more than there are blocks that want a place */
#define SPREAD_STEP (((uintptr_t)4 << 30) + MIB)

static unsigned int spread_maps;
static size_t spread_bytes;

/* A kernel that puts every mapping into another slice. */
static void *spread_map(void *ctx, void *hint, size_t size, bool *zero)
{
	uintptr_t at = 0;
	void *p;

	(void)ctx;
	(void)hint;
	/* leaves and the like wherever there is room */
	if (size % MIB == 0)
		at = FREE_ADDRESSES + spread_maps++ % SPREAD_NR * SPREAD_STEP;
	p = mmap((void *)at, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			 (at ? MAP_FIXED_NOREPLACE : 0),
		 -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	spread_bytes += size;
	*zero = true;
	return p;
}

static int spread_unmap(void *ctx, void *addr, size_t size)
{
	(void)ctx;
	spread_bytes -= size;
	return munmap(addr, size);
}

static int spread_purge(void *ctx, void *addr, size_t size)
{
	(void)ctx;
	return madvise(addr, size, MADV_DONTNEED);
}

static const struct apb_os spread = {
	.map = spread_map,
	.unmap = spread_unmap,
	.purge = spread_purge,
	.remap = test_no_remap,
};

static void test_many_slices(void **ctx)
{
	static struct apb_state fresh;
	char *p[100];
	size_t i;

	(void)ctx;
	fresh_kernel();
	/* a mapping that is kept keeps its leaf */
	assert_int_equal(apb_set_option(APB_OPT_LARGE_CACHE, 0), 0);
	assert_int_equal(apb_set_os(&spread), 0);
	/* a cached mapping would keep its leaf */
	assert_int_equal(apb_set_option(APB_OPT_LARGE_CACHE, 0), 0);
	spread_bytes = 0;
	fresh = apb_state;
	for (i = 0; i < NR_OF(p); i++) {
		p[i] = apb_malloc(i % 4 ? MIB * (1 + i % 3) : 32768);
		assert_non_null(p[i]);
		fill(p[i], 4096, i);
	}
	assert_int_equal(apb_check(NULL), 0);
	assert_true(apb_state.map.nr_leaves >= 75);
	assert_int_equal(stats_now().mapped_bytes, spread_bytes);
	/* what is empty does not stay, but for one leaf */
	for (i = 0; i < NR_OF(p); i++) {
		assert_true(filled(p[i], 4096, i));
		if (i % 4)
			apb_free(p[i]);
	}
	assert_int_equal(apb_check(NULL), 0);
	assert_int_equal(apb_state.map.nr_leaves, stats_now().arenas + 1);
	assert_int_equal(apb_reset(), 0);
	assert_fresh(&fresh);
	assert_int_equal(spread_bytes, 0);
}

/* ---- the table of operations ------------------------------------------ */

static void assert_busy(void)
{
	errno = 0;
	assert_int_equal(apb_set_os(simos_ops()), -1);
	assert_int_equal(errno, EBUSY);
	errno = 0;
	assert_int_equal(apb_set_os(NULL), -1);
	assert_int_equal(errno, EBUSY);
}

/* While anything is mapped: a block, a spare, a leaf, an orphan. */
static void test_busy(void **ctx)
{
	void *p;

	(void)ctx;
	fresh_sim(6, 0);
	p = apb_malloc(1);
	assert_busy();
	apb_free(p);
	assert_busy();
	apb_settle();
	assert_int_equal(stats_now().spares, 1);
	assert_busy();
	apb_trim();
	assert_int_equal(apb_set_os(simos_ops()), 0);
	p = apb_malloc(100000);
	assert_busy();
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_UNMAP), 1);
	apb_free(p);
	assert_busy();
	assert_int_equal(apb_reset(), 0);
	assert_int_equal(apb_set_os(NULL), 0);
	p = apb_malloc(100000);
	assert_non_null(p);
	assert_false(simos_is_mapped(p, 1));
}

static void test_incomplete_tables(void **ctx)
{
	struct apb_os os;

	(void)ctx;
	fresh_kernel();
	os = *simos_ops();
	os.map = NULL;
	errno = 0;
	assert_int_equal(apb_set_os(&os), -1);
	assert_int_equal(errno, EINVAL);
	os = *simos_ops();
	os.unmap = NULL;
	assert_int_equal(apb_set_os(&os), -1);
	os = *simos_ops();
	os.purge = NULL;
	assert_int_equal(apb_set_os(&os), -1);
	os = *simos_ops();
	os.remap = NULL;
	errno = 0;
	assert_int_equal(apb_set_os(&os), -1);
	assert_int_equal(errno, EINVAL);
	/* and then the old one is in use */
	assert_false(simos_is_mapped(apb_malloc(1), 1));
}

static void *with_ctx(void *ctx, void *hint, size_t size, bool *zero)
{
	++*(int *)ctx;
	return simos_ops()->map(NULL, hint, size, zero);
}

/* The table is copied, its ctx passed on. */
static void test_table_is_copied(void **ctx)
{
	int calls = 0;
	struct apb_os os;

	(void)ctx;
	fresh_sim(7, 0);
	os = *simos_ops();
	os.ctx = &calls;
	os.map = with_ctx;
	assert_int_equal(apb_set_os(&os), 0);
	memset(&os, 0, sizeof(os));
	assert_non_null(apb_malloc(1));
	assert_true(calls >= 2);
	/* a reset keeps it */
	assert_int_equal(apb_reset(), 0);
	calls = 0;
	assert_non_null(apb_malloc(1));
	assert_true(calls >= 2);
	assert_int_equal(apb_reset(), 0);
}

static unsigned int far_unmaps;

static void *far_map(void *ctx, void *hint, size_t size, bool *zero)
{
	(void)hint;
	(void)size;
	*zero = true;
	return ctx;
}

static int far_unmap(void *ctx, void *addr, size_t size)
{
	(void)size;
	assert_ptr_equal(addr, ctx);
	far_unmaps++;
	return 0;
}

/* What the map cannot hold is not used but given back. */
static void test_addresses_beyond_the_map(void **ctx)
{
	struct apb_os os = *simos_ops();

	(void)ctx;
	fresh_kernel();
	os.map = far_map;
	os.unmap = far_unmap;
	/* the first address beyond, and a range that reaches it */
	os.ctx = (void *)((uintptr_t)1 << 47);
	assert_int_equal(apb_set_os(&os), 0);
	far_unmaps = 0;
	errno = 0;
	assert_null(apb_malloc(100));
	assert_int_equal(errno, ENOMEM);
	assert_null(apb_malloc(100000));
	assert_int_equal(stats_now().mapped_bytes, 0);
	os.ctx = (void *)(((uintptr_t)1 << 47) - MIB);
	assert_int_equal(apb_set_os(&os), 0);
	assert_null(apb_malloc(MIB + 1));
	assert_int_equal(stats_now().mapped_bytes, 0);
	assert_int_equal(far_unmaps, 3);
	assert_int_equal(apb_check(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_as_fresh),
		cmocka_unit_test(test_before_any_call),
		cmocka_unit_test(test_same_calls_same_addresses),
		cmocka_unit_test(test_reset_after_faults),
		cmocka_unit_test(test_settings_stay),
		cmocka_unit_test(test_faults_do_not_stay),
		cmocka_unit_test(test_failing_unmaps),
		cmocka_unit_test(test_a_second_try),
		cmocka_unit_test(test_many_slices),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_incomplete_tables),
		cmocka_unit_test(test_table_is_copied),
		cmocka_unit_test(test_addresses_beyond_the_map),
	};

	return cmocka_run_group_tests_name("reset", tests, NULL, test_teardown);
}
