/* SPDX-License-Identifier: MIT */
/* Numbers on command lines: digits and nothing else, within bounds. */
#ifndef APB_FUZZ_NUMBER_H
#define APB_FUZZ_NUMBER_H

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* strtoul() takes blanks and signs: a digit must come first. */
static inline bool number_read(const char *text, unsigned long least,
			       unsigned long most, unsigned long *n)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*n = strtoul(text, &end, 10);
	return !errno && !*end && *n >= least && *n <= most;
}

#endif /* APB_FUZZ_NUMBER_H */
