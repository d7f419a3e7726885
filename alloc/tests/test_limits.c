// SPDX-License-Identifier: MIT
/*
 * Limits of the kernel: on the number of mappings and on the address space, in
 * the simulation and on the real kernel.  There what the harness has to say on
 * random inputs counts, with every oracle watching, in a child that has used up
 * nearly all of what is limited.
 */
#include "testlib.h"

#include "ops.h"
#include "run.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define OPS 200
#define INPUTS 40
#define REAL_KERNEL 7 /* in the header's byte 1 */
#define LEFT_MAPS 12
#define LEFT_BYTES (24 * MIB)
#define MOST_MAPS 200000 /* as many as the test has time for */

static void *map(size_t size)
{
	bool zero;

	return simos_ops()->map(NULL, NULL, size, &zero);
}

static size_t mappings(void)
{
	struct simos_stats s;

	simos_stats(&s);
	return s.mappings;
}

/* ---- the simulated kernel --------------------------------------------- */

/* As many as the seed says, then none; nothing that is refused does harm. */
static void test_few_mappings(void **ctx)
{
	size_t counts[2 * SIMOS_FEW_MAPPINGS] = {0}, different = 0;

	(void)ctx;
	for (uint64_t seed = 0; seed < 50; seed++) {
		size_t n = 0;

		assert_int_equal(simos_reset(seed, SIMOS_FEW), 0);
		/* neighbours are one mapping */
		while (n < 1000 && map(16 * PAGE))
			n++;
		assert_true(n < 1000);
		assert_int_equal(errno, ENOMEM);
		assert_in_range(mappings(), SIMOS_FEW_MAPPINGS,
				2 * SIMOS_FEW_MAPPINGS - 1);
		counts[mappings()]++;
		assert_null(simos_violation());
	}
	for (size_t i = 0; i < NR_OF(counts); i++)
		different += counts[i] > 0;
	assert_true(different > 4);
	/* what the limit was for is over */
	simos_lift_limit();
	assert_non_null(map(16 * PAGE));
}

/* Fill up; returns a mapping that is surrounded by nothing. */
static char *fill_up(uint64_t seed)
{
	char *alone = NULL;

	assert_int_equal(simos_reset(seed, SIMOS_FEW), 0);
	for (int i = 0; i < 1000; i++) {
		char *p = map(8 * PAGE);

		if (!p)
			break;
		if (!simos_is_mapped(p - PAGE, PAGE) &&
		    !simos_is_mapped(p + 8 * PAGE, PAGE))
			alone = p;
	}
	/* something may have come beside it since */
	if (alone && (simos_is_mapped(alone - PAGE, PAGE) ||
		      simos_is_mapped(alone + 8 * PAGE, PAGE)))
		alone = NULL;
	return alone;
}

/* At the limit a range can be cut at its ends, not in its middle. */
static void test_few_mappings_split(void **ctx)
{
	const struct apb_os *os = simos_ops();
	size_t tried = 0;

	(void)ctx;
	for (uint64_t seed = 0; seed < 20; seed++) {
		char *p = fill_up(seed);
		size_t n = mappings();

		if (!p || map(8 * PAGE))
			continue;
		tried++;
		assert_int_equal(os->unmap(NULL, p + 2 * PAGE, PAGE), -1);
		assert_int_equal(errno, ENOMEM);
		assert_true(simos_is_mapped(p, 8 * PAGE));
		assert_int_equal(os->unmap(NULL, p, PAGE), 0);
		assert_int_equal(
			os->remap(NULL, p + PAGE, 7 * PAGE, 6 * PAGE, NULL), 0);
		assert_int_equal(mappings(), n);
		assert_int_equal(os->unmap(NULL, p + PAGE, 6 * PAGE), 0);
		assert_int_equal(mappings(), n - 1);
		simos_lift_limit();
		p = map(8 * PAGE);
		assert_int_equal(os->unmap(NULL, p + 2 * PAGE, PAGE), 0);
		assert_null(simos_violation());
	}
	assert_true(tried > 4);
}

/* The allocator at the limit: munmap() fails, too, and nothing is lost. */
static void test_allocator_few_mappings(void **ctx)
{
	void *blocks[200];
	struct apb_stats s;
	size_t failures = 0;

	(void)ctx;
	for (uint64_t seed = 1; seed < 30; seed++) {
		size_t n = 0;

		fresh_sim(seed, SIMOS_FEW | SIMOS_MISALIGN);
		while (n < NR_OF(blocks) &&
		       (blocks[n] = apb_malloc(40000 + n * 5000)))
			n++;
		assert_true(n < NR_OF(blocks));
		assert_int_equal(errno, ENOMEM);
		assert_whole();
		for (size_t i = 0; i < n; i += 2) {
			void *p = apb_realloc(blocks[i], 1 + i * 3000);

			blocks[i] = p ? p : blocks[i];
		}
		assert_whole();
		failures += stats_now().unmap_failures;
		for (size_t i = 0; i < n; i++)
			apb_free(blocks[i]);
		assert_whole();
		simos_lift_limit();
		apb_trim();
		s = stats_now();
		assert_int_equal(s.mapped_bytes, 0);
	}
	assert_true(failures > 0);
}

/* ---- the real kernel -------------------------------------------------- */

static void on_finding(const struct run_finding *f, void *arg)
{
	(void)arg;
	run_print_finding(f, stderr);
	_exit(1);
}

/* Random inputs; whether an allocation was refused at all. */
static bool run_inputs(void)
{
	static const struct watch_fault counted;
	struct run_options options = {
		.allow_real_kernel = true,
		.on_finding = on_finding,
		.fault = &counted,
	};
	uint8_t data[OPS_HEADER_SIZE + OPS * OPS_RECORD_SIZE];
	uint64_t rng = 1, refused = 0;

	for (unsigned int i = 0; i < INPUTS; i++) {
		for (size_t at = 0; at < sizeof(data); at += 8) {
			uint64_t word = rnd(&rng);

			memcpy(data + at, &word, sizeof(word));
		}
		data[1] = REAL_KERNEL;
		data[2] = i % 4 ? 0 : 0xc0; /* four threads */
		/* large blocks: each of them a mapping */
		for (size_t at = OPS_HEADER_SIZE; at < sizeof(data); at += 24) {
			data[at] = 0;
			data[at + 1] = 4;
			data[at + 3] &= 0x3f;
		}
		run_input(data, sizeof(data), &options);
		refused += run_failed_calls();
	}
	return refused > 0;
}

/* Leave room for a few mappings only. */
static void use_up_mappings(void)
{
	char *pages[LEFT_MAPS], *p;
	size_t n = 0;

	/* neighbours of one kind would be one mapping */
	while ((p = mmap(NULL, PAGE, n % 2 ? PROT_READ : PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED)
		pages[n++ % LEFT_MAPS] = p;
	for (size_t i = 0; i < LEFT_MAPS; i++)
		munmap(pages[i], PAGE);
}

static void use_up_space(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;
	struct rlimit limit;

	if (!f || fscanf(f, "%lu", &pages) != 1)
		_exit(3);
	fclose(f);
	limit.rlim_cur = limit.rlim_max = pages * PAGE + LEFT_BYTES;
	if (setrlimit(RLIMIT_AS, &limit))
		_exit(3);
}

/* 0: no finding, but refusals, as there have to be. */
static int in_child(void (*use_up)(void))
{
	int status;
	pid_t pid;

	/* what a tool needs would be refused as well */
	if (test_has_tool())
		skip();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		use_up();
		_exit(run_inputs() ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_real_mappings(void **ctx)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
	unsigned long most = 0;

	(void)ctx;
	if (!f || fscanf(f, "%lu", &most) != 1 || most > MOST_MAPS)
		skip();
	fclose(f);
	assert_int_equal(in_child(use_up_mappings), 0);
}

static void test_real_space(void **ctx)
{
	(void)ctx;
	assert_int_equal(in_child(use_up_space), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_mappings),
		cmocka_unit_test(test_few_mappings_split),
		cmocka_unit_test_teardown(test_allocator_few_mappings,
					  test_teardown),
		cmocka_unit_test(test_real_mappings),
		cmocka_unit_test(test_real_space),
	};

	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
