// SPDX-License-Identifier: MIT
/*
 * Unit tests of the size classes, against the table of their sizes: what is
 * arithmetic there is a search here.
 */
#include "testlib.h"

#include "heap/class.h"

#define SIZE(cls) test_class_sizes[(cls) - 1]

/* Beyond a cache line only blocks of a power of two are aligned, to that. */
static bool is_aligned_class(unsigned int cls, size_t align)
{
	size_t size = SIZE(cls);

	return align <= 64 ? size % align == 0 :
			     size >= align && !(size & (size - 1));
}

/* The first class from @cls on that holds @size and is aligned to @align. */
static unsigned int search(unsigned int cls, size_t align, size_t size)
{
	while (SIZE(cls) < size || !is_aligned_class(cls, align))
		cls++;
	return cls;
}

static void test_sizes(void **ctx)
{
	unsigned int cls;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++)
		assert_int_equal(apb_class_size(cls), SIZE(cls));
	assert_int_equal(SIZE(APB_NR_CLASSES), APB_MAX_POOLED);
	assert_int_equal(SIZE(APB_NR_SMALL_CLASSES), APB_SMALL_MAX);
}

static void test_every_size_has_the_smallest_class_that_holds_it(void **ctx)
{
	unsigned int cls = 1;
	size_t size;

	(void)ctx;
	assert_int_equal(apb_class_of(0), 0);
	for (size = 1; size <= APB_MAX_POOLED; size++) {
		cls = search(cls, 1, size);
		assert_int_equal(apb_class_of(size), cls);
	}
	assert_int_equal(cls, APB_NR_CLASSES);
}

/* No more than 15 bytes, or a quarter of the request, are wasted. */
static void test_waste_is_bounded(void **ctx)
{
	size_t size;

	(void)ctx;
	for (size = 1; size <= APB_MAX_POOLED; size++) {
		size_t waste = apb_class_size(apb_class_of(size)) - size;

		assert_true(waste <= 15 || waste * 4 <= size);
	}
}

static void test_kinds(void **ctx)
{
	static const unsigned int shifts[APB_NR_POOL_KINDS] = {14, 16, 17};
	unsigned int cls, kind;

	(void)ctx;
	for (kind = 0; kind < APB_NR_POOL_KINDS; kind++)
		assert_int_equal(apb_kind_shift(kind), shifts[kind]);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		kind = apb_class_kind(cls);
		assert_in_range(kind, 0, APB_NR_POOL_KINDS - 1);
		assert_int_equal((size_t)1 << apb_kind_shift(kind),
				 test_pool_bytes(cls));
		/* some blocks fit into every pool */
		assert_true(test_pool_bytes(cls) / SIZE(cls) >= 4);
	}
}

/* Every size with every alignment that pools serve. */
static void test_aligned(void **ctx)
{
	size_t align, size;

	(void)ctx;
	for (align = 1; align <= APB_MAX_POOL_ALIGN; align *= 2) {
		unsigned int cls = 1;

		for (size = 1; size <= APB_MAX_POOLED; size++) {
			cls = search(cls, align, size);
			assert_int_equal(apb_class_of_aligned(align, size),
					 cls);
		}
	}
}

/* An alignment that every block has anyway costs nothing. */
static void test_small_alignments_change_nothing(void **ctx)
{
	size_t align, size;

	(void)ctx;
	for (align = 1; align <= APB_MIN_ALIGN; align *= 2)
		for (size = align; size <= APB_MAX_POOLED; size++)
			assert_int_equal(apb_class_of_aligned(align, size),
					 apb_class_of(size));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(
			test_every_size_has_the_smallest_class_that_holds_it),
		cmocka_unit_test(test_waste_is_bounded),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_aligned),
		cmocka_unit_test(test_small_alignments_change_nothing),
	};

	return cmocka_run_group_tests_name("class", tests, NULL, NULL);
}
