// SPDX-License-Identifier: MIT
/*
 * apb-threads: rounds of threads that really run beside each other, with what
 * they hold checked, and everything given back after each round.  Built with
 * TSan it is the harness's engine for what no deterministic schedule shows.
 */
#include "clock.h"
#include "files.h"
#include "number.h"
#include "worker.h"

#include <apb/apb.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANG_SECONDS 120 /* for a round, and one for each SLOW operations */
#define SLOW 1000
#define OPS_MOST (1ul << 30)
#define FORK_SECONDS 5 /* for a child */
#define PIECES 64
#define STATUS_SECONDS 1.0
#define FILES_MAX 4096

static const char usage_text[] =
	"usage: apb-threads [options] [FILE|DIR...]\n"
	"  --rounds N   so many (default 1)\n"
	"  --seconds N  or until the time is over, with a line each second\n"
	"  --seed N     of the first round; each has the next one (1)\n"
	"  --threads N  at the same time, 1 to 8 (4)\n"
	"  --ops N      operations of each thread in a round (20000)\n"
	"  --forks N    children in each round, while the threads run (0)\n"
	"Records come from the inputs in turn, or are random. Every second "
	"round\n"
	"calls of the system fail now and then.  Exit status 1: a finding.\n";

struct settings {
	unsigned long rounds, seconds, seed, threads, ops, forks;
	char *files[FILES_MAX];
	size_t nr_files;
};

struct totals {
	size_t rounds, ops, handed, lives, forks, refused;
};

/* A child of fork() has not joined the threads that it does not have. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "report_thread_leaks=0";
}

static void on_misuse(const struct apb_misuse *m, void *arg)
{
	(void)arg;
	worker_fail("misuse-false", "a correct call was reported: %s", m->text);
}

/* ---- fork ------------------------------------------------------------- */

static void fork_once(struct piece *pieces, bool faults)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		worker_fail("setup", "fork: %s", strerror(errno));
	if (!pid) {
		/* no handler: TSan would not let it run while a lock waits */
		signal(SIGALRM, SIG_DFL);
		alarm(FORK_SECONDS);
		pieces_in_child(pieces, PIECES, faults);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			worker_fail("setup", "waitpid: %s", strerror(errno));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		worker_fail("fork", "a child hangs");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		worker_fail("fork", "a child ended with status %#x", status);
}

/* ---- rounds ----------------------------------------------------------- */

/* All is free: so say the statistics, and a trim leaves no arena. */
static void judge_end(void)
{
	struct apb_violation v = {.invariant = "?"};
	struct apb_stats s;

	if (apb_check(&v))
		worker_fail("check", "%s: %s", v.invariant, v.text);
	apb_stats(&s);
	if (s.used_bytes || s.large)
		worker_fail("accounting", "%zu bytes, %zu large blocks used",
			    s.used_bytes, s.large);
	apb_settle();
	apb_trim();
	if (apb_check(&v))
		worker_fail("check", "%s: %s", v.invariant, v.text);
	apb_stats(&s);
	if (s.arenas)
		worker_fail("leak-arena", "%zu arenas are left by a trim",
			    s.arenas);
	if (apb_reset())
		worker_fail("reset", "failed with errno %d", errno);
	apb_stats(&s);
	if (s.mapped_bytes)
		worker_fail("leak-mapping", "%zu bytes are left by a reset",
			    s.mapped_bytes);
}

static void add(struct totals *t, const struct round *r)
{
	t->rounds++;
	t->ops += r->nr * r->ops;
	for (unsigned int i = 0; i < r->nr; i++) {
		t->handed += r->worker[i].handed;
		t->refused += r->worker[i].refused;
		t->lives += r->worker[i].lives;
	}
}

static void run_round(const struct settings *s, size_t index, struct totals *t)
{
	static struct round r; /* 200 KiB */
	struct piece pieces[PIECES];
	struct file file = {0};

	memset(&r, 0, sizeof(r));
	if (s->nr_files) {
		const char *path = s->files[index % s->nr_files];

		if (file_read(path, &file)) {
			fprintf(stderr, "apb-threads: %s: %s\n", path,
				strerror(errno));
			exit(2);
		}
	}
	r.data = file.data;
	r.size = file.size;
	r.seed = s->seed + index;
	r.nr = (unsigned int)s->threads;
	r.ops = s->ops;
	r.faults = r.seed % 2 == 0;
	if (s->forks)
		pieces_make(pieces, PIECES);
	round_start(&r);
	for (unsigned long i = 0; i < s->forks; i++, t->forks++)
		fork_once(pieces, r.faults);
	round_join(&r, (unsigned int)(HANG_SECONDS + r.ops / SLOW));
	apb_fault_set(NULL);
	round_free(&r);
	if (s->forks)
		pieces_drop(pieces, PIECES);
	add(t, &r);
	judge_end();
	if (s->nr_files)
		file_free(&file);
}

static void say(const struct totals *t, double seconds)
{
	printf("%zu rounds, %zu operations (%.0f/s), %zu blocks handed over, "
	       "%zu threads, %zu forks, %zu refusals, %.1f s\n",
	       t->rounds, t->ops, (double)t->ops / seconds, t->handed, t->lives,
	       t->forks, t->refused, seconds);
	fflush(stdout);
}

static volatile sig_atomic_t stopped;

/* The round is played to its end; the next signal does not wait for that. */
static void on_signal(int sig)
{
	(void)sig;
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	stopped = 1;
}

static void run(const struct settings *s)
{
	double begin = clock_seconds(), last = begin;
	struct totals t = {0};

	apb_set_misuse(on_misuse, NULL);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	while (!stopped &&
	       (s->seconds ? clock_seconds() - begin < (double)s->seconds :
			     t.rounds < s->rounds)) {
		run_round(s, t.rounds, &t);
		if (s->seconds && clock_seconds() - last >= STATUS_SECONDS) {
			last = clock_seconds();
			say(&t, last - begin);
		}
	}
	say(&t, clock_seconds() - begin);
}

/* ---- main ------------------------------------------------------------- */

static unsigned long number(const char *text, const char *option,
			    unsigned long least, unsigned long most)
{
	unsigned long n;

	if (!number_read(text, least, most, &n)) {
		fprintf(stderr,
			"apb-threads: --%s: not a number from %lu to %lu: %s\n",
			option, least, most, text);
		exit(2);
	}
	return n;
}

static int add_file(const char *path, void *arg)
{
	struct settings *s = arg;

	if (s->nr_files == FILES_MAX) {
		fprintf(stderr, "apb-threads: more than %d inputs\n",
			FILES_MAX);
		exit(2);
	}
	s->files[s->nr_files] = strdup(path);
	return s->files[s->nr_files++] ? 0 : -1;
}

int main(int argc, char **argv)
{
	static struct settings s = {
		.rounds = 1, .seed = 1, .threads = 4, .ops = 20000};
	static const struct option options[] = {
		{"rounds", required_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 't'},
		{"seed", required_argument, NULL, 's'},
		{"threads", required_argument, NULL, 'n'},
		{"ops", required_argument, NULL, 'o'},
		{"forks", required_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	char *bad = NULL;
	bool named;
	int opt;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'r':
			s.rounds = number(optarg, "rounds", 1, 1ul << 40);
			break;
		case 't':
			s.seconds = number(optarg, "seconds", 1, 1ul << 30);
			break;
		case 's':
			s.seed = number(optarg, "seed", 0, 1ul << 31);
			break;
		case 'n':
			s.threads = number(optarg, "threads", 1, WORKERS_MAX);
			break;
		case 'o':
			s.ops = number(optarg, "ops", 1, OPS_MOST);
			break;
		case 'f':
			s.forks = number(optarg, "forks", 0, 1ul << 30);
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			fputs(usage_text, stderr);
			return 2;
		}
	}
	named = optind < argc;
	for (; optind < argc; optind++) {
		if (files_walk(argv[optind], add_file, &s, &bad)) {
			fprintf(stderr, "apb-threads: %s: %s\n",
				bad ? bad : argv[optind], strerror(errno));
			return 2;
		}
	}
	if (named && !s.nr_files) {
		fputs("apb-threads: no inputs\n", stderr);
		return 2;
	}
	run(&s);
	return 0;
}
