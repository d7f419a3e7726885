// SPDX-License-Identifier: MIT
/*
 * Unit tests of the cache of large mappings, and of the slack behind large
 * blocks: what is reused for what, what a pointer into a cached mapping is,
 * the bounds, time.
 */
#include "testlib.h"

#include "large/large.h"

#define MAPS FAULT_MASK(APB_OS_MAP)
#define UNMAPS FAULT_MASK(APB_OS_UNMAP)

static struct apb_larges *larges(void)
{
	return &apb_state.larges;
}

static uint64_t os_calls(void)
{
	const struct apb_fault_stats *s = &apb_state.os.fault.stats;

	return s->calls[APB_OS_MAP] + s->calls[APB_OS_UNMAP] +
	       s->calls[APB_OS_PURGE] + s->calls[APB_OS_REMAP];
}

/* As after much use: all that the option allows may be cached. */
static void learnt(uint64_t seed, unsigned int flags)
{
	fresh_sim(seed, flags);
	larges()->retain.extra = APB_LARGE_CACHE_DEFAULT;
}

/* ---- steps ------------------------------------------------------------ */

static void test_steps(void **ctx)
{
	size_t size, step, last = 0, different = 0;

	(void)ctx;
	for (size = APB_PAGE; size <= 4 * MIB; size += APB_PAGE) {
		step = apb_large_step(size);
		assert_true(step >= size);
		assert_true(step - size <= size / 8);
		assert_int_equal(step % APB_PAGE, 0);
		assert_int_equal(apb_large_step(step), step);
		assert_true(step >= last);
		/* eight from one power of two to the next */
		if (size > 64 * KIB)
			different += step != last;
		last = step;
	}
	assert_int_equal(different, 6 * 8);
	for (size = 4 * MIB; size < (size_t)1 << 46; size += size / 5) {
		size_t pages = apb_page_up(size);

		step = apb_large_step(pages);
		assert_true(step >= pages && step - pages <= pages / 8);
		assert_true(step - pages < 64 * MIB);
	}
	/* no overflow */
	size = (size_t)PTRDIFF_MAX / APB_PAGE * APB_PAGE;
	assert_true(apb_large_step(size) >= size);
}

/* ---- reuse ------------------------------------------------------------ */

static void test_same_size_no_call(void **ctx)
{
	static const size_t sizes[] = {40000, 65536, 100000, MIB, 3 * MIB};
	unsigned int i, round;
	char *p, *q;

	(void)ctx;
	for (i = 0; i < NR_OF(sizes); i++) {
		learnt(i, 0);
		p = apb_malloc(sizes[i]);
		apb_free(p);
		assert_int_equal(stats_now().large_cached, 1);
		assert_int_equal(stats_now().large, 0);
		fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
		for (round = 0; round < 10; round++) {
			q = apb_malloc(sizes[i]);
			assert_ptr_equal(q, p);
			assert_int_equal(stats_now().large_cached, 0);
			fill(q, sizes[i], round);
			assert_true(filled(q, sizes[i], round));
			assert_whole();
			apb_free(q);
		}
		assert_int_equal(os_calls(), 0);
		assert_whole();
	}
}

/* Down to half the size; the best fit, of equals the one freed last. */
static void test_similar_sizes(void **ctx)
{
	char *p[4], *q;

	(void)ctx;
	learnt(1, 0);
	p[0] = apb_malloc(384 * KIB);
	p[1] = apb_malloc(448 * KIB);
	p[2] = apb_malloc(384 * KIB);
	apb_free(p[0]);
	apb_free(p[2]);
	apb_free(p[1]);
	assert_int_equal(stats_now().large_cached, 3);
	/* too large by a page, or by far too small */
	q = apb_malloc(448 * KIB + 1);
	assert_true(q != p[0] && q != p[1] && q != p[2]);
	q = apb_malloc(160 * KIB);
	assert_true(q != p[0] && q != p[1] && q != p[2]);
	assert_int_equal(stats_now().large_cached, 3);
	assert_ptr_equal(apb_malloc(340 * KIB), p[2]);
	assert_ptr_equal(apb_malloc(300 * KIB), p[0]);
	assert_ptr_equal(apb_malloc(224 * KIB), p[1]);
	assert_int_equal(stats_now().large_cached, 0);
	assert_whole();
}

/* Of a larger one the front is taken, in whole MiBs; freed it is joined. */
static void test_split_and_join(void **ctx)
{
	char *p, *q[3];

	(void)ctx;
	learnt(1, 0);
	p = apb_malloc(7 * MIB);
	apb_free(p);
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	q[0] = apb_malloc(MIB + 300 * KIB);
	assert_ptr_equal(q[0], p);
	assert_int_equal(apb_usable_size(q[0]), MIB + 300 * KIB);
	assert_int_equal(stats_now().large_slack_bytes, MIB - 300 * KIB);
	assert_int_equal(stats_now().large_cached, 1);
	assert_int_equal(stats_now().large_cached_bytes, 5 * MIB);
	q[1] = apb_malloc(3 * MIB);
	assert_ptr_equal(q[1], p + 2 * MIB);
	q[2] = apb_malloc(800 * KIB);
	assert_ptr_equal(q[2], p + 5 * MIB);
	assert_int_equal(stats_now().large_cached_bytes, MIB);
	assert_whole();
	/* what is small must not take what is large */
	assert_null(apb_malloc(100 * KIB));
	learnt(1, 0);
	p = apb_malloc(7 * MIB);
	apb_free(p);
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	q[0] = apb_malloc(2 * MIB);
	q[1] = apb_malloc(2 * MIB);
	q[2] = apb_malloc(2 * MIB);
	/* from below, from above, from both sides */
	apb_free(q[1]);
	assert_int_equal(stats_now().large_cached, 2);
	apb_free(q[0]);
	assert_int_equal(stats_now().large_cached, 2);
	assert_whole();
	apb_free(q[2]);
	assert_int_equal(stats_now().large_cached, 1);
	assert_int_equal(stats_now().large_cached_bytes, 7 * MIB);
	assert_whole();
	assert_ptr_equal(apb_malloc(7 * MIB), p);
	assert_int_equal(os_calls(), 0);
	fault_arm(APB_FAULT_OFF, 0, 1);
	apb_free(p);
	/* a bound cuts off what is too much */
	apb_set_option(APB_OPT_LARGE_CACHE, 5 * MIB - 1);
	assert_int_equal(stats_now().large_cached_bytes, 4 * MIB);
	assert_int_equal(os_calls(), 1);
	assert_whole();
}

/* A block that grows takes whole MiBs of what is cached behind it, no more. */
static void test_growing_into_the_cache(void **ctx)
{
	size_t left;
	char *p, *q;

	(void)ctx;
	for (left = 5; left; left--) {
		learnt(1, 0);
		p = apb_malloc(7 * MIB);
		apb_free(p);
		q = apb_malloc(2 * MIB);
		assert_ptr_equal(q, p);
		fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
		assert_ptr_equal(apb_realloc(q, (7 - left) * MIB + 4096), p);
		assert_int_equal(stats_now().large_cached_bytes,
				 (left - 1) * MIB);
		assert_whole();
	}
	for (left = 4; left; left--) {
		learnt(1, 0);
		p = apb_malloc(7 * MIB);
		apb_free(p);
		q = apb_malloc(2 * MIB);
		fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
		assert_ptr_equal(apb_realloc(q, (7 - left) * MIB), p);
		assert_int_equal(stats_now().large_cached_bytes, left * MIB);
		assert_int_equal(stats_now().large_slack_bytes, 0);
		assert_whole();
	}
}

static void test_alignment(void **ctx)
{
	unsigned int i, hits = 0;
	char *p, *q;

	(void)ctx;
	for (i = 0; i < 40; i++) {
		learnt(i, i % 2 ? SIMOS_HINTS : 0);
		p = apb_malloc(MIB);
		apb_free(p);
		q = apb_aligned_alloc(4 * MIB, MIB);
		assert_true(is_aligned(q, 4 * MIB));
		hits += q == p;
		assert_int_equal(q == p, is_aligned(p, 4 * MIB));
		assert_int_equal(stats_now().large_cached, q != p);
		/* what was aligned serves any request of its size */
		apb_free(q);
		p = apb_malloc(MIB);
		assert_ptr_equal(p, q);
		assert_whole();
	}
	assert_in_range(hits, 1, 39);
}

/* Whatever the block before left in it. */
static void test_zeroes(void **ctx)
{
	static const size_t sizes[] = {50000, MIB, 4 * MIB, 4 * MIB + 1,
				       6 * MIB};
	unsigned int i, how;

	(void)ctx;
	for (how = 0; how < 5; how++) {
		for (i = 0; i < NR_OF(sizes); i++) {
			size_t size = sizes[i];
			char *p, *q;

			learnt(i,
			       SIMOS_FILL | (how % 2 ? SIMOS_PURGE_ZEROES : 0));
			if (how == 4)
				fresh_kernel();
			larges()->retain.extra = APB_LARGE_CACHE_DEFAULT;
			p = apb_malloc(size);
			memset(p, 0xa5, apb_usable_size(p));
			apb_free(p);
			/* a purge that is refused */
			if (how >= 2 && how < 4)
				fault_arm(APB_FAULT_FROM,
					  FAULT_MASK(APB_OS_PURGE), 1);
			q = apb_calloc(1, size);
			assert_ptr_equal(q, p);
			assert_true(all_bytes(q, size, 0));
			assert_int_equal(
				apb_state.os.fault.stats.calls[APB_OS_PURGE],
				(how % 2 || how == 4) && size > 4 * MIB);
			assert_whole();
			apb_free(q);
		}
	}
}

/* ---- what a pointer into the cache is --------------------------------- */

static struct apb_misuse told;
static unsigned int times;

static void on_misuse(const struct apb_misuse *m, void *arg)
{
	(void)arg;
	told = *m;
	times++;
}

static void assert_foreign(void)
{
	assert_int_equal(times, 1);
	assert_int_equal(told.kind, APB_MISUSE_FOREIGN);
	times = 0;
}

static void test_double_free(void **ctx)
{
	char *p;

	(void)ctx;
	learnt(2, 0);
	apb_set_misuse(on_misuse, NULL);
	times = 0;
	p = apb_malloc(3 * MIB);
	/* hidden from the compiler, which knows what is wrong here */
	__asm__("" : "+r"(p));
	apb_free(p);
	assert_int_equal(stats_now().large_cached, 1);
	__asm__("" : "+r"(p));
	apb_free(p);
	assert_foreign();
	__asm__("" : "+r"(p));
	apb_free(p + MIB);
	assert_foreign();
	assert_int_equal(apb_usable_size(p), 0);
	assert_foreign();
	assert_null(apb_realloc(p, 100000));
	assert_foreign();
	apb_free_sized(p, 3 * MIB);
	assert_foreign();
	assert_null(apb_large_find((uintptr_t)p));
	assert_null(apb_large_around((uintptr_t)p));
	assert_null(apb_large_around((uintptr_t)p + MIB));
	assert_int_equal(apb_map_kind(&apb_state.map, (uintptr_t)p),
			 APB_KIND_CACHED);
	assert_int_equal(stats_now().large_cached, 1);
	assert_whole();
	/* nor does slack belong to a block */
	p = apb_malloc(2500 * KIB);
	assert_int_equal(apb_usable_size(p), 2500 * KIB);
	assert_non_null(apb_large_around((uintptr_t)p + 2500 * KIB - 1));
	assert_null(apb_large_around((uintptr_t)p + 2500 * KIB));
	__asm__("" : "+r"(p));
	apb_free(p + 2500 * KIB);
	assert_foreign();
	apb_free(p);
	assert_int_equal(times, 0);
	assert_whole();
}

/* ---- bounds ----------------------------------------------------------- */

static void test_bound_in_bytes(void **ctx)
{
	char *p[20];
	unsigned int i;

	(void)ctx;
	/* as yet nothing is learnt: about 1 MiB */
	fresh_sim(3, SIMOS_HINTS);
	for (i = 0; i < 20; i++)
		p[i] = apb_malloc(256 * KIB);
	for (i = 0; i < 20; i++)
		apb_free(p[i]);
	assert_int_equal(stats_now().large_cached, 4);
	/* the oldest went first */
	for (i = 20; i-- > 16;)
		assert_ptr_equal(apb_malloc(256 * KIB), p[i]);
	assert_int_equal(stats_now().large_cached, 0);
	assert_whole();
	/* the option is the cap of what is learnt, at once */
	learnt(3, SIMOS_HINTS);
	assert_int_equal(apb_set_option(APB_OPT_LARGE_CACHE, 5 * MIB), 0);
	for (i = 0; i < 20; i++)
		p[i] = apb_malloc(MIB);
	for (i = 0; i < 20; i++) {
		apb_free(p[i]);
		assert_true(stats_now().large_cached_bytes <= 5 * MIB);
	}
	assert_int_equal(stats_now().large_cached_bytes, 5 * MIB);
	assert_int_equal(apb_set_option(APB_OPT_LARGE_CACHE, 2 * MIB), 0);
	assert_int_equal(stats_now().large_cached_bytes, 2 * MIB);
	/* what is larger than all of it does not drive the others out */
	apb_free(apb_malloc(4 * MIB));
	assert_int_equal(stats_now().large_cached_bytes, 2 * MIB);
	assert_int_equal(apb_set_option(APB_OPT_LARGE_CACHE, 0), 0);
	assert_int_equal(stats_now().large_cached, 0);
	/* what is in use counts: an eighth of a MiB for 16 MiB */
	apb_set_option(APB_OPT_LARGE_CACHE, 64 * MIB);
	larges()->retain.extra = 0;
	larges()->retain.given = 0;
	p[0] = apb_malloc(100 * MIB);
	p[1] = apb_malloc(MIB);
	apb_free(apb_malloc(300 * KIB));
	apb_free(p[1]);
	assert_int_equal(stats_now().large_cached_bytes, MIB + 320 * KIB);
	apb_free(p[0]);
	assert_true(stats_now().large_cached_bytes <= MIB);
	assert_whole();
	apb_set_option(APB_OPT_LARGE_CACHE, 0);
	apb_free(apb_malloc(40000));
	assert_int_equal(stats_now().large_cached, 0);
	assert_int_equal(apb_set_option(APB_OPT_LARGE_CACHE, 2 * MIB), 0);
	apb_free(apb_malloc(40000));
	assert_int_equal(stats_now().large_cached, 1);
	assert_int_equal(apb_set_option(APB_OPT_PURGE_DELAY, 0), 0);
	assert_int_equal(stats_now().large_cached, 0);
	apb_free(apb_malloc(40000));
	assert_int_equal(stats_now().large_cached, 0);
	assert_whole();
}

static void test_bound_in_number(void **ctx)
{
	static char *p[APB_LARGE_CACHE_NR + 50];
	unsigned int i;

	(void)ctx;
	fresh_kernel();
	larges()->retain.extra = APB_LARGE_CACHE_DEFAULT;
	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_malloc(40000);
	for (i = 0; i < NR_OF(p); i++)
		apb_free(p[i]);
	assert_int_equal(stats_now().large_cached, APB_LARGE_CACHE_NR);
	assert_whole();
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	for (i = NR_OF(p); i-- > 50;)
		assert_ptr_equal(apb_malloc(40000), p[i]);
	assert_null(apb_malloc(40000));
	assert_whole();
}

/* ---- loops, time ------------------------------------------------------ */

/* One block of a random size at a time: hardly a call once that is learnt. */
static void test_loops_are_learnt(void **ctx)
{
	uint64_t r = 1, before = 0;
	unsigned int i;

	(void)ctx;
	fresh_sim(4, SIMOS_HINTS);
	for (i = 0; i < 3000; i++) {
		size_t size = 64 * KIB + rnd(&r) % (8 * MIB - 64 * KIB);
		char *p = apb_malloc(size);

		assert_non_null(p);
		p[0] = p[size - 1] = 1;
		apb_free(p);
		if (i == 1000)
			before = os_calls();
	}
	assert_true(os_calls() - before < 20);
	assert_true(stats_now().large_cached_bytes <= apb_large_cache_limit());
	assert_whole();
}

/* What comes and goes once is not cached beyond the base. */
static void test_doubling_is_not_cached(void **ctx)
{
	char *p, *q;
	size_t size;

	(void)ctx;
	fresh_sim(5, SIMOS_HINTS);
	apb_free(apb_malloc(40 * MIB));
	assert_int_equal(stats_now().large_cached, 0);
	assert_int_equal(larges()->retain.extra, 0);
	/* a table that is copied to one of twice its size, and so on */
	fresh_sim(5, SIMOS_HINTS);
	p = apb_malloc(2 * MIB);
	for (size = 4 * MIB; size <= 64 * MIB; size *= 2) {
		q = apb_malloc(size);
		apb_free(p);
		assert_int_equal(stats_now().large_cached, 0);
		p = q;
	}
	apb_free(p);
	assert_int_equal(stats_now().large_cached, 0);
	assert_whole();
}

static void test_time(void **ctx)
{
	char *p;

	(void)ctx;
	learnt(6, SIMOS_HINTS);
	simos_pass(1000);
	apb_retain_tick();
	larges()->retain.extra = APB_LARGE_CACHE_DEFAULT;
	p = apb_malloc(4 * MIB);
	apb_free(p);
	assert_int_equal(stats_now().large_cached, 1);
	/* it came in this epoch */
	simos_pass(500);
	apb_retain_tick();
	assert_int_equal(stats_now().large_cached, 1);
	simos_pass(499);
	apb_retain_tick();
	assert_int_equal(stats_now().large_cached, 1);
	simos_pass(1);
	/* a pool that comes or goes is an event for this layer, too */
	apb_free(apb_malloc(100));
	assert_int_equal(stats_now().large_cached, 0);
	assert_whole();
	/* what is used again and again stays, the other goes */
	larges()->retain.extra = APB_LARGE_CACHE_DEFAULT;
	apb_free(apb_malloc(8 * MIB));
	apb_free(apb_malloc(200 * KIB));
	assert_int_equal(stats_now().large_cached, 2);
	for (int i = 0; i < 40; i++) {
		simos_pass(50);
		p = apb_malloc(200 * KIB);
		simos_pass(50);
		apb_free(p);
	}
	assert_int_equal(stats_now().large_cached, 1);
	assert_int_equal(stats_now().large_cached_bytes, 208 * KIB);
	assert_whole();
}

/* ---- given back when it has to be ------------------------------------- */

/* An arena that has to be mapped takes the place of as much that is cached. */
static void test_arenas_grow(void **ctx)
{
	int i;

	(void)ctx;
	fresh_sim(1, 0);
	apb_malloc(48);
	apb_free(apb_malloc(600 * KIB));
	assert_int_equal(stats_now().large_cached, 1);
	/* there is room in the arena */
	for (i = 0; i < 1000; i++)
		apb_malloc(48);
	assert_int_equal(stats_now().large_cached, 1);
	apb_malloc(5000);
	assert_int_equal(stats_now().arenas, 2);
	assert_int_equal(stats_now().large_cached, 0);
	assert_int_equal(larges()->retain.given, 0);
	assert_int_equal(larges()->given_most, 0);
	larges()->retain.extra = APB_LARGE_CACHE_DEFAULT;
	apb_free(apb_malloc(5 * MIB));
	apb_malloc(20000);
	assert_int_equal(stats_now().arenas, 3);
	assert_int_equal(stats_now().large_cached, 1);
	assert_int_equal(larges()->cached_bytes, 4 * MIB);
	assert_whole();
}

static void test_trim_and_reset(void **ctx)
{
	(void)ctx;
	learnt(7, 0);
	apb_free(apb_malloc(MIB));
	apb_free(apb_malloc(3 * MIB));
	assert_int_equal(apb_trim(), 4 * MIB + APB_LEAF_BYTES);
	assert_int_equal(apb_state.os.mapped, 0);
	assert_int_equal(stats_now().large_cached, 0);
	larges()->retain.extra = APB_LARGE_CACHE_DEFAULT;
	apb_free(apb_malloc(MIB));
	assert_int_equal(apb_reset(), 0);
	assert_int_equal(apb_state.os.mapped, 0);
	assert_whole();
}

/* No memory for a large block, or for an arena: the cache goes for it. */
static void test_no_memory(void **ctx)
{
	unsigned int pooled;

	(void)ctx;
	for (pooled = 0; pooled < 2; pooled++) {
		void *p;

		learnt(8, 0);
		/* more than what an arena takes the place of anyway */
		apb_free(apb_malloc(3 * MIB));
		fault_arm(APB_FAULT_ONCE, MAPS, 1);
		p = apb_malloc(pooled ? 100 : 4 * MIB);
		assert_non_null(p);
		assert_int_equal(apb_state.os.fault.stats.failed[APB_OS_MAP],
				 1);
		assert_int_equal(stats_now().large_cached, 0);
		assert_int_equal(stats_now().recovered, 1);
		assert_whole();
	}
}

/* What cannot be unmapped when it leaves the cache is an orphan. */
static void test_orphans(void **ctx)
{
	(void)ctx;
	learnt(9, 0);
	apb_free(apb_malloc(MIB));
	fault_arm(APB_FAULT_FROM, UNMAPS, 1);
	apb_large_uncache();
	assert_int_equal(stats_now().large_cached, 0);
	assert_int_equal(stats_now().slop_bytes, MIB);
	assert_whole();
	fault_arm(APB_FAULT_OFF, 0, 1);
	assert_int_equal(apb_trim(), MIB + APB_LEAF_BYTES);
	assert_int_equal(apb_state.os.mapped, 0);
}

/* ---- realloc ---------------------------------------------------------- */

static void test_realloc_within_slack(void **ctx)
{
	char *p;

	(void)ctx;
	learnt(10, 0);
	p = apb_malloc(MIB + 1);
	assert_int_equal(stats_now().large_slack_bytes, 124 * KIB);
	fill(p, MIB + 1, 10);
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	assert_ptr_equal(apb_realloc(p, MIB + 128 * KIB), p);
	assert_int_equal(apb_usable_size(p), MIB + 128 * KIB);
	assert_int_equal(stats_now().large_slack_bytes, 0);
	/* nor for a little less */
	assert_ptr_equal(apb_realloc(p, MIB), p);
	assert_int_equal(apb_usable_size(p), MIB);
	assert_int_equal(stats_now().large_slack_bytes, 128 * KIB);
	assert_int_equal(os_calls(), 0);
	assert_true(filled(p, MIB, 10) || p[MIB - 1]);
	fault_arm(APB_FAULT_OFF, 0, 1);
	/* for much less the tail goes */
	assert_ptr_equal(apb_realloc(p, 500 * KIB), p);
	assert_int_equal(stats_now().large_slack_bytes, 12 * KIB);
	assert_int_equal(os_calls(), 1);
	assert_whole();
}

/* A page at a time: as many calls as there are steps, however it goes. */
static void test_growing_slowly(void **ctx)
{
	unsigned int flags;

	(void)ctx;
	for (flags = 0; flags < SIMOS_TIGHT; flags++) {
		size_t size = 40000;
		char *p, *other;

		fresh_sim(11, flags);
		p = apb_malloc(size);
		fill(p, 40000, 11);
		other = apb_malloc(size);
		fault_arm(APB_FAULT_OFF, 0, 1);
		for (; size < 8 * MIB; size += APB_PAGE) {
			p = apb_realloc(p, size);
			assert_non_null(p);
			p[size - 1] = 1;
		}
		assert_true(filled(p, 39000, 11));
		/* 8 doublings of 8 steps; a move is 2 to 6 calls */
		assert_true(os_calls() < 8 * 8 * 7);
		assert_whole();
		apb_free(p);
		apb_free(other);
	}
}

/* The second time it finds the mappings of the first, and needs no call. */
static void test_growing_again(void **ctx)
{
	uint64_t before = 0;
	unsigned int round;

	(void)ctx;
	fresh_sim(12, SIMOS_HINTS);
	for (round = 0; round < 12; round++) {
		size_t size = 40000;
		char *p = apb_malloc(size);

		before = os_calls();
		fill(p, size, round);
		for (; size < MIB; size += 3000) {
			p = apb_realloc(p, size);
			p[size - 1] = 1;
			/* there may be room to double, no more */
			assert_true(stats_now().large_slack_bytes <=
				    2 * apb_large_step(apb_page_up(size)) -
					    apb_page_up(size));
		}
		assert_true(filled(p, 39000, round));
		assert_whole();
		apb_free(p);
	}
	assert_int_equal(os_calls(), before);
}

/* A large block is copied only if it has grown before, and to much room. */
static void test_growing_large(void **ctx)
{
	uint64_t before = 0;
	unsigned int round;
	char *p, *q;

	(void)ctx;
	learnt(13, SIMOS_HINTS);
	p = apb_malloc(2 * MIB);
	fill(p, 2 * MIB, 13);
	q = apb_malloc(4 * MIB);
	apb_free(q);
	/* the first times pages are moved, if need be to what is cached */
	fault_arm(APB_FAULT_OFF, 0, 1);
	p = apb_realloc(p, 2 * MIB + 1);
	assert_true(apb_state.os.fault.stats.calls[APB_OS_REMAP] > 0);
	assert_true(filled(p, 2 * MIB, 13));
	apb_large_uncache();
	apb_large_find((uintptr_t)p)->grown = APB_LARGE_GROWN;
	q = apb_malloc(5 * MIB);
	apb_free(q);
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	p = apb_realloc(p, 3 * MIB + 1);
	assert_ptr_equal(p, q);
	assert_int_equal(os_calls(), 0);
	assert_true(filled(p, 2 * MIB, 13));
	assert_int_equal(stats_now().large, 1);
	assert_whole();
	apb_free(p);

	/* again and again: what the first rounds leave is used by the others */
	fresh_sim(13, SIMOS_HINTS);
	for (round = 0; round < 16; round++) {
		size_t size = 2 * MIB;

		if (round == 12)
			before = os_calls();
		p = apb_malloc(size);
		fill(p, size - 8, round);
		for (; size < 14 * MIB; size += 200 * KIB) {
			p = apb_realloc(p, size);
			p[size - 1] = 1;
		}
		assert_true(filled(p, 2 * MIB - 8, round));
		assert_whole();
		apb_free(p);
	}
	/* the steps before it is copied, and those beyond what is */
	assert_true(os_calls() - before <= 4 * 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_same_size_no_call),
		cmocka_unit_test(test_similar_sizes),
		cmocka_unit_test(test_split_and_join),
		cmocka_unit_test(test_growing_into_the_cache),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_zeroes),
		cmocka_unit_test(test_double_free),
		cmocka_unit_test(test_bound_in_bytes),
		cmocka_unit_test(test_bound_in_number),
		cmocka_unit_test(test_loops_are_learnt),
		cmocka_unit_test(test_doubling_is_not_cached),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_arenas_grow),
		cmocka_unit_test(test_trim_and_reset),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_orphans),
		cmocka_unit_test(test_realloc_within_slack),
		cmocka_unit_test(test_growing_slowly),
		cmocka_unit_test(test_growing_again),
		cmocka_unit_test(test_growing_large),
	};

	return cmocka_run_group_tests_name("large-cache", tests, NULL,
					   test_teardown);
}
