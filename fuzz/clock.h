/* SPDX-License-Identifier: MIT */
/* Time that passes, for the harness's own programs: bounds and speeds. */
#ifndef APB_FUZZ_CLOCK_H
#define APB_FUZZ_CLOCK_H

#include <time.h>

/* Seconds since some moment. */
static inline double clock_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

#endif /* APB_FUZZ_CLOCK_H */
