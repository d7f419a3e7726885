/* SPDX-License-Identifier: MIT */
/* Schedules at random: for programs that have too many to try all. */
#ifndef APB_EXPLORE_WANDER_H
#define APB_EXPLORE_WANDER_H

#include "report.h"

struct wander {
	const struct program *program;
	uint64_t seed; /* of the first run; each has the next one */
	uint64_t runs;
};

/*
 * In the child of report_child().  How often a thread is made to wait differs
 * from run to run: seldom finds what needs one switch at the right place,
 * often what needs many.
 */
void wander(const struct wander *w);

#endif /* APB_EXPLORE_WANDER_H */
