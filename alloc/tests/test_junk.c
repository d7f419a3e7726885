// SPDX-License-Identifier: MIT
/*
 * Unit tests of junk mode: blocks are filled when they are made and when they
 * are freed, and a write to a free one is reported when it is handed out
 * again, wherever it was meanwhile and whichever byte it is.
 */
#include "testreport.h"

#include "initialised.h"

#include <pthread.h>
#include <signal.h>

/* Blocks of class 4, 64 bytes: 256 in a pool. */
#define CLS 4
#define SIZE 64
#define BORN 0xa5
#define DIED 0x5a

static char *p[200];

static void fresh_junk(uint64_t seed, unsigned int flags)
{
	fresh_sim(seed, flags);
	assert_int_equal(apb_set_option(APB_OPT_JUNK, 1), 0);
}

static void alloc_n(size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = apb_malloc(SIZE);
}

/*
 * Allocate until it is @block again, which is free: those that are on their
 * way already come first.
 */
static void *again(const char *block, size_t size, bool zero)
{
	void *got = NULL;
	int i;

	for (i = 0; i < 1000 && got != block; i++)
		got = zero ? apb_calloc(1, size) : apb_malloc(size);
	return got;
}

/* ---- what blocks hold ------------------------------------------------- */

static void test_fills(void **ctx)
{
	unsigned int cls, flags;

	(void)ctx;
	for (flags = 0; flags < 16; flags++) {
		fresh_junk(flags, flags & ~SIMOS_TIGHT);
		for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
			size_t size = test_class_sizes[cls - 1];
			char *keep = apb_malloc(size), *b = apb_malloc(size);

			assert_true(all_bytes(b, size, BORN));
			memset(b, 1, size);
			apb_free(b);
			assert_true(all_bytes(b, size, DIED));
			assert_ptr_equal(again(b, size, false), b);
			assert_true(all_bytes(b, size, BORN));
			apb_free(b);
			assert_ptr_equal(again(b, size, true), b);
			assert_true(all_bytes(b, size, 0));
			apb_free(b);
			b = apb_aligned_alloc(64, size / 2);
			assert_true(all_bytes(b, size / 2, BORN));
			apb_free(b);
			apb_free(keep);
		}
		assert_whole();
	}
}

static void test_large(void **ctx)
{
	char *b;

	(void)ctx;
	fresh_junk(1, 0);
	b = apb_malloc(100000);
	assert_true(all_bytes(b, 100000, BORN));
	apb_free(b);
	b = apb_calloc(1, 100000);
	assert_true(all_bytes(b, 100000, 0));
	fill(b, 100000, 1);
	b = apb_realloc(b, 300);
	assert_true(filled(b, 296, 1));
	b = apb_realloc(b, 200000);
	assert_true(filled(b, 296, 1));
	apb_free(b);
	assert_whole();
}

static void test_realloc_keeps_content(void **ctx)
{
	uint64_t r = 1;
	size_t size = 8, next, i;
	char *b;

	(void)ctx;
	fresh_junk(2, SIMOS_NONZERO);
	b = apb_malloc(size);
	fill(b, size, 0);
	for (i = 1; i < 500; i++) {
		next = 8 + rnd(&r) % (i % 10 ? 2000 : 60000);
		b = apb_realloc(b, next);
		assert_true(
			filled(b, (size < next ? size : next) / 8 * 8, i - 1));
		size = next;
		fill(b, size, i);
	}
	apb_free(b);
	assert_whole();
}

/* ---- what is found ---------------------------------------------------- */

/* In a child that is to end with a report. */
static void by_malloc(void *arg)
{
	again(arg, SIZE, false);
}

static void by_calloc(void *arg)
{
	again(arg, SIZE, true);
}

static void by_aligned(void *arg)
{
	int i;

	for (i = 0; i < 1000 && apb_aligned_alloc(64, 1) != arg; i++)
		;
}

static void by_realloc(void *arg)
{
	int i;

	for (i = 0; i < 1000; i++)
		if (apb_realloc(apb_malloc(100), SIZE) == arg)
			break;
}

static void (*const by[])(void *) = {by_malloc, by_calloc, by_aligned,
				     by_realloc};

/* The first line and the last: @block, of which the byte at @at is @got. */
static void assert_corrupt(const char *text, const char *block, size_t at,
			   unsigned int got)
{
	char want[100];

	snprintf(want, sizeof(want),
		 "apb: free block was written to: %p, in apb_malloc()\n",
		 (const void *)block);
	assert_int_equal(strncmp(text, want, strlen(want)), 0);
	snprintf(want, sizeof(want), "apb:   at offset %zu: %#x, not 0x5a\n",
		 at, got);
	assert_true(strlen(text) > strlen(want));
	assert_string_equal(text + strlen(text) - strlen(want), want);
}

static void assert_dies(void (*fn)(void *arg), char *block, size_t at,
			unsigned int got)
{
	struct child c;

	run_child(&c, fn, block);
	assert_true(died_of(&c, SIGABRT));
	assert_corrupt(c.err, block, at, got);
}

/* Every byte of it counts, and every function that hands it out looks. */
static void test_every_byte(void **ctx)
{
	size_t at;

	(void)ctx;
	fresh_junk(3, 0);
	alloc_n(10);
	apb_free(p[3]);
	apb_free(p[4]);
	for (at = 0; at < SIZE; at++) {
		unsigned char bit = (unsigned char)(1 << at % 8);

		p[4][at] ^= (char)bit;
		assert_dies(by[at % NR_OF(by)], p[4], at, DIED ^ bit);
		p[4][at] ^= (char)bit;
	}
	/* the first of several */
	memset(p[4] + 20, 0, 20);
	assert_dies(by_malloc, p[4], 20, 0);
	memset(p[4] + 20, DIED, 20);
	assert_ptr_equal(again(p[4], SIZE, false), p[4]);
	assert_whole();
}

/* With a handler the block is handed out all the same, filled. */
static void test_handler(void **ctx)
{
	size_t i;

	(void)ctx;
	fresh_junk(4, 0);
	apb_set_misuse(note_misuse, NULL);
	alloc_n(10);
	for (i = 0; i < 4; i++) {
		apb_free(p[3]);
		p[3][i] = 7;
		times_told = 0;
		assert_ptr_equal(again(p[3], SIZE, i % 2), p[3]);
		assert_true(all_bytes(p[3], SIZE, i % 2 ? 0 : BORN));
		assert_int_equal(times_told, 1);
		assert_int_equal(told.kind, APB_MISUSE_CORRUPT);
		assert_ptr_equal(told.ptr, p[3]);
		assert_int_equal(told.arena, arena_at(p[3]));
		assert_int_equal(told.block, apb_pool_index(pool_of(p[3]),
							    (uintptr_t)p[3]));
		assert_int_equal(told.class_size, SIZE);
		assert_corrupt(told.text, p[3], i, 7);
		assert_int_equal(apb_usable_size(p[3]), SIZE);
		assert_int_equal(times_told, 1);
		assert_whole();
	}
}

/* In its pool for a while, and not the first one to be looked at. */
static void test_found_after_settling(void **ctx)
{
	size_t i;

	(void)ctx;
	fresh_junk(5, 0);
	apb_set_misuse(note_misuse, NULL);
	alloc_n(100);
	for (i = 20; i < 60; i++)
		apb_free(p[i]);
	apb_settle();
	p[33][63] = 0;
	times_told = 0;
	for (i = 0; i < 300 && !times_told; i++)
		p[100] = apb_malloc(SIZE);
	assert_int_equal(times_told, 1);
	assert_int_equal(told.kind, APB_MISUSE_CORRUPT);
	assert_ptr_equal(told.ptr, p[33]);
	assert_ptr_equal(p[100], p[33]);
	assert_whole();
}

/* Not a word of blocks that were written to while they were live. */
static void test_no_false_reports(void **ctx)
{
	static char *held[500];
	uint64_t r = 6;
	size_t i, n, size;

	(void)ctx;
	fresh_junk(6, SIMOS_NONZERO);
	apb_set_misuse(note_misuse, NULL);
	memset(held, 0, sizeof(held));
	times_told = 0;
	for (n = 0; n < 30000; n++) {
		i = rnd(&r) % NR_OF(held);
		if (held[i]) {
			apb_free(held[i]);
			held[i] = NULL;
			continue;
		}
		size = 1 + rnd(&r) % (n % 8 ? 500 : 20000);
		held[i] = n % 3 ? apb_malloc(size) : apb_calloc(1, size);
		memset(held[i], (int)n, apb_usable_size(held[i]));
		if (n % 1000 == 500)
			apb_settle();
		if (n % 5000 == 999)
			apb_trim();
	}
	for (i = 0; i < NR_OF(held); i++)
		apb_free(held[i]);
	assert_int_equal(times_told, 0);
	assert_whole();
	apb_trim();
	assert_int_equal(stats_now().mapped_bytes, stats_now().heap_bytes);
}

static void test_other_misuse_is_as_ever(void **ctx)
{
	struct report r;

	(void)ctx;
	fresh_junk(7, 0);
	alloc_n(10);
	apb_free(p[3]);
	report_in_pool(&r, APB_MISUSE_DOUBLE_FREE, p[3], CLS,
		       (char *)pool_of(p[3])->base, pool_of(p[3])->used);
	assert_misuse(&r, SIZE);
	memset(p[3], 0, SIZE);
	assert_misuse_noted(&r, SIZE);
	report_in_pool(&r, APB_MISUSE_INTERIOR, p[5] + 16, CLS,
		       (char *)pool_of(p[5])->base, pool_of(p[5])->used);
	assert_misuse(&r, SIZE);
}

/* ---- the option ------------------------------------------------------- */

static void test_only_at_first(void **ctx)
{
	char *b;

	(void)ctx;
	fresh_sim(8, 0);
	assert_int_equal(apb_set_option(APB_OPT_JUNK, 2), -1);
	assert_int_equal(errno, EINVAL);
	apb_malloc(1);
	errno = 0;
	assert_int_equal(apb_set_option(APB_OPT_JUNK, 1), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(apb_reset(), 0);
	assert_int_equal(apb_set_option(APB_OPT_JUNK, 1), 0);
	assert_true(all_bytes(apb_malloc(100), 100, BORN));
	errno = 0;
	assert_int_equal(apb_set_option(APB_OPT_JUNK, 0), -1);
	assert_int_equal(errno, EBUSY);
	/* it stays over a reset */
	assert_int_equal(apb_reset(), 0);
	assert_true(all_bytes(apb_malloc(100), 100, BORN));
	assert_int_equal(apb_reset(), 0);
	assert_int_equal(apb_set_option(APB_OPT_JUNK, 0), 0);
	b = apb_malloc(100);
	initialised(b, 100);
	assert_false(all_bytes(b, 100, BORN));
}

/* ---- threads ---------------------------------------------------------- */

static void *churns(void *arg)
{
	uint64_t r = (uintptr_t)arg;
	char *b[20] = {NULL};
	size_t i, n;

	for (n = 0; n < 3000; n++) {
		i = rnd(&r) % NR_OF(b);
		apb_free(b[i]);
		b[i] = apb_malloc(1 + rnd(&r) % 300);
		b[i][0] = 1;
	}
	for (i = 0; i < NR_OF(b); i++)
		apb_free(b[i]);
	return NULL;
}

/* All have the same heap, and take turns. */
static void test_threads(void **ctx)
{
	pthread_t thread[4];
	uintptr_t i;

	(void)ctx;
	fresh_junk(9, 0);
	apb_set_misuse(note_misuse, NULL);
	times_told = 0;
	for (i = 0; i < NR_OF(thread); i++)
		assert_int_equal(
			pthread_create(&thread[i], NULL, churns, (void *)i), 0);
	for (i = 0; i < NR_OF(thread); i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(times_told, 0);
	assert_int_equal(stats_now().used_bytes, 0);
	assert_whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fills),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_realloc_keeps_content),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_handler),
		cmocka_unit_test(test_found_after_settling),
		cmocka_unit_test(test_no_false_reports),
		cmocka_unit_test(test_other_misuse_is_as_ever),
		cmocka_unit_test(test_only_at_first),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests_name("junk", tests, NULL, test_teardown);
}
