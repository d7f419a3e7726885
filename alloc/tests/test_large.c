// SPDX-License-Identifier: MIT
/*
 * Unit tests of large blocks: where they lie, how they are resized, and what
 * becomes of them when the system refuses.  Most run over both kernels.
 */
#include "testlib.h"

#include "large/large.h"

#define MAPS FAULT_MASK(APB_OS_MAP)
#define UNMAPS FAULT_MASK(APB_OS_UNMAP)
#define PURGES FAULT_MASK(APB_OS_PURGE)
#define REMAPS FAULT_MASK(APB_OS_REMAP)

/* Over the simulated kernel with each flag in turn, then over the real one. */
#define KERNELS 7

static void fresh_kernel_nr(unsigned int i)
{
	if (i == KERNELS - 1)
		fresh_kernel();
	else
		fresh_sim(i, i ? 1u << (i - 1) & ~SIMOS_TIGHT : 0);
}

/* What is mapped for 100,000 and for 300,000 bytes: eighths of 64, 256 KiB. */
#define MAPPED_100K (13 * 8 * KIB)
#define MAPPED_300K (10 * 32 * KIB)

static uint64_t calls(enum apb_os_call call)
{
	return apb_state.os.fault.stats.calls[call];
}

static uint64_t failed(enum apb_os_call call)
{
	return apb_state.os.fault.stats.failed[call];
}

static void assert_large(const void *p, size_t size)
{
	assert_non_null(p);
	assert_true(is_aligned(p, APB_ARENA));
	assert_int_equal(apb_usable_size(p), size);
	assert_int_equal(apb_map_kind(&apb_state.map, (uintptr_t)p),
			 APB_KIND_LARGE);
}

static void assert_only(const void *p, size_t size)
{
	struct apb_stats s = stats_now();

	assert_large(p, size);
	assert_int_equal(s.large, 1);
	assert_int_equal(s.large_bytes, size);
	assert_whole();
}

/* All gone but the map and the cache, and with a trim these. */
static void assert_none_left(void)
{
	struct apb_stats s = stats_now();

	assert_int_equal(s.large, 0);
	assert_int_equal(s.large_bytes, 0);
	assert_int_equal(s.large_slack_bytes, 0);
	assert_int_equal(s.mapped_bytes, s.map_bytes + s.large_cached_bytes);
	assert_whole();
	apb_trim();
	assert_int_equal(stats_now().mapped_bytes, 0);
	assert_whole();
}

/* ---- shape ------------------------------------------------------------ */

static void test_sizes(void **ctx)
{
	static const size_t sizes[][2] = {
		{32769, 36864},	    {36864, 36864},	    {36865, 40960},
		{65536, 65536},	    {1048575, MIB},	    {MIB, MIB},
		{MIB + 1, 1052672}, {5 * MIB - 1, 5 * MIB},
	};
	unsigned int i, k;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		for (i = 0; i < NR_OF(sizes); i++) {
			char *p;

			fresh_kernel_nr(k);
			p = apb_malloc(sizes[i][0]);
			assert_only(p, sizes[i][1]);
			/* all of it may be used */
			fill(p, sizes[i][1], i);
			assert_true(filled(p, sizes[i][1], i));
			apb_free(p);
			assert_none_left();
		}
	}
}

static void test_alignments(void **ctx)
{
	unsigned int i, k;
	size_t align;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		fresh_kernel_nr(k);
		for (align = 8192; align <= 32 * MIB; align *= 2) {
			char *p[3];

			for (i = 0; i < 3; i++) {
				size_t size = 1 + i * 50000;

				p[i] = apb_aligned_alloc(align, size);
				assert_large(p[i], apb_page_up(size));
				assert_true(is_aligned(p[i], align));
				fill(p[i], apb_page_up(size), align + i);
			}
			assert_whole();
			for (i = 0; i < 3; i++) {
				size_t size = apb_usable_size(p[i]);

				assert_true(filled(p[i], size, align + i));
				apb_free_aligned_sized(p[i], align,
						       1 + i * 50000);
			}
			assert_int_equal(stats_now().large, 0);
			assert_int_equal(stats_now().slop_bytes, 0);
			assert_whole();
		}
		assert_none_left();
	}
}

/* A small size with a large alignment is a large block. */
static void test_page_is_the_last_pooled_alignment(void **ctx)
{
	void *p, *q;

	(void)ctx;
	fresh_sim(1, 0);
	p = apb_aligned_alloc(4096, 10);
	q = apb_aligned_alloc(8192, 10);
	assert_int_equal(stats_now().large, 1);
	assert_int_equal(apb_usable_size(p), 4096);
	assert_large(q, 4096);
	apb_free(p);
	apb_free(q);
}

static void test_find_and_around(void **ctx)
{
	char *p, *q;

	(void)ctx;
	fresh_sim(2, 0);
	p = apb_malloc(3 * MIB);
	q = apb_malloc(40000);
	assert_non_null(apb_large_find((uintptr_t)p));
	assert_int_equal(apb_large_find((uintptr_t)p)->addr, (uintptr_t)p);
	assert_null(apb_large_find((uintptr_t)p + 1));
	assert_null(apb_large_find((uintptr_t)p + MIB));
	assert_null(apb_large_find((uintptr_t)p | UINT64_C(1) << 47));
	assert_null(apb_large_find((uintptr_t)p | UINT64_C(1) << 63));
	assert_null(apb_large_find(0));
	assert_ptr_equal(apb_large_around((uintptr_t)p + 3 * MIB - 1),
			 apb_large_find((uintptr_t)p));
	/* what lies next to it is not it */
	assert_ptr_not_equal(apb_large_around((uintptr_t)p + 3 * MIB),
			     apb_large_find((uintptr_t)p));
	assert_ptr_not_equal(apb_large_around((uintptr_t)p - 1),
			     apb_large_find((uintptr_t)p));
	assert_ptr_equal(apb_large_around((uintptr_t)q + 40959),
			 apb_large_find((uintptr_t)q));
	assert_null(apb_large_around((uintptr_t)q + 40960));
	assert_null(apb_large_around((uintptr_t)q | UINT64_C(1) << 47));
	apb_free(p);
	assert_null(apb_large_find((uintptr_t)p));
	assert_null(apb_large_around((uintptr_t)p));
	apb_free(q);
	assert_none_left();
}

static void test_zeroes(void **ctx)
{
	unsigned int k, round;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		fresh_kernel_nr(k);
		for (round = 0; round < 12; round++) {
			size_t size = 40000 + round * 300000;
			char *p = apb_calloc(1, size);

			assert_non_null(p);
			assert_true(all_bytes(p, size, 0));
			memset(p, 0xff, apb_usable_size(p));
			apb_free(p);
		}
		assert_none_left();
	}
}

/* ---- resizing --------------------------------------------------------- */

static void test_same_pages_no_call(void **ctx)
{
	char *p;

	(void)ctx;
	fresh_sim(3, 0);
	p = apb_malloc(100000);
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	assert_ptr_equal(apb_realloc(p, 98305), p);
	assert_ptr_equal(apb_realloc(p, 102400), p);
	assert_int_equal(calls(APB_OS_REMAP) + calls(APB_OS_UNMAP) +
				 calls(APB_OS_MAP),
			 0);
	assert_only(p, 102400);
	apb_free(p);
}

static void test_shrinks_in_place(void **ctx)
{
	unsigned int k;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		size_t size;
		char *p;

		fresh_kernel_nr(k);
		p = apb_malloc(2 * MIB);
		fill(p, 2 * MIB, k);
		for (size = 2 * MIB - 1000; size > 40000; size /= 2) {
			assert_ptr_equal(apb_realloc(p, size), p);
			assert_only(p, apb_page_up(size));
			assert_true(filled(p, size, k));
			assert_int_equal(stats_now().mapped_bytes,
					 apb_page_up(size) +
						 stats_now().map_bytes);
		}
		apb_free(p);
		assert_none_left();
	}
}

static void test_grows(void **ctx)
{
	unsigned int k;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		size_t size = 40000, old = 40000;
		char *p, *q;

		fresh_kernel_nr(k);
		p = apb_malloc(size);
		fill(p, size, k);
		for (; size < 12 * MIB; size = size * 3 / 2) {
			p = apb_realloc(p, size);
			assert_only(p, apb_page_up(size));
			assert_true(filled(p, old, k));
			fill(p, size, k);
			old = size;
		}
		/* and back into a pool and out of it */
		q = apb_realloc(p, 1000);
		assert_int_equal(apb_usable_size(q), 1024);
		assert_true(filled(q, 1000, k));
		assert_int_equal(stats_now().large, 0);
		q = apb_realloc(q, 70000);
		assert_only(q, 73728);
		assert_true(filled(q, 1000, k));
		apb_free(q);
		assert_whole();
		apb_trim();
		assert_none_left();
	}
}

/* With nothing behind it a block grows where it is. */
static void test_grows_in_place(void **ctx)
{
	char *p;

	(void)ctx;
	fresh_sim(4, 0);
	p = apb_malloc(100000);
	fill(p, 100000, 4);
	assert_ptr_equal(apb_realloc(p, 900000), p);
	assert_only(p, apb_page_up(900000));
	assert_int_equal(calls(APB_OS_REMAP), 1);
	assert_true(filled(p, 100000, 4));
	apb_free(p);
	assert_none_left();
}

static void test_moves_by_remap(void **ctx)
{
	unsigned int k;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		char *p, *q;

		fresh_kernel_nr(k);
		p = apb_malloc(100000);
		fill(p, 102400, k);
		/* in place fails, the move does not */
		fault_arm(APB_FAULT_ONCE, REMAPS, 1);
		q = apb_realloc(p, 300000);
		assert_int_equal(calls(APB_OS_REMAP), 2);
		assert_ptr_not_equal(q, p);
		assert_only(q, apb_page_up(300000));
		assert_true(filled(q, 102400, k));
		assert_null(apb_large_find((uintptr_t)p));
		assert_int_equal(stats_now().mapped_bytes,
				 MAPPED_300K + stats_now().map_bytes);
		fill(q, apb_page_up(300000), k);
		apb_free(q);
		assert_none_left();
	}
}

static void test_falls_back_to_a_copy(void **ctx)
{
	unsigned int k;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		char *p, *q;

		fresh_kernel_nr(k);
		p = apb_malloc(100000);
		fill(p, 102400, k);
		fault_arm(APB_FAULT_FROM, REMAPS, 1);
		q = apb_realloc(p, 300000);
		assert_int_equal(failed(APB_OS_REMAP), 2);
		assert_ptr_not_equal(q, p);
		assert_only(q, apb_page_up(300000));
		assert_true(filled(q, 102400, k));
		/* the old mapping is cached */
		assert_int_equal(stats_now().large_cached_bytes, MAPPED_100K);
		assert_int_equal(stats_now().mapped_bytes,
				 MAPPED_300K + MAPPED_100K +
					 stats_now().map_bytes);
		apb_free(q);
		assert_none_left();
	}
}

static void test_no_memory_leaves_the_block_alone(void **ctx)
{
	unsigned int k;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		char *p;

		fresh_kernel_nr(k);
		p = apb_malloc(100000);
		fill(p, 102400, k);
		fault_arm(APB_FAULT_FROM, REMAPS | MAPS, 1);
		errno = 0;
		assert_null(apb_realloc(p, 300000));
		assert_int_equal(errno, ENOMEM);
		assert_only(p, 102400);
		errno = 0;
		assert_null(apb_realloc(p, opaque((size_t)PTRDIFF_MAX + 1)));
		assert_int_equal(errno, ENOMEM);
		errno = 0;
		assert_null(apb_realloc(p, opaque(SIZE_MAX)));
		assert_int_equal(errno, ENOMEM);
		/* into a pool that cannot be had */
		errno = 0;
		assert_null(apb_realloc(p, 100));
		assert_int_equal(errno, ENOMEM);
		assert_only(p, 102400);
		assert_true(filled(p, 102400, k));
		apb_free(p);
		assert_none_left();
	}
}

enum how {
	BY_MALLOC,
	BY_CALLOC,
	BY_ALIGNED,
	BY_REALLOC,
	NR_HOW
};

static char *get_large(enum how how, char *p)
{
	switch (how) {
	case BY_MALLOC:
		return apb_malloc(300000);
	case BY_CALLOC:
		return apb_calloc(3, 100000);
	case BY_ALIGNED:
		return apb_aligned_alloc(2 * MIB, 300000);
	default:
		return apb_realloc(p, 300000);
	}
}

/*
 * When there is no memory, empty arenas and those that are empty but for bins
 * go back to the system, and it is asked again; once, and only if it got some.
 */
static void test_asks_again_for_what_was_reclaimed(void **ctx)
{
	unsigned int how, spare;

	(void)ctx;
	for (how = 0; how < NR_HOW; how++) {
		for (spare = 0; spare < 3; spare++) {
			char *p, *q;

			fresh_sim(7, SIMOS_HINTS);
			p = apb_malloc(100000);
			fill(p, 102400, how);
			if (spare)
				apb_free(apb_malloc(100));
			if (spare == 2)
				apb_settle();
			/* not in place, nor the first that is asked for */
			fault_arm(APB_FAULT_ONCE, MAPS, 1);
			if (how == BY_REALLOC)
				simos_fault(&(struct apb_fault){
					.mode = APB_FAULT_FROM,
					.calls = REMAPS,
				});
			errno = 0;
			q = get_large(how, p);
			assert_int_equal(failed(APB_OS_MAP), 1);
			assert_int_equal(!q, !spare);
			assert_int_equal(stats_now().recovered, spare > 0);
			if (!q)
				assert_int_equal(errno, ENOMEM);
			else
				assert_large(q, 303104);
			assert_int_equal(stats_now().arenas, 0);
			assert_true(filled(how == BY_REALLOC && q ? q : p,
					   102400, how));
			assert_whole();
			simos_fault(NULL);
		}
	}
}

/* What is mapped but cannot be entered into the map goes back. */
static void test_no_memory_for_the_map(void **ctx)
{
	(void)ctx;
	fresh_sim(5, 0);
	fault_arm(APB_FAULT_ONCE, MAPS, 2);
	errno = 0;
	assert_null(apb_malloc(100000));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(failed(APB_OS_MAP), 1);
	assert_int_equal(stats_now().mapped_bytes, 0);
	assert_whole();
	/* nor can it be unmapped: an orphan */
	fault_arm(APB_FAULT_FROM, MAPS | UNMAPS, 2);
	assert_null(apb_malloc(100000));
	assert_int_equal(stats_now().slop_bytes, MAPPED_100K);
	assert_int_equal(stats_now().large, 0);
	assert_whole();
	fault_arm(APB_FAULT_OFF, 0, 1);
	assert_int_equal(apb_trim(), MAPPED_100K);
	assert_none_left();
}

/* ---- orphans ---------------------------------------------------------- */

static void test_orphans(void **ctx)
{
	unsigned int k, purges;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		for (purges = 0; purges < 2; purges++) {
			struct apb_stats s;
			char *p;

			fresh_kernel_nr(k);
			apb_set_option(APB_OPT_LARGE_CACHE, 0);
			p = apb_malloc(100000);
			fault_arm(APB_FAULT_FROM,
				  UNMAPS | (purges ? PURGES : 0), 1);
			apb_free(p);
			s = stats_now();
			assert_int_equal(s.large, 0);
			assert_int_equal(s.slop_bytes, MAPPED_100K);
			assert_int_equal(s.unmap_failures, 1);
			assert_int_equal(s.mapped_bytes,
					 MAPPED_100K + s.map_bytes);
			assert_null(apb_large_find((uintptr_t)p));
			assert_whole();
			/* it does not go, and is not lost */
			apb_trim();
			s = stats_now();
			assert_int_equal(s.mapped_bytes, s.slop_bytes);
			assert_int_equal(s.slop_bytes,
					 MAPPED_100K + APB_LEAF_BYTES);
			assert_whole();
			fault_arm(APB_FAULT_OFF, 0, 1);
			assert_int_equal(apb_trim(),
					 MAPPED_100K + APB_LEAF_BYTES);
			assert_none_left();
		}
	}
}

static void test_tail_becomes_an_orphan(void **ctx)
{
	unsigned int k;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		char *p, *q;

		fresh_kernel_nr(k);
		p = apb_malloc(MIB);
		fill(p, MIB, k);
		fault_arm(APB_FAULT_ONCE, UNMAPS, 1);
		assert_ptr_equal(apb_realloc(p, MIB / 2), p);
		assert_only(p, MIB / 2);
		assert_int_equal(stats_now().slop_bytes, MIB / 2);
		assert_true(filled(p, MIB / 2, k));
		/* it stands in the way of growing again */
		q = apb_realloc(p, MIB);
		assert_only(q, MIB);
		assert_true(filled(q, MIB / 2, k));
		assert_ptr_not_equal(q, p);
		/* over a gap it is returned all the same */
		apb_free(q);
		assert_true(apb_trim() >= MIB / 2);
		assert_none_left();
	}
}

/* Where memory lacks it is tried again: for a large block, and for an arena. */
static void test_lack_of_memory_returns_orphans(void **ctx)
{
	static const size_t sizes[] = {MIB, 16};
	unsigned int k, i;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		for (i = 0; i < NR_OF(sizes); i++) {
			char *p;

			fresh_kernel_nr(k);
			apb_set_option(APB_OPT_LARGE_CACHE, 0);
			p = apb_malloc(MIB);
			fault_arm(APB_FAULT_ONCE, UNMAPS, 1);
			apb_free(p);
			assert_int_equal(stats_now().slop_bytes, MIB);
			fault_arm(APB_FAULT_ONCE, MAPS, 1);
			p = apb_malloc(sizes[i]);
			assert_non_null(p);
			assert_int_equal(failed(APB_OS_MAP), 1);
			assert_int_equal(stats_now().slop_bytes, 0);
			assert_int_equal(stats_now().recovered, 1);
			assert_whole();
			apb_free(p);
			apb_trim();
			assert_none_left();
		}
	}
}

/* What is refused while a trim is at it, it tries again. */
static void test_trim_tries_again(void **ctx)
{
	unsigned int k;

	(void)ctx;
	for (k = 0; k < KERNELS; k++) {
		fresh_kernel_nr(k);
		apb_set_option(APB_OPT_LARGE_CACHE, 0);
		apb_free(apb_malloc(100000));
		/* of the map's leaf */
		fault_arm(APB_FAULT_ONCE, UNMAPS, 1);
		apb_trim();
		assert_int_equal(failed(APB_OS_UNMAP), 1);
		assert_none_left();
	}
}

static void test_reset_returns_orphans(void **ctx)
{
	void *p;

	(void)ctx;
	fresh_sim(6, 0);
	apb_set_option(APB_OPT_LARGE_CACHE, 0);
	p = apb_malloc(100000);
	fault_arm(APB_FAULT_ONCE, UNMAPS, 1);
	apb_free(p);
	assert_int_equal(stats_now().slop_bytes, MAPPED_100K);
	assert_int_equal(apb_reset(), 0);
	assert_int_equal(stats_now().slop_bytes, 0);
	assert_whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_alignments),
		cmocka_unit_test(test_page_is_the_last_pooled_alignment),
		cmocka_unit_test(test_find_and_around),
		cmocka_unit_test(test_zeroes),
		cmocka_unit_test(test_same_pages_no_call),
		cmocka_unit_test(test_shrinks_in_place),
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_grows_in_place),
		cmocka_unit_test(test_moves_by_remap),
		cmocka_unit_test(test_falls_back_to_a_copy),
		cmocka_unit_test(test_no_memory_leaves_the_block_alone),
		cmocka_unit_test(test_asks_again_for_what_was_reclaimed),
		cmocka_unit_test(test_no_memory_for_the_map),
		cmocka_unit_test(test_orphans),
		cmocka_unit_test(test_tail_becomes_an_orphan),
		cmocka_unit_test(test_lack_of_memory_returns_orphans),
		cmocka_unit_test(test_trim_tries_again),
		cmocka_unit_test(test_reset_returns_orphans),
	};

	return cmocka_run_group_tests_name("large", tests, NULL, test_teardown);
}
