/* SPDX-License-Identifier: MIT */
/* What was found: kept as a schedule, and shown. */
#ifndef APB_EXPLORE_FINDINGS_H
#define APB_EXPLORE_FINDINGS_H

#include "schedule.h"

/* The program that a schedule is of, ready to run; NULL: there is none. */
const struct program *finding_program(const struct schedule *s);

/*
 * Run the schedule in a child, and say what happens, step by step unless
 * @quiet.  Returns whether something is found.
 */
bool finding_show(struct report *r, const struct schedule *s, bool quiet);

/*
 * Write the schedule of what the report has to @folder/@name.schedule (in @s is
 * of what program), say so and show it.
 */
void finding_keep(struct report *r, struct schedule *s, const char *folder,
		  const char *name, bool quiet);

/* A bad value from outside: one line, and exit status 2. */
__attribute__((noreturn, format(printf, 1, 2))) void usage(const char *fmt,
							   ...);

#endif /* APB_EXPLORE_FINDINGS_H */
