// SPDX-License-Identifier: MIT
/* Unit test of the real kernel's clock: milliseconds, of the right length. */
#define _GNU_SOURCE /* CLOCK_MONOTONIC_COARSE */
#include "testlib.h"

#include <time.h>

static uint64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void test_milliseconds(void **ctx)
{
	uint64_t before, now, after, i;

	(void)ctx;
	fresh_kernel();
	assert_true(apb_os_has_clock());
	for (i = 0; i < 1000; i++) {
		before = clock_ms();
		now = apb_os_now();
		after = clock_ms();
		assert_true(before <= now && now <= after);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_milliseconds),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
