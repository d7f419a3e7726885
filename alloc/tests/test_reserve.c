// SPDX-License-Identifier: MIT
/*
 * Unit tests of reserved address space, and of how much the flat map takes of
 * it where a process may not have much.
 */
#include "testlib.h"

#include "arena/flat.h"
#include "os/reserve.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- little address space ---------------------------------------------- */

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

/* In a process that has not allocated yet; its status says what map it has. */
static void allocate_within(void *arg)
{
	enum apb_misuse_kind kind = APB_MISUSE_NR;
	struct apb_violation v;
	void *small, *large;
	size_t size;
	int i;

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
	for (size = 128 * MIB, i = 10; i < 13; size /= 4, i++)
		if (apb_flat.mask == size - sizeof(struct apb_flat_entry))
			_exit(i);
	_exit(apb_flat.mask ? 7 : 13);
}

static void test_little_address_space(void **ctx)
{
	static const struct {
		size_t limit;
		int status;
	} tests[] = {
		/* no more than a sixteenth, of 128, 32 and 8 MiB */
		{2048 * MIB, 10},    {2048 * MIB - 1, 11}, {512 * MIB, 11},
		{512 * MIB - 1, 12}, {128 * MIB, 12},	   {128 * MIB - 1, 13},
		{64 * MIB, 13},	     {SIZE_MAX, 10},
	};
	struct child c;
	size_t i;

	(void)ctx;
	assert_false(apb_flat.tried);
	if (test_has_tool())
		skip();
	for (i = 0; i < NR_OF(tests); i++) {
		size_t limit = tests[i].limit;

		run_child(&c, allocate_within, &limit);
		assert_true(WIFEXITED(c.status));
		assert_int_equal(WEXITSTATUS(c.status), tests[i].status);
	}
}

static void reserve_without_memory(void *arg)
{
	(void)arg;
	limit_to(test_address_space());
	errno = 77;
	/* little enough for what the limit would be */
	if (apb_os_reserve(APB_PAGE) || errno != 77)
		_exit(1);
	_exit(apb_os_reserve(APB_PAGE * 1024) || errno != 77);
}

static void test_reserved(void **ctx)
{
	unsigned char *p = apb_os_reserve(16 * APB_PAGE);
	struct child c;

	(void)ctx;
	assert_non_null(p);
	assert_int_equal(apb_reserved.start, (uintptr_t)p);
	assert_int_equal(apb_reserved.end, (uintptr_t)p + 16 * APB_PAGE);
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
	/* not to cmocka's handler */
	signal(SIGSEGV, SIG_DFL);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: nothing was allocated yet */
		cmocka_unit_test(test_little_address_space),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_not_opened),
	};

	return cmocka_run_group_tests_name("reserve", tests, NULL,
					   test_teardown);
}
