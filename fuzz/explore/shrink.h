/* SPDX-License-Identifier: MIT */
/*
 * Smaller schedules for the same finding.  Few preemptions first: a schedule is
 * understood by where a thread was made to wait.
 */
#ifndef APB_EXPLORE_SHRINK_H
#define APB_EXPLORE_SHRINK_H

#include "schedule.h"

/*
 * @found is what was found of @p: look for it with no preemption, with one, and
 * so on, and put the first schedule that shows it there.  Then, or if @seconds
 * do not suffice, leave out parts of it.  Returns whether no schedule with
 * fewer preemptions shows it.
 */
bool shrink(struct report *found, const struct program *p, double seconds);

/* Only leave out parts of the schedule @s, which becomes what is left. */
void shrink_parts(struct report *found, const struct program *p,
		  struct schedule *s, double seconds);

#endif /* APB_EXPLORE_SHRINK_H */
