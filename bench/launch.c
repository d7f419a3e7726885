// SPDX-License-Identifier: MIT
/*
 * Run a command and say what it cost: user and system seconds, seconds on the
 * wall clock, and peak resident bytes, of it and of all its descendants that
 * were waited for (of memory: the largest of them).  Ends as the command did.
 *
 * Linked statically, so that the little memory that a forked child has before
 * it executes the command does not count.  With --sample, resident memory of
 * the command's own process is written to a file, a line every so many
 * milliseconds: milliseconds since the start, bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct options {
	const char *out; /* of the command; NULL: ours */
	const char *in;
	const char *sample;
	long every_us;
	char **command;
};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt,
								...)
{
	va_list ap;

	fputs("bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void parse(struct options *o, char **argv)
{
	int a;

	for (a = 1; argv[a] && argv[a][0] == '-'; a++) {
		const char *name = argv[a];

		if (!strcmp(name, "--")) {
			a++;
			break;
		}
		if (!argv[a + 1])
			die("%s wants a value", name);
		a++;
		if (!strcmp(name, "--set"))
			/* of the command only: not of this program */
			putenv(argv[a]);
		else if (!strcmp(name, "--out"))
			o->out = argv[a];
		else if (!strcmp(name, "--in"))
			o->in = argv[a];
		else if (!strcmp(name, "--sample"))
			o->sample = argv[a];
		else if (!strcmp(name, "--every-us"))
			o->every_us = atol(argv[a]);
		else
			die("no option %s", name);
	}
	o->command = argv + a;
	if (!*o->command || o->every_us < 100)
		die("usage: launch [--set NAME=VALUE] [--in FILE] [--out FILE] "
		    "[--sample FILE] [--every-us N] -- COMMAND...");
}

static void redirect(const char *path, int flags, int to)
{
	int fd = open(path, flags, 0666);

	if (fd < 0 || dup2(fd, to) < 0)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

static pid_t run(const struct options *o)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid)
		return pid;
	redirect(o->in ? o->in : "/dev/null", O_RDONLY, STDIN_FILENO);
	if (o->out)
		redirect(o->out, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
	execvp(o->command[0], o->command);
	die("%s: %s", o->command[0], strerror(errno));
}

/* Resident bytes of @pid; 0 when it is gone. */
static long resident(int statm)
{
	static long page;
	char text[128];
	ssize_t n;
	char *at;

	if (!page)
		page = sysconf(_SC_PAGESIZE);
	n = pread(statm, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	at = strchr(text, ' ');
	return at ? strtol(at, NULL, 10) * page : 0;
}

static void sample_until_end(const struct options *o, pid_t pid, double begin)
{
	struct timespec pause = {
		.tv_sec = o->every_us / 1000000,
		.tv_nsec = o->every_us % 1000000 * 1000,
	};
	siginfo_t ended;
	char path[64];
	FILE *file;
	int statm;

	file = fopen(o->sample, "w");
	if (!file)
		die("%s: %s", o->sample, strerror(errno));
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	statm = open(path, O_RDONLY | O_CLOEXEC);
	for (;;) {
		long bytes = statm < 0 ? 0 : resident(statm);

		if (bytes)
			fprintf(file, "%.2f %ld\n", (now() - begin) * 1e3,
				bytes);
		ended.si_pid = 0;
		if (waitid(P_PID, (id_t)pid, &ended,
			   WEXITED | WNOHANG | WNOWAIT) ||
		    ended.si_pid)
			break;
		nanosleep(&pause, NULL);
	}
	close(statm);
	if (fclose(file))
		die("%s: %s", o->sample, strerror(errno));
}

int main(int argc, char **argv)
{
	struct options o = {.every_us = 5000};
	struct rusage used;
	double begin, wall;
	int status;
	pid_t pid;

	(void)argc;
	parse(&o, argv);
	begin = now();
	pid = run(&o);
	if (o.sample)
		sample_until_end(&o, pid, begin);
	while (wait4(pid, &status, 0, &used) < 0) {
		if (errno != EINTR)
			die("wait4: %s", strerror(errno));
	}
	wall = now() - begin;
	status = WIFEXITED(status) ? WEXITSTATUS(status) :
				     128 + WTERMSIG(status);
	printf("%.6f %.6f %.6f %ld\n",
	       (double)used.ru_utime.tv_sec +
		       (double)used.ru_utime.tv_usec * 1e-6,
	       (double)used.ru_stime.tv_sec +
		       (double)used.ru_stime.tv_usec * 1e-6,
	       wall, used.ru_maxrss * 1024);
	return status;
}
