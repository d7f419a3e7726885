// SPDX-License-Identifier: MIT
/*
 * Unit tests of the simulated kernel: what it promises in simos.h, call by
 * call.  test_simos_model.c holds it against a model over random sequences.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <time.h>

#include "initialised.h"
#include "poison.h"
#include "simos.h"

#define PAGE ((size_t)4096)
#define KIB ((size_t)1024)
#define MIB ((size_t)1 << 20)

static void *map_at(void *hint, size_t size, bool *zero)
{
	return simos_ops()->map(simos_ops()->ctx, hint, size, zero);
}

static char *map(size_t size)
{
	bool zero;
	char *p = map_at(NULL, size, &zero);

	assert_non_null(p);
	assert_true(simos_is_mapped(p, size));
	return p;
}

static int unmap(void *p, size_t size)
{
	return simos_ops()->unmap(simos_ops()->ctx, p, size);
}

static int purge(void *p, size_t size)
{
	return simos_ops()->purge(simos_ops()->ctx, p, size);
}

static int remap(void *p, size_t old_size, size_t new_size, void *to)
{
	return simos_ops()->remap(simos_ops()->ctx, p, old_size, new_size, to);
}

static bool all_are(const char *p, size_t size, char value)
{
	return p[0] == value && !memcmp(p, p + 1, size - 1);
}

static void reset(uint64_t seed, unsigned int flags)
{
	assert_int_equal(simos_reset(seed, flags), 0);
}

static struct simos_stats stats(void)
{
	struct simos_stats s;

	simos_stats(&s);
	return s;
}

static void test_nothing_is_mapped_at_first(void **ctx)
{
	struct simos_stats s;
	struct simos_stats none;

	(void)ctx;
	reset(1, 0);
	memset(&none, 0, sizeof(none));
	s = stats();
	assert_memory_equal(&s, &none, sizeof(s));
	assert_null(simos_violation());
	assert_false(simos_is_mapped((void *)SIMOS_BASE, 1));
	assert_false(simos_is_mapped((void *)SIMOS_BASE, SIMOS_SPACE));
}

static void test_is_mapped(void **ctx)
{
	const char *base = (const char *)SIMOS_BASE;
	int local;
	char *p;

	(void)ctx;
	reset(2, SIMOS_HINTS);
	p = map(4 * PAGE);
	assert_true(simos_is_mapped(p, 1));
	assert_true(simos_is_mapped(p + 17, 4 * PAGE - 17));
	assert_true(simos_is_mapped(p + 4 * PAGE - 1, 1));
	assert_false(simos_is_mapped(p, 4 * PAGE + 1));
	assert_false(simos_is_mapped(p + 4 * PAGE - 1, 2));
	assert_false(simos_is_mapped(p + 4 * PAGE, 1));
	assert_false(simos_is_mapped(p - 1, 2));

	/* a hole in the middle */
	assert_int_equal(unmap(p + PAGE, PAGE), 0);
	assert_true(simos_is_mapped(p, PAGE));
	assert_false(simos_is_mapped(p, PAGE + 1));
	assert_false(simos_is_mapped(p + PAGE, 1));
	assert_true(simos_is_mapped(p + 2 * PAGE, 2 * PAGE));
	assert_int_equal(stats().mappings, 2);

	assert_false(simos_is_mapped(NULL, 1));
	assert_false(simos_is_mapped(&local, sizeof(local)));
	assert_false(simos_is_mapped(base - 1, 1));
	assert_false(simos_is_mapped(base + SIMOS_SPACE, 1));
	assert_false(simos_is_mapped(p, SIZE_MAX));
	assert_false(simos_is_mapped(p, SIZE_MAX - (uintptr_t)p + 1));
}

static void test_stats(void **ctx)
{
	bool zero;
	char *p;

	(void)ctx;
	reset(3, SIMOS_HINTS);
	p = map(4 * PAGE);
	assert_ptr_equal(map_at(p + 4 * PAGE, PAGE, &zero), p + 4 * PAGE);
	assert_int_equal(stats().mappings, 1);
	assert_int_equal(stats().mapped, 5 * PAGE);
	assert_int_equal(unmap(p + PAGE, PAGE), 0);
	assert_int_equal(stats().mappings, 2);
	assert_int_equal(stats().mapped, 4 * PAGE);
	assert_int_equal(stats().mapped_highwater, 5 * PAGE);

	/* purged once is purged twice; unmapped is no longer purged */
	assert_int_equal(purge(p + 2 * PAGE, 2 * PAGE), 0);
	assert_int_equal(stats().purged, 2 * PAGE);
	assert_int_equal(purge(p + 3 * PAGE, 2 * PAGE), 0);
	assert_int_equal(stats().purged, 3 * PAGE);
	assert_int_equal(unmap(p + 4 * PAGE, PAGE), 0);
	assert_int_equal(stats().purged, 2 * PAGE);
	assert_ptr_equal(map_at(p + 4 * PAGE, PAGE, &zero), p + 4 * PAGE);
	assert_int_equal(stats().purged, 2 * PAGE);

	assert_int_equal(remap(p + 2 * PAGE, PAGE, PAGE, p + 4 * PAGE), 0);
	assert_int_equal(stats().purged, PAGE);
	assert_int_equal(stats().calls[APB_OS_MAP], 3);
	assert_int_equal(stats().calls[APB_OS_UNMAP], 2);
	assert_int_equal(stats().calls[APB_OS_PURGE], 2);
	assert_int_equal(stats().calls[APB_OS_REMAP], 1);
	assert_int_equal(stats().refused, 0);

	reset(3, 0);
	assert_int_equal(stats().mapped, 0);
	assert_int_equal(stats().purged, 0);
	assert_int_equal(stats().mapped_highwater, 0);
	assert_int_equal(stats().calls[APB_OS_MAP], 0);
}

static void test_hints(void **ctx)
{
	char *base = (char *)SIMOS_BASE, *p;
	bool zero;

	(void)ctx;
	reset(4, SIMOS_HINTS);
	p = base + 100 * MIB + 3 * PAGE;
	assert_ptr_equal(map_at(p, 2 * PAGE, &zero), p);
	/* taken, partly taken, out of the space, unaligned: somewhere else */
	assert_ptr_not_equal(map_at(p, 2 * PAGE, &zero), p);
	assert_ptr_not_equal(map_at(p - PAGE, 2 * PAGE, &zero), p - PAGE);
	assert_ptr_not_equal(map_at(base - PAGE, PAGE, &zero), base - PAGE);
	p = base + SIMOS_SPACE - PAGE;
	assert_ptr_not_equal(map_at(p, 2 * PAGE, &zero), p);
	assert_ptr_not_equal(map_at(p + PAGE, PAGE, &zero), p + PAGE);
	p = base + 64;
	assert_int_equal((uintptr_t)map_at(p, PAGE, &zero) % PAGE, 0);
	assert_int_equal(stats().mapped, 11 * PAGE);
	assert_null(simos_violation());

	/* without the flag a hint is not looked at */
	p = base + 77 * MIB + 7 * PAGE;
	reset(4, 0);
	assert_ptr_not_equal(map_at(p, PAGE, &zero), p);
}

static unsigned int count_aligned(unsigned int flags)
{
	unsigned int i, n = 0;

	reset(5, flags);
	for (i = 0; i < 60; i++)
		n += (uintptr_t)map(MIB) % MIB == 0;
	return n;
}

static void test_alignment(void **ctx)
{
	(void)ctx;
	assert_int_equal(count_aligned(SIMOS_MISALIGN), 0);
	assert_int_equal(count_aligned(0), 60);
	/* both give every page, if need be */
	assert_int_equal(count_aligned(SIMOS_MISALIGN | SIMOS_NONZERO), 0);
	reset(5, SIMOS_TIGHT | SIMOS_MISALIGN);
	assert_ptr_equal(map(8 * MIB), (void *)SIMOS_BASE);
}

static void test_reuse(void **ctx)
{
	char *p[4];
	uint64_t seed;
	size_t i;

	(void)ctx;
	for (seed = 0; seed < 50; seed++) {
		reset(seed, SIMOS_REUSE);
		for (i = 0; i < 4; i++)
			p[i] = map((8 - i) * PAGE);
		for (i = 0; i < 4; i++)
			assert_int_equal(unmap(p[i], (8 - i) * PAGE), 0);
		/* the last one that is large enough */
		assert_ptr_equal(map(PAGE), p[3]);
		assert_ptr_equal(map(6 * PAGE), p[2]);
		assert_ptr_equal(map(PAGE), p[1]);
		assert_ptr_equal(map(8 * PAGE), p[0]);
	}
}

static void test_addresses_depend_on_the_seed(void **ctx)
{
	char *first = NULL;
	uint64_t seed;
	unsigned int other = 0;

	(void)ctx;
	for (seed = 0; seed < 64; seed++) {
		char *p;

		reset(seed, 0);
		p = map(64 * KIB);
		other += first && p != first;
		first = p;
	}
	assert_true(other > 16);
}

static void test_tight(void **ctx)
{
	char *p = NULL;
	bool zero;
	size_t i, n = 0;

	(void)ctx;
	reset(6, SIMOS_TIGHT);
	while (map_at(NULL, MIB, &zero))
		n++;
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(n, 8);
	assert_int_equal(stats().refused, 1);
	assert_true(simos_is_mapped((void *)SIMOS_BASE, 8 * MIB));
	assert_int_equal(stats().mappings, 1);

	/* to the last page, from wherever they come */
	for (i = 0; i < 20; i++) {
		reset(i, SIMOS_TIGHT | (unsigned int)(i % 4) << 1);
		for (n = 0; n < 2048; n++)
			p = map(PAGE);
		errno = 0;
		assert_null(map_at(NULL, PAGE, &zero));
		assert_int_equal(errno, ENOMEM);
		assert_int_equal(unmap(p, PAGE), 0);
		assert_null(map_at(NULL, 2 * PAGE, &zero));
		assert_ptr_equal(map(PAGE), p);
		assert_null(simos_violation());
	}

	/* hints cannot reach beyond, nor can a remap in place */
	reset(7, SIMOS_TIGHT | SIMOS_HINTS);
	assert_ptr_not_equal(map_at((char *)SIMOS_BASE + 8 * MIB, PAGE, &zero),
			     (char *)SIMOS_BASE + 8 * MIB);
	p = (char *)SIMOS_BASE + 8 * MIB - PAGE;
	reset(7, SIMOS_TIGHT | SIMOS_HINTS);
	assert_ptr_equal(map_at(p, PAGE, &zero), p);
	assert_int_equal(remap(p, PAGE, 2 * PAGE, NULL), -1);
	assert_int_equal(errno, ENOMEM);
	assert_null(map_at(NULL, 8 * MIB + PAGE, &zero));
	assert_null(map_at(NULL, SIZE_MAX - PAGE + 1, &zero));
	assert_int_equal(stats().refused, 3);
}

/* What is said to be zero is, whatever was there before. */
static void test_zero_is_true(void **ctx)
{
	static const size_t sizes[] = {PAGE,	  3 * PAGE,  64 * KIB,
				       172 * KIB, 256 * KIB, MIB};
	unsigned int said[6] = {0}, of[6] = {0};
	size_t large = MIB + PAGE;
	uint64_t seed;
	size_t i;

	(void)ctx;
	for (seed = 0; seed < 600; seed++) {
		reset(seed, seed % 2 ? SIMOS_MISALIGN : 0);
		for (i = 0; i < 6; i++) {
			bool zero;
			char *p = map_at(NULL, sizes[i], &zero);

			assert_non_null(p);
			of[i]++;
			said[i] += zero;
			if (zero)
				assert_true(all_are(p, sizes[i], 0));
			memset(p, 0xa5, sizes[i]);
			if (seed % 3)
				assert_int_equal(unmap(p, sizes[i]), 0);
		}
	}
	for (i = 0; i < 6; i++) {
		assert_true(said[i] > 0);
		assert_true(said[i] < of[i]);
	}
	/* larger ones are zero so seldom that it has to be waited for */
	for (seed = 0; seed < 20000; seed++) {
		bool zero;
		char *p;

		reset(seed, 0);
		p = map_at(NULL, large, &zero);
		assert_non_null(p);
		if (zero) {
			assert_true(all_are(p, large, 0));
			break;
		}
		p[0] = p[large / 2] = p[large - 1] = 1;
	}
	assert_true(seed > 0 && seed < 20000);
	for (seed = 0; seed < 100; seed++) {
		bool zero = true;

		reset(seed, SIMOS_NONZERO);
		assert_non_null(map_at(NULL, PAGE, &zero));
		assert_false(zero);
	}
}

/* What is not said to be zero is not. */
static void test_nonzero_is_true(void **ctx)
{
	uint64_t seed;
	size_t i;
	char *p;

	(void)ctx;
	for (seed = 0; seed < 20; seed++) {
		reset(seed, SIMOS_NONZERO);
		p = map(100 * PAGE);
		initialised(p, 100 * PAGE);
		for (i = 0; i < SIMOS_SCRIBBLE_PAGES; i++)
			assert_true(*(uint64_t *)(p + i * PAGE) != 0);
	}
	reset(1, SIMOS_NONZERO | SIMOS_FILL);
	p = map(100 * PAGE);
	initialised(p, 100 * PAGE);
	for (i = 0; i < 100 * PAGE; i += 8)
		assert_true(*(uint64_t *)(p + i) != 0);
}

/* With the flag purged pages are zeroes, and the table says so. */
static void test_purge_zeroes(void **ctx)
{
	char *p;

	(void)ctx;
	reset(1, 0);
	assert_false(simos_ops()->purge_zeroes);
	reset(1, SIMOS_PURGE_ZEROES);
	assert_true(simos_ops()->purge_zeroes);
	p = map(8 * PAGE);
	memset(p, 0x5a, 8 * PAGE);
	assert_int_equal(purge(p + PAGE, 5 * PAGE), 0);
	assert_true(all_are(p, PAGE, 0x5a));
	assert_true(all_are(p + PAGE, 5 * PAGE, 0));
	assert_true(all_are(p + 6 * PAGE, 2 * PAGE, 0x5a));
}

static void test_clock(void **ctx)
{
	const struct apb_os *os;

	(void)ctx;
	reset(1, SIMOS_NO_CLOCK);
	assert_null(simos_ops()->now);
	reset(1, 0);
	os = simos_ops();
	assert_non_null(os->now);
	assert_int_equal(os->now(os->ctx), 0);
	assert_int_equal(os->now(os->ctx), 0);
	simos_pass(700);
	simos_pass(1);
	assert_int_equal(os->now(os->ctx), 701);
	reset(1, 0);
	assert_int_equal(os->now(os->ctx), 0);
}

static void test_purge_scribbles(void **ctx)
{
	size_t i, n = 300;
	char *p;

	(void)ctx;
	reset(8, 0);
	p = map(n * PAGE);
	memset(p, 0, n * PAGE);
	assert_int_equal(purge(p + PAGE, (n - 2) * PAGE), 0);
	for (i = 1; i < n - 1; i++)
		assert_true(*(uint64_t *)(p + i * PAGE) != 0);
	/* not over the neighbours */
	assert_true(all_are(p, PAGE, 0));
	assert_true(all_are(p + (n - 1) * PAGE, PAGE, 0));
	assert_true(simos_is_mapped(p, n * PAGE));

	reset(8, SIMOS_FILL);
	p = map(3 * PAGE);
	memset(p, 0, 3 * PAGE);
	assert_int_equal(purge(p + PAGE, PAGE), 0);
	for (i = 0; i < PAGE; i += 8)
		assert_true(*(uint64_t *)(p + PAGE + i) != 0);
	assert_true(all_are(p, PAGE, 0));
	assert_true(all_are(p + 2 * PAGE, PAGE, 0));
}

static void test_remap_in_place(void **ctx)
{
	bool zero;
	char *p, *q;

	(void)ctx;
	reset(9, SIMOS_HINTS);
	p = map_at((char *)SIMOS_BASE + 10 * MIB, 8 * PAGE, &zero);
	/* leave something in what is going to be added */
	memset(p, 0x11, 8 * PAGE);
	assert_int_equal(unmap(p + 4 * PAGE, 4 * PAGE), 0);
	q = map_at(p + 10 * PAGE, PAGE, &zero);
	assert_ptr_equal(q, p + 10 * PAGE);

	assert_int_equal(remap(p, 4 * PAGE, 10 * PAGE, NULL), 0);
	assert_true(simos_is_mapped(p, 11 * PAGE));
	assert_true(all_are(p, 4 * PAGE, 0x11));
	assert_true(all_are(p + 4 * PAGE, 6 * PAGE, 0));

	errno = 0;
	assert_int_equal(remap(p, 10 * PAGE, 11 * PAGE, NULL), -1);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(stats().refused, 1);
	assert_true(all_are(p, 4 * PAGE, 0x11));
	assert_int_equal(stats().mapped, 11 * PAGE);

	assert_int_equal(remap(p, 10 * PAGE, 10 * PAGE, NULL), 0);
	assert_int_equal(remap(p, 10 * PAGE, 2 * PAGE, NULL), 0);
	assert_true(all_are(p, 2 * PAGE, 0x11));
	assert_false(simos_is_mapped(p + 2 * PAGE, 1));
	assert_false(simos_is_mapped(p + 9 * PAGE, 1));
	assert_true(simos_is_mapped(q, PAGE));

	/* a part in the middle of a mapping cannot grow, but shrink */
	assert_int_equal(remap(p, PAGE, 2 * PAGE, NULL), -1);
	assert_int_equal(errno, ENOMEM);
	assert_null(simos_violation());

	/* not beyond the end of the space */
	p = (char *)SIMOS_BASE + SIMOS_SPACE - PAGE;
	assert_ptr_equal(map_at(p, PAGE, &zero), p);
	assert_int_equal(remap(p, PAGE, 2 * PAGE, NULL), -1);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(remap(p, PAGE, SIZE_MAX - PAGE + 1, NULL), -1);
	assert_int_equal(errno, ENOMEM);
	assert_null(simos_violation());
}

static void number_pages(char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n * PAGE; i += sizeof(uint64_t))
		*(uint64_t *)(p + i) = i ^ UINT64_C(0x9e3779b97f4a7c15);
}

static bool are_numbered(const char *p, size_t n)
{
	size_t i;

	for (i = 0; i < n * PAGE; i += sizeof(uint64_t))
		if (*(const uint64_t *)(p + i) !=
		    (i ^ UINT64_C(0x9e3779b97f4a7c15)))
			return false;
	return true;
}

static void test_remap_moves(void **ctx)
{
	static const size_t olds[] = {1, 5, 5, 300, 40};
	static const size_t news[] = {1, 9, 2, 400, 600};
	size_t i;

	(void)ctx;
	for (i = 0; i < 5; i++) {
		size_t old = olds[i], new = news[i];
		size_t kept = old < new ? old : new;
		char *p, *to;

		reset(10 + i, 0);
		p = map(old * PAGE);
		to = map((new + 2) * PAGE);
		number_pages(p, old);
		memset(to, 0x77, (new + 2) * PAGE);
		assert_int_equal(remap(p, old * PAGE, new *PAGE, to + PAGE), 0);
		assert_false(simos_is_mapped(p, PAGE));
		assert_false(simos_is_mapped(p + (old - 1) * PAGE, PAGE));
		assert_true(simos_is_mapped(to, (new + 2) * PAGE));
		assert_int_equal(stats().mapped, (new + 2) * PAGE);
		assert_true(are_numbered(to + PAGE, kept));
		if (new > old)
			assert_true(all_are(to + (1 + old) * PAGE,
					    (new - old) * PAGE, 0));
		assert_true(all_are(to, PAGE, 0x77));
		assert_true(all_are(to + (1 + new) * PAGE, PAGE, 0x77));
		assert_null(simos_violation());
	}
}

static void test_poison(void **ctx)
{
	char *p, *q;
	bool zero;

	(void)ctx;
	if (!POISON_ACTIVE)
		skip();
	/* the middle of a large range may have been left open: close it */
	reset(11, SIMOS_HINTS);
	p = (char *)SIMOS_BASE;
	for (q = p; q < p + 16 * MIB; q += MIB) {
		assert_ptr_equal(map_at(q, MIB, &zero), q);
		assert_int_equal(unmap(q, MIB), 0);
	}
	p = map_at((char *)SIMOS_BASE + 4 * MIB, 8 * MIB, &zero);
	assert_false(is_poisoned(p, 8 * MIB));
	assert_true(is_poisoned(p - 1, 1));
	assert_true(is_poisoned(p + 8 * MIB, 1));
	/* whole up to 256 KiB, else its ends */
	assert_int_equal(unmap(p + 6 * MIB, 256 * KIB), 0);
	for (q = p + 6 * MIB; q < p + 6 * MIB + 256 * KIB; q += PAGE)
		assert_true(is_poisoned(q, 1));
	assert_int_equal(unmap(p + 6 * MIB + 256 * KIB, 768 * KIB), 0);
	assert_true(is_poisoned(p + 7 * MIB - 1, 1));
	assert_int_equal(unmap(p, 6 * MIB), 0);
	assert_true(is_poisoned(p, 1));
	assert_true(is_poisoned(p + 64 * KIB - 1, 1));
	assert_true(is_poisoned(p + 6 * MIB - 1, 1));
	/* nothing of it is left in what is mapped there next */
	p += 6 * MIB - 3 * PAGE;
	assert_ptr_equal(map_at(p, 9 * PAGE, &zero), p);
	assert_false(is_poisoned(p, 9 * PAGE));
	assert_true(is_poisoned(p + 9 * PAGE, 1));
	reset(11, SIMOS_HINTS);
	assert_true(is_poisoned(p, 1));
	assert_true(is_poisoned(p + 9 * PAGE - 1, 1));
	p -= 2 * MIB + 5 * PAGE;
	assert_ptr_equal(map_at(p, 5 * MIB, &zero), p);
	assert_false(is_poisoned(p, 5 * MIB));
}

static double best_reset_us(size_t size)
{
	double best = 1e9;
	int i;

	for (i = 0; i < 50; i++) {
		struct timespec a, b;
		double us;

		map(size);
		clock_gettime(CLOCK_MONOTONIC, &a);
		reset(12, 0);
		clock_gettime(CLOCK_MONOTONIC, &b);
		us = (double)(b.tv_sec - a.tv_sec) * 1e6 +
		     (double)(b.tv_nsec - a.tv_nsec) / 1e3;
		if (us < best)
			best = us;
	}
	return best;
}

/* By mappings, not by bytes; the bound is far above what it takes. */
static void test_reset_is_cheap(void **ctx)
{
	(void)ctx;
	reset(12, 0);
	assert_true(best_reset_us(PAGE) < 100);
	assert_true(best_reset_us(200 * MIB) < 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_mapped_at_first),
		cmocka_unit_test(test_is_mapped),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_hints),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_addresses_depend_on_the_seed),
		cmocka_unit_test(test_tight),
		cmocka_unit_test(test_zero_is_true),
		cmocka_unit_test(test_nonzero_is_true),
		cmocka_unit_test(test_purge_scribbles),
		cmocka_unit_test(test_purge_zeroes),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_remap_in_place),
		cmocka_unit_test(test_remap_moves),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_reset_is_cheap),
	};

	return cmocka_run_group_tests_name("simos", tests, NULL, NULL);
}
