// SPDX-License-Identifier: MIT
/* Children, and what they report; see report.h. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "clock.h"
#include "report.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 200 /* so often whether it still moves */

struct report *report;

struct report *report_new(void)
{
	struct report *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (r == MAP_FAILED) {
		perror("apb-explore: memory");
		exit(2);
	}
	return r;
}

void report_free(struct report *r)
{
	munmap(r, sizeof(*r));
}

static void empty(struct report *r)
{
	r->found = false;
	r->oracle[0] = r->text[0] = '\0';
	r->pc[0] = r->pc[1] = 0;
	r->steps = 0;
	r->runs = r->schedules = r->pruned = 0;
	r->classes = r->signature = 0;
	r->most_steps = 0;
	r->complete = false;
}

/* Wait for @pid: its status, or -1 if it had to be killed, as it hangs. */
static int wait_for(const struct report *r, pid_t pid, unsigned int seconds)
{
	struct pollfd end = {.fd = pidfd_open(pid, 0), .events = POLLIN};
	double begin = clock_seconds(), moved = begin;
	volatile const uint64_t *runs = &r->runs;
	volatile const unsigned int *steps = &r->steps;
	uint64_t seen_runs = 0;
	unsigned int seen_steps = 0;
	int status;

	while (end.fd >= 0 && poll(&end, 1, LOOK_MS) <= 0) {
		if (*runs != seen_runs || *steps != seen_steps)
			moved = clock_seconds();
		seen_runs = *runs;
		seen_steps = *steps;
		if (clock_seconds() - moved <= REPORT_HANG &&
		    clock_seconds() - begin <= seconds + REPORT_HANG)
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		close(end.fd);
		return -1;
	}
	if (end.fd >= 0)
		close(end.fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 0;
	return status;
}

static void judge(struct report *r, int status)
{
	const char *oracle = NULL;
	char text[100];

	if (r->found)
		return;
	if (status == -1) {
		oracle = "hang";
		snprintf(text, sizeof(text), "no step for %u s", REPORT_HANG);
	} else if (WIFSIGNALED(status)) {
		oracle = "crash";
		snprintf(text, sizeof(text), "signal %d, %s", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	} else if (WEXITSTATUS(status) == 2) {
		/* it said why */
		exit(2);
	} else if (WEXITSTATUS(status)) {
		oracle = "crash";
		snprintf(text, sizeof(text), "exit status %d",
			 WEXITSTATUS(status));
	}
	if (!oracle)
		return;
	r->found = true;
	snprintf(r->oracle, sizeof(r->oracle), "%s", oracle);
	snprintf(r->text, sizeof(r->text), "%s", text);
}

bool report_child(struct report *r, unsigned int seconds, void (*fn)(void *arg),
		  void *arg)
{
	pid_t pid;

	empty(r);
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("apb-explore: fork");
		exit(2);
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		report = r;
		fn(arg);
		_exit(0);
	}
	judge(r, wait_for(r, pid, seconds));
	return r->found;
}

unsigned int report_preemptions(const struct report *r)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < r->steps; i++)
		n += !r->step[i].forced && r->step[i].thread != r->step[i].last;
	return n;
}

bool report_same(const struct report *a, const struct report *b)
{
	return a->found && b->found && !strcmp(a->oracle, b->oracle);
}
