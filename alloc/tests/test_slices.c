// SPDX-License-Identifier: MIT
/*
 * Unit tests of large blocks that lie across the end of a slice of the address
 * map: of what is behind it there may be no leaf, and no memory for one.
 */
#define _GNU_SOURCE /* MAP_FIXED_NOREPLACE */
#include "testlib.h"

#include <sys/mman.h>

#define SLICE ((uintptr_t)1 << APB_SLICE_SHIFT)
#define EDGE (FREE_ADDRESSES + SLICE)
#define MAPS FAULT_MASK(APB_OS_MAP)

/* The next mapping of a whole number of MiB goes there. */
static uintptr_t next_place;

static void *placed_map(void *ctx, void *hint, size_t size, bool *zero)
{
	void *p;

	if (!next_place || size % MIB)
		return apb_os_kernel.map(ctx, hint, size, zero);
	p = mmap((void *)next_place, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			 MAP_FIXED_NOREPLACE,
		 -1, 0);
	next_place = 0;
	*zero = true;
	return p == MAP_FAILED ? NULL : p;
}

/* Blocks of whole MiBs have no slack; all may be cached. */
static int setup(void **ctx)
{
	struct apb_os os = apb_os_kernel;

	(void)ctx;
	os.map = placed_map;
	next_place = 0;
	fresh_kernel();
	assert_int_equal(apb_set_os(&os), 0);
	apb_state.larges.retain.extra = APB_LARGE_CACHE_DEFAULT;
	return 0;
}

/* @mibs that begin so many before the edge. */
static char *block_before(size_t before, size_t mibs)
{
	char *p;

	next_place = EDGE - before * MIB;
	p = apb_malloc(mibs * MIB);
	assert_ptr_equal(p, (char *)EDGE - before * MIB);
	memset(p, 1, mibs * MIB);
	return p;
}

static size_t cached(void)
{
	return apb_state.larges.cached_bytes / MIB;
}

static void whole(void)
{
	struct apb_violation v = {0};

	if (apb_check(&v))
		print_error("%s\n", v.text);
	assert_null(v.invariant);
}

/* The rest of a mapping that is split lies behind the edge. */
static void test_split(void **ctx)
{
	char *p = block_before(2, 6), *q, *r;

	(void)ctx;
	apb_free(p);
	assert_int_equal(cached(), 6);
	assert_null(apb_map_leaf(EDGE));
	/* there is no memory for a leaf: then there is none for the block */
	fault_arm(APB_FAULT_FROM, MAPS, 1);
	errno = 0;
	q = apb_malloc(2 * MIB);
	assert_true(!q || q != p);
	whole();
	if (!q)
		assert_int_equal(errno, ENOMEM);
	fault_arm(APB_FAULT_OFF, 0, 0);
	apb_free(q);
	apb_reset();
	apb_state.larges.retain.extra = APB_LARGE_CACHE_DEFAULT;
	p = block_before(2, 6);
	apb_free(p);
	q = apb_malloc(2 * MIB);
	assert_ptr_equal(q, p);
	assert_int_equal(cached(), 4);
	assert_non_null(apb_map_leaf(EDGE));
	r = apb_malloc(4 * MIB);
	assert_ptr_equal(r, (char *)EDGE);
	assert_int_equal(cached(), 0);
	whole();
	/* and joined again, in either order */
	apb_free(q);
	apb_free(r);
	assert_int_equal(cached(), 6);
	assert_int_equal(apb_state.larges.nr_cached, 1);
	whole();
	assert_ptr_equal(apb_malloc(6 * MIB), p);
}

/* A failing split must not lose what is cached. */
static void test_split_keeps(void **ctx)
{
	char *p = block_before(2, 6);

	(void)ctx;
	apb_free(p);
	/* once: what is asked for again, after all was given back, is there */
	fault_arm(APB_FAULT_ONCE, MAPS, 1);
	p = apb_malloc(2 * MIB);
	fault_arm(APB_FAULT_OFF, 0, 0);
	assert_non_null(p);
	memset(p, 2, 2 * MIB);
	whole();
	apb_free(p);
	whole();
}

/* A block grows into what is cached across the edge. */
static void test_extend(void **ctx)
{
	char *p = block_before(3, 8), *q;

	(void)ctx;
	apb_free(p);
	q = apb_malloc(2 * MIB);
	assert_ptr_equal(q, p);
	assert_int_equal(cached(), 6);
	memset(q, 3, 2 * MIB);
	/* no leaf for what would be left */
	assert_null(apb_map_leaf(EDGE));
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	assert_null(apb_realloc(q, 3 * MIB));
	whole();
	assert_int_equal(apb_usable_size(q), 2 * MIB);
	assert_true(all_bytes(q, 2 * MIB, 3));
	fault_arm(APB_FAULT_OFF, 0, 0);
	apb_free(q);
	apb_reset();
	apb_state.larges.retain.extra = APB_LARGE_CACHE_DEFAULT;
	p = block_before(3, 8);
	apb_free(p);
	q = apb_malloc(2 * MIB);
	assert_ptr_equal(q, p);
	assert_ptr_equal(apb_realloc(q, 3 * MIB), p);
	assert_int_equal(cached(), 5);
	whole();
	assert_ptr_equal(apb_realloc(q, 7 * MIB), p);
	assert_int_equal(cached(), 1);
	whole();
	assert_ptr_equal(apb_realloc(q, 8 * MIB), p);
	assert_int_equal(cached(), 0);
	whole();
}

static void remember(const struct apb_misuse *m, void *arg)
{
	*(struct apb_misuse *)arg = *m;
}

/* What is behind the edge is told to be in the block before it. */
static void test_pointers_into_it(void **ctx)
{
	static const size_t at[] = {1,	     MIB,	  2 * MIB - 1,
				    2 * MIB, 3 * MIB + 5, 6 * MIB - 1};
	struct apb_misuse m;
	size_t i;
	char *p;

	(void)ctx;
	p = block_before(2, 6);
	apb_set_misuse(remember, &m);
	for (i = 0; i < NR_OF(at); i++) {
		memset(&m, 0, sizeof(m));
		apb_free(p + at[i]);
		assert_int_equal(m.kind, APB_MISUSE_INTERIOR);
		assert_int_equal(m.arena, (uintptr_t)p);
	}
	apb_free(p + 6 * MIB);
	assert_int_equal(m.kind, APB_MISUSE_FOREIGN);
	apb_free(p - 1);
	assert_int_equal(m.kind, APB_MISUSE_FOREIGN);
	apb_set_misuse(NULL, NULL);
	apb_free(p);
}

/* A block beyond 4 GiB: there are slices in which nothing starts. */
static void test_whole_slices(void **ctx)
{
	size_t size = 9 * SLICE, at;
	struct apb_misuse m;
	char *p;

	(void)ctx;
	next_place = EDGE - 2 * MIB;
	p = apb_malloc(size);
	if (!p)
		skip();
	assert_true(apb_usable_size(p) >= size);
	apb_set_misuse(remember, &m);
	for (at = SLICE / 2; at < size; at += SLICE) {
		memset(&m, 0, sizeof(m));
		apb_free(p + at);
		assert_int_equal(m.kind, APB_MISUSE_INTERIOR);
		assert_int_equal(m.arena, (uintptr_t)p);
		assert_null(apb_map_leaf((uintptr_t)p + at));
	}
	apb_set_misuse(NULL, NULL);
	whole();
	apb_free(p);
	whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_split, setup),
		cmocka_unit_test_setup(test_split_keeps, setup),
		cmocka_unit_test_setup(test_extend, setup),
		cmocka_unit_test_setup(test_pointers_into_it, setup),
		cmocka_unit_test_setup(test_whole_slices, setup),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
