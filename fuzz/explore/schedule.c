// SPDX-License-Identifier: MIT
/* Schedules; see schedule.h. */
#include "schedule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "apb-explore schedule 1"

void schedule_of(struct schedule *s, const struct report *r)
{
	s->nr = 0;
	for (unsigned int i = 0; i < r->steps; i++) {
		if (!s->nr || s->part[s->nr - 1].thread != r->step[i].thread)
			s->part[s->nr++] = (struct schedule_part){
				.thread = r->step[i].thread};
		s->part[s->nr - 1].steps++;
	}
}

/* ---- files ------------------------------------------------------------ */

static int read_run(struct schedule *s, const char *line)
{
	unsigned int thread, steps;
	char rest;

	if (sscanf(line, "run %u %u %c", &thread, &steps, &rest) != 2 ||
	    thread >= SCHED_THREADS || !steps || steps > SCHED_STEPS ||
	    s->nr == SCHED_STEPS)
		return -1;
	s->part[s->nr++] = (struct schedule_part){(uint8_t)thread, steps};
	return 0;
}

static int read_hex(struct schedule *s, const char *at)
{
	unsigned int byte;

	for (; *at && *at != '\n'; at += 2) {
		if (s->size == SCHEDULE_INPUT ||
		    strspn(at, "0123456789abcdef") < 2 ||
		    sscanf(at, "%2x", &byte) != 1)
			return -1;
		s->input[s->size++] = (uint8_t)byte;
	}
	return 0;
}

static int read_line(struct schedule *s, const char *line)
{
	if (*line == '#' || *line == '\n')
		return 0;
	if (!strncmp(line, "run ", 4))
		return read_run(s, line);
	if (!strncmp(line, "input ", 6) && !*s->scenario)
		return read_hex(s, line + 6);
	if (!*s->scenario && !s->size)
		return sscanf(line, "scenario %39s", s->scenario) == 1 ? 0 : -1;
	return -1;
}

int schedule_read(struct schedule *s, const char *path, char *why, size_t len)
{
	static char line[2 * SCHEDULE_INPUT + 64];
	FILE *file = fopen(path, "r");
	unsigned int nr = 1;
	int err = 0;

	if (!file) {
		snprintf(why, len, "%s: %s", path, strerror(errno));
		return -1;
	}
	memset(s, 0, sizeof(*s));
	if (!fgets(line, sizeof(line), file) || strcmp(line, HEAD "\n")) {
		snprintf(why, len,
			 "%s: not a schedule: it does not begin with "
			 "\"" HEAD "\"",
			 path);
		err = -1;
	}
	while (!err && fgets(line, sizeof(line), file)) {
		nr++;
		err = read_line(s, line);
		if (err)
			snprintf(why, len,
				 "%s:%u: neither scenario, input "
				 "nor run THREAD STEPS",
				 path, nr);
	}
	fclose(file);
	if (!err && !*s->scenario && !s->size) {
		snprintf(why, len, "%s: names neither scenario nor input",
			 path);
		err = -1;
	}
	return err;
}

int schedule_write(const struct schedule *s, const char *path,
		   const char *comment)
{
	FILE *file = fopen(path, "w");
	int err;

	if (!file)
		return -1;
	fprintf(file, HEAD "\n");
	if (*comment)
		fprintf(file, "# %s\n", comment);
	if (*s->scenario) {
		fprintf(file, "scenario %s\n", s->scenario);
	} else {
		fprintf(file, "input ");
		for (size_t i = 0; i < s->size; i++)
			fprintf(file, "%02x", s->input[i]);
		fprintf(file, "\n");
	}
	for (unsigned int i = 0; i < s->nr; i++)
		fprintf(file, "run %u %u\n", s->part[i].thread,
			s->part[i].steps);
	err = ferror(file);
	return fclose(file) || err ? -1 : 0;
}

/* ---- runs ------------------------------------------------------------- */

struct reader {
	const struct schedule *s;
	unsigned int part, taken;
};

/* Not in a child: of libFuzzer. */
static void count_run(void)
{
	if (!report)
		return;
	report->runs++;
	report->schedules++;
	report->most_steps = sched_steps();
	report->complete = true;
}

static unsigned int follow(void *arg, const struct moment *m)
{
	struct reader *r = arg;
	unsigned int t;

	while (r->part < r->s->nr && r->taken == r->s->part[r->part].steps) {
		r->part++;
		r->taken = 0;
	}
	if (r->part == r->s->nr)
		return sched_default(m);
	t = r->s->part[r->part].thread;
	if (!(m->enabled >> t & 1)) {
		/* it cannot do what is left of this part */
		r->part++;
		r->taken = 0;
		return sched_default(m);
	}
	r->taken++;
	return t;
}

void schedule_run(const struct schedule *s, const struct program *p)
{
	struct reader reader = {.s = s};

	sched_run(p, follow, &reader);
	count_run();
}
