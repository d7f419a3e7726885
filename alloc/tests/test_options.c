// SPDX-License-Identifier: MIT
/*
 * Unit tests of APB_OPTIONS: what is understood, what is complained about, and
 * that options have their effect.  stderr is a file while they are parsed.
 */
#define _GNU_SOURCE /* memfd_create() */
#include "testlib.h"

#include "api/options.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define NR_BLOCKS 4096
#define LARGE ((size_t)4 << 20)

static void *blocks[NR_BLOCKS];

/* What a call of @fn(@arg) writes to stderr. */
static const char *said(void (*fn)(const char *), const char *arg)
{
	static char text[4096];
	int file = memfd_create("stderr", 0);
	int saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_true(file >= 0 && saved >= 0);
	assert_true(dup2(file, STDERR_FILENO) >= 0);
	fn(arg);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	n = pread(file, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	close(file);
	close(saved);
	return text;
}

static void expect_said(const char *list, const char *wanted)
{
	assert_string_equal(said(apb_options_parse, list), wanted);
}

/* ---- what is understood ----------------------------------------------- */

static void test_accepted(void **state)
{
	static const char *const lists[] = {
		"",
		",",
		",,stats=0,,",
		"stats=1",
		"stats=1,stats=0",
		"settle_period=0",
		"settle_period=4095",
		"settle_period=00012",
		"dirty_limit=auto",
		"dirty_limit=0",
		"dirty_limit=4096",
		"dirty_limit=4k",
		"dirty_limit=4K",
		"dirty_limit=1m,dirty_limit=1M,dirty_limit=1g,dirty_limit=2G",
		"dirty_limit=18446744073709551614",
		"dirty_limit=17179869183g",
		"purge_delay=0",
		"purge_delay=10000,purge_delay=500",
		"large_cache=0",
		"large_cache=1g,large_cache=64m",
		"thp=never",
		"thp=always,thp=default",
		"misuse=abort",
		"misuse=return,misuse=abort",
		"settle_period=0,dirty_limit=auto,stats=0,misuse=abort",
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < NR_OF(lists); i++)
		expect_said(lists[i], "");
}

static void test_unknown(void **state)
{
	(void)state;
	expect_said("foo=1", "apb: APB_OPTIONS: unknown option 'foo'\n");
	expect_said("=1", "apb: APB_OPTIONS: unknown option ''\n");
	expect_said("=", "apb: APB_OPTIONS: unknown option ''\n");
	expect_said("Stats=1", "apb: APB_OPTIONS: unknown option 'Stats'\n");
	expect_said("stat=1", "apb: APB_OPTIONS: unknown option 'stat'\n");
	expect_said("statss=1", "apb: APB_OPTIONS: unknown option 'statss'\n");
	expect_said(" stats=1", "apb: APB_OPTIONS: unknown option ' stats'\n");
	expect_said("stats", "apb: APB_OPTIONS: no name=value: 'stats'\n");
	expect_said("a,b", "apb: APB_OPTIONS: no name=value: 'a'\n"
			   "apb: APB_OPTIONS: no name=value: 'b'\n");
}

static void test_bad_values(void **state)
{
	static const char *const items[] = {
		"stats=",
		"stats=2",
		"stats=-1",
		"stats=yes",
		"stats=1k",
		"stats= 1",
		"stats=1=1",
		"settle_period=",
		"settle_period=65536",
		"settle_period=x",
		"settle_period=1k",
		"settle_period=18446744073709551617",
		"dirty_limit=",
		"dirty_limit=k",
		"dirty_limit=4q",
		"dirty_limit=4kk",
		"dirty_limit=1j",
		"dirty_limit=1l",
		"dirty_limit=1f",
		"dirty_limit=1h",
		"dirty_limit=1n",
		"dirty_limit=0x10",
		"dirty_limit=-1",
		"dirty_limit=+1",
		"dirty_limit=Auto",
		"dirty_limit=18446744073709551615",
		"dirty_limit=18446744073709551616",
		"dirty_limit=17179869184g",
		"quarantine=",
		"quarantine=4096",
		"purge_delay=",
		"purge_delay=1k",
		"large_cache=m",
		"junk=",
		"junk=2",
		"junk=x",
		"junk=0k",
		"purge_delay=18446744073709551615",
		"large_cache=",
		"large_cache=18446744073709551615",
		"misuse=",
		"misuse=abor",
		"misuse=aborted",
		"misuse=0",
		"thp=",
		"thp=2",
		"thp=sometimes",
	};
	char wanted[256];
	unsigned int i;

	(void)state;
	for (i = 0; i < NR_OF(items); i++) {
		snprintf(wanted, sizeof(wanted),
			 "apb: APB_OPTIONS: bad value: '%s'\n", items[i]);
		expect_said(items[i], wanted);
	}
}

/* A line stays a line, whatever is in it, and is not endless. */
static void test_hostile(void **state)
{
	static char list[5000];
	const char *text;

	(void)state;
	expect_said("a\nb\x1b[1m\x7f\xff=1",
		    "apb: APB_OPTIONS: unknown option 'a?b?[1m?"
		    "?'\n");
	expect_said("stats=\n\t", "apb: APB_OPTIONS: bad value: 'stats=?"
				  "?'\n");
	memset(list, 'x', sizeof(list) - 1);
	text = said(apb_options_parse, list);
	assert_true(strlen(text) < 128);
	assert_int_equal(text[strlen(text) - 1], '\n');
	list[2000] = '=';
	assert_true(strlen(said(apb_options_parse, list)) < 128);
	memset(list, '9', sizeof(list) - 1);
	memcpy(list, "dirty_limit=", 12);
	text = said(apb_options_parse, list);
	assert_true(strlen(text) < 256);
	assert_int_equal(text[strlen(text) - 1], '\n');
}

static void test_errno_kept(void **state)
{
	(void)state;
	errno = EILSEQ;
	expect_said("settle_period=99999,dirty_limit=1m",
		    "apb: APB_OPTIONS: bad value: 'settle_period=99999'\n");
	errno = EILSEQ;
	apb_options_parse("settle_period=0,dirty_limit=auto");
	assert_int_equal(errno, EILSEQ);
}

/* ---- effects ---------------------------------------------------------- */

/* All blocks made and freed but some, so that no arena is empty. */
static struct apb_stats after_churn(void)
{
	struct apb_stats s;
	unsigned int i;

	for (i = 0; i < NR_BLOCKS; i++) {
		blocks[i] = apb_malloc(500);
		assert_non_null(blocks[i]);
		memset(blocks[i], 1, 500);
	}
	for (i = 0; i < NR_BLOCKS; i++) {
		if (i % 1024)
			apb_free(blocks[i]);
	}
	apb_settle();
	apb_stats(&s);
	for (i = 0; i < NR_BLOCKS; i += 1024)
		apb_free(blocks[i]);
	assert_int_equal(apb_reset(), 0);
	return s;
}

/* Each value is the option's, to the byte. */
static void test_values(void **state)
{
	static const struct {
		const char *list;
		const size_t *at;
		size_t value;
	} values[] = {
		{"dirty_limit=4095", &apb_policy.dirty_limit, 4095},
		{"dirty_limit=3k", &apb_policy.dirty_limit, 3 << 10},
		{"dirty_limit=3K", &apb_policy.dirty_limit, 3 << 10},
		{"dirty_limit=3m", &apb_policy.dirty_limit, 3 << 20},
		{"dirty_limit=3M", &apb_policy.dirty_limit, 3 << 20},
		{"dirty_limit=3g", &apb_policy.dirty_limit, (size_t)3 << 30},
		{"dirty_limit=3G", &apb_policy.dirty_limit, (size_t)3 << 30},
		{"dirty_limit=auto", &apb_policy.dirty_limit, APB_DIRTY_AUTO},
		{"purge_delay=1234", &apb_policy.purge_delay, 1234},
		{"purge_delay=500", &apb_policy.purge_delay, 500},
		{"large_cache=12345", &apb_policy.large_cache, 12345},
		{"large_cache=64m", &apb_policy.large_cache, 64 << 20},
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < NR_OF(values); i++) {
		expect_said(values[i].list, "");
		assert_int_equal(*values[i].at, values[i].value);
	}
	expect_said("thp=always", "");
	assert_int_equal(apb_policy.thp, APB_THP_ALWAYS);
	expect_said("thp=default", "");
	assert_int_equal(apb_policy.thp, APB_THP_SYSTEM);
	assert_int_equal(apb_reset(), 0);
	expect_said("junk=1", "");
	assert_true(apb_policy.junk);
	expect_said("junk=0", "");
	assert_false(apb_policy.junk);
	/* there is none where nothing is tracked */
	errno = 0;
	assert_int_equal(apb_set_option(APB_OPT_QUARANTINE, 4096), -1);
	assert_int_equal(errno, ENOTSUP);
	expect_said("settle_period=4095", "");
	assert_int_equal(apb_state.period, 4095);
	expect_said("settle_period=0", "");
	assert_int_equal(apb_state.period, 0);
}

static void test_dirty_limit(void **state)
{
	(void)state;
	apb_options_parse("dirty_limit=0");
	assert_int_equal(after_churn().dirty_bytes, 0);
	apb_options_parse("dirty_limit=64k");
	assert_true(after_churn().dirty_bytes <= 65536);
	apb_options_parse("dirty_limit=1g");
	assert_true(after_churn().dirty_bytes > (size_t)1 << 20);
	/* the wrong one is ignored, those around it are not */
	expect_said("dirty_limit=1g,foo=1,dirty_limit=x,dirty_limit=0",
		    "apb: APB_OPTIONS: unknown option 'foo'\n"
		    "apb: APB_OPTIONS: bad value: 'dirty_limit=x'\n");
	assert_int_equal(after_churn().dirty_bytes, 0);
	apb_options_parse("dirty_limit=auto");
}

/* A short period settles often. */
static void test_settle_period(void **state)
{
	uint64_t settles;

	(void)state;
	apb_options_parse("settle_period=2000");
	settles = after_churn().settles;
	apb_options_parse("settle_period=4");
	assert_true(after_churn().settles > settles + 100);
	apb_options_parse("settle_period=0");
}

/* What is cached when a program allocates and frees a large block in a loop. */
static size_t large_cached(void)
{
	struct apb_stats s;
	unsigned int i;

	for (i = 0; i < 100; i++)
		apb_free(apb_malloc(LARGE));
	apb_stats(&s);
	assert_int_equal(apb_reset(), 0);
	return s.large_cached_bytes;
}

static void test_large_cache(void **state)
{
	(void)state;
	apb_options_parse("large_cache=1g,purge_delay=100000");
	assert_true(large_cached() >= LARGE);
	apb_options_parse("large_cache=0");
	assert_int_equal(large_cached(), 0);
	apb_options_parse("large_cache=64m,purge_delay=500");
}

static void test_purge_delay(void **state)
{
	(void)state;
	apb_options_parse("purge_delay=0");
	assert_int_equal(large_cached(), 0);
	apb_options_parse("purge_delay=100000");
	assert_true(large_cached() >= LARGE);
	apb_options_parse("purge_delay=500");
}

/* Whether the mapping of @addr has a flag, in the kernel's two letters. */
static bool has_flag(const void *addr, const char *flag)
{
	FILE *maps = fopen("/proc/self/smaps", "r");
	unsigned long start, end, at = (unsigned long)addr;
	bool inside = false, has = false;
	char line[512];

	assert_non_null(maps);
	while (!has && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start <= at && at < end;
		has = inside && !strncmp(line, "VmFlags:", 8) &&
		      strstr(line, flag);
	}
	fclose(maps);
	return has;
}

static void test_thp(void **state)
{
	static const struct {
		const char *option;
		bool huge, never;
	} cases[] = {
		{"thp=always", true, false},
		{"thp=never", false, true},
		{"thp=default", false, false},
	};
	unsigned int i;

	(void)state;
	if (access("/sys/kernel/mm/transparent_hugepage", F_OK))
		skip();
	for (i = 0; i < NR_OF(cases); i++) {
		void *large, *block;

		apb_options_parse(cases[i].option);
		large = apb_malloc(LARGE);
		block = apb_malloc(100);
		assert_true(has_flag(large, " hg") == cases[i].huge);
		assert_true(has_flag(large, " nh") == cases[i].never);
		assert_true(has_flag(block, " hg") == cases[i].huge);
		assert_true(has_flag(block, " nh") == cases[i].never);
		apb_free(large);
		apb_free(block);
		assert_int_equal(apb_reset(), 0);
	}
}

static void free_twice(const char *unused)
{
	char *volatile p = apb_malloc(100);

	(void)unused;
	apb_free(p);
	apb_free(p);
	assert_null(apb_realloc(p, 10));
	assert_int_equal(errno, EINVAL);
}

static void test_misuse(void **state)
{
	const char *text;

	(void)state;
	apb_options_parse("misuse=return");
	text = said(free_twice, NULL);
	assert_int_equal(strncmp(text, "apb: double free: ", 18), 0);
	assert_non_null(strstr(text + 18, "\napb: double free: "));
	assert_int_equal(apb_check(NULL), 0);
	assert_non_null(apb_state.misuse.fn);
	apb_options_parse("misuse=abort");
	assert_null(apb_state.misuse.fn);
	apb_reset();
}

static void read_again(const char *unused)
{
	(void)unused;
	apb_options_init();
}

static bool read_early;

/* After the allocator's, and before the program's. */
__attribute__((constructor(102))) static void look(void)
{
	read_early = apb_options_read;
}

/* Before main(), with no allocation at all. */
static void test_read_early(void **state)
{
	(void)state;
	assert_true(read_early);
}

/* Read once, however often it is asked for. */
static void test_read_once(void **state)
{
	(void)state;
	assert_true(apb_options_read);
	assert_int_equal(setenv("APB_OPTIONS", "foo=1", 1), 0);
	assert_string_equal(said(read_again, NULL), "");
	assert_int_equal(unsetenv("APB_OPTIONS"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_errno_kept),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_dirty_limit),
		cmocka_unit_test(test_settle_period),
		cmocka_unit_test(test_large_cache),
		cmocka_unit_test(test_purge_delay),
		cmocka_unit_test(test_thp),
		cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_read_early),
		cmocka_unit_test(test_read_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
