// SPDX-License-Identifier: MIT
/* For test_mutate.py: tests of sample.c, good ones but for one function. */
#include "mutate/sample/sample.h"

static int wrong(void)
{
	static const int array[] = {1, 20, 300};

	return sample_limited(7) != 7 || sample_limited(101) != 100 ||
	       sample_limited(100) != 100 || sample_limited(-1) ||
	       sample_sum(array, 3) != 321 || sample_sum(array, 0) ||
	       sample_forever(0);
}

int main(int argc, char **argv)
{
	(void)argv;
	return argc != 1 || wrong();
}
