// SPDX-License-Identifier: MIT
/*
 * Unit tests of solid pools: when a pool has no state bytes of its own, that
 * nothing but memory tells it from others, and that any free of one of its
 * blocks, of whichever thread, makes it soft.
 */
#include "stresslib.h"
#include "testreport.h"

#include "arena/arena.h"

#include <pthread.h>
#include <sys/single_threaded.h>

#define CLS 4
#define SIZE ((size_t)64)
#define POOL \
	((size_t)256) /* blocks of 64 bytes: of a power of two, no colour */
#define NR (70 * POOL) /* more than an arena has */

static char *block[NR];
static pthread_barrier_t start;

static void build(void)
{
	size_t i;

	for (i = 0; i < NR; i++) {
		assert_non_null(block[i] = apb_malloc(SIZE));
		*(uint64_t *)block[i] = i;
	}
}

/* Of the blocks up to @n: how many are in solid pools. */
static size_t nr_solid(size_t n)
{
	size_t i, solid = 0;

	for (i = 0; i < n; i++)
		solid += apb_pool_solid(pool_of(block[i]));
	return solid;
}

static void free_all(void)
{
	size_t i;

	for (i = 0; i < NR; i++) {
		assert_int_equal(*(uint64_t *)block[i], i);
		apb_free(block[i]);
	}
	assert_whole();
	apb_trim();
	assert_int_equal(stats_now().arenas, 0);
}

/* All but the pool that is being filled and the one before. */
static void test_build_up(void **ctx)
{
	struct apb_pool *last;
	size_t i;

	(void)ctx;
	fresh_sim(1, 0);
	build();
	assert_whole();
	if (!APB_SOLID) {
		assert_int_equal(nr_solid(NR), 0);
	} else {
		assert_in_range(nr_solid(NR), NR - 2 * POOL, NR);
		/* so the last one's state bytes are on the first page of them */
		last = pool_of(block[NR - 1]);
		assert_false(apb_pool_solid(last));
		assert_in_range((uintptr_t)last->states % APB_ARENA, 4096,
				8191);
	}
	for (i = 0; i < NR; i++)
		assert_int_equal(apb_usable_size(block[i]), SIZE);
	free_all();
}

/* Sizes of which a pool has one line of state bytes stay as they are. */
static void test_sizes(void **ctx)
{
	static const size_t sizes[] = {16, 128, 240, 256, 1024, 1280};
	static const bool can[] = {true, true, true, false, false, false};
	size_t i, n;

	(void)ctx;
	for (n = 0; n < NR_OF(sizes); n++) {
		fresh_sim(n, 0);
		for (i = 0; i < 2000; i++)
			assert_non_null(block[i] = apb_malloc(sizes[n]));
		assert_int_equal(nr_solid(2000) != 0, APB_SOLID && can[n]);
		assert_whole();
	}
}

/* A block in a pool that is solid, if there are any. */
static char *solid_block(void)
{
	fresh_sim(2, 0);
	build();
	assert_int_equal(apb_pool_solid(pool_of(block[POOL + 7])), APB_SOLID);
	return block[POOL + 7];
}

static void test_free_and_misuse(void **ctx)
{
	struct apb_pool *pool;
	struct report r;
	char *p;

	(void)ctx;
	p = solid_block();
	pool = pool_of(p);
	/* no block's start: nothing changes */
	report_in_pool(&r, APB_MISUSE_INTERIOR, p + 16, CLS, (void *)pool->base,
		       POOL);
	assert_misuse(&r, SIZE);
	assert_int_equal(apb_pool_solid(pool), APB_SOLID);
	apb_free(p);
	assert_false(apb_pool_solid(pool));
	assert_whole();
	report_in_pool(&r, APB_MISUSE_DOUBLE_FREE, p, CLS, (void *)pool->base,
		       POOL);
	assert_misuse(&r, SIZE);
	assert_int_equal(apb_usable_size(block[POOL + 8]), SIZE);
	/* others are as they were */
	assert_int_equal(apb_pool_solid(pool_of(block[20 * POOL])), APB_SOLID);
	assert_ptr_equal(apb_malloc(SIZE), p);
	*(uint64_t *)p = POOL + 7;
	free_all();
}

static void test_sized_and_realloc(void **ctx)
{
	char *p, *q;

	(void)ctx;
	p = solid_block();
	/* a block that stays leaves the pool alone */
	assert_ptr_equal(apb_realloc(p, SIZE - 15), p);
	assert_int_equal(apb_pool_solid(pool_of(p)), APB_SOLID);
	q = apb_realloc(p, 4 * SIZE);
	assert_ptr_not_equal(q, p);
	assert_int_equal(*(uint64_t *)q, POOL + 7);
	assert_false(apb_pool_solid(pool_of(p)));
	assert_whole();
	apb_free(q);
	assert_ptr_equal(apb_malloc(SIZE), p);
	apb_free_sized(block[9 * POOL], SIZE);
	assert_false(apb_pool_solid(pool_of(block[9 * POOL])));
	assert_ptr_equal(apb_malloc(SIZE), block[9 * POOL]);
	apb_free_aligned_sized(block[12 * POOL], 32, SIZE);
	assert_false(apb_pool_solid(pool_of(block[12 * POOL])));
	assert_whole();
}

/* Once a block came back, a pool is filled and emptied too often. */
static void test_once(void **ctx)
{
	size_t i;

	(void)ctx;
	fresh_sim(3, 0);
	build();
	for (i = 0; i < NR; i += 8)
		apb_free(block[i]);
	assert_int_equal(nr_solid(NR), 0);
	apb_settle();
	for (i = 0; i < NR; i += 8)
		assert_non_null(block[i] = apb_malloc(SIZE));
	assert_int_equal(nr_solid(NR), 0);
	assert_whole();
	/* but when it was empty it is as new */
	for (i = 0; i < NR; i++)
		apb_free(block[i]);
	apb_settle();
	build();
	assert_in_range(nr_solid(NR), APB_SOLID ? NR - 2 * POOL : 0, NR);
	free_all();
}

/* What was put back is forgotten: no pool is thought of that is no more. */
static void test_filled_and_gone(void **ctx)
{
	size_t i, n;

	(void)ctx;
	fresh_sim(4, 0);
	for (n = 1; n < 600; n += 7) {
		for (i = 0; i < n; i++)
			assert_non_null(block[i] = apb_malloc(SIZE));
		for (i = 0; i < n; i++)
			apb_free(block[i]);
		apb_trim();
		assert_int_equal(stats_now().arenas, 0);
		assert_whole();
	}
}

/* ---- what apb_check() finds -------------------------------------------- */

static void assert_broken(const char *invariant)
{
	struct apb_violation v;

	test_initialised();
	assert_int_not_equal(apb_check(&v), 0);
	assert_string_equal(v.invariant, invariant);
}

static void test_check(void **ctx)
{
	struct apb_pool **filled, *pool, *last, *was;

	(void)ctx;
	if (!APB_SOLID)
		skip();
	pool = pool_of(solid_block());
	filled = &apb_tls->filled[CLS];
	last = pool_of(apb_malloc(SIZE));
	was = *filled;
	/* worn, or to become what it is */
	pool->worn = true;
	assert_broken("pool.solid");
	pool->worn = false;
	*filled = pool;
	assert_broken("pool.solid");
	/* has blocks; then another class's, and nobody's */
	*filled = last;
	assert_broken("pool.solid");
	*filled = was;
	filled[1] = pool;
	assert_broken("heap.filled");
	filled[1] = NULL;
	assert_whole();
}

/* With several threads none becomes solid: another may be about to free. */
static void test_threads_build(void **ctx)
{
	char was = __libc_single_threaded;

	(void)ctx;
	fresh_sim(5, 0);
	__libc_single_threaded = 0;
	build();
	assert_int_equal(nr_solid(NR), 0);
	free_all();
	__libc_single_threaded = was;
}

/* ---- threads ---------------------------------------------------------- */

#define NR_THREADS 4

static void *free_some(void *arg)
{
	size_t i;

	pthread_barrier_wait(&start);
	for (i = (size_t)(uintptr_t)arg; i < NR; i += NR_THREADS) {
		if (*(uint64_t *)block[i] != i)
			return arg;
		apb_free(block[i]);
	}
	return NULL;
}

/* All of them free blocks of the same pools at the same time. */
static void test_threads_free(void **ctx)
{
	pthread_t thread[NR_THREADS];
	uintptr_t i, turn;
	void *result;

	(void)ctx;
	for (turn = 0; turn < 5; turn++) {
		fresh_kernel();
		if (turn)
			__libc_single_threaded = 1;
		build();
		pthread_barrier_init(&start, NULL, NR_THREADS + 1);
		for (i = 0; i < NR_THREADS; i++)
			assert_int_equal(pthread_create(&thread[i], NULL,
							free_some, (void *)i),
					 0);
		assert_int_equal(nr_solid(NR) != 0, APB_SOLID);
		pthread_barrier_wait(&start);
		for (i = 0; i < NR_THREADS; i++) {
			assert_int_equal(pthread_join(thread[i], &result), 0);
			assert_null(result);
		}
		pthread_barrier_destroy(&start);
		assert_whole();
		assert_int_equal(stats_now().used_bytes, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build_up),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_free_and_misuse),
		cmocka_unit_test(test_sized_and_realloc),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_filled_and_gone),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_threads_build),
		cmocka_unit_test(test_threads_free),
	};

	return cmocka_run_group_tests_name("solid", tests, NULL, test_teardown);
}
