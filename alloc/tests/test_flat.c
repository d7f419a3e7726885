// SPDX-License-Identifier: MIT
/*
 * Unit tests of the flat map: it says what the map says, or 0, and it is left
 * out where a process may not have much address space.
 */
#include "testlib.h"

#include "map/flat.h"
#include "os/reserve.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLICE ((uintptr_t)1 << APB_SLICE_SHIFT)
#define TOP ((uintptr_t)1 << APB_ADDR_BITS)
#define GIB ((size_t)1 << 30)

static bool is_flat(void)
{
	return apb_flat.mask == APB_FLAT_BYTES - 1;
}

/* ---- little address space ---------------------------------------------- */

static size_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	size_t pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu", &pages), 1);
	fclose(f);
	return pages * APB_PAGE;
}

static void limit_to(size_t bytes)
{
	struct rlimit limit = {bytes, bytes};

	if (setrlimit(RLIMIT_AS, &limit))
		_exit(2);
}

static void say_nothing(const struct apb_misuse *m, void *arg)
{
	*(enum apb_misuse_kind *)arg = m->kind;
}

/* In a process that has not allocated yet; whether it has a flat map then. */
static void allocate_within(void *arg)
{
	enum apb_misuse_kind kind = APB_MISUSE_NR;
	struct apb_violation v;
	void *small, *large;

	limit_to(*(size_t *)arg);
	apb_set_misuse(say_nothing, &kind);
	errno = 77;
	small = apb_malloc(100);
	large = apb_malloc(MIB);
	if (!small || !large || errno != 77 || !apb_flat.tried)
		_exit(3);
	/* the slow path will do */
	apb_free(small);
	if (kind != APB_MISUSE_NR || apb_malloc(100) != small)
		_exit(4);
	apb_free(small);
	apb_free(small);
	if (kind != APB_MISUSE_DOUBLE_FREE)
		_exit(5);
	apb_free(large);
	if (apb_check(&v))
		_exit(6);
	_exit(is_flat() ? 10 : 11);
}

static void test_little_address_space(void **ctx)
{
	size_t least = APB_FLAT_BYTES * 16,
	       limits[] = {
		       least / 2, least - 1,  least,
		       least + 1, 64 * least, (size_t)RLIM_INFINITY,
	       };
	struct child c;
	size_t i;

	(void)ctx;
	assert_false(apb_flat.tried);
	/* a sanitizer takes far more */
	if (address_space() > least / 4)
		skip();
	for (i = 0; i < NR_OF(limits); i++) {
		run_child(&c, allocate_within, &limits[i]);
		assert_true(WIFEXITED(c.status));
		assert_int_equal(WEXITSTATUS(c.status),
				 limits[i] < least ? 11 : 10);
	}
}

static void reserve_without_memory(void *arg)
{
	(void)arg;
	limit_to(address_space());
	errno = 77;
	/* little enough for what the limit would be */
	_exit(apb_os_reserve(APB_PAGE * 1024) || errno != 77);
}

static void test_reserved(void **ctx)
{
	unsigned char *p = apb_os_reserve(16 * APB_PAGE);
	struct child c;

	(void)ctx;
	assert_non_null(p);
	/* it can be read; what was opened can be written, nothing else */
	assert_true(all_bytes(p, 16 * APB_PAGE, 0));
	errno = 77;
	assert_int_equal(apb_os_open(p + APB_PAGE, APB_PAGE), 0);
	memset(p + APB_PAGE, 1, APB_PAGE);
	assert_int_equal(apb_os_open(p + 1, APB_PAGE), -1);
	assert_int_equal(errno, 77);
	run_child(&c, reserve_without_memory, NULL);
	assert_int_equal(c.status, 0);
}

static void write_to(void *at)
{
	*(volatile char *)at = 1;
}

static void test_not_opened(void **ctx)
{
	unsigned char *p = apb_os_reserve(16 * APB_PAGE);
	struct child c;

	(void)ctx;
	assert_int_equal(apb_os_open(p + APB_PAGE, APB_PAGE), 0);
	run_child(&c, write_to, p + APB_PAGE);
	assert_int_equal(c.status, 0);
	run_child(&c, write_to, p + APB_PAGE - 1);
	assert_int_not_equal(c.status, 0);
	run_child(&c, write_to, p + 2 * APB_PAGE);
	assert_int_not_equal(c.status, 0);
}

/* ---- the same as the map ------------------------------------------------ */

static void test_follows_the_map(void **ctx)
{
	static const uintptr_t addrs[] = {
		MIB,	     SLICE - MIB, SLICE, 5 * SLICE + 77 * MIB,
		TOP - SLICE, TOP - MIB,
	};
	size_t i;

	(void)ctx;
	fresh_sim(1, 0);
	apb_free(apb_malloc(1));
	assert_true(is_flat());
	for (i = 0; i < NR_OF(addrs); i++) {
		uintptr_t a = addrs[i];

		fresh_sim(i, 0);
		assert_int_equal(apb_flat_kind(a), 0);
		assert_int_equal(apb_map_set(a, APB_POOL_SHIFT_SMALL), 0);
		assert_int_equal(apb_flat_kind(a), APB_POOL_SHIFT_SMALL);
		assert_int_equal(apb_flat_kind(a + MIB - 1),
				 APB_POOL_SHIFT_SMALL);
		assert_int_equal(apb_flat_kind(a + MIB), 0);
		assert_int_equal(apb_flat_kind(a - 1), 0);
		apb_map_change(a, APB_POOL_SHIFT_BIG);
		assert_int_equal(apb_flat_kind(a), APB_POOL_SHIFT_BIG);
		apb_map_clear(a);
		assert_int_equal(apb_flat_kind(a), 0);
	}
}

/* Many pages of it are open at the same time. */
static void test_slices(void **ctx)
{
	uintptr_t slice;

	(void)ctx;
	fresh_sim(2, 0);
	for (slice = 0; slice < 300; slice++)
		assert_int_equal(apb_map_set(slice * SLICE + slice * MIB,
					     14 + slice % 3),
				 0);
	for (slice = 0; slice < 300; slice++) {
		uintptr_t a = slice * SLICE + slice * MIB;

		assert_int_equal(apb_flat_kind(a), 14 + slice % 3);
		assert_int_equal(apb_flat_kind(a + MIB), 0);
	}
	for (slice = 0; slice < 300; slice += 2)
		apb_map_clear(slice * SLICE + slice * MIB);
	for (slice = 0; slice < 300; slice++)
		assert_int_equal(apb_flat_kind(slice * SLICE + slice * MIB),
				 slice % 2 ? 14 + slice % 3 : 0);
	apb_map_release(true);
	for (slice = 0; slice < 300; slice++)
		assert_int_equal(apb_flat_kind(slice * SLICE + slice * MIB), 0);
}

/* A reset forgets all, at once. */
static void test_reset_clears(void **ctx)
{
	uintptr_t at[20];
	size_t i;

	(void)ctx;
	fresh_sim(3, 0);
	for (i = 0; i < NR_OF(at); i++) {
		void *p = apb_malloc(32768);

		while (arena_at(p) == (i ? at[i - 1] : 0))
			p = apb_malloc(32768);
		at[i] = arena_at(p);
		assert_int_equal(apb_flat_kind(at[i]), APB_POOL_SHIFT_BIG);
	}
	assert_int_equal(apb_reset(), 0);
	for (i = 0; i < NR_OF(at); i++)
		assert_int_equal(apb_flat_kind(at[i]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: nothing was allocated yet */
		cmocka_unit_test(test_little_address_space),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_not_opened),
		cmocka_unit_test(test_follows_the_map),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_reset_clears),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
