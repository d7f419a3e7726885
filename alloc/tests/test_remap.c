// SPDX-License-Identifier: MIT
/*
 * Unit tests of pages that the real kernel does not move: it unmaps the target
 * first, and yet nothing may have changed.
 */
#define _GNU_SOURCE /* mincore(), mremap() */
#include "testlib.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As kernels before Linux 6.17: the target is gone when the move fails. */
static bool fails_late;

void *mremap(void *addr, size_t old_size, size_t new_size, int flags, ...)
{
	void *new_addr;
	va_list ap;

	va_start(ap, flags);
	new_addr = va_arg(ap, void *);
	va_end(ap);
	if (fails_late) {
		munmap(new_addr, new_size);
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mremap, addr, old_size, new_size, flags,
			       new_addr);
}

static unsigned char *map(size_t pages)
{
	void *p = mmap(NULL, pages * APB_PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void assert_usable(unsigned char *p, size_t pages)
{
	unsigned char in_core[8];

	assert_true(pages <= sizeof(in_core));
	assert_int_equal(mincore(p, pages * APB_PAGE, in_core), 0);
	memset(p, 5, pages * APB_PAGE);
	assert_true(all_bytes(p, pages * APB_PAGE, 5));
}

/* What is to be moved is not all mapped. */
static void test_refused_move(void **ctx)
{
	unsigned char *from = map(4), *to = map(8);

	(void)ctx;
	memset(from, 7, 4 * APB_PAGE);
	munmap(from + 2 * APB_PAGE, 2 * APB_PAGE);
	errno = 0;
	assert_int_equal(
		apb_os_kernel.remap(NULL, from, 4 * APB_PAGE, 8 * APB_PAGE, to),
		-1);
	assert_int_equal(errno, ENOMEM);
	assert_usable(to, 8);
	assert_true(all_bytes(from, 2 * APB_PAGE, 7));
	munmap(from, 2 * APB_PAGE);
	munmap(to, 8 * APB_PAGE);
}

/* It is not, and the target is mapped again; or the process may have no more. */
static void test_late_refusal(void **ctx)
{
	unsigned char *from = map(4), *to = map(8), in_core[8];
	struct rlimit old, limit;
	bool limited;
	int err;

	(void)ctx;
	memset(from, 7, 4 * APB_PAGE);
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	limit = old;
	limit.rlim_cur = MIB;
	for (limited = false;; limited = true) {
		assert_int_equal(setrlimit(RLIMIT_AS, limited ? &limit : &old),
				 0);
		fails_late = true;
		assert_int_equal(apb_os_kernel.remap(NULL, from, 4 * APB_PAGE,
						     8 * APB_PAGE, to),
				 -1);
		err = errno;
		fails_late = false;
		assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
		assert_int_equal(err, limited ? ENXIO : ENOMEM);
		assert_true(all_bytes(from, 4 * APB_PAGE, 7));
		if (limited)
			break;
		assert_usable(to, 8);
	}
	assert_int_equal(mincore(to, 8 * APB_PAGE, in_core), -1);
	munmap(from, 4 * APB_PAGE);
}

/* All of it moves, to pages that were others'. */
static void test_move(void **ctx)
{
	unsigned char *from = map(4), *to = map(8), in_core[4];

	(void)ctx;
	memset(from, 7, 4 * APB_PAGE);
	memset(to, 9, 8 * APB_PAGE);
	assert_int_equal(
		apb_os_kernel.remap(NULL, from, 4 * APB_PAGE, 8 * APB_PAGE, to),
		0);
	assert_true(all_bytes(to, 4 * APB_PAGE, 7));
	assert_true(all_bytes(to + 4 * APB_PAGE, 4 * APB_PAGE, 0));
	assert_usable(to, 8);
	assert_int_equal(mincore(from, 4 * APB_PAGE, in_core), -1);
	assert_int_equal(errno, ENOMEM);
	munmap(to, 8 * APB_PAGE);
}

/* Advice that the kernel does not take is no error. */
static void test_advice(void **ctx)
{
	(void)ctx;
	errno = 77;
	apb_os_kernel.advise(NULL, (void *)1, APB_PAGE, true);
	assert_int_equal(errno, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_move),
		cmocka_unit_test(test_late_refusal),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_advice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
