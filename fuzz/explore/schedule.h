/* SPDX-License-Identifier: MIT */
/*
 * A schedule: which thread takes how many steps, one after the other.  When it
 * is at its end, or names a thread that cannot go on, the thread that ran goes
 * on, else the lowest.  As a file it is text:
 *
 *	apb-explore schedule 1
 *	scenario end
 *	run 0 12
 *	run 1 5
 *
 * or, in place of the scenario, "input" and the bytes of one in hexadecimal
 * (input.h).  Empty lines and those that begin with # mean nothing.
 */
#ifndef APB_EXPLORE_SCHEDULE_H
#define APB_EXPLORE_SCHEDULE_H

#include "report.h"

#define SCHEDULE_INPUT 32768 /* bytes of an input at most */

struct schedule_part {
	uint8_t thread;
	unsigned int steps;
};

struct schedule {
	char scenario[40]; /* "": an input */
	size_t size; /* of that */
	uint8_t input[SCHEDULE_INPUT];
	unsigned int nr;
	struct schedule_part part[SCHED_STEPS];
};

/* What the report's run did. */
void schedule_of(struct schedule *s, const struct report *r);

/* 0, or -1: @why is a line that says why not. */
int schedule_read(struct schedule *s, const char *path, char *why, size_t len);
int schedule_write(const struct schedule *s, const char *path,
		   const char *comment);

/* Run @p once by it; in a child. */
void schedule_run(const struct schedule *s, const struct program *p);

#endif /* APB_EXPLORE_SCHEDULE_H */
