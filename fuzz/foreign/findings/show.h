/* SPDX-License-Identifier: MIT */
/*
 * For the programs that show a finding.  Each is run with the library preloaded
 * (findings.py) and ends with status 1 if the library breaks the rule that its
 * first comment names, with 0 if it keeps it.
 */
#ifndef APB_FINDINGS_SHOW_H
#define APB_FINDINGS_SHOW_H

#define _GNU_SOURCE /* all functions of malloc.h and stdlib.h */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No function sets errno to it. */
#define UNTOUCHED 4711

/*
 * What the compiler cannot see through, or it would know what malloc() returns
 * of such arguments.
 */
static inline size_t is(size_t n)
{
	volatile size_t hidden = n;

	return hidden;
}

/* It keeps the rule if @kept. */
#define SHOW(kept, ...)              \
	do {                         \
		if (kept)            \
			return 0;    \
		printf(__VA_ARGS__); \
		putchar('\n');       \
		return 1;            \
	} while (0)

#endif /* APB_FINDINGS_SHOW_H */
