// SPDX-License-Identifier: MIT
/*
 * apb-explore: goes through the schedules of scenarios, shows and shrinks what
 * it finds, replays it.
 */
#include "clock.h"
#include "explorer.h"
#include "files.h"
#include "findings.h"
#include "inputs.h"
#include "scenes.h"
#include "schedule.h"
#include "shrink.h"
#include "world.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHRINK_SECONDS 20
#define SCENES_MAX 256
#define FINDINGS "build/explore/findings"

static const char usage_text[] =
	"usage: apb-explore [options] [SCENARIO...]\n"
	"       apb-explore --input [options] FILE|DIR...\n"
	"  --list         the scenarios\n"
	"  --seconds N    for all of them (60)\n"
	"  --plain        without reduction\n"
	"  --bound N      at most N preemptions, without reduction\n"
	"  --out DIR      where schedules of findings go (" FINDINGS ")\n"
	"  --replay FILE  run a schedule, in words\n"
	"  --input        inputs of the fuzzers, each with the schedule at its "
	"end\n"
	"  --random N     with N schedules at random\n"
	"  --seed N       of the first of them (1)\n"
	"  --quiet        no words on how a finding came about\n"
	"Exit status 1: a finding.\n";

struct settings {
	enum explore_mode mode;
	unsigned int bound;
	double seconds;
	const char *out;
	const char *replay;
	bool quiet, inputs;
	uint64_t random, seed;
};

struct totals {
	unsigned int scenarios, unfinished, findings;
	uint64_t schedules, classes, runs;
};

/* ---- scenarios -------------------------------------------------------- */

static void run_explorer(void *arg)
{
	explore(arg);
}

/* Returns whether it came to an end; says so, unless @again. */
static bool explore_one(const struct settings *set, const struct program *p,
			double seconds, bool again, struct totals *totals,
			struct report *r)
{
	struct explore x = {
		.program = p,
		.mode = set->mode,
		.preemptions = set->bound,
		.seconds = seconds,
	};
	static struct schedule found;
	double begin = clock_seconds(), taken;

	report_child(r, (unsigned int)seconds + 1, run_explorer, &x);
	taken = clock_seconds() - begin;
	if (again && !r->found && !r->complete)
		return false;
	printf("%-18s %u %10lu %10lu %8.0f %6u %8.1f  %s\n", p->name, p->nr,
	       (unsigned long)r->schedules, (unsigned long)r->runs,
	       (double)r->runs / (taken > 0 ? taken : 1), r->most_steps, taken,
	       r->found	   ? r->oracle :
	       r->complete ? "ok" :
			     "not finished");
	fflush(stdout);
	totals->scenarios++;
	totals->schedules += r->schedules;
	totals->classes += r->classes;
	totals->runs += r->runs;
	totals->unfinished += !r->found && !r->complete;
	totals->findings += r->found;
	if (!r->found)
		return true;
	begin = clock_seconds();
	if (shrink(r, p, SHRINK_SECONDS))
		printf("  shrunk in %.1f s: none with fewer preemptions shows "
		       "it\n",
		       clock_seconds() - begin);
	else
		printf("  shrunk in %.1f s\n", clock_seconds() - begin);
	memset(&found, 0, sizeof(found));
	snprintf(found.scenario, sizeof(found.scenario), "%s", p->name);
	finding_keep(r, &found, set->out, p->name, set->quiet);
	return true;
}

/*
 * Each for a short while; those that did not come to an end again, from the
 * start, for four times as long, and so on.
 */
static void explore_list(const struct settings *set,
			 const struct program **list, unsigned int nr,
			 struct totals *t, struct report *r)
{
	double end = clock_seconds() + set->seconds,
	       limit = set->seconds / (8 * nr);

	for (; nr; limit *= 4) {
		bool last = limit * nr >= end - clock_seconds();
		unsigned int more = 0;

		for (unsigned int i = 0; i < nr; i++) {
			double left = end - clock_seconds();

			if (last)
				limit = left > 0 ? left / (nr - i) : 0.01;
			if (!explore_one(set, list[i], limit, !last, t, r))
				list[more++] = list[i];
		}
		nr = more;
	}
}

static int explore_all(const struct settings *set, const struct program **list,
		       unsigned int nr)
{
	struct report *r = report_new();
	struct totals t = {0};
	double begin = clock_seconds();

	printf("%-18s %s %10s %10s %8s %6s %8s\n", "scenario", "t", "schedules",
	       "runs", "runs/s", "acc.", "seconds");
	explore_list(set, list, nr, &t, r);
	printf("%u scenarios, %lu schedules", t.scenarios,
	       (unsigned long)t.schedules);
	if (set->mode == EXPLORE_ALL)
		printf(" (up to equivalence)");
	else
		printf(" (of %lu classes)", (unsigned long)t.classes);
	printf(", %lu runs, %.1f s; %u not finished, %u findings\n",
	       (unsigned long)t.runs, clock_seconds() - begin, t.unfinished,
	       t.findings);
	return t.findings ? 1 : 0;
}

static int replay(const struct settings *set)
{
	static struct schedule s;
	char why[300];

	if (schedule_read(&s, set->replay, why, sizeof(why)))
		usage("%s", why);
	if (!finding_program(&s))
		usage("%s: there is no scenario %s", set->replay, s.scenario);
	if (finding_show(report_new(), &s, set->quiet))
		return 1;
	printf("  nothing found\n");
	return 0;
}

/* ---- inputs ----------------------------------------------------------- */

static double inputs_end;

static int run_input(const char *path, void *arg)
{
	return clock_seconds() > inputs_end ? 0 : inputs_run(arg, path);
}

static int run_inputs(const struct settings *set, char **paths)
{
	struct inputs in = {
		.random = set->random,
		.seed = set->seed,
		.out = set->out,
		.quiet = set->quiet,
	};
	double begin = clock_seconds();
	char *bad;

	inputs_end = begin + set->seconds;
	for (; *paths; paths++) {
		bad = NULL;
		if (files_walk(*paths, run_input, &in, &bad))
			usage("%s: %s", bad ? bad : *paths, strerror(errno));
	}
	printf("%u inputs, %lu schedules, %.1f s, %u findings\n", in.files,
	       (unsigned long)in.runs, clock_seconds() - begin, in.findings);
	return in.findings ? 1 : 0;
}

/* ---- the command line ------------------------------------------------- */

static double number(const char *text, const char *option, double most)
{
	char *end;
	double n = strtod(text, &end);

	if (end == text || *end || !(n >= 0 && n <= most))
		usage("--%s: not a number from 0 to %.0f: %s", option, most,
		      text);
	return n;
}

static int list(void)
{
	const struct program *p;

	for (unsigned int i = 0; (p = scene_nr(i)); i++)
		printf("%-16s %u threads: %s\n", p->name, p->nr, p->about);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct program *chosen[SCENES_MAX];
	static const struct option options[] = {
		{"list", no_argument, NULL, 'l'},
		{"seconds", required_argument, NULL, 's'},
		{"plain", no_argument, NULL, 'p'},
		{"bound", required_argument, NULL, 'b'},
		{"out", required_argument, NULL, 'o'},
		{"replay", required_argument, NULL, 'r'},
		{"input", no_argument, NULL, 'i'},
		{"random", required_argument, NULL, 'n'},
		{"seed", required_argument, NULL, 'e'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct settings set = {.seconds = 60, .out = FINDINGS, .seed = 1};
	unsigned int nr = 0;
	int opt;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'l':
			return list();
		case 's':
			set.seconds = number(optarg, "seconds", 1e6);
			break;
		case 'p':
			set.mode = EXPLORE_PLAIN;
			break;
		case 'b':
			set.mode = EXPLORE_BOUND;
			set.bound = (unsigned int)number(optarg, "bound", 1000);
			break;
		case 'o':
			set.out = optarg;
			break;
		case 'r':
			set.replay = optarg;
			break;
		case 'i':
			set.inputs = true;
			break;
		case 'n':
			set.random = (uint64_t)number(optarg, "random", 1e12);
			break;
		case 'e':
			set.seed = (uint64_t)number(optarg, "seed", 1e12);
			break;
		case 'q':
			set.quiet = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			fputs(usage_text, stderr);
			return 2;
		}
	}
	world_warm_up();
	if (set.replay)
		return replay(&set);
	if (set.inputs && optind < argc)
		return run_inputs(&set, argv + optind);
	if (set.inputs)
		usage("--input: no file is named");
	for (; optind < argc && nr < SCENES_MAX; optind++) {
		chosen[nr] = scene_find(argv[optind]);
		if (!chosen[nr++])
			usage("there is no scenario %s (--list)", argv[optind]);
	}
	if (!nr)
		while (nr < SCENES_MAX && (chosen[nr] = scene_nr(nr)))
			nr++;
	return explore_all(&set, chosen, nr);
}
