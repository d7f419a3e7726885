// SPDX-License-Identifier: MIT
/* Unit tests of the address map, by itself. */
#include "testlib.h"

#include "map/map.h"
#include "os/reserve.h"

#define SLICE ((uintptr_t)1 << APB_SLICE_SHIFT)
#define TOP ((uintptr_t)1 << APB_ADDR_BITS)

static unsigned int kind_at(uintptr_t addr)
{
	return apb_map_kind(&apb_state.map, addr);
}

static void test_an_empty_map_knows_nothing(void **ctx)
{
	uint64_t r = 1;
	int i;

	(void)ctx;
	fresh_sim(1, 0);
	assert_int_equal(kind_at(0), APB_KIND_NONE);
	assert_int_equal(kind_at(TOP - 1), APB_KIND_NONE);
	assert_int_equal(kind_at(UINTPTR_MAX), APB_KIND_NONE);
	for (i = 0; i < 100000; i++)
		assert_int_equal(kind_at(rnd(&r)), APB_KIND_NONE);
	assert_null(apb_map_leaf(0));
	assert_null(apb_map_leaf(TOP - 1));
	assert_int_equal(apb_state.map.nr_leaves, 0);
	assert_int_equal(apb_state.os.mapped, 0);
}

/* A byte is for all of its MiB, and for nothing beside it. */
static void test_set_and_clear(void **ctx)
{
	static const uintptr_t addrs[] = {
		MIB,	     SLICE - MIB, SLICE, 5 * SLICE + 77 * MIB,
		TOP - SLICE, TOP - MIB,
	};
	size_t i;

	(void)ctx;
	for (i = 0; i < NR_OF(addrs); i++) {
		uintptr_t a = addrs[i];

		fresh_sim(i, SIMOS_NONZERO);
		assert_int_equal(apb_map_set(a, APB_POOL_SHIFT_SMALL), 0);
		assert_int_equal(kind_at(a), APB_POOL_SHIFT_SMALL);
		assert_int_equal(kind_at(a + 1), APB_POOL_SHIFT_SMALL);
		assert_int_equal(kind_at(a + MIB - 1), APB_POOL_SHIFT_SMALL);
		assert_int_equal(kind_at(a + MIB), APB_KIND_NONE);
		assert_int_equal(kind_at(a - 1), APB_KIND_NONE);
		/* bits 47 and up are the caller's to compare */
		assert_int_equal(kind_at(a | TOP), APB_POOL_SHIFT_SMALL);
		assert_int_equal(kind_at(a | UINT64_C(1) << 63),
				 APB_POOL_SHIFT_SMALL);
		assert_non_null(apb_map_leaf(a));
		assert_int_equal(apb_map_leaf(a)->used, 1);
		assert_int_equal(apb_state.map.nr_leaves, 1);
		apb_map_clear(a);
		assert_int_equal(kind_at(a), APB_KIND_NONE);
		assert_int_equal(apb_map_leaf(a)->used, 0);
		apb_map_release(false);
		assert_int_equal(apb_state.os.mapped, 0);
	}
}

/* Every MiB of two slices, against an array. */
static void test_random_settings(void **ctx)
{
	static unsigned char want[2][APB_SLICE_KINDS];
	static const uintptr_t base[2] = {3 * SLICE, TOP - SLICE};
	unsigned int used[2] = {0, 0}, s;
	uint64_t r = 2;
	size_t i, n;

	(void)ctx;
	fresh_sim(2, SIMOS_NONZERO);
	memset(want, 0, sizeof(want));
	for (n = 0; n < 50000; n++) {
		s = rnd(&r) % 2;
		i = rnd(&r) % APB_SLICE_KINDS;
		if (want[s][i]) {
			apb_map_clear(base[s] + i * MIB);
			want[s][i] = APB_KIND_NONE;
			used[s]--;
		} else {
			want[s][i] = (unsigned char)(1 + rnd(&r) % 17);
			assert_int_equal(
				apb_map_set(base[s] + i * MIB, want[s][i]), 0);
			used[s]++;
		}
	}
	for (s = 0; s < 2; s++) {
		for (i = 0; i < APB_SLICE_KINDS; i++)
			assert_int_equal(kind_at(base[s] + i * MIB),
					 want[s][i]);
		assert_int_equal(apb_map_leaf(base[s])->used, used[s]);
		assert_int_equal(kind_at(base[s] - 1), APB_KIND_NONE);
	}
	assert_int_equal(apb_state.map.nr_leaves, 2);
	assert_int_equal(apb_state.os.mapped, 2 * APB_LEAF_BYTES);
	/* it need not be empty to go */
	apb_map_release(true);
	assert_int_equal(apb_state.map.nr_leaves, 0);
	assert_null(apb_state.map.leaves);
	assert_null(apb_map_leaf(base[0]));
	assert_null(apb_map_leaf(base[1]));
	assert_int_equal(apb_state.os.mapped, 0);
}

static void test_release_keeps_leaves_in_use(void **ctx)
{
	uintptr_t a = 7 * SLICE, b = 8 * SLICE, c = 9 * SLICE;

	(void)ctx;
	fresh_sim(3, 0);
	assert_int_equal(apb_map_set(a, APB_KIND_LARGE), 0);
	assert_int_equal(apb_map_set(b, APB_KIND_LARGE), 0);
	assert_int_equal(apb_map_set(c, APB_KIND_LARGE), 0);
	apb_map_clear(a);
	apb_map_clear(c);
	apb_map_release(false);
	assert_null(apb_map_leaf(a));
	assert_null(apb_map_leaf(c));
	assert_int_equal(kind_at(a), APB_KIND_NONE);
	assert_int_equal(kind_at(b), APB_KIND_LARGE);
	assert_int_equal(apb_state.map.nr_leaves, 1);
	assert_int_equal(apb_state.os.mapped, APB_LEAF_BYTES);
	/* a slice that lost its leaf gets a new one, all zero */
	assert_int_equal(apb_map_set(a + MIB, APB_KIND_LARGE), 0);
	assert_int_equal(kind_at(a), APB_KIND_NONE);
	assert_int_equal(kind_at(a + MIB), APB_KIND_LARGE);
	apb_map_release(true);
}

static void test_no_memory_for_a_leaf(void **ctx)
{
	(void)ctx;
	fresh_sim(4, 0);
	fault_arm(APB_FAULT_ONCE, FAULT_MASK(APB_OS_MAP), 1);
	assert_int_equal(apb_map_set(MIB, APB_KIND_LARGE), -1);
	assert_int_equal(kind_at(MIB), APB_KIND_NONE);
	assert_null(apb_map_leaf(MIB));
	assert_int_equal(apb_state.map.nr_leaves, 0);
	assert_whole();
	assert_int_equal(apb_map_set(MIB, APB_KIND_LARGE), 0);
	/* one that is there needs no memory */
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	assert_int_equal(apb_map_set(2 * MIB, APB_KIND_LARGE), 0);
	assert_int_equal(apb_map_leaf(MIB)->used, 2);
	/* a leaf that cannot be unmapped is an orphan, not part of the map */
	apb_map_release(true);
	assert_int_equal(apb_state.map.nr_leaves, 0);
	assert_int_equal(kind_at(MIB), APB_KIND_NONE);
	assert_int_equal(apb_state.os.orphan_bytes, APB_LEAF_BYTES);
	assert_whole();
	assert_int_equal(apb_reset(), 0);
	assert_whole();
}

/* Descriptors of large blocks: one for each MiB, all inside the leaf. */
static void test_descriptors(void **ctx)
{
	uintptr_t base = 6 * SLICE, i;
	struct apb_leaf *leaf;
	struct apb_large *large, *last = NULL;

	(void)ctx;
	fresh_sim(5, 0);
	assert_int_equal(apb_map_set(base, APB_KIND_LARGE), 0);
	leaf = apb_map_leaf(base);
	for (i = 0; i < APB_SLICE_KINDS; i++) {
		large = apb_map_large(base + i * MIB);
		assert_true((char *)large >= (char *)leaf->large);
		assert_true((char *)(large + 1) <=
			    (char *)leaf + APB_LEAF_BYTES);
		assert_true(!last || large >= last + 1);
		last = large;
	}
	apb_map_release(true);
}

/* ---- searches --------------------------------------------------------- */

static bool is_free(uintptr_t addr, size_t size)
{
	uintptr_t at;

	for (at = addr; at < addr + size; at += MIB)
		if (kind_at(at))
			return false;
	return true;
}

static void test_below(void **ctx)
{
	static const uintptr_t set[] = {
		MIB,
		77 * MIB,
		SLICE - MIB,
		5 * SLICE,
		5 * SLICE + 4 * MIB,
		TOP - MIB,
	};
	size_t i;

	(void)ctx;
	fresh_sim(6, SIMOS_NONZERO);
	assert_int_equal(apb_map_below(TOP - 1), 0);
	for (i = 0; i < NR_OF(set); i++)
		assert_int_equal(apb_map_set(set[i], 14), 0);
	assert_int_equal(apb_map_below(0), 0);
	assert_int_equal(apb_map_below(MIB - 1), 0);
	for (i = 0; i < NR_OF(set); i++) {
		uintptr_t next = i + 1 < NR_OF(set) ? set[i + 1] : TOP;

		assert_int_equal(apb_map_below(set[i]), set[i]);
		assert_int_equal(apb_map_below(set[i] + 1), set[i]);
		assert_int_equal(apb_map_below(next - 1), set[i]);
	}
	/* an address with high bits is above nothing of ours */
	assert_int_equal(apb_map_below(MIB | TOP), 0);
	assert_int_equal(apb_map_below(UINTPTR_MAX), 0);
	apb_map_release(true);
}

/* A gap that is large enough, else below everything. */
static void test_hints_fill_gaps(void **ctx)
{
	uintptr_t base = 5 * SLICE + 100 * MIB;
	unsigned int i;

	(void)ctx;
	fresh_sim(7, 0);
	assert_int_equal(apb_map_hint(MIB, MIB), 0);
	for (i = 0; i < 16; i++)
		assert_int_equal(apb_map_set(base + i * MIB, 14), 0);
	assert_int_equal(apb_map_hint(MIB, MIB), base - MIB);
	assert_int_equal(apb_map_hint(40000, MIB), base - MIB);
	assert_int_equal(apb_map_hint(3 * MIB + 4096, MIB), base - 4 * MIB);
	assert_int_equal(apb_map_hint(MIB, 64 * MIB), 5 * SLICE + 64 * MIB);
	apb_map_clear(base + 3 * MIB);
	assert_int_equal(apb_map_hint(MIB, MIB), base + 3 * MIB);
	assert_int_equal(apb_map_set(base + 3 * MIB, 14), 0);
	apb_map_clear(base + 6 * MIB);
	apb_map_clear(base + 5 * MIB);
	assert_int_equal(apb_map_hint(2 * MIB, MIB), base + 5 * MIB);
	apb_map_clear(base + 3 * MIB);
	assert_int_equal(apb_map_hint(2 * MIB, MIB), base + 5 * MIB);
	/* the highest there was is where another leaf begins, and free again */
	assert_int_equal(apb_map_set(6 * SLICE, 14), 0);
	apb_map_clear(6 * SLICE);
	for (i = 7; i < 16; i++)
		apb_map_clear(base + i * MIB);
	for (i = 0; i < 5; i++)
		if (!kind_at(base + i * MIB))
			assert_int_equal(apb_map_set(base + i * MIB, 14), 0);
	assert_int_equal(apb_map_hint(MIB, MIB), base - MIB);
	/* below there is not as much */
	assert_int_equal(apb_map_hint(base - MIB, MIB), MIB);
	assert_int_equal(apb_map_hint(base + MIB, MIB), 0);
	apb_map_release(true);
	assert_int_equal(apb_map_hint(MIB, MIB), 0);
}

/* None is where the allocator reserved addresses: in a gap, or below. */
static void test_hints_avoid_the_reserved(void **ctx)
{
	struct apb_reserved was = apb_reserved;
	uintptr_t base = 5 * SLICE + 100 * MIB;
	unsigned int i;

	(void)ctx;
	fresh_sim(7, 0);
	apb_reserved.start = base + 2 * MIB + 8192;
	apb_reserved.end = base + 6 * MIB + 4096;
	assert_int_equal(apb_map_set(base, 14), 0);
	assert_int_equal(apb_map_set(base + 9 * MIB, 14), 0);
	assert_int_equal(apb_map_hint(MIB, MIB), base + MIB);
	assert_int_equal(apb_map_set(base + MIB, 14), 0);
	assert_int_equal(apb_map_hint(MIB, MIB), base + 7 * MIB);
	assert_int_equal(apb_map_set(base + 7 * MIB, 14), 0);
	assert_int_equal(apb_map_hint(MIB, MIB), base + 8 * MIB);
	assert_int_equal(apb_map_set(base + 8 * MIB, 14), 0);
	assert_int_equal(apb_map_hint(MIB, MIB), base - MIB);
	assert_int_equal(apb_map_hint(3 * MIB, MIB), base - 3 * MIB);
	/* what is below everything, too */
	for (i = 2; i < 7; i++)
		assert_int_equal(apb_map_set(base + i * MIB, 14), 0);
	apb_reserved.start = base - 128 * MIB + 4096;
	apb_reserved.end = base - 4096;
	assert_int_equal(apb_map_hint(MIB, MIB), base - 129 * MIB);
	assert_int_equal(apb_map_hint(2 * MIB, 4 * MIB), base - 132 * MIB);
	apb_map_release(true);
	apb_reserved = was;
}

static void test_random_hints(void **ctx)
{
	uintptr_t base = 9 * SLICE - 100 * MIB;
	uint64_t r = 8;
	int i;

	(void)ctx;
	fresh_sim(8, 0);
	for (i = 0; i < 20000; i++) {
		uintptr_t addr = base + rnd(&r) % 200 * MIB;
		size_t align = MIB << rnd(&r) % 4;
		size_t size = MIB * (1 + rnd(&r) % 6);
		uintptr_t hint;

		if (kind_at(addr))
			apb_map_clear(addr);
		else
			assert_int_equal(apb_map_set(addr, 14), 0);
		hint = apb_map_hint(size, align);
		assert_int_equal(hint % align, 0);
		assert_true(is_free(hint, size));
		assert_true(!hint || (hint >= base - 16 * MIB &&
				      hint < base + 200 * MIB));
	}
	apb_map_release(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_map_knows_nothing),
		cmocka_unit_test(test_set_and_clear),
		cmocka_unit_test(test_random_settings),
		cmocka_unit_test(test_release_keeps_leaves_in_use),
		cmocka_unit_test(test_no_memory_for_a_leaf),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_below),
		cmocka_unit_test(test_hints_fill_gaps),
		cmocka_unit_test(test_hints_avoid_the_reserved),
		cmocka_unit_test(test_random_hints),
	};

	return cmocka_run_group_tests_name("map", tests, NULL, test_teardown);
}
