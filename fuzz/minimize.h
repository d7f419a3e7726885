/* SPDX-License-Identifier: MIT */
/*
 * Makes a failing input small: fewer operations first, then smaller sizes and
 * counts in those that are left, then fewer slots and threads, then a plainer
 * header; again, as long as it gets smaller.
 */
#ifndef APB_FUZZ_MINIMIZE_H
#define APB_FUZZ_MINIMIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whether an input still fails in the way that is to be kept.
 */
typedef bool (*minimize_test_fn)(const uint8_t *data, size_t size, void *arg);

/* Whether to go on; asked before each test. */
typedef bool (*minimize_time_fn)(void *arg);

/*
 * Shrink the input of *@size bytes at @data, which fails, in place; @scratch
 * is as big.  It fails at every moment, so that nothing is lost if time runs
 * out.
 */
void minimize(uint8_t *data, size_t *size, uint8_t *scratch,
	      minimize_test_fn test, minimize_time_fn time, void *arg);

#endif /* APB_FUZZ_MINIMIZE_H */
