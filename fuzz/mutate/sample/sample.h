/* SPDX-License-Identifier: MIT */
/* For test_mutate.py: a header with something that can be mutated. */
#ifndef APB_MUTATE_SAMPLE_H
#define APB_MUTATE_SAMPLE_H

#include <assert.h>

#define APB_SAMPLE_MAX 100
#define SAMPLE_TWICE(x) ((x) + (x))

static_assert(APB_SAMPLE_MAX > 2 + 1, "nothing of this is mutated");

/* Not below 0. */
static inline int sample_positive(int n)
{
	return n < 0 ? 0 : n;
}

int sample_limited(int n);
int sample_sum(const int *array, unsigned int n);
int sample_forever(int n);

#endif /* APB_MUTATE_SAMPLE_H */
