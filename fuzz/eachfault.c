// SPDX-License-Identifier: MIT
/*
 * Each call of the system fails in turn; see eachfault.h.
 *
 * An input is run to count its calls, N, and then N times: in run k call
 * number k fails, and nothing else but what the input makes fail itself.  Calls
 * that fail leave everything as it was; only a purge may have lost the content
 * before it fails, so there is a second run for each of these.  With --from all
 * calls behind number k fail as well, until the operations are over.
 *
 * Workers take the inputs one after the other; for each a worker forks a child
 * that does all of its runs.  Should one of them end the child, or be a finding,
 * the next child goes on with the run behind it.
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS, asprintf() */
#include "eachfault.h"

#include "clock.h"
#include "files.h"
#include "number.h"
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX 256
#define RUN_SECONDS 60 /* for one run */
#define FINDINGS_MAX 10 /* of an input: then it is given up */
#define TTY_PERIOD 0.5
#define PLAIN_PERIOD 10.0

static const char usage_text[] =
	"usage: apb-replay --each-fault [options] FILE|DIR...\n"
	"  --from       fail call k and all behind it, not call k alone\n"
	"  --jobs N     processes (1)\n"
	"  --done FILE  note there which inputs are done, leave those out that "
	"are\n"
	"  --call K     only with call number K failing, in words; after a "
	"purge "
	"\n"
	"               \"K,late\": its content is lost although it fails\n";

static const char *const call_names[APB_OS_NR + 1] = {
	[APB_OS_MAP] = "map",	  [APB_OS_UNMAP] = "unmap",
	[APB_OS_PURGE] = "purge", [APB_OS_REMAP] = "remap",
	[APB_OS_NR] = "none",
};

struct input {
	char *path;
	struct file file;
	uint64_t key; /* of what a result depends on */
};

/* What a worker and its child share: which run it is. */
struct progress {
	struct watch_fault fault;
	uint64_t calls; /* of the input; 0: not known yet */
	enum apb_os_call hit;
	uint64_t pairs, missed; /* calls that failed, that were not made */
	bool done;
};

/* In memory that all processes see. */
static struct shared {
	atomic_size_t next; /* input */
	atomic_size_t inputs, pairs, missed, runs, findings;
	struct progress progress[JOBS_MAX];
} *shared;

static struct {
	bool from;
	unsigned long jobs;
	const char *done;
	struct watch_fault only; /* call 0: all */
	struct input *inputs;
	size_t nr;
} set = {.jobs = 1};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "apb-replay: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* ---- one input -------------------------------------------------------- */

static void on_finding(const struct run_finding *f, void *arg)
{
	struct progress *p = arg;

	run_calls(&p->hit);
	fflush(NULL);
	run_print_finding(f, stderr);
	_exit(1);
}

/* One run, as @p says; what it was is in @p afterwards. */
static void run_once(const struct input *in, struct progress *p, bool words)
{
	struct run_options options = {
		.allow_real_kernel = true,
		.describe = words ? stdout : NULL,
		.on_finding = on_finding,
		.arg = p,
		.fault = &p->fault,
	};
	uint64_t calls;

	alarm(RUN_SECONDS);
	run_input(in->file.data, in->file.size, &options);
	calls = run_calls(&p->hit);
	if (!p->fault.call)
		p->calls = calls;
	atomic_fetch_add(&shared->runs, 1);
}

/* The run behind the one in @p; false if that was the last. */
static bool next_run(struct progress *p)
{
	struct watch_fault *f = &p->fault;

	if (f->call && !f->late && p->hit == APB_OS_PURGE) {
		f->late = true;
		return true;
	}
	/* with --from: that was behind the operations, and so is what follows */
	if (f->call && f->from && p->hit == APB_OS_NR)
		return false;
	f->late = false;
	f->from = set.from;
	p->pairs += p->hit != APB_OS_NR;
	p->missed += f->call && p->hit == APB_OS_NR;
	p->hit = APB_OS_NR;
	return f->call++ < p->calls;
}

/* Whoever ends us, what we have started does not go on. */
static pid_t fork_with_us(void)
{
	pid_t us = getpid(), pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != us)
			_exit(2);
	}
	return pid;
}

__attribute__((noreturn)) static void child(const struct input *in,
					    struct progress *p)
{
	/*
	 * Twice: to the real kernel the first run of a process is not like
	 * the others, as nothing has been mapped and unmapped yet.
	 */
	for (int i = 0; i < 2 && !p->fault.call; i++)
		run_once(in, p, false);
	while (next_run(p))
		run_once(in, p, false);
	p->done = true;
	fflush(NULL);
	_exit(0);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return status;
}

/* What the child said of its end stands on stderr already. */
static void report(const struct input *in, const struct progress *p, int status)
{
	const struct watch_fault *f = &p->fault;
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	atomic_fetch_add(&shared->findings, 1);
	if (sig)
		fprintf(stderr, "FINDING: %s\n",
			sig == SIGALRM ? "timeout" : strsignal(sig));
	if (!f->call) {
		fprintf(stderr, "in %s, without a fault\n", in->path);
		return;
	}
	fprintf(stderr,
		"in %s, as call %lu of the system (%s) fails%s; again:\n"
		"  apb-replay --each-fault%s --call %lu%s %s\n",
		in->path, (unsigned long)f->call, call_names[p->hit],
		f->from ? ", and all behind it" : "", f->from ? " --from" : "",
		(unsigned long)f->call, f->late ? ",late" : "", in->path);
}

/* All runs of an input; whether none was a finding. */
static bool each_fault(const struct input *in, struct progress *p)
{
	unsigned int findings = 0;

	*p = (struct progress){.hit = APB_OS_NR};
	while (!p->done && findings < FINDINGS_MAX) {
		pid_t pid = fork_with_us();
		int status;

		if (!pid)
			child(in, p);
		status = wait_for(pid);
		if (p->done)
			break;
		report(in, p, status);
		findings++;
		/* it does not even run without */
		if (!p->fault.call)
			break;
	}
	atomic_fetch_add(&shared->inputs, 1);
	atomic_fetch_add(&shared->pairs, p->pairs);
	atomic_fetch_add(&shared->missed, p->missed);
	return !findings;
}

/* ---- what is done ----------------------------------------------------- */

static uint64_t hash(uint64_t h, const uint8_t *data, size_t size)
{
	/* FNV-1a */
	for (size_t i = 0; i < size; i++)
		h = (h ^ data[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* This program and what it is told to do. */
static uint64_t hash_program(void)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	uint8_t buf[65536];
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		h = hash(h, buf, (size_t)n);
	if (n || fd < 0)
		die("/proc/self/exe");
	close(fd);
	return h ^ (uint64_t)set.from;
}

/* In one write, so that a line is whole or missing. */
static void note_done(const struct input *in, const struct progress *p)
{
	char line[64];
	int fd, n;

	if (!set.done)
		return;
	n = snprintf(line, sizeof(line), "%016lx %lu\n", in->key,
		     (unsigned long)p->pairs);
	fd = open(set.done, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		die(set.done);
	close(fd);
}

static void leave_out(uint64_t key, unsigned long pairs)
{
	for (size_t i = 0; i < set.nr; i++) {
		if (set.inputs[i].key != key || !set.inputs[i].path)
			continue;
		set.inputs[i].path = NULL;
		atomic_fetch_add(&shared->inputs, 1);
		atomic_fetch_add(&shared->pairs, pairs);
	}
}

/* Leave out what is done; its pairs count.  A line that is not whole, for lack
 * of room, says nothing. */
static void leave_out_done(void)
{
	unsigned long key, pairs;
	char *line = NULL, end;
	size_t room = 0;
	FILE *f;

	if (!set.done)
		return;
	f = fopen(set.done, "a+");
	if (!f)
		die(set.done);
	while (getline(&line, &room, f) > 0)
		if (sscanf(line, "%16lx %lu%c", &key, &pairs, &end) == 3 &&
		    end == '\n')
			leave_out(key, pairs);
	free(line);
	fclose(f);
}

/* ---- all inputs ------------------------------------------------------- */

__attribute__((noreturn)) static void worker(struct progress *p)
{
	size_t i;

	while ((i = atomic_fetch_add(&shared->next, 1)) < set.nr)
		if (set.inputs[i].path && each_fault(&set.inputs[i], p))
			note_done(&set.inputs[i], p);
	fflush(NULL);
	_exit(0);
}

static void say(const char *end)
{
	printf("%zu of %zu inputs, %zu (input, call) pairs, %zu runs, "
	       "%zu finding%s%s",
	       (size_t)shared->inputs, set.nr, (size_t)shared->pairs,
	       (size_t)shared->runs, (size_t)shared->findings,
	       shared->findings == 1 ? "" : "s", end);
	fflush(stdout);
}

static void watch_workers(void)
{
	bool tty = isatty(STDOUT_FILENO);
	double next = clock_seconds() + (tty ? TTY_PERIOD : PLAIN_PERIOD);
	unsigned long left = set.jobs;
	int status;

	while (left) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0) {
			left--;
			if (WIFSIGNALED(status))
				fprintf(stderr,
					"apb-replay: a worker was ended: %s\n",
					strsignal(WTERMSIG(status)));
			if (status)
				exit(2);
			continue;
		}
		usleep(10000);
		if (clock_seconds() < next)
			continue;
		next = clock_seconds() + (tty ? TTY_PERIOD : PLAIN_PERIOD);
		say(tty ? "   \r" : "\n");
	}
}

static int run_all(void)
{
	double begin = clock_seconds();
	char end[64];

	leave_out_done();
	for (unsigned long i = 0; i < set.jobs; i++)
		if (!fork_with_us())
			worker(&shared->progress[i]);
	watch_workers();
	snprintf(end, sizeof(end), ", %.1f s   \n", clock_seconds() - begin);
	say(end);
	/* on the real kernel how many calls there are is not always the same */
	if (shared->missed)
		printf("%zu calls were not made again\n",
		       (size_t)shared->missed);
	return shared->findings ? 1 : 0;
}

/* The one run that --call asks for, in words. */
static int run_one(void)
{
	struct progress *p = &shared->progress[0];
	pid_t pid;
	int status;

	p->fault = set.only;
	p->fault.from = set.from;
	fflush(NULL);
	pid = fork_with_us();
	if (!pid) {
		run_once(&set.inputs[0], p, true);
		fflush(NULL);
		_exit(0);
	}
	status = wait_for(pid);
	if (!status) {
		printf("no finding, call %lu (%s) failed\n",
		       (unsigned long)p->fault.call, call_names[p->hit]);
		return 0;
	}
	report(&set.inputs[0], p, status);
	return 1;
}

/* ---- options ---------------------------------------------------------- */

__attribute__((noreturn)) static void usage(void)
{
	fputs(usage_text, stderr);
	exit(2);
}

static unsigned long number(const char *text, unsigned long most)
{
	unsigned long n;

	if (!number_read(text, 1, most, &n)) {
		fprintf(stderr, "apb-replay: not a number from 1 to %lu: %s\n",
			most, text);
		exit(2);
	}
	return n;
}

static int add_input(const char *path, void *arg)
{
	struct input *in;

	set.inputs = realloc(set.inputs, (set.nr + 1) * sizeof(*set.inputs));
	if (!set.inputs)
		die(path);
	in = &set.inputs[set.nr++];
	in->path = strdup(path);
	if (!in->path || file_read(path, &in->file))
		die(path);
	in->key = hash(*(uint64_t *)arg, in->file.data, in->file.size);
	return 0;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"from", no_argument, NULL, 'f'},
		{"jobs", required_argument, NULL, 'j'},
		{"done", required_argument, NULL, 'd'},
		{"call", required_argument, NULL, 'c'},
		{0},
	};
	char *late;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'f':
			set.from = true;
			break;
		case 'j':
			set.jobs = number(optarg, JOBS_MAX);
			break;
		case 'd':
			set.done = optarg;
			break;
		case 'c':
			late = strchr(optarg, ',');
			set.only.late = late && !strcmp(late, ",late");
			if (set.only.late)
				*late = '\0';
			set.only.call = number(optarg, ULONG_MAX);
			break;
		default:
			usage();
		}
	}
}

int each_fault_main(int argc, char **argv)
{
	uint64_t program;
	bool files;
	char *bad;

	parse(argc, argv);
	files = optind < argc;
	program = hash_program();
	for (; optind < argc; optind++)
		if (files_walk(argv[optind], add_input, &program, &bad))
			die(bad);
	if (!set.nr && files) {
		fputs("apb-replay: no inputs\n", stderr);
		return 2;
	}
	if (!set.nr || (set.only.call && set.nr != 1))
		usage();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("memory");
	return set.only.call ? run_one() : run_all();
}
