// SPDX-License-Identifier: MIT
/*
 * Unit tests of memory that is written to when it must not be.  Nothing that
 * the allocator knows stands in a block, so that a write to a free one
 * misleads nobody: every later call does what it would have done, double frees
 * are still seen as such, and nothing is handed out twice.  Nor is a live
 * block, whatever it holds, taken for a free one.
 */
#include "testreport.h"

/* Blocks of class 4, 64 bytes. */
#define CLS 4
#define SIZE 64

static char *p[200];

static void alloc_n(size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = apb_malloc(SIZE);
}

/* ---- what is written -------------------------------------------------- */

#define NR_PATTERNS 6

/* What could look like something: zeroes, links, the block's own address. */
static void scribble(void *block, size_t size, unsigned int how)
{
	uint64_t *word = block, r = how;
	size_t i;

	for (i = 0; i < size / sizeof(*word); i++) {
		switch (how % NR_PATTERNS) {
		case 0:
			word[i] = 0;
			break;
		case 1:
			word[i] = UINT64_MAX;
			break;
		case 2:
			word[i] = (uintptr_t)block;
			break;
		case 3:
			word[i] = (uintptr_t)p[i % 8];
			break;
		case 4:
			word[i] = (uintptr_t)&apb_state;
			break;
		default:
			word[i] = rnd(&r);
		}
	}
}

/* All of the pools of an arena, those not in use as well. */
static void scribble_pools(struct apb_arena *arena, void *arg)
{
	unsigned int first = apb_first_slot(arena->kind);
	size_t bytes = (size_t)1 << apb_kind_shift(arena->kind);

	scribble((char *)arena + first * bytes, MIB - first * bytes,
		 *(unsigned int *)arg);
}

/* Only the free blocks of class CLS. */
static void scribble_free(struct apb_arena *arena, void *arg)
{
	unsigned int slot, i;

	for (slot = apb_first_slot(arena->kind); slot < apb_arena_slots(arena);
	     slot++) {
		struct apb_pool *pool = apb_arena_pool(arena, slot);

		if (!apb_pool_in_use(pool) || pool->cls != CLS)
			continue;
		for (i = 0; i < pool->count; i++)
			if (*apb_pool_state(pool, i) != APB_STATE_LIVE)
				scribble((char *)pool->base + i * SIZE, SIZE,
					 *(unsigned int *)arg);
	}
}

/* ---- nothing follows from it ------------------------------------------ */

/*
 * Calls of a seed; after each of them all that is free is overwritten, if
 * wanted.  The blocks' addresses tell whether anything came of it.
 */
static uint64_t some_calls(unsigned int how, bool write)
{
	uint64_t r = 1, hash = 0;
	size_t i, n;

	memset(p, 0, sizeof(p));
	for (n = 0; n < 600; n++) {
		i = rnd(&r) % NR_OF(p);
		if (p[i]) {
			assert_true(filled(p[i], SIZE, i));
			apb_free(p[i]);
			p[i] = NULL;
		} else {
			p[i] = n % 5 ? apb_malloc(SIZE) : apb_calloc(1, SIZE);
			assert_true(n % 5 || all_bytes(p[i], SIZE, 0));
			fill(p[i], SIZE, i);
		}
		hash = hash * 31 + (uintptr_t)p[i];
		if (n % 100 == 50)
			apb_settle();
		if (n % 200 == 199)
			apb_trim();
		if (write && n % 3 == 0)
			apb_arena_for_each(scribble_free, &how);
	}
	for (i = 0; i < NR_OF(p); i++) {
		assert_true(!p[i] || filled(p[i], SIZE, i));
		apb_free(p[i]);
	}
	assert_whole();
	return hash;
}

static void test_writes_change_nothing(void **ctx)
{
	unsigned int how, period;
	uint64_t calm;

	(void)ctx;
	for (period = 0; period < 8; period += 7) {
		fresh_sim(1, 0);
		apb_set_option(APB_OPT_SETTLE_PERIOD, period);
		calm = some_calls(0, false);
		for (how = 0; how < NR_PATTERNS; how++) {
			fresh_sim(1, 0);
			apb_set_option(APB_OPT_SETTLE_PERIOD, period);
			assert_int_equal(some_calls(how, true), calm);
		}
	}
}

/* Live blocks as well, and pools in which there are none: all there is. */
static void test_everything_overwritten(void **ctx)
{
	unsigned int how, cls;
	struct apb_stats before, after;
	char *b[APB_NR_CLASSES][5];
	size_t i;

	(void)ctx;
	for (how = 0; how < NR_PATTERNS; how++) {
		fresh_sim(2, SIMOS_NONZERO);
		for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
			for (i = 0; i < 5; i++)
				b[cls - 1][i] =
					apb_malloc(test_class_sizes[cls - 1]);
			apb_free(b[cls - 1][2]);
		}
		if (how % 2)
			apb_settle();
		before = stats_now();
		apb_arena_for_each(scribble_pools, &how);
		after = stats_now();
		assert_memory_equal(&before, &after, sizeof(before));
		assert_whole();
		for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
			size_t size = test_class_sizes[cls - 1];
			char *again = apb_malloc(size);

			for (i = 0; i < 5; i++)
				assert_true(i == 2 || again != b[cls - 1][i]);
			for (i = 0; i < 5; i++)
				if (i != 2)
					assert_int_equal(
						apb_usable_size(b[cls - 1][i]),
						size);
			apb_free(again);
			for (i = 0; i < 5; i++)
				if (i != 2)
					apb_free(b[cls - 1][i]);
		}
		assert_int_equal(stats_now().used_bytes, 0);
		apb_trim();
		assert_int_equal(stats_now().mapped_bytes, 0);
		assert_whole();
	}
}

/* ---- double frees behind a write -------------------------------------- */

static void test_double_free_behind_a_write(void **ctx)
{
	unsigned int how, settled, out;
	struct report r;
	size_t i;

	(void)ctx;
	for (settled = 0; settled < 3; settled++) {
		for (how = 0; how < NR_PATTERNS; how++) {
			fresh_sim(3, 0);
			alloc_n(128);
			for (i = 2; i < 8; i++)
				apb_free(p[i]);
			if (settled)
				apb_settle();
			if (settled == 2)
				apb_free(p[10]);
			for (i = 2; i < 8; i++)
				scribble(p[i], SIZE, how);
			out = pool_of(p[0])->used;
			for (i = 2; i < 8; i++) {
				report_in_pool(&r, APB_MISUSE_DOUBLE_FREE, p[i],
					       CLS, p[0], out);
				assert_misuse_noted(&r, SIZE);
				scribble(p[i], SIZE, how + 1);
			}
			apb_set_misuse(NULL, NULL);
			/* and all that is handed out now is handed out once */
			for (i = 0; i < 8; i++)
				assert_int_not_equal(
					(uintptr_t)(p[150 + i] =
							    apb_malloc(SIZE)),
					(uintptr_t)p[100]);
			for (i = 0; i < 8; i++)
				fill(p[150 + i], SIZE, i);
			for (i = 0; i < 8; i++)
				assert_true(filled(p[150 + i], SIZE, i));
			assert_whole();
		}
	}
}

/* ---- what only looks free --------------------------------------------- */

/* A live block that holds all that a freed one held, and then some. */
static void test_live_is_live(void **ctx)
{
	unsigned int cls, how;
	char was[64];

	(void)ctx;
	fresh_sim(4, 0);
	apb_set_misuse(note_misuse, NULL);
	times_told = 0;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t size = test_class_sizes[cls - 1];
		size_t some = size < sizeof(was) ? size : sizeof(was);
		char *free_one = apb_malloc(size), *b = apb_malloc(size);

		apb_free(free_one);
		memcpy(was, free_one, some);
		for (how = 0; how <= NR_PATTERNS; how++) {
			if (how < NR_PATTERNS)
				scribble(b, size, how);
			else
				memcpy(b, was, some);
			assert_int_equal(apb_usable_size(b), size);
			assert_ptr_equal(apb_realloc(b, size), b);
			assert_whole();
			if (how % 3 == 0)
				apb_free(b);
			else if (how % 3 == 1)
				apb_free_sized(b, size);
			else
				apb_free_aligned_sized(b, 8, size);
			assert_int_equal(times_told, 0);
			assert_whole();
			/* now it is free, and a second free is one */
			apb_free(b);
			assert_int_equal(times_told, 1);
			assert_int_equal(told.kind, APB_MISUSE_DOUBLE_FREE);
			assert_ptr_equal(told.ptr, b);
			times_told = 0;
			assert_ptr_equal(apb_malloc(size), b);
		}
	}
	assert_whole();
}

/* A free block keeps what it held: nothing is read or written there. */
static void test_free_blocks_are_left_alone(void **ctx)
{
	unsigned int cls;
	size_t i;
	char *b;

	(void)ctx;
	fresh_sim(5, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t size = test_class_sizes[cls - 1];
		char *keep = apb_malloc(size);

		b = apb_malloc(size);
		fill(b, size, cls);
		apb_free(b);
		assert_true(filled(b, size, cls));
		apb_settle();
		assert_true(filled(b, size, cls));
		apb_free(apb_malloc(size));
		assert_whole();
		assert_true(filled(b, size, cls));
		/* it comes back as it was; calloc clears it */
		for (i = 0; i < 600 && apb_malloc(size) != b; i++)
			;
		assert_true(filled(b, size, cls));
		apb_free(b);
		assert_ptr_equal(apb_calloc(size, 1), b);
		assert_true(all_bytes(b, size, 0));
		apb_free(keep);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes_change_nothing),
		cmocka_unit_test(test_everything_overwritten),
		cmocka_unit_test(test_double_free_behind_a_write),
		cmocka_unit_test(test_live_is_live),
		cmocka_unit_test(test_free_blocks_are_left_alone),
	};

	return cmocka_run_group_tests_name("corrupt", tests, NULL,
					   test_teardown);
}
