// SPDX-License-Identifier: MIT
/* Smaller schedules; see shrink.h. */
#include "shrink.h"

#include "explorer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

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

/* Leave out part @i; the steps go to who is next, or are left to chance. */
static void drop(struct schedule *s, unsigned int i)
{
	memmove(&s->part[i], &s->part[i + 1],
		(s->nr - i - 1) * sizeof(s->part[0]));
	s->nr--;
}

/* Let part @i go on as long as it can, and with it all that follows. */
static void cut(struct schedule *s, unsigned int i)
{
	s->nr = i;
}

/* Put part @i + 2, of the same thread, behind part @i. */
static void bring_forward(struct schedule *s, unsigned int i)
{
	s->part[i].steps += s->part[i + 2].steps;
	drop(s, i + 2);
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

void shrink_parts(struct report *found, const struct program *p,
		  struct schedule *s, double seconds)
{
	struct report *trial = report_new();
	struct schedule *try = malloc(sizeof(*try));
	double end = now() + seconds;
	bool again = true;

	while (again && try) {
		again = false;
		for (unsigned int i = 0; i < s->nr && now() < end;) {
			unsigned int way;

			for (way = 0; way < 3; way++) {
				*try = *s;
				if (way == 0)
					cut(try, i);
				else if (way == 1)
					drop(try, i);
				else if (i + 2 < try->nr)
					bring_forward(try, i);
				else
					continue;
				if (accept(found, trial, p, try))
					break;
			}
			if (way == 3) {
				i++;
				continue;
			}
			*s = *try;
			again = true;
		}
	}
	free(try);
	report_free(trial);
}

/* ---- bounds ----------------------------------------------------------- */

bool shrink(struct report *found, const struct program *p, double seconds)
{
	struct report *trial = report_new();
	struct schedule *s = calloc(1, sizeof(*s));
	double end = now() + seconds;
	unsigned int bound;
	bool fewest = true;

	for (bound = 0; bound < report_preemptions(found); bound++) {
		struct explore x = {
			.program = p,
			.mode = EXPLORE_BOUND,
			.preemptions = bound,
			.seconds = end - now(),
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
