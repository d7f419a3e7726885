// SPDX-License-Identifier: MIT
/*
 * The simulated kernel when a call fails: what a correct caller never does is
 * refused, named and changes nothing; faults are injected as armed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "simos.h"

#define PAGE ((size_t)4096)
#define MIB ((size_t)1 << 20)
#define NR_OF(a) (sizeof(a) / sizeof((a)[0]))

/* Two mappings: pages 256 to 259, and 512 and 513, purged; 257 is a hole. */
#define LOW ((char *)SIMOS_BASE + MIB)
#define HIGH ((char *)SIMOS_BASE + 2 * MIB)

static void *map_at(void *hint, size_t size)
{
	bool zero;

	return simos_ops()->map(simos_ops()->ctx, hint, size, &zero);
}

static void set_up(void)
{
	const struct apb_os *os = simos_ops();

	assert_int_equal(simos_reset(1, SIMOS_HINTS), 0);
	assert_ptr_equal(map_at(LOW, 4 * PAGE), LOW);
	assert_ptr_equal(map_at(HIGH, 2 * PAGE), HIGH);
	assert_int_equal(os->purge(os->ctx, HIGH, 2 * PAGE), 0);
	assert_int_equal(os->unmap(os->ctx, LOW + PAGE, PAGE), 0);
	memset(LOW, 0x33, PAGE);
	memset(LOW + 2 * PAGE, 0x44, 2 * PAGE);
	memset(HIGH, 0x55, 2 * PAGE);
	assert_null(simos_violation());
}

static bool all_are(const char *p, size_t size, char value)
{
	return p[0] == value && !memcmp(p, p + 1, size - 1);
}

/* As set_up() left it, but for the counters of calls. */
static void assert_unchanged(void)
{
	struct simos_stats s;

	simos_stats(&s);
	assert_int_equal(s.mapped, 5 * PAGE);
	assert_int_equal(s.mapped_highwater, 6 * PAGE);
	assert_int_equal(s.mappings, 3);
	assert_int_equal(s.purged, 2 * PAGE);
	assert_true(simos_is_mapped(LOW, PAGE));
	assert_false(simos_is_mapped(LOW + PAGE, PAGE));
	assert_true(simos_is_mapped(LOW + 2 * PAGE, 2 * PAGE));
	assert_true(simos_is_mapped(HIGH, 2 * PAGE));
	assert_true(all_are(LOW, PAGE, 0x33));
	assert_true(all_are(LOW + 2 * PAGE, 2 * PAGE, 0x44));
	assert_true(all_are(HIGH, 2 * PAGE, 0x55));
}

/* ---- violations ------------------------------------------------------- */

struct bad_call {
	enum apb_os_call call;
	char *addr;
	size_t size, new_size;
	char *new_addr;
	const char *words;
};

#define END ((char *)SIMOS_BASE + SIMOS_SPACE)
/* An address in messages, without its last digits. */
#define LOW_AT SIMOS_BASE_TEXT
#define END_AT SIMOS_END_TEXT

#define EMPTY "the size is 0"
#define ADDR "the address is not page-aligned"
#define SIZE "the size is not a multiple of the page size"
#define OUTSIDE "outside the address space"
#define UNMAPPED "not wholly mapped"
#define NEW_SIZE "the new size is no number of pages"

static const struct bad_call bad_calls[] = {
	{APB_OS_MAP, NULL, 0, 0, NULL, "map of 0 bytes at 0: " EMPTY},
	{APB_OS_MAP, NULL, 100, 0, NULL, "map of 0x64 bytes at 0: " SIZE},
	{APB_OS_MAP, NULL, SIZE_MAX, 0, NULL,
	 "map of 0xffffffffffffffff bytes at 0: " SIZE},

	{APB_OS_UNMAP, LOW, 0, 0, NULL,
	 "unmap of 0 bytes at " LOW_AT "100000: " EMPTY},
	{APB_OS_UNMAP, LOW + 8, PAGE, 0, NULL,
	 "unmap of 0x1000 bytes at " LOW_AT "100008: " ADDR},
	{APB_OS_UNMAP, LOW, PAGE - 1, 0, NULL,
	 "unmap of 0xfff bytes at " LOW_AT "100000: " SIZE},
	{APB_OS_UNMAP, LOW, 2 * PAGE, 0, NULL,
	 "unmap of 0x2000 bytes at " LOW_AT "100000: " UNMAPPED},
	{APB_OS_UNMAP, LOW, 4 * PAGE, 0, NULL,
	 "unmap of 0x4000 bytes at " LOW_AT "100000: " UNMAPPED},
	{APB_OS_UNMAP, LOW + PAGE, 2 * PAGE, 0, NULL,
	 "unmap of 0x2000 bytes at " LOW_AT "101000: " UNMAPPED},
	{APB_OS_UNMAP, LOW + PAGE, PAGE, 0, NULL,
	 "unmap of 0x1000 bytes at " LOW_AT "101000: " UNMAPPED},
	{APB_OS_UNMAP, HIGH + PAGE, 2 * PAGE, 0, NULL,
	 "unmap of 0x2000 bytes at " LOW_AT "201000: " UNMAPPED},
	{APB_OS_UNMAP, (char *)PAGE, PAGE, 0, NULL,
	 "unmap of 0x1000 bytes at 0x1000: " OUTSIDE},
	{APB_OS_UNMAP, NULL, PAGE, 0, NULL,
	 "unmap of 0x1000 bytes at 0: " OUTSIDE},
	{APB_OS_UNMAP, END, PAGE, 0, NULL,
	 "unmap of 0x1000 bytes at " END_AT "8000000: " OUTSIDE},
	{APB_OS_UNMAP, END - PAGE, 2 * PAGE, 0, NULL,
	 "unmap of 0x2000 bytes at " END_AT "7fff000: " OUTSIDE},
	{APB_OS_UNMAP, LOW, SIZE_MAX - PAGE + 1, 0, NULL,
	 "unmap of 0xfffffffffffff000 bytes at " LOW_AT "100000: " OUTSIDE},

	{APB_OS_PURGE, LOW, 0, 0, NULL,
	 "purge of 0 bytes at " LOW_AT "100000: " EMPTY},
	{APB_OS_PURGE, LOW + 16, PAGE, 0, NULL,
	 "purge of 0x1000 bytes at " LOW_AT "100010: " ADDR},
	{APB_OS_PURGE, LOW, 100, 0, NULL,
	 "purge of 0x64 bytes at " LOW_AT "100000: " SIZE},
	{APB_OS_PURGE, LOW, 4 * PAGE, 0, NULL,
	 "purge of 0x4000 bytes at " LOW_AT "100000: " UNMAPPED},
	{APB_OS_PURGE, END, PAGE, 0, NULL,
	 "purge of 0x1000 bytes at " END_AT "8000000: " OUTSIDE},

	{APB_OS_REMAP, LOW, 0, PAGE, NULL,
	 "remap of 0 bytes at " LOW_AT "100000: " EMPTY},
	{APB_OS_REMAP, LOW + 8, PAGE, PAGE, NULL,
	 "remap of 0x1000 bytes at " LOW_AT "100008: " ADDR},
	{APB_OS_REMAP, LOW, 100, PAGE, NULL,
	 "remap of 0x64 bytes at " LOW_AT "100000: " SIZE},
	{APB_OS_REMAP, LOW, 2 * PAGE, PAGE, NULL,
	 "remap of 0x2000 bytes at " LOW_AT "100000: " UNMAPPED},
	{APB_OS_REMAP, END, PAGE, PAGE, NULL,
	 "remap of 0x1000 bytes at " END_AT "8000000: " OUTSIDE},
	{APB_OS_REMAP, LOW, PAGE, 0, NULL,
	 "remap of 0 bytes at " LOW_AT "100000: " NEW_SIZE},
	{APB_OS_REMAP, LOW, PAGE, PAGE + 1, NULL,
	 "remap of 0x1001 bytes at " LOW_AT "100000: " NEW_SIZE},
	{APB_OS_REMAP, LOW, PAGE, PAGE + 1, HIGH,
	 "remap of 0x1001 bytes at " LOW_AT "100000: " NEW_SIZE},
	{APB_OS_REMAP, LOW, PAGE, PAGE, HIGH + 8,
	 "remap target of 0x1000 bytes at " LOW_AT "200008: " ADDR},
	{APB_OS_REMAP, LOW, PAGE, PAGE, LOW + PAGE,
	 "remap target of 0x1000 bytes at " LOW_AT "101000: " UNMAPPED},
	{APB_OS_REMAP, LOW, PAGE, 3 * PAGE, HIGH,
	 "remap target of 0x3000 bytes at " LOW_AT "200000: " UNMAPPED},
	{APB_OS_REMAP, LOW, PAGE, PAGE, END,
	 "remap target of 0x1000 bytes at " END_AT "8000000: " OUTSIDE},
	{APB_OS_REMAP, LOW, PAGE, PAGE, LOW,
	 "remap target of 0x1000 bytes at " LOW_AT "100000: "
	 "overlaps the old range"},
	{APB_OS_REMAP, LOW + 2 * PAGE, 2 * PAGE, PAGE, LOW + 3 * PAGE,
	 "remap target of 0x1000 bytes at " LOW_AT "103000: "
	 "overlaps the old range"},
	{APB_OS_REMAP, LOW + 3 * PAGE, PAGE, 2 * PAGE, LOW + 2 * PAGE,
	 "remap target of 0x2000 bytes at " LOW_AT "102000: "
	 "overlaps the old range"},
};

/* Make the call; whether it failed. */
static bool make(const struct bad_call *c)
{
	const struct apb_os *os = simos_ops();
	bool zero;

	switch (c->call) {
	case APB_OS_MAP:
		return !os->map(os->ctx, c->addr, c->size, &zero);
	case APB_OS_UNMAP:
		return os->unmap(os->ctx, c->addr, c->size) == -1;
	case APB_OS_PURGE:
		return os->purge(os->ctx, c->addr, c->size) == -1;
	default:
		return os->remap(os->ctx, c->addr, c->size, c->new_size,
				 c->new_addr) == -1;
	}
}

static void test_violations(void **ctx)
{
	struct simos_stats before, after;
	size_t i;

	(void)ctx;
	for (i = 0; i < NR_OF(bad_calls); i++) {
		set_up();
		simos_stats(&before);
		errno = 0;
		assert_true(make(&bad_calls[i]));
		assert_int_equal(errno, EINVAL);
		assert_string_equal(simos_violation(), bad_calls[i].words);
		assert_unchanged();
		simos_stats(&after);
		before.calls[bad_calls[i].call]++;
		assert_memory_equal(&before, &after, sizeof(before));
	}
}

static void test_first_violation_is_kept(void **ctx)
{
	size_t i;

	(void)ctx;
	set_up();
	for (i = 5; i < NR_OF(bad_calls); i++) {
		assert_true(make(&bad_calls[i]));
		assert_int_equal(errno, EINVAL);
		assert_string_equal(simos_violation(), bad_calls[5].words);
	}
	assert_unchanged();
	/* what is right still works, and does not wipe it away */
	assert_non_null(map_at(NULL, PAGE));
	assert_string_equal(simos_violation(), bad_calls[5].words);
	set_up();
	assert_null(simos_violation());
}

/* An injected fault must not hide one. */
static void test_violation_under_fault(void **ctx)
{
	const struct apb_fault fault = {
		.mode = APB_FAULT_FROM, .calls = 15, .n = 1};
	size_t i;

	(void)ctx;
	for (i = 0; i < NR_OF(bad_calls); i++) {
		set_up();
		simos_fault(&fault);
		assert_true(make(&bad_calls[i]));
		assert_int_equal(errno, EINVAL);
		assert_string_equal(simos_violation(), bad_calls[i].words);
		assert_unchanged();
	}
}

/* ---- faults ----------------------------------------------------------- */

/* Calls that set_up() allows, each any number of times. */
static const struct bad_call good_calls[APB_OS_NR] = {
	{.call = APB_OS_MAP, .size = PAGE},
	{.call = APB_OS_UNMAP, .addr = LOW, .size = PAGE},
	{.call = APB_OS_PURGE, .addr = HIGH, .size = PAGE},
	{.call = APB_OS_REMAP, .addr = HIGH, .size = PAGE, .new_size = PAGE},
};

static bool make_good(int call)
{
	bool failed;

	errno = 0;
	failed = make(&good_calls[call]);
	if (failed)
		assert_int_equal(errno, ENOMEM);
	else if (call == APB_OS_UNMAP)
		assert_ptr_equal(map_at(LOW, PAGE), LOW);
	assert_null(simos_violation());
	return failed;
}

static void test_fault_modes(void **ctx)
{
	static const enum apb_fault_mode modes[] = {
		APB_FAULT_OFF, APB_FAULT_ONCE, APB_FAULT_FROM,
		APB_FAULT_RANDOM};
	struct simos_stats s;
	int call, other;
	uint64_t i, n;
	size_t m;

	(void)ctx;
	for (call = 0; call < APB_OS_NR; call++)
		for (m = 0; m < NR_OF(modes); m++)
			for (n = 1; n <= 4; n++) {
				struct apb_fault fault = {
					.mode = modes[m],
					.calls = 1u << call,
					.n = n,
					.seed = n,
				};
				uint64_t failed = 0;

				set_up();
				simos_fault(&fault);
				for (i = 1; i <= 12; i++) {
					bool hit = make_good(call);

					failed += hit;
					if (fault.mode == APB_FAULT_OFF)
						assert_false(hit);
					if (fault.mode == APB_FAULT_ONCE)
						assert_int_equal(hit, i == n);
					if (fault.mode == APB_FAULT_FROM)
						assert_int_equal(hit, i >= n);
				}
				if (fault.mode == APB_FAULT_RANDOM) {
					assert_true(failed > 0);
					assert_true(failed < 12 || n == 1);
				}
				simos_stats(&s);
				assert_int_equal(s.failed[call], failed);
				assert_int_equal(s.refused, 0);
				for (other = 0; other < APB_OS_NR; other++)
					if (other != call)
						assert_int_equal(
							s.failed[other], 0);
				/* disarmed: all is well */
				simos_fault(NULL);
				for (other = 0; other < APB_OS_NR; other++)
					assert_false(make_good(other));
				simos_stats(&s);
				assert_int_equal(s.failed[call], failed);
			}
}

static void test_failed_calls_change_nothing(void **ctx)
{
	const struct apb_fault fault = {
		.mode = APB_FAULT_FROM, .calls = 15, .n = 1};
	const struct apb_os *os = simos_ops();
	bool zero = true;

	(void)ctx;
	set_up();
	simos_fault(&fault);
	assert_null(os->map(os->ctx, NULL, PAGE, &zero));
	assert_false(zero);
	assert_int_equal(os->unmap(os->ctx, HIGH, 2 * PAGE), -1);
	assert_int_equal(os->remap(os->ctx, HIGH, PAGE, 3 * PAGE, NULL), -1);
	assert_int_equal(os->remap(os->ctx, HIGH, 2 * PAGE, PAGE, NULL), -1);
	assert_int_equal(os->remap(os->ctx, LOW, PAGE, PAGE, HIGH), -1);
	assert_unchanged();
	assert_null(simos_violation());
	/* a reset disarms */
	set_up();
	assert_non_null(map_at(NULL, PAGE));
}

/* A purge that failed may have taken the pages, or not: both happen. */
static void test_failed_purge(void **ctx)
{
	const struct apb_fault fault = {
		.mode = APB_FAULT_FROM, .calls = 1 << APB_OS_PURGE, .n = 1};
	const struct apb_os *os = simos_ops();
	unsigned int i, kept = 0;

	(void)ctx;
	set_up();
	simos_fault(&fault);
	for (i = 0; i < 64; i++) {
		memset(LOW, 0x33, PAGE);
		assert_int_equal(os->purge(os->ctx, LOW, PAGE), -1);
		assert_int_equal(errno, ENOMEM);
		kept += all_are(LOW, PAGE, 0x33);
	}
	assert_in_range(kept, 8, 56);
	memset(LOW, 0x33, PAGE);
	assert_unchanged();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_violations),
		cmocka_unit_test(test_first_violation_is_kept),
		cmocka_unit_test(test_violation_under_fault),
		cmocka_unit_test(test_fault_modes),
		cmocka_unit_test(test_failed_calls_change_nothing),
		cmocka_unit_test(test_failed_purge),
	};

	return cmocka_run_group_tests_name("simos errors", tests, NULL, NULL);
}
