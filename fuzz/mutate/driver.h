/* SPDX-License-Identifier: MIT */
/* The programs that are linked into one, in a table that build.py writes. */
#ifndef APB_MUTATE_DRIVER_H
#define APB_MUTATE_DRIVER_H

struct mutate_test {
	const char *name; /* NULL: the end */
	int (*main)(int argc, char **argv);
};

extern const struct mutate_test mutate_tests[];

/* cmocka's, which is replaced. */
__attribute__((noreturn)) void _fail(const char *file, int line);

#endif /* APB_MUTATE_DRIVER_H */
