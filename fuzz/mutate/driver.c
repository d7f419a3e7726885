// SPDX-License-Identifier: MIT
/*
 * All programs that can kill a mutant, in one: `driver NAME ARGUMENT...` is the
 * program NAME, whose main() has been renamed.  A unit test's ends at the first
 * thing that fails.
 */
#include "mutate/driver.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * In the place of cmocka's, which goes on with the next test.  Of a child of
 * the test's own it ends the child.
 */
__attribute__((noreturn)) void _fail(const char *file, int line)
{
	fprintf(stderr, "failed: %s:%d\n", file, line);
	_exit(1);
}

int main(int argc, char **argv)
{
	const struct mutate_test *test = mutate_tests;

	while (argc > 1 && test->name && strcmp(test->name, argv[1]))
		test++;
	if (argc > 1 && test->name)
		return test->main(argc - 1, argv + 1);
	fprintf(stderr, "usage: driver NAME [ARGUMENT...]\n");
	return 2;
}
