// SPDX-License-Identifier: MIT
/*
 * Unit tests of misuse: each kind through each function, against the exact
 * report that is expected, written by a child with the default handler and
 * passed to a handler here; and nothing else changes.
 */
#include "testreport.h"

#include "debug/inspect.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define HIGH_BIT(n) (UINT64_C(1) << (n))

/* Blocks of class 3, 48 bytes: 341 in a pool without a colour. */
#define CLS 3
#define SIZE 48

/* Blocks that are out of the pool that @ptr is in. */
static unsigned int out(const void *ptr)
{
	return pool_of(ptr)->used;
}

static void alloc_n(char **p, size_t n, size_t size)
{
	size_t i;

	for (i = 0; i < n; i++) {
		p[i] = apb_malloc(size);
		assert_non_null(p[i]);
	}
}

static void free_n(char **p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		apb_free(p[i]);
}

/* ---- double free ------------------------------------------------------ */

static void test_double_free(void **ctx)
{
	struct report r;
	char *p[10];
	size_t i;

	(void)ctx;
	fresh_sim(1, 0);
	alloc_n(p, NR_OF(p), SIZE);
	free_n(p + 2, 3);
	for (i = 2; i < 5; i++) {
		report_in_pool(&r, APB_MISUSE_DOUBLE_FREE, p[i], CLS, p[0],
			       out(p[0]));
		assert_misuse(&r, SIZE);
	}
	/* its neighbours are live still */
	assert_int_equal(apb_usable_size(p[1]), SIZE);
	assert_int_equal(apb_usable_size(p[5]), SIZE);
	/* and once more: a block that is reused is no longer free */
	assert_ptr_equal(apb_malloc(SIZE), p[4]);
	assert_int_equal(apb_usable_size(p[4]), SIZE);
	apb_free(p[4]);
}

static void test_double_free_after_settling(void **ctx)
{
	struct report r;
	char *p[10];

	(void)ctx;
	fresh_sim(2, 0);
	alloc_n(p, NR_OF(p), SIZE);
	free_n(p + 2, 5);
	apb_settle();
	assert_int_equal(out(p[0]), NR_OF(p) - 5);
	report_in_pool(&r, APB_MISUSE_DOUBLE_FREE, p[3], CLS, p[0], out(p[0]));
	assert_misuse(&r, SIZE);
	/* partly settled: one in the pool's list, one in the bin */
	apb_free(p[8]);
	report_in_pool(&r, APB_MISUSE_DOUBLE_FREE, p[8], CLS, p[0], out(p[0]));
	assert_misuse(&r, SIZE);
	report_in_pool(&r, APB_MISUSE_DOUBLE_FREE, p[2], CLS, p[0], out(p[0]));
	assert_misuse(&r, SIZE);
}

/* Each class, the last free of many: whatever else is free. */
static void test_double_free_in_every_class(void **ctx)
{
	unsigned int cls;
	struct report r;
	char *p[9];

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t size = test_class_sizes[cls - 1];
		struct call c = {.entry = FREE};

		fresh_sim(cls, 0);
		alloc_n(p, NR_OF(p), size);
		free_n(p, 7);
		c.ptr = p[1];
		report_in_pool(&r, APB_MISUSE_DOUBLE_FREE, p[1], cls, p[0],
			       out(p[0]));
		assert_noted(&r, &c);
	}
}

static void test_double_free_after_the_pool_emptied(void **ctx)
{
	struct report r;
	char *p[10], *other;

	(void)ctx;
	fresh_sim(4, 0);
	other = apb_malloc(500);
	alloc_n(p, NR_OF(p), SIZE);
	free_n(p, NR_OF(p));
	apb_settle();
	report_in_arena(&r, APB_MISUSE_UNUSED_POOL, p[3], 16 * KIB);
	assert_misuse(&r, SIZE);
	/* the arena is a spare, then gone */
	apb_free(other);
	apb_settle();
	assert_int_equal(stats_now().spares, 1);
	assert_misuse(&r, SIZE);
	apb_trim();
	report_nowhere(&r, p[3]);
	assert_misuse(&r, SIZE);
}

static void test_double_free_of_large(void **ctx)
{
	struct report r;
	char *p, *q;

	(void)ctx;
	fresh_sim(5, 0);
	p = apb_malloc(100000);
	q = apb_malloc(200000);
	apb_free(p);
	report_nowhere(&r, p);
	assert_misuse(&r, 100000);
	apb_free(q);
	/* not when it is an orphan either */
	q = apb_malloc(200000);
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_UNMAP), 1);
	apb_free(q);
	report_nowhere(&r, q);
	assert_misuse(&r, 200000);
}

/* However long the list is: the block freed first of very many. */
static void test_double_free_in_a_long_list(void **ctx)
{
	static char *p[9000];
	struct report r;
	struct call c = {.entry = FREE};
	size_t i;

	(void)ctx;
	fresh_sim(6, 0);
	apb_set_option(APB_OPT_SETTLE_PERIOD, 4095);
	alloc_n(p, NR_OF(p), 16);
	for (i = 0; bin_length(1) < 4095; i++)
		apb_free(p[i]);
	assert_in_range(i, 3500, 4095);
	c.ptr = p[0];
	report_in_pool(&r, APB_MISUSE_DOUBLE_FREE, p[0], 1, p[0], out(p[0]));
	report_finish(&r, "apb_free");
	times_told = 0;
	apb_set_misuse(note_misuse, NULL);
	do_call(&c);
	assert_told(&r);
	assert_whole();
}

/* ---- not a block ------------------------------------------------------ */

static void test_interior(void **ctx)
{
	static const size_t at[] = {1, 2, 8, 15, 16, 17, 31, 32, 47};
	struct report r;
	char *p[100];
	size_t i;

	(void)ctx;
	fresh_sim(7, 0);
	alloc_n(p, NR_OF(p), SIZE);
	free_n(p + 50, 1);
	for (i = 0; i < NR_OF(at); i++) {
		report_in_pool(&r, APB_MISUSE_INTERIOR, p[20] + at[i], CLS,
			       p[0], out(p[0]));
		assert_misuse_noted(&r, SIZE);
	}
	assert_misuse(&r, SIZE);
	/* of a free block, and of one that was never handed out */
	report_in_pool(&r, APB_MISUSE_INTERIOR, p[50] + 16, CLS, p[0],
		       out(p[0]));
	assert_misuse(&r, SIZE);
	report_in_pool(&r, APB_MISUSE_INTERIOR, p[0] + 300 * SIZE + 16, CLS,
		       p[0], out(p[0]));
	assert_misuse(&r, SIZE);
}

/*
 * Between blocks and the pool's ends there may be bytes of no block: of pools
 * of class 9, 144 bytes, 112.
 */
static void test_beside_the_blocks(void **ctx)
{
	unsigned int pools, i, before = 0, behind = 0;
	struct report r;

	(void)ctx;
	fresh_sim(8, 0);
	for (pools = 0; pools < 5; pools++) {
		struct apb_pool *pool = pool_of(apb_malloc(144));
		char *p = (char *)pool->base;

		for (i = 1; i < pool->count; i++)
			apb_malloc(144);
		report_in_pool(&r, APB_MISUSE_INTERIOR, p - 16, 9, p,
			       pool->count);
		if (apb_pool_colour_bytes(pool)) {
			assert_misuse_noted(&r, 144);
			before++;
		}
		report_in_pool(&r, APB_MISUSE_INTERIOR, p + i * 144ul, 9, p,
			       pool->count);
		if (apb_pool_remainder(pool)) {
			assert_misuse_noted(&r, 144);
			behind++;
		}
	}
	assert_true(before && behind);
}

static void test_never_allocated(void **ctx)
{
	struct report r;
	char *p[3];

	(void)ctx;
	fresh_sim(9, SIMOS_NONZERO);
	alloc_n(p, NR_OF(p), SIZE);
	report_in_pool(&r, APB_MISUSE_NEVER_ALLOCATED, p[0] + 3 * SIZE, CLS,
		       p[0], out(p[0]));
	assert_misuse(&r, SIZE);
	report_in_pool(&r, APB_MISUSE_NEVER_ALLOCATED, p[0] + 330 * SIZE, CLS,
		       p[0], out(p[0]));
	assert_misuse(&r, SIZE);
}

static void test_unused_pool(void **ctx)
{
	unsigned int kind;
	struct report r;

	(void)ctx;
	for (kind = 0; kind < APB_NR_POOL_KINDS; kind++) {
		size_t bytes = (size_t)1 << apb_kind_shift(kind);
		char *p, *arena;

		fresh_sim(10, SIMOS_NONZERO);
		p = apb_malloc(kind ? 4096 << kind : 1);
		arena = (char *)arena_at(p);
		assert_int_equal(apb_arena_of((uintptr_t)p)->kind, kind);
		report_in_arena(&r, APB_MISUSE_UNUSED_POOL, arena + 5 * bytes,
				bytes);
		assert_misuse_noted(&r, SIZE);
		report_in_arena(&r, APB_MISUSE_UNUSED_POOL, arena + MIB - 16,
				bytes);
		assert_misuse_noted(&r, SIZE);
		report_in_arena(&r, APB_MISUSE_UNUSED_POOL,
				arena + 6 * bytes + 1, bytes);
		assert_misuse(&r, SIZE);
	}
}

/* What tests and fuzzers aim with finds such places. */
static void test_inspection(void **ctx)
{
	const void *p;
	size_t skip;

	(void)ctx;
	fresh_sim(22, 0);
	assert_null(apb_inspect_never_allocated(0));
	assert_null(apb_inspect_unused_pool(3));
	apb_set_misuse(note_misuse, NULL);
	apb_malloc(48);
	apb_malloc(5000);
	for (skip = 0; skip < 200; skip++) {
		p = apb_inspect_never_allocated(skip);
		assert_ptr_equal(p, apb_inspect_never_allocated(skip + 2));
		assert_ptr_not_equal(p, apb_inspect_never_allocated(skip + 1));
		assert_int_equal(apb_usable_size(p), 0);
		assert_int_equal(told.kind, APB_MISUSE_NEVER_ALLOCATED);
		/* 60 small ones and 14 of 64 KiB */
		p = apb_inspect_unused_pool(skip);
		assert_ptr_equal(p, apb_inspect_unused_pool(skip + 74));
		assert_ptr_not_equal(p, apb_inspect_unused_pool(skip + 1));
		assert_int_equal(apb_usable_size(p), 0);
		assert_int_equal(told.kind, APB_MISUSE_UNUSED_POOL);
	}
}

static void test_metadata(void **ctx)
{
	unsigned int kind;
	struct report r;

	(void)ctx;
	for (kind = 0; kind < APB_NR_POOL_KINDS; kind++) {
		size_t bytes = (size_t)1 << apb_kind_shift(kind);
		char *arena;

		fresh_sim(11, SIMOS_NONZERO);
		arena = (char *)arena_at(apb_malloc(kind ? 4096 << kind : 1));
		report_in_arena(&r, APB_MISUSE_METADATA, arena, bytes);
		assert_misuse_noted(&r, SIZE);
		report_in_arena(&r, APB_MISUSE_METADATA, arena + 64, bytes);
		assert_misuse_noted(&r, SIZE);
		report_in_arena(&r, APB_MISUSE_METADATA, arena + 4096, bytes);
		assert_misuse_noted(&r, SIZE);
		report_in_arena(&r, APB_MISUSE_METADATA, arena + bytes - 1,
				bytes);
		assert_misuse(&r, SIZE);
	}
}

static void test_foreign(void **ctx)
{
	static char data[100];
	char local[100], *large, *p;
	struct report r;
	size_t i;

	(void)ctx;
	fresh_sim(12, 0);
	p = apb_malloc(SIZE);
	large = apb_malloc(100000);
	{
		char *const foreign[] = {
			data,
			local + 16,
			(char *)stdout,
			(char *)16,
			(char *)1,
			(char *)(arena_at(p) + MIB),
			(char *)(arena_at(p) - 16),
			(char *)SIMOS_BASE - 16,
			/* behind a large block, within its MiB */
			large + 102400,
			large + MIB - 16,
			/* the map itself */
			(char *)apb_map_leaf((uintptr_t)p),
			(char *)&apb_state,
			(char *)UINTPTR_MAX - 15,
			(char *)((UINT64_C(1) << 47) - 16),
		};

		for (i = 0; i < NR_OF(foreign); i++) {
			if (apb_large_around((uintptr_t)foreign[i]) ||
			    apb_map_kind(&apb_state.map,
					 (uintptr_t)foreign[i]) >
				    APB_KIND_LARGE)
				continue;
			report_nowhere(&r, foreign[i]);
			assert_misuse_noted(&r, SIZE);
		}
		assert_misuse(&r, SIZE);
	}
}

static void test_interior_of_large(void **ctx)
{
	struct report r;
	size_t i;
	char *p;

	(void)ctx;
	fresh_sim(13, 0);
	apb_malloc(SIZE);
	p = apb_malloc(3 * MIB + 1);
	{
		const size_t at[] = {1,		  16,	   4096,
				     MIB - 16,	  MIB,	   2 * MIB,
				     2 * MIB + 1, 3 * MIB, 3 * MIB + 4095};

		for (i = 0; i < NR_OF(at); i++) {
			report_in_large(&r, APB_MISUSE_INTERIOR, p + at[i], p,
					3 * MIB + 4096);
			assert_misuse_noted(&r, 3 * MIB + 1);
		}
		assert_misuse(&r, 3 * MIB + 1);
	}
}

/* A good address with bits that no address has. */
static void test_high_bits(void **ctx)
{
	char *p, *free_one, *large;
	struct report r;
	unsigned int bit;

	(void)ctx;
	fresh_sim(14, 0);
	p = apb_malloc(SIZE);
	free_one = apb_malloc(SIZE);
	apb_free(free_one);
	large = apb_malloc(100000);
	for (bit = 47; bit < 64; bit++) {
		report_nowhere(&r, (void *)((uintptr_t)p | HIGH_BIT(bit)));
		assert_misuse_noted(&r, SIZE);
		report_nowhere(&r, (void *)((uintptr_t)large | HIGH_BIT(bit)));
		assert_misuse_noted(&r, 100000);
	}
	report_nowhere(&r, (void *)((uintptr_t)free_one | HIGH_BIT(60)));
	assert_misuse(&r, SIZE);
	report_nowhere(&r, (void *)((uintptr_t)p | -HIGH_BIT(47)));
	assert_misuse(&r, SIZE);
	report_nowhere(&r, (void *)(arena_at(p) | HIGH_BIT(47)));
	assert_misuse(&r, SIZE);
}

/* ---- sized frees ------------------------------------------------------ */

static void freed_with(struct report *r, size_t size, size_t align)
{
	report_say(r, "apb:   freed with: size %zu, alignment %zu\n", size,
		   align);
}

static void test_wrong_size(void **ctx)
{
	static const size_t sizes[] = {
		0,     1,     32,     49,	   64,	     4096,
		32768, 32769, 100000, PTRDIFF_MAX, SIZE_MAX, SIZE_MAX - 47};
	struct report r;
	struct call c;
	char *p[3];
	size_t i;

	(void)ctx;
	fresh_sim(15, 0);
	alloc_n(p, NR_OF(p), SIZE);
	for (i = 0; i < NR_OF(sizes); i++) {
		c = (struct call){FREE_SIZED, p[1], 0, sizes[i]};
		report_in_pool(&r, APB_MISUSE_WRONG_SIZE, p[1], CLS, p[0],
			       out(p[0]));
		freed_with(&r, sizes[i], 16);
		assert_noted(&r, &c);
		c = (struct call){FREE_ALIGNED_SIZED, p[1], 8, sizes[i]};
		report_in_pool(&r, APB_MISUSE_WRONG_SIZE, p[1], CLS, p[0],
			       out(p[0]));
		freed_with(&r, sizes[i], 8);
		assert_reported(&r, &c);
	}
	apb_free_sized(p[1], 33);
	apb_free_sized(p[2], 48);
}

/* Every other class is wrong, and only that. */
static void test_wrong_size_of_every_class(void **ctx)
{
	unsigned int cls, other;

	(void)ctx;
	fresh_sim(16, 0);
	apb_set_misuse(note_misuse, NULL);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		char *p = apb_malloc(test_class_sizes[cls - 1]);

		for (other = 1; other <= APB_NR_CLASSES; other++) {
			if (other == cls)
				continue;
			times_told = 0;
			apb_free_sized(p, test_class_sizes[other - 1]);
			assert_int_equal(times_told, 1);
			assert_int_equal(told.kind, APB_MISUSE_WRONG_SIZE);
		}
		times_told = 0;
		apb_free_sized(p, test_class_sizes[cls - 1]);
		assert_int_equal(times_told, 0);
	}
	assert_int_equal(stats_now().used_bytes, 0);
	assert_whole();
}

static void test_wrong_size_of_large(void **ctx)
{
	static const size_t sizes[] = {
		0,	1,   32768,	  36864,    98304,
		102401, MIB, PTRDIFF_MAX, SIZE_MAX, SIZE_MAX - 4095};
	struct report r;
	struct call c;
	size_t i;
	char *p;

	(void)ctx;
	fresh_sim(17, 0);
	p = apb_malloc(100000);
	for (i = 0; i < NR_OF(sizes); i++) {
		c = (struct call){FREE_SIZED, p, 0, sizes[i]};
		report_in_large(&r, APB_MISUSE_WRONG_SIZE, p, p, 102400);
		freed_with(&r, sizes[i], 16);
		assert_noted(&r, &c);
		c = (struct call){FREE_ALIGNED_SIZED, p, 4096, sizes[i]};
		report_in_large(&r, APB_MISUSE_WRONG_SIZE, p, p, 102400);
		freed_with(&r, sizes[i], 4096);
		assert_reported(&r, &c);
	}
	apb_free_aligned_sized(p, 4096, 98305);
}

static void test_wrong_alignment(void **ctx)
{
	static const size_t bad[] = {
		0,  3,	24,   48,  SIZE_MAX,	 4097,
		32, 64, 4096, MIB, HIGH_BIT(46), HIGH_BIT(63)};
	struct report r;
	struct call c;
	char *p[4];
	size_t i;

	(void)ctx;
	fresh_sim(18, 0);
	alloc_n(p, NR_OF(p), SIZE);
	/* a block that is a multiple of 16 and of no more */
	assert_false(is_aligned(p[1], 32));
	for (i = 0; i < NR_OF(bad); i++) {
		c = (struct call){FREE_ALIGNED_SIZED, p[1], bad[i], SIZE};
		report_in_pool(&r, APB_MISUSE_WRONG_ALIGN, p[1], CLS, p[0],
			       out(p[0]));
		freed_with(&r, SIZE, bad[i]);
		assert_reported(&r, &c);
	}
	apb_free_aligned_sized(p[1], 16, SIZE);
	/* it lies right, but a block for that would be of another class */
	assert_true(is_aligned(p[0], 64));
	c = (struct call){FREE_ALIGNED_SIZED, p[0], 64, SIZE};
	report_in_pool(&r, APB_MISUSE_WRONG_SIZE, p[0], CLS, p[0], out(p[0]));
	freed_with(&r, SIZE, 64);
	assert_reported(&r, &c);
}

/* ---- around the report ------------------------------------------------ */

/* No lock is held: the allocator may be used. */
static void allocate(const struct apb_misuse *m, void *arg)
{
	assert_ptr_equal(arg, &told);
	note_misuse(m, arg);
	apb_free(apb_malloc(512));
}

static void test_handler_may_allocate(void **ctx)
{
	char *p;

	(void)ctx;
	fresh_sim(19, 0);
	p = apb_malloc(SIZE);
	apb_free(p);
	times_told = 0;
	apb_set_misuse(allocate, &told);
	apb_free(p);
	assert_int_equal(times_told, 1);
	assert_int_equal(told.kind, APB_MISUSE_DOUBLE_FREE);
	assert_int_equal(apb_usable_size(p + 1), 0);
	assert_int_equal(times_told, 2);
	/* a reset keeps the handler */
	assert_int_equal(apb_reset(), 0);
	apb_free(p);
	assert_int_equal(times_told, 3);
	assert_int_equal(told.kind, APB_MISUSE_FOREIGN);
	assert_whole();
}

static void *just_wait(void *arg)
{
	pthread_barrier_wait(arg);
	return NULL;
}

/* With a second thread there is a lock: it is not held during the report. */
static void misuse_with_threads(void *arg)
{
	pthread_barrier_t barrier;
	pthread_t thread;
	char *p = apb_malloc(SIZE);

	(void)arg;
	apb_set_misuse(allocate, &told);
	pthread_barrier_init(&barrier, NULL, 2);
	if (pthread_create(&thread, NULL, just_wait, &barrier))
		_exit(2);
	apb_free(p);
	times_told = 0;
	apb_free(p);
	apb_free_sized(p, SIZE);
	apb_realloc(p, SIZE);
	apb_usable_size(p);
	if (times_told != 4 || apb_check(NULL))
		_exit(3);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	_exit(77);
}

static void test_no_lock_is_held(void **ctx)
{
	struct child c;

	(void)ctx;
	fresh_sim(20, 0);
	run_child(&c, misuse_with_threads, NULL);
	assert_true(WIFEXITED(c.status));
	assert_int_equal(WEXITSTATUS(c.status), 77);
}

static void misuse_with_short_writes(void *arg)
{
	write_faults.at_most = 5;
	write_faults.interrupted = 3;
	apb_free((char *)arg + 1);
}

static void misuse_with_no_write(void *arg)
{
	write_faults.nothing = UINT32_MAX;
	apb_free((char *)arg + 1);
}

static void test_stderr_that_takes_little(void **ctx)
{
	struct report r;
	struct child c;
	char *p;

	(void)ctx;
	fresh_sim(23, 0);
	p = apb_malloc(SIZE);
	report_in_pool(&r, APB_MISUSE_INTERIOR, p + 1, CLS, p, out(p));
	report_finish(&r, "apb_free");
	run_child(&c, misuse_with_short_writes, p);
	assert_string_equal(c.err, r.m.text);
	assert_true(died_of(&c, SIGABRT));
	run_child(&c, misuse_with_no_write, p);
	assert_int_equal(c.len, 0);
	assert_true(died_of(&c, SIGABRT));
}

static void misuse_without_stderr(void *arg)
{
	close(STDERR_FILENO);
	apb_free((char *)arg + 1);
}

static void test_aborts_without_stderr(void **ctx)
{
	struct child c;

	(void)ctx;
	fresh_sim(21, 0);
	run_child(&c, misuse_without_stderr, apb_malloc(SIZE));
	assert_true(died_of(&c, SIGABRT));
	assert_int_equal(c.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_double_free),
		cmocka_unit_test(test_double_free_after_settling),
		cmocka_unit_test(test_double_free_in_every_class),
		cmocka_unit_test(test_double_free_after_the_pool_emptied),
		cmocka_unit_test(test_double_free_of_large),
		cmocka_unit_test(test_double_free_in_a_long_list),
		cmocka_unit_test(test_interior),
		cmocka_unit_test(test_beside_the_blocks),
		cmocka_unit_test(test_never_allocated),
		cmocka_unit_test(test_unused_pool),
		cmocka_unit_test(test_inspection),
		cmocka_unit_test(test_metadata),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_interior_of_large),
		cmocka_unit_test(test_high_bits),
		cmocka_unit_test(test_wrong_size),
		cmocka_unit_test(test_wrong_size_of_every_class),
		cmocka_unit_test(test_wrong_size_of_large),
		cmocka_unit_test(test_wrong_alignment),
		cmocka_unit_test(test_handler_may_allocate),
		cmocka_unit_test(test_no_lock_is_held),
		cmocka_unit_test(test_aborts_without_stderr),
		cmocka_unit_test(test_stderr_that_takes_little),
	};

	return cmocka_run_group_tests_name("misuse", tests, NULL,
					   test_teardown);
}
