/* SPDX-License-Identifier: MIT */
/* Tiny programs whose schedules can be counted by hand, to test the explorer. */
#ifndef APB_EXPLORE_TOYS_H
#define APB_EXPLORE_TOYS_H

#include "sched.h"

struct toy {
	struct program program;
	unsigned int classes; /* of schedules; 0: not known */
	unsigned int schedules; /* all of them; 0: not known */
	const char *oracle; /* that finds what is wrong with it, or NULL */
};

/* A program of up to @threads threads, of few accesses each, drawn from @seed. */
void toy_random(struct toy *toy, uint32_t seed, unsigned int threads);

extern const struct toy toys[];
extern const unsigned int toys_nr;

#endif /* APB_EXPLORE_TOYS_H */
