// SPDX-License-Identifier: MIT
/* Inputs; see inputs.h. */
#include "inputs.h"

#include "clock.h"
#include "files.h"
#include "findings.h"
#include "input.h"
#include "ops.h"
#include "shrink.h"
#include "wander.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS 600
#define SHRINK_SECONDS 15
#define BOUND_SECONDS 3
#define TRIES 25 /* schedules at random for each smaller input */

static void run_wander(void *arg)
{
	wander(arg);
}

static void run_schedule(void *arg)
{
	const struct schedule *s = arg;

	schedule_run(s, finding_program(s));
}

/* ---- smaller inputs --------------------------------------------------- */

static void remove_records(struct schedule *s, size_t i, size_t n)
{
	uint8_t *at = s->input + OPS_HEADER_SIZE + i * OPS_RECORD_SIZE;

	memmove(at, at + n * OPS_RECORD_SIZE,
		(size_t)(s->input + s->size - at) - n * OPS_RECORD_SIZE);
	s->size -= n * OPS_RECORD_SIZE;
}

/* By the schedule as it is, or a few at random. */
static void run_somehow(void *arg)
{
	struct schedule *s = arg;
	struct wander w = {.program = &input_program, .runs = TRIES};

	input_set(s->input, s->size);
	schedule_run(s, &input_program);
	wander(&w);
}

/*
 * Leave out records, many at first, from the last one on, as long as what is
 * left shows the same.
 */
static void shrink_records(struct report *found, struct schedule *s)
{
	struct report *trial = report_new();
	struct schedule *try = malloc(sizeof(*try));
	double end = clock_seconds() + SHRINK_SECONDS;
	size_t n = ops_count(s->size);

	if (n > INPUT_RECORDS) {
		remove_records(s, INPUT_RECORDS, n - INPUT_RECORDS);
		n = INPUT_RECORDS;
	}
	for (; try && n && clock_seconds() < end; n /= 2) {
		size_t i = ops_count(s->size);

		while (i >= n && clock_seconds() < end) {
			i -= n;
			*try = *s;
			remove_records(try, i, n);
			report_child(trial, REPORT_HANG, run_somehow, try);
			if (!report_same(found, trial))
				continue;
			*found = *trial;
			*s = *try;
			schedule_of(s, found);
		}
	}
	free(try);
	report_free(trial);
}

static void keep(struct inputs *in, struct report *r, struct schedule *s,
		 const char *path)
{
	const char *base = strrchr(path, '/');
	char name[256];

	in->findings++;
	printf("%s: %s, after %lu runs\n", path, r->oracle,
	       (unsigned long)r->runs);
	schedule_of(s, r);
	shrink_records(r, s);
	input_set(s->input, s->size);
	shrink_parts(r, &input_program, s, SHRINK_SECONDS);
	shrink(r, &input_program, BOUND_SECONDS);
	printf("  shrunk to %zu records\n", ops_count(s->size));
	snprintf(name, sizeof(name), "input-%s", base ? base + 1 : path);
	finding_keep(r, s, in->out, name, in->quiet);
}

/* ---- files ------------------------------------------------------------ */

int inputs_run(struct inputs *in, const char *path)
{
	struct schedule *s = calloc(1, sizeof(*s));
	struct report *r = report_new();
	struct file file;
	size_t size;

	if (!s || file_read(path, &file)) {
		free(s);
		report_free(r);
		return -1;
	}
	size = in->random ? file.size : input_schedule(s, file.data, file.size);
	s->size = size < SCHEDULE_INPUT ? size : SCHEDULE_INPUT;
	memcpy(s->input, file.data, s->size);
	file_free(&file);
	input_set(s->input, s->size);
	if (in->random) {
		struct wander w = {
			.program = &input_program,
			.seed = in->seed,
			.runs = in->random,
		};

		report_child(r, SECONDS, run_wander, &w);
	} else {
		report_child(r, SECONDS, run_schedule, s);
	}
	in->files++;
	in->runs += r->runs;
	if (r->found &&
	    (!strcmp(r->oracle, "limit") || !strcmp(r->oracle, "steps")))
		printf("%s: too long: %s\n", path, r->text);
	else if (r->found)
		keep(in, r, s, path);
	free(s);
	report_free(r);
	return 0;
}
