// SPDX-License-Identifier: MIT
/* Findings; see findings.h. */
#include "findings.h"

#include "input.h"
#include "scenes.h"
#include "words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void usage(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	fprintf(stderr, "apb-explore: ");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	exit(2);
}

const struct program *finding_program(const struct schedule *s)
{
	if (*s->scenario)
		return scene_find(s->scenario);
	input_set(s->input, s->size);
	return &input_program;
}

static void run_schedule(void *arg)
{
	const struct schedule *s = arg;

	schedule_run(s, finding_program(s));
}

bool finding_show(struct report *r, const struct schedule *s, bool quiet)
{
	r->want_names = true;
	report_child(r, REPORT_HANG, run_schedule, (void *)(uintptr_t)s);
	if (!quiet)
		words_steps(r, stdout);
	r->want_names = false;
	if (r->found)
		words_finding(r, stdout);
	return r->found;
}

static void make_folders(const char *path)
{
	char part[4096];

	for (size_t i = 1; i < sizeof(part) && path[i - 1]; i++) {
		part[i - 1] = path[i - 1];
		part[i] = '\0';
		if (path[i] == '/' || !path[i])
			mkdir(part, 0777);
	}
}

void finding_keep(struct report *r, struct schedule *s, const char *folder,
		  const char *name, bool quiet)
{
	char path[4096], oracle[sizeof(r->oracle)], comment[200];

	snprintf(oracle, sizeof(oracle), "%s", r->oracle);
	snprintf(comment, sizeof(comment), "%s: %.100s", r->oracle, r->text);
	comment[strcspn(comment, "\n")] = '\0';
	schedule_of(s, r);
	snprintf(path, sizeof(path), "%s/%s.schedule", folder, name);
	make_folders(folder);
	if (schedule_write(s, path, comment))
		usage("%s: %s", path, strerror(errno));
	printf("  schedule: %s, %u accesses, %u preemptions\n", path, r->steps,
	       report_preemptions(r));
	if (!finding_show(r, s, quiet) || strcmp(oracle, r->oracle))
		printf("  the schedule does not show %s again\n", oracle);
}
