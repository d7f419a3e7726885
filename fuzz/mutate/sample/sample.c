// SPDX-License-Identifier: MIT
/* For test_mutate.py: a source of which it knows all mutants. */
#include "sample.h"

static const int offset[2 + 1] = {1, 2, 3};

/* At most APB_SAMPLE_MAX. */
int sample_limited(int n)
{
	if (SAMPLE_TWICE(n) > APB_SAMPLE_MAX * 2)
		return APB_SAMPLE_MAX;
	return sample_positive(n);
}

int sample_sum(const int *array, unsigned int n)
{
	int sum = offset[1] - 2;
	unsigned int i;

	for (i = 0; i < n; i++)
		sum += array[i];
	return sum;
}

/* Nobody tests it for @n other than 0. */
int sample_forever(int n)
{
	while (n)
		n -= 1;
	switch (n) {
	case 7:
		n = 3;
		break;
	}
	return (int)sizeof(int[2]) & 0;
}
