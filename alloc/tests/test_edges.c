// SPDX-License-Identifier: MIT
/*
 * Unit tests of edges: sizes and alignments where the way changes, what is a
 * block and what is none, pools that were swept too early, what is counted.
 */
#include "testreport.h"

#include "arena/arena.h"
#include "debug/inspect.h"
#include "debug/report.h"
#include "initialised.h"
#include "large/large.h"

/* ---- pools that are hardly used ----------------------------------------- */

#define POOLS 40
#define BLOCKS 51 /* of 1280 bytes in a pool */

/*
 * Pools in each of which four blocks are left; the first that is swept or let
 * be, and its blocks.
 */
static struct apb_pool *make_sparse(char **live)
{
	static char *p[POOLS * BLOCKS];
	struct apb_pool *pool = NULL;
	unsigned int i, n = 0;

	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_malloc(1280);
	for (i = 0; i < NR_OF(p); i++)
		if (apb_pool_index(pool_of(p[i]), (uintptr_t)p[i]) >= 4)
			apb_free(p[i]);
	apb_settle();
	for (i = 0; i < NR_OF(p); i++) {
		if (!pool && pool_of(p[i])->used == 4 && pool_of(p[i])->idle)
			pool = pool_of(p[i]);
		if (pool_of(p[i]) == pool &&
		    apb_pool_index(pool, (uintptr_t)p[i]) < 4)
			live[n++] = p[i];
	}
	assert_non_null(pool);
	assert_int_equal(n, 4);
	return pool;
}

/*
 * A pool that was swept, is then remembered again, emptied, and needed again:
 * it was swept too early.
 */
static void test_swept_too_early(void **ctx)
{
	struct apb_pool *pool;
	char *live[4], *q;
	unsigned int i, n;

	(void)ctx;
	fresh_sim(14, 0);
	pool = make_sparse(live);
	assert_false(pool->let_be || pool->sparse);
	n = pool->idle;
	for (i = 0; i < 3; i++)
		apb_free(live[i]);
	apb_settle();
	assert_int_not_equal(pool->sparse, 0);
	apb_free(live[3]);
	apb_settle();
	assert_int_equal(pool->owner, 0);
	assert_int_equal(apb_state.arenas.sparse.extra, 0);
	/* another class of that size of pools */
	q = apb_malloc(2048);
	assert_ptr_equal(pool_of(q), pool);
	assert_true(apb_state.arenas.sparse.extra >= n * 4096);
	assert_whole();
}

/* One that was let be, and becomes empty: nothing was given back. */
static void test_let_be(void **ctx)
{
	struct apb_arenas *as = &apb_state.arenas;
	struct apb_pool *pool;
	size_t bytes, moved;
	unsigned int i;
	char *live[4];

	(void)ctx;
	fresh_sim(15, 0);
	as->sparse.extra = 8 * MIB;
	pool = make_sparse(live);
	assert_true(pool->let_be);
	bytes = as->sparse_bytes;
	moved = as->sparse.moved;
	assert_int_equal(as->sparse.given, 0);
	for (i = 0; i < 4; i++)
		apb_free(live[i]);
	apb_settle();
	assert_int_equal(pool->owner, 0);
	assert_true(as->sparse_bytes < bytes);
	assert_int_equal(as->sparse.given, 0);
	assert_int_equal(as->sparse.moved, moved + bytes - as->sparse_bytes);
	assert_whole();
}

/* ---- large blocks -------------------------------------------------------- */

/* Up to 12 MiB what has grown before is copied, beyond its pages are moved. */
static void test_copied_or_moved(void **ctx)
{
	static const size_t sizes[] = {12 * MIB, 12 * MIB + 4096};
	unsigned int i;

	(void)ctx;
	for (i = 0; i < NR_OF(sizes); i++) {
		struct apb_fault_stats s;
		char *p;

		fresh_sim(11, SIMOS_HINTS);
		apb_state.larges.retain.extra = APB_LARGE_CACHE_DEFAULT;
		p = apb_malloc(11 * MIB);
		apb_free(apb_malloc(40 * MIB));
		assert_int_equal(apb_state.larges.nr_cached, 1);
		apb_large_find((uintptr_t)p)->grown = 3;
		p = apb_realloc(p, sizes[i]);
		apb_fault_get(&s);
		assert_int_equal(s.calls[APB_OS_REMAP] != 0, i);
		apb_free(p);
		assert_whole();
	}
}

/* Up to 512 KiB a block goes where it fits, but into no part of a mapping. */
static void test_not_split(void **ctx)
{
	struct apb_fault_stats s;
	char *p;

	(void)ctx;
	fresh_sim(13, SIMOS_HINTS);
	apb_state.larges.retain.extra = APB_LARGE_CACHE_DEFAULT;
	p = apb_malloc(300000);
	apb_free(apb_malloc(40 * MIB));
	p = apb_realloc(p, 512 * KIB);
	apb_fault_get(&s);
	assert_true(s.calls[APB_OS_REMAP] > 0);
	apb_free(p);
	assert_whole();
}

/* Nobody but the program writes to blocks, whichever way they are freed. */
static void test_free_leaves_memory(void **ctx)
{
	char *p;

	(void)ctx;
	fresh_sim(10, 0);
	p = apb_malloc(112);
	fill(p, 112, 1);
	apb_free_aligned_sized(p, 16, 112);
	initialised(p, 112);
	assert_true(filled(p, 112, 1));
	assert_ptr_equal(apb_malloc(112), p);
	assert_true(filled(p, 112, 1));
	apb_free(p);
}

static void fill_stack(void)
{
	volatile char stack[16384];
	size_t i;

	for (i = 0; i < sizeof(stack); i++)
		stack[i] = 1;
}

/* Resized in place, whatever the stack held. */
static void test_in_place(void **ctx)
{
	size_t size;
	char *p;

	(void)ctx;
	fresh_sim(9, 0);
	p = apb_malloc(300000);
	for (size = 300000; size > 200000; size -= 20000) {
		fill_stack();
		assert_ptr_equal(apb_realloc(p, size), p);
		assert_whole();
		assert_int_equal(stats_now().large, 1);
	}
	apb_free(p);
}

/* ---- what is no block ---------------------------------------------------- */

/* Beyond a page alignment makes a large block; no other is of that size. */
static void test_aligned_by_chance(void **ctx)
{
	char *p[3];
	unsigned int i = 0;

	(void)ctx;
	fresh_sim(8, 0);
	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_malloc(4096);
	i = is_aligned(p[0], 8192) ? 0 : 1;
	assert_true(is_aligned(p[i], 8192));
	apb_set_misuse(note_misuse, NULL);
	times_told = 0;
	apb_free_aligned_sized(p[i], 8192, 4096);
	assert_int_equal(times_told, 1);
	assert_int_equal(told.kind, APB_MISUSE_WRONG_SIZE);
	apb_free_aligned_sized(p[i], 4096, 4096);
	assert_int_equal(times_told, 1);
	apb_set_misuse(NULL, NULL);
}

/* A block that is live is no misuse, whoever asks. */
static void test_live_is_no_misuse(void **ctx)
{
	void *large, *small;
	struct apb_misuse m;

	(void)ctx;
	fresh_sim(6, 0);
	large = apb_malloc(100000);
	small = apb_malloc(100);
	assert_false(apb_misuse_find(&m, large, "apb_free"));
	assert_false(apb_misuse_find(&m, small, "apb_free"));
	assert_true(apb_misuse_find(&m, (char *)large + 16, "apb_free"));
	apb_free(small);
	assert_true(apb_misuse_find(&m, small, "apb_free"));
	apb_free(large);
	assert_true(apb_misuse_find(&m, large, "apb_free"));
}

/* What is named as never allocated is the last block of a pool. */
static void test_never_allocated(void **ctx)
{
	struct apb_pool *pool;
	const void *p;

	(void)ctx;
	fresh_sim(7, 0);
	apb_free(apb_malloc(100));
	p = apb_inspect_never_allocated(0);
	pool = pool_of(p);
	assert_int_equal(apb_pool_index(pool, (uintptr_t)p), pool->count - 1);
}

/*
 * An arena's header is no pool in use, whatever its lists would be as one: here
 * a pool whose first block starts with the header itself, and is live.
 */
static void test_header_is_no_pool(void **ctx)
{
	static const uint8_t live = APB_STATE_LIVE;
	struct apb_arena *arena, was;
	struct apb_pool *pool;

	(void)ctx;
	fresh_sim(4, 0);
	apb_free(apb_malloc(100));
	arena = apb_arena_of((uintptr_t)pool_of(apb_tls->bin[7].top->block));
	was = *arena;
	pool = (struct apb_pool *)arena;
	pool->base = (uintptr_t)arena;
	pool->reciprocal = UINT64_MAX;
	pool->states = (uint8_t *)(uintptr_t)&live;
	pool->count = 1;
	pool->cls = 7;
	assert_int_equal(pool->owner, APB_ARENA_GUARD);
	apb_set_misuse(note_misuse, NULL);
	times_told = 0;
	assert_int_equal(apb_usable_size(arena), 0);
	assert_int_equal(times_told, 1);
	assert_int_equal(told.kind, APB_MISUSE_METADATA);
	apb_set_misuse(NULL, NULL);
	*arena = was;
	assert_whole();
}

/* ---- heaps --------------------------------------------------------------- */

/* A reset counts what the heaps of other threads have. */
static void test_reset_counts_heaps(void **ctx)
{
	struct apb_heap *mine, *third;

	(void)ctx;
	fresh_sim(5, 0);
	apb_free(apb_malloc(1));
	mine = apb_thread_swap(NULL);
	apb_free(apb_malloc(1));
	third = apb_thread_swap(NULL);
	apb_free(apb_malloc(1));
	assert_int_equal(apb_state.heaps.nr_mapped, 2);
	apb_thread_end();
	apb_thread_swap(third);
	/* the caller's and that of no thread go, the other's stays */
	mine = apb_thread_swap(mine);
	assert_int_equal(apb_reset(), 0);
	assert_int_equal(apb_state.os.mapped, APB_HEAP_BYTES);
	assert_int_equal(apb_state.os.mapped_highwater, APB_HEAP_BYTES);
	assert_whole();
	apb_thread_swap(mine);
	apb_thread_end();
	apb_trim();
	assert_int_equal(apb_state.os.mapped, 0);
}

/* A refill that just fits does not make the array grow. */
static void test_refill_that_fits(void **ctx)
{
	unsigned int i;

	(void)ctx;
	fresh_sim(16, 0);
	for (i = 0; i < 7; i++)
		apb_malloc(640);
	assert_int_equal(apb_tls->info[33].room, 6);
	assert_int_equal(apb_tls->info[33].want, 18);
	assert_int_equal(bin_length(33), 5);
}

/* Arrays are side by side, from the start of their place to its end. */
static void test_arrays(void **ctx)
{
	const struct apb_entry *at;
	unsigned int cls;

	(void)ctx;
	fresh_sim(12, 0);
	apb_free(apb_malloc(1));
	at = apb_tls->first + 1;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		assert_ptr_equal(apb_tls->info[cls].base, at);
		at += apb_tls->info[cls].room + 1;
	}
	assert_ptr_equal(at, apb_tls->first + APB_FIRST_ENTRIES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_swept_too_early),
		cmocka_unit_test(test_let_be),
		cmocka_unit_test(test_copied_or_moved),
		cmocka_unit_test(test_not_split),
		cmocka_unit_test(test_free_leaves_memory),
		cmocka_unit_test(test_in_place),
		cmocka_unit_test(test_aligned_by_chance),
		cmocka_unit_test(test_live_is_no_misuse),
		cmocka_unit_test(test_never_allocated),
		cmocka_unit_test(test_header_is_no_pool),
		cmocka_unit_test(test_reset_counts_heaps),
		cmocka_unit_test(test_refill_that_fits),
		cmocka_unit_test(test_arrays),
	};

	return cmocka_run_group_tests_name("edges", tests, NULL, test_teardown);
}
