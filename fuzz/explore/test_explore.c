// SPDX-License-Identifier: MIT
/*
 * Unit tests of scheduler, explorer and race detector: the tiny programs of
 * toys.h, whose schedules are counted, and whose mistakes are found.
 */
#include "explorer.h"
#include "toys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What one of them has more of is not gone through without reduction. */
#define PLAIN_MAX 100000u
#define SECONDS 60
#define DRAWN 150u

static struct report *all, *plain;

static void run(void *arg)
{
	explore(arg);
}

static bool go(struct report *r, const struct toy *toy, enum explore_mode mode,
	       unsigned int preemptions)
{
	struct explore x = {
		.program = &toy->program,
		.mode = mode,
		.preemptions = preemptions,
		.schedules = PLAIN_MAX,
	};

	return report_child(r, SECONDS, run, &x);
}

/* It has as many schedules as was counted by hand, and nothing is found. */
static void test_counts(void **state)
{
	const struct toy *toy = *state;

	assert_false(go(all, toy, EXPLORE_ALL, 0));
	assert_true(all->complete);
	/* no class twice */
	assert_int_equal(all->schedules, all->classes);
	if (toy->classes)
		assert_int_equal(all->schedules, toy->classes);
	assert_false(go(plain, toy, EXPLORE_PLAIN, 0));
	if (toy->schedules)
		assert_int_equal(plain->schedules, toy->schedules);
	if (!plain->complete)
		return;
	/* and none forgotten */
	assert_int_equal(all->classes, plain->classes);
	assert_true(all->signature == plain->signature);
}

/* Drawn programs: each class once, and none forgotten. */
static void test_drawn(void **state)
{
	unsigned int compared = 0;

	(void)state;
	for (uint32_t seed = 0; seed < DRAWN; seed++) {
		struct toy toy;

		toy_random(&toy, seed, 2 + seed % 2);
		assert_false(go(all, &toy, EXPLORE_ALL, 0));
		assert_true(all->complete);
		assert_int_equal(all->schedules, all->classes);
		assert_false(go(plain, &toy, EXPLORE_PLAIN, 0));
		if (!plain->complete)
			continue;
		if (all->signature != plain->signature)
			print_message("seed %u: %lu classes, not %lu\n", seed,
				      (unsigned long)all->classes,
				      (unsigned long)plain->classes);
		assert_int_equal(all->classes, plain->classes);
		assert_true(all->signature == plain->signature);
		compared++;
	}
	assert_true(compared > DRAWN / 2);
}

/* Nobody is made to wait: one schedule for each order of the threads. */
static void test_bound(void **state)
{
	const struct toy *toy = *state;
	unsigned int orders = 1, bound;
	uint64_t before = 0;

	for (unsigned int t = 2; t <= toy->program.nr; t++)
		orders *= t;
	for (bound = 0; bound < 12; bound++) {
		assert_false(go(plain, toy, EXPLORE_BOUND, bound));
		assert_true(plain->complete);
		if (!bound)
			assert_int_equal(plain->schedules, orders);
		assert_true(plain->schedules >= before);
		before = plain->schedules;
	}
	assert_int_equal(before, toy->schedules);
}

/* What is wrong with it is found, reduced or not. */
static void test_found(void **state)
{
	const struct toy *toy = *state;

	assert_true(go(all, toy, EXPLORE_ALL, 0));
	assert_string_equal(all->oracle, toy->oracle);
	assert_true(go(plain, toy, EXPLORE_PLAIN, 0));
	assert_string_equal(plain->oracle, toy->oracle);
}

static unsigned int add(struct CMUnitTest *test, const struct toy *toy,
			const char *what, CMUnitTestFunction fn)
{
	static char name[256][48];
	static unsigned int nr;

	snprintf(name[nr], sizeof(name[nr]), "%s, %u threads: %s",
		 toy->program.name, toy->program.nr, what);
	*test = (struct CMUnitTest){
		.name = name[nr++],
		.test_func = fn,
		.initial_state = (void *)(uintptr_t)toy,
	};
	return 1;
}

int main(void)
{
	struct CMUnitTest test[128];
	unsigned int nr = 0;

	memset(test, 0, sizeof(test));
	all = report_new();
	plain = report_new();
	for (unsigned int i = 0; i < toys_nr; i++) {
		const struct toy *toy = &toys[i];

		if (toy->oracle)
			nr += add(&test[nr], toy, "found", test_found);
		else
			nr += add(&test[nr], toy, "counts", test_counts);
		if (!strcmp(toy->program.name, "store_own_thrice"))
			nr += add(&test[nr], toy, "bounds", test_bound);
	}
	test[nr++] = (struct CMUnitTest)cmocka_unit_test(test_drawn);
	return _cmocka_run_group_tests("explore", test, nr, NULL, NULL);
}
