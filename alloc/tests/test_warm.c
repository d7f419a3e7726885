// SPDX-License-Identifier: MIT
/*
 * Unit tests of the heaps of threads that have ended: some stay warm, as their
 * threads left them, the others are settled.
 */
#include "testlib.h"

#include "heap/remote.h"

#define THREADS (APB_WARM_HEAPS + 3)

/* A thread begins: the one that ran stays as it is; returns its heap. */
static struct apb_heap *begin(void)
{
	return apb_thread_swap(NULL);
}

static void end(struct apb_heap *heap)
{
	apb_thread_swap(heap);
	apb_thread_end();
}

/* All at once, so that each has a heap of its own; a block of each stays. */
static void make_heaps(struct apb_heap **heap, void **kept)
{
	unsigned int i;

	for (i = 0; i < THREADS; i++) {
		kept[i] = apb_malloc(64);
		apb_free(apb_malloc(64));
		heap[i] = begin();
		assert_true(apb_heap_held(heap[i]) > 0);
	}
}

static void test_heaps_that_cool(void **ctx)
{
	struct apb_heap *heap[THREADS];
	void *kept[THREADS];
	unsigned int i;

	(void)ctx;
	fresh_sim(1, 0);
	make_heaps(heap, kept);
	for (i = 0; i < THREADS; i++)
		end(heap[i]);
	assert_whole();
	for (i = 0; i < THREADS; i++)
		assert_int_equal(apb_heap_held(heap[i]) > 0,
				 i >= THREADS - APB_WARM_HEAPS);
	/* the next thread has the one that ended last, with what it holds */
	apb_free(apb_malloc(64));
	assert_ptr_equal(apb_tls, heap[THREADS - 1]);
	assert_true(pool_of(kept[THREADS - 1])->used > 1);
	/* nothing of it outlasts a trim */
	apb_trim();
	for (i = 0; i < THREADS; i++)
		assert_int_equal(apb_heap_held(heap[i]), 0);
	for (i = 0; i < THREADS; i++)
		apb_free(kept[i]);
	assert_whole();
	apb_trim();
	assert_int_equal(stats_now().arenas, 0);
}

/* A lack of memory finds what they hold. */
static void test_warm_heaps_are_not_lost(void **ctx)
{
	struct apb_heap *heap[THREADS];
	void *kept[THREADS];
	unsigned int i;

	(void)ctx;
	fresh_sim(2, 0);
	make_heaps(heap, kept);
	/* by one more thread, which ends then */
	for (i = 0; i < THREADS; i++)
		apb_free(kept[i]);
	apb_thread_end();
	for (i = 0; i < THREADS; i++)
		end(heap[i]);
	assert_true(stats_now().arenas > stats_now().spares);
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_MAP), 1);
	/* a thread without memory of its own takes over, and settles */
	for (i = 0; i < 60; i++)
		apb_malloc(1024);
	assert_whole();
	fault_arm(APB_FAULT_OFF, 0, 0);
	apb_settle();
	for (i = 0; i < THREADS; i++)
		if (heap[i] != apb_tls)
			assert_int_equal(apb_heap_held(heap[i]), 0);
}

/* Its last blocks may be all that keeps an arena from being cut anew. */
static void test_lack_empties_warm_heaps(void **ctx)
{
	struct apb_heap *first, *second;
	void *p, *q, *r;

	(void)ctx;
	fresh_sim(5, 0);
	p = apb_malloc(32768);
	first = begin();
	q = apb_malloc(2048);
	second = begin();
	apb_thread_swap(first);
	apb_free(p);
	apb_thread_end();
	assert_true(first->warm);
	assert_int_equal(apb_state.arenas.nr_spares, 0);
	apb_thread_swap(second);
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_MAP), 1);
	r = apb_malloc(16);
	assert_non_null(r);
	assert_int_equal(second->recovered, 1);
	assert_int_equal(arena_at(r), arena_at(p));
	fault_arm(APB_FAULT_OFF, 0, 0);
	apb_free(q);
	apb_free(r);
	assert_whole();
}

/* A thread for which there is no memory for a heap is known to have none. */
static void test_no_memory_for_a_heap(void **ctx)
{
	struct apb_heap *mine;
	void *p;

	(void)ctx;
	fresh_sim(6, 0);
	apb_free(apb_malloc(1));
	mine = begin();
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_MAP), 1);
	assert_false(apb_state.heaps.heapless);
	p = apb_malloc(100);
	assert_non_null(p);
	assert_ptr_equal(apb_tls, &apb_empty_heap);
	assert_true(apb_state.heaps.heapless);
	apb_free(p);
	fault_arm(APB_FAULT_OFF, 0, 0);
	apb_thread_swap(mine);
	assert_whole();
}

/*
 * One that ended when a trim had settled all others is warm, and may own no
 * block but still the arrays of its bins.
 */
static void test_warm_heap_without_blocks(void **ctx)
{
	struct apb_heap *mine, *heap;
	void *p[1000];
	size_t n = 0;

	(void)ctx;
	fresh_sim(7, 0);
	apb_free(apb_malloc(1));
	mine = begin();
	do {
		assert_in_range(n, 0, NR_OF(p) - 1);
		p[n++] = apb_malloc(112);
	} while (apb_tls->info[7].room < APB_BIN_GROWN || bin_length(7));
	heap = apb_thread_swap(mine);
	while (n)
		apb_free(p[--n]);
	apb_remote_flush(mine);
	end(heap);
	assert_true(heap->warm);
	assert_int_equal(heap->pools, 0);
	assert_true(heap->info[7].room >= APB_BIN_GROWN);
	apb_thread_swap(mine);
	apb_threads_trim();
	assert_int_equal(apb_state.heaps.nr_mapped, 0);
	assert_whole();
}

static void test_heap_that_holds_much(void **ctx)
{
	struct apb_heap *heap;
	void *p[200];
	size_t i;

	(void)ctx;
	fresh_sim(3, 0);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, NR_OF(p)), 0);
	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_malloc(4096);
	for (i = 0; i < NR_OF(p); i++)
		apb_free(p[i]);
	heap = apb_tls;
	assert_true(apb_heap_held(heap) > APB_WARM_BYTES);
	assert_true(bin_length(44) >= APB_WARM_BYTES / 4096);
	apb_thread_end();
	assert_int_equal(apb_heap_held(heap), 0);
	assert_whole();
}

/* Exactly so much is not too much. */
static void test_heap_that_holds_enough(void **ctx)
{
	unsigned int n, i;
	void *p[5];

	(void)ctx;
	for (n = 4; n <= 5; n++) {
		struct apb_heap *heap;

		fresh_sim(4, 0);
		/* the last ones of their pools: none is left in the bin */
		for (i = 0; i < 8; i++) {
			void *q = apb_malloc(32768);

			if (i >= 8 - n)
				p[i - (8 - n)] = q;
		}
		heap = apb_tls;
		assert_int_equal(apb_heap_held(heap), 0);
		for (i = 0; i < n; i++)
			apb_free(p[i]);
		assert_int_equal(apb_heap_held(heap), n * 32 * KIB);
		apb_thread_end();
		assert_int_equal(apb_heap_held(heap),
				 n == 4 ? APB_WARM_BYTES : 0);
		assert_int_equal(heap->warm, n == 4);
		assert_whole();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heaps_that_cool),
		cmocka_unit_test(test_warm_heaps_are_not_lost),
		cmocka_unit_test(test_lack_empties_warm_heaps),
		cmocka_unit_test(test_no_memory_for_a_heap),
		cmocka_unit_test(test_warm_heap_without_blocks),
		cmocka_unit_test(test_heap_that_holds_much),
		cmocka_unit_test(test_heap_that_holds_enough),
	};

	return cmocka_run_group_tests_name("warm", tests, NULL, test_teardown);
}
