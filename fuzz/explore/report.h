/* SPDX-License-Identifier: MIT */
/*
 * Runs happen in a child: one that goes wrong leaves the allocator in a state
 * that nobody can go on with.  What the child did stands in memory that both
 * share, so that it is there however the child ends.
 */
#ifndef APB_EXPLORE_REPORT_H
#define APB_EXPLORE_REPORT_H

#include "sched.h"

#define REPORT_NAME 72
#define REPORT_CLASSES (1u << 19) /* more are not told apart */

/* A step that was taken. */
struct report_step {
	uint8_t thread;
	uint8_t last; /* who ran before */
	bool forced; /* that one could not go on */
	struct access access;
};

struct report {
	/* what was found, if anything */
	bool found;
	char oracle[32];
	char text[600];
	uintptr_t pc[2]; /* where, if that can be said */
	/* the run that went on last */
	unsigned int steps;
	struct report_step step[SCHED_STEPS];
	bool want_names;
	char name[SCHED_STEPS][REPORT_NAME]; /* of the steps' addresses */
	/* counters */
	uint64_t runs; /* begun */
	uint64_t schedules; /* different ones, gone through to the end */
	uint64_t pruned; /* given up: equivalent to one seen before */
	uint64_t
		classes; /* of equivalent ones, as far as REPORT_CLASSES goes */
	uint64_t signature; /* of all these together */
	unsigned int most_steps;
	bool complete; /* all that were asked for */
};

/* The one that runs write to; NULL: a finding aborts the process. */
extern struct report *report;

struct report *report_new(void);
void report_free(struct report *r);

/*
 * Run @fn in a child, with @r as its report, emptied before (but for
 * want_names).  It is killed after @seconds, or when a run of it takes longer
 * than REPORT_HANG seconds, which is a finding as a crash is one.  Returns
 * whether something was found.
 */
#define REPORT_HANG 10u
bool report_child(struct report *r, unsigned int seconds, void (*fn)(void *arg),
		  void *arg);

/* How many steps of the report's run let another thread go on, though the one
 * before could have. */
unsigned int report_preemptions(const struct report *r);

/* Two findings are the same: oracle, and place if there is one. */
bool report_same(const struct report *a, const struct report *b);

#endif /* APB_EXPLORE_REPORT_H */
