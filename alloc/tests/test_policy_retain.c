// SPDX-License-Identifier: MIT
/*
 * Unit tests of how much is retained (os/retain.h), by itself: amounts and times
 * around all bounds, with a clock and without, compared with what is said a
 * second time in policylib.c; how much address space may be reserved; and which
 * mappings the system is advised about.
 */
#include "policylib.h"

#include "os/reserve.h"

#include <sys/mman.h>
#include <sys/resource.h>

/* Either or both; what is compared. */
static struct apb_retain r;
static struct policy p;

static void same(void)
{
	r = (struct apb_retain){p.extra, p.given, p.low,
				p.high,	 p.moved, p.epoch};
}

/* A number near @n. */
static size_t near(size_t n, uint64_t *seed)
{
	size_t by = rnd(seed) % 3;

	return n + by >= 1 ? n + by - 1 : 0;
}

static size_t some(uint64_t *seed)
{
	static const size_t amounts[] = {0,	  1,	    4096,    MIB,
					 8 * MIB, 64 * MIB, 1 << 30, 77777777};

	return near(amounts[rnd(seed) % NR_OF(amounts)], seed);
}

static void start(uint64_t *seed)
{
	size_t a = some(seed), b = some(seed);

	p = (struct policy){
		.extra = some(seed),
		.given = some(seed),
		.low = a < b ? a : b,
		.high = a < b ? b : a,
		.moved = some(seed),
		.epoch = rnd(seed) % 1000,
	};
	same();
}

static void test_events(void **ctx)
{
	uint64_t seed = 1;
	unsigned int i;

	(void)ctx;
	for (i = 0; i < 40000; i++) {
		size_t level, bytes, cap;

		start(&seed);
		level = rnd(&seed) % 2 ? near(p.low, &seed) :
					 near(p.high, &seed);
		bytes = rnd(&seed) % 2 ? near(p.given, &seed) : some(&seed);
		cap = rnd(&seed) % 2 ? near(p.extra, &seed) : some(&seed);
		switch (i % 4) {
		case 0:
			policy_came(&p, level, bytes);
			apb_retain_put(&r, level, bytes);
			break;
		case 1:
			policy_needed(&p, level, bytes);
			apb_retain_taken(&r, level, bytes);
			break;
		case 2:
			/* what went was there before */
			level = level < p.high ? level : p.high;
			bytes = rnd(&seed) % 2 ? near(p.high - level, &seed) :
						 some(&seed);
			if (bytes > p.high)
				bytes = p.high;
			policy_gave(&p, level, bytes);
			apb_retain_gave(&r, level, bytes);
			break;
		default:
			if (rnd(&seed) % 2)
				cap = near(p.extra + bytes, &seed);
			policy_missed(&p, bytes, cap);
			apb_retain_missed(&r, bytes, cap);
		}
		assert_policy(&p, &r);
	}
}

/* How many epochs may have passed. */
static const uint64_t passed[] = {0, 1, 2, 3, 31, 32, 62, 63, 64, 65, 1000};

static void test_epochs(void **ctx)
{
	uint64_t seed = 2;
	unsigned int i, over = 0;

	(void)ctx;
	for (i = 0; i < 40000; i++) {
		size_t bound = some(&seed), level, t = 1, u = 1;
		uint64_t now;
		bool is;

		if (i % 10000 == 0)
			policy_fresh(i, i >= 20000 ? SIMOS_NO_CLOCK : 0);
		policy_option(APB_OPT_PURGE_DELAY, rnd(&seed) % 50);
		start(&seed);
		if (rnd(&seed) % 2)
			p.moved = near(64 * MIB + 8 * bound, &seed);
		if (rnd(&seed) % 2)
			p.low = near(MIB + (p.high - p.low) / 8, &seed);
		if (rnd(&seed) % 2 && p.low <= 512 * MIB)
			p.high = p.low + near(8 * MIB, &seed);
		if (p.high < p.low)
			p.high = p.low;
		if (rnd(&seed) % 2)
			p.extra = near(p.high - p.low, &seed);
		same();
		level = p.low + rnd(&seed) % (p.high - p.low + 1);
		now = p.epoch +
		      policy_options.delay * passed[rnd(&seed) % NR_OF(passed)];
		now = near(now, &seed);
		if (now < p.epoch)
			now = p.epoch;
		is = policy_epoch(&p, now, level, bound, &t);
		assert_int_equal(apb_retain_pass(&r, now, level, bound, &u),
				 is);
		assert_int_equal(u, t);
		assert_policy(&p, &r);
		over += is;
	}
	assert_in_range(over, 5000, 35000);
}

/* Options that are none. */
static void test_set(void **ctx)
{
	(void)ctx;
	fresh_sim(1, 0);
	assert_int_equal(apb_retain_set(APB_OPT_THP, APB_THP_NR - 1), 0);
	assert_int_equal(apb_retain_set(APB_OPT_THP, APB_THP_NR), EINVAL);
	assert_int_equal(apb_retain_set(APB_OPT_THP, APB_THP_NR + 1), EINVAL);
	assert_int_equal(apb_retain_set(APB_OPT_JUNK, 0), EINVAL);
	assert_int_equal(apb_retain_set(APB_OPT_THP, 0), 0);
	apb_state.arenas.purge_floor = 5;
	assert_int_equal(apb_retain_set(APB_OPT_LARGE_CACHE, MIB), 0);
	assert_int_equal(apb_state.arenas.purge_floor, 0);
	assert_int_equal(apb_policy.large_cache, MIB);
	assert_int_equal(
		apb_retain_set(APB_OPT_LARGE_CACHE, APB_LARGE_CACHE_DEFAULT),
		0);
}

/* Whether anything could be unmapped. */
static void test_drop(void **ctx)
{
	(void)ctx;
	fresh_sim(1, 0);
	assert_false(apb_retain_drop());
	apb_free(apb_malloc(100000));
	assert_true(apb_retain_drop());
	assert_false(apb_retain_drop());
	apb_free(apb_malloc(100000));
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_UNMAP), 1);
	assert_false(apb_retain_drop());
	fault_arm(APB_FAULT_OFF, 0, 1);
}

/* ---- address space ---------------------------------------------------- */

static bool may_reserve(size_t limit, size_t size)
{
	struct rlimit old, now;
	void *at;

	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	now = old;
	now.rlim_cur = limit;
	assert_int_equal(setrlimit(RLIMIT_AS, &now), 0);
	errno = EILSEQ;
	at = apb_os_reserve(size);
	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
	assert_int_equal(errno, EILSEQ);
	if (at)
		munmap(at, size);
	return at;
}

/* A sixteenth of what the program may have. */
static void test_reserved(void **ctx)
{
	const size_t size = 256 * MIB;

	(void)ctx;
	/* with a sanitizer more than that is mapped */
	if (test_address_space() > 8 * size)
		skip();
	assert_true(may_reserve(16 * size, size));
	assert_true(may_reserve(16 * size + 15, size));
	assert_false(may_reserve(16 * size - 1, size));
	assert_false(may_reserve(15 * size, size));
	assert_true(may_reserve(16 * size + 16, size));
	assert_true(may_reserve(RLIM_INFINITY, size));
}

/* ---- huge pages ------------------------------------------------------- */

static struct {
	unsigned int nr, huge;
	size_t least, most;
} advised;

static void note_advise(void *ctx, void *addr, size_t size, bool huge)
{
	(void)ctx;
	assert_true(is_aligned(addr, MIB));
	advised.nr++;
	advised.huge += huge;
	if (size < advised.least)
		advised.least = size;
	if (size > advised.most)
		advised.most = size;
}

static void allocate_some(void)
{
	apb_free(apb_malloc(1));
	apb_free(apb_malloc(3 * MIB));
	apb_free(apb_malloc(100000));
	apb_free(apb_aligned_alloc(4 * MIB, 5 * MIB));
}

/* Whole MiBs, and only if it is asked for. */
static void test_advised(void **ctx)
{
	struct apb_os os = apb_os_kernel;
	unsigned int thp;

	(void)ctx;
	for (thp = 0; thp < APB_THP_NR; thp++) {
		fresh_kernel();
		os.advise = note_advise;
		assert_int_equal(apb_set_os(&os), 0);
		assert_int_equal(apb_set_option(APB_OPT_THP, thp), 0);
		memset(&advised, 0, sizeof(advised));
		advised.least = SIZE_MAX;
		allocate_some();
		if (thp) {
			assert_int_equal(advised.nr, 3);
			assert_int_equal(advised.least, MIB);
			assert_int_equal(advised.most, 5 * MIB);
		} else {
			assert_int_equal(advised.nr, 0);
		}
		assert_int_equal(advised.huge,
				 thp == APB_THP_ALWAYS ? advised.nr : 0);
		/* where there is nobody to advise */
		apb_reset();
		os.advise = NULL;
		assert_int_equal(apb_set_os(&os), 0);
		allocate_some();
		apb_reset();
	}
	fresh_kernel();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events),	 cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_set),	 cmocka_unit_test(test_drop),
		cmocka_unit_test(test_reserved), cmocka_unit_test(test_advised),
	};

	return cmocka_run_group_tests_name("policy_retain", tests, NULL,
					   test_teardown);
}
