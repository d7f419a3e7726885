// SPDX-License-Identifier: MIT
/* Smaller schedules; see shrink.h. */
#include "shrink.h"

#include "clock.h"
#include "explorer.h"

#include <stdlib.h>
#include <string.h>

static void run_explorer(void *arg)
{
	explore(arg);
}

struct replay {
	const struct schedule *s;
	const struct program *p;
};

static void run_schedule(void *arg)
{
	const struct replay *r = arg;

	schedule_run(r->s, r->p);
}

/* ---- parts ------------------------------------------------------------ */

/* Leave out @n parts from @i on. */
static void drop(struct schedule *s, unsigned int i, unsigned int n)
{
	memmove(&s->part[i], &s->part[i + n],
		(s->nr - i - n) * sizeof(s->part[0]));
	s->nr -= n;
}

/* Put part @i + 2, of the same thread, behind part @i. */
static void bring_forward(struct schedule *s, unsigned int i)
{
	s->part[i].steps += s->part[i + 2].steps;
	drop(s, i + 2, 1);
}

/* Whether @try shows the same, with no more preemptions; it is @found then. */
static bool accept(struct report *found, struct report *trial,
		   const struct program *p, const struct schedule *s)
{
	struct replay r = {.s = s, .p = p};

	if (!report_child(trial, REPORT_HANG, run_schedule, &r) ||
	    !report_same(found, trial) ||
	    report_preemptions(trial) > report_preemptions(found))
		return false;
	*found = *trial;
	return true;
}

/* One pass: leave out @n parts at a time.  Whether any could be. */
static bool drop_parts(struct report *found, struct report *trial,
		       const struct program *p, struct schedule *s,
		       struct schedule *try, unsigned int n, double end)
{
	bool any = false;
	unsigned int i = s->nr;

	/* the end is the least likely to matter */
	while (i && clock_seconds() < end) {
		unsigned int from = i > n ? i - n : 0;

		*try = *s;
		drop(try, from, i - from);
		if (accept(found, trial, p, try)) {
			*s = *try;
			any = true;
		}
		i = from;
	}
	return any;
}

static bool join_parts(struct report *found, struct report *trial,
		       const struct program *p, struct schedule *s,
		       struct schedule *try, double end)
{
	bool any = false;

	for (unsigned int i = 0; i + 2 < s->nr && clock_seconds() < end; i++) {
		if (s->part[i].thread != s->part[i + 2].thread)
			continue;
		*try = *s;
		bring_forward(try, i);
		if (!accept(found, trial, p, try))
			continue;
		*s = *try;
		any = true;
	}
	return any;
}

void shrink_parts(struct report *found, const struct program *p,
		  struct schedule *s, double seconds)
{
	struct report *trial = report_new();
	struct schedule *try = malloc(sizeof(*try));
	double end = clock_seconds() + seconds;
	unsigned int n = (s->nr + 1) / 2;
	bool again = try;

	for (; try && n > 1; n /= 2)
		drop_parts(found, trial, p, s, try, n, end);
	while (again && clock_seconds() < end) {
		again = drop_parts(found, trial, p, s, try, 1, end);
		again |= join_parts(found, trial, p, s, try, end);
	}
	free(try);
	report_free(trial);
}

/* ---- bounds ----------------------------------------------------------- */

bool shrink(struct report *found, const struct program *p, double seconds)
{
	struct report *trial = report_new();
	struct schedule *s = calloc(1, sizeof(*s));
	double end = clock_seconds() + seconds;
	unsigned int bound;
	bool fewest = true;

	for (bound = 0; bound < report_preemptions(found); bound++) {
		struct explore x = {
			.program = p,
			.mode = EXPLORE_BOUND,
			.preemptions = bound,
			.seconds = end - clock_seconds(),
		};

		if (x.seconds <= 0) {
			fewest = false;
			break;
		}
		report_child(trial, (unsigned int)x.seconds + 1, run_explorer,
			     &x);
		if (report_same(found, trial)) {
			*found = *trial;
			break;
		}
		fewest = fewest && trial->complete;
	}
	if (s && !fewest) {
		schedule_of(s, found);
		shrink_parts(found, p, s, seconds);
	}
	free(s);
	report_free(trial);
	return fewest;
}
