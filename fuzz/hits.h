/* SPDX-License-Identifier: MIT */
/*
 * The states that an input reached: counters that libFuzzer sees, and a list of
 * them for AFL++ and for the next input, which begins with none.  Behind
 * feedback.h, whoever says what a state is.
 */
#ifndef APB_FUZZ_HITS_H
#define APB_FUZZ_HITS_H

#include <stdint.h>

/* The input reached @state, which is below FEEDBACK_NR. */
void hits_add(unsigned int state);

/* The next input begins. */
void hits_clear(void);

/* Powers of two: 0 for 0, then one more than the logarithm, up to the last. */
static inline unsigned int hits_bucket(uint64_t n, unsigned int buckets)
{
	unsigned int b = n ? 64 - (unsigned int)__builtin_clzll(n) : 0;

	return b < buckets ? b : buckets - 1;
}

#endif /* APB_FUZZ_HITS_H */
