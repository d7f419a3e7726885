/* SPDX-License-Identifier: MIT */
/*
 * Goes through the schedules of a program: depth-first over the choices, each
 * run from the start, as nothing can be taken back.
 *
 * EXPLORE_ALL   every schedule up to equivalence: two are equivalent if one
 *               becomes the other by exchanging neighbouring accesses that do
 *               not meet (of different threads, to different addresses, or
 *               both reading); all results are the same then.  Dynamic
 *               partial-order reduction with source sets and sleep sets
 *               (Abdulla, Aronis, Jonsson and Sagonas, "Source sets: a
 *               foundation for optimal dynamic partial order reduction", J. ACM
 *               2017): each class is gone through once, and some runs are given
 *               up when they turn out to be of a class that was.
 * EXPLORE_PLAIN every schedule, for comparison
 * EXPLORE_BOUND every schedule with at most so many preemptions: a thread is
 *               made to wait though it could go on.  No reduction.
 *
 * The same lock's operations meet, but that a thread that waits for a lock is
 * set against its being taken, as it cannot be set against its being let go.
 */
#ifndef APB_EXPLORE_EXPLORER_H
#define APB_EXPLORE_EXPLORER_H

#include "report.h"
#include "sched.h"

enum explore_mode {
	EXPLORE_ALL,
	EXPLORE_PLAIN,
	EXPLORE_BOUND,
};

struct explore {
	const struct program *program;
	enum explore_mode mode;
	unsigned int preemptions; /* EXPLORE_BOUND */
	double seconds; /* then it is not finished; 0: no limit */
	uint64_t schedules; /* the same; 0: no limit */
};

/*
 * In the child of report_child(): all counters go to the report.  Of each run
 * the class is computed; that EXPLORE_ALL goes through each once, and through
 * all that EXPLORE_PLAIN meets, can be seen from the report.
 */
void explore(const struct explore *x);

#endif /* APB_EXPLORE_EXPLORER_H */
