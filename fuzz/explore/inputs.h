/* SPDX-License-Identifier: MIT */
/* Inputs of the fuzzers, run by schedules; see input.h. */
#ifndef APB_EXPLORE_INPUTS_H
#define APB_EXPLORE_INPUTS_H

#include "report.h"

struct inputs {
	uint64_t random; /* schedules of each; 0: the one at its end */
	uint64_t seed;
	double seconds; /* then no further input is begun */
	const char *out; /* where schedules of findings go */
	bool quiet;
	/* counted */
	unsigned int files, findings;
	uint64_t runs;
};

/* Run one file's: 0, or -1 with errno set if it cannot be read. */
int inputs_run(struct inputs *in, const char *path);

#endif /* APB_EXPLORE_INPUTS_H */
