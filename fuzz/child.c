// SPDX-License-Identifier: MIT
/* An input in a process of its own; see child.h. */
#define _GNU_SOURCE /* memfd_create(), sigabbrev_np() */
#include "child.h"

#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* In memory that both processes see. */
struct message {
	bool found;
	char oracle[48];
	size_t op_index;
};

#define SAID_MAX 65536 /* of what the child says, this much is looked at */

static void on_finding(const struct run_finding *f, void *arg)
{
	struct message *m = arg;

	snprintf(m->oracle, sizeof(m->oracle), "%s", f->oracle);
	m->op_index = f->op_index;
	m->found = true;
	fflush(NULL);
	run_print_finding(f, stderr);
	_exit(1);
}

static void run_child(const uint8_t *data, size_t size,
		      const struct child_options *o, struct message *m, int err)
{
	struct run_options options = {
		.allow_real_kernel = true,
		.fill = true,
		.describe = o->describe,
		.on_finding = on_finding,
		.arg = m,
	};
	int failed;

	dup2(err, STDERR_FILENO);
	alarm(o->timeout);
	failed = run_input(data, size, &options);
	fflush(NULL);
	_exit(failed);
}

/* "AddressSanitizer: heap-use-after-free" from a line that begins so. */
static bool sanitizer_said(const char *said, char *out, size_t len)
{
	static const char tag[] = "SUMMARY: ";
	const char *from = strstr(said, tag);
	int words = 0;
	size_t n = 0;

	if (!from)
		return false;
	for (from += strlen(tag); from[n] && from[n] != '\n'; n++)
		if (from[n] == ' ' && ++words == 2)
			break;
	snprintf(out, len, "%.*s", (int)n, from);
	return true;
}

/* What ends us ends our children first, and is no finding. */
static void pass_on_signal(int status)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (sig == SIGINT || sig == SIGTERM || sig == SIGPIPE)
		raise(sig);
}

static void judge(int status, const struct message *m, const char *said,
		  struct child_result *result)
{
	char *out = result->signature;
	size_t len = sizeof(result->signature);

	memset(result, 0, sizeof(*result));
	result->finding = true;
	if (m->found) {
		snprintf(out, len, "%s", m->oracle);
		result->has_op = true;
		result->op_index = m->op_index;
	} else if (WIFEXITED(status) && !WEXITSTATUS(status)) {
		result->finding = false;
	} else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
		snprintf(out, len, "timeout");
	} else if (!sanitizer_said(said, out, len)) {
		if (WIFSIGNALED(status))
			snprintf(out, len, "signal %s",
				 sigabbrev_np(WTERMSIG(status)));
		else
			snprintf(out, len, "exit status %d",
				 WEXITSTATUS(status));
	}
}

/* Read what the child said, and pass it on. */
static void listen(int fd, bool quiet, char *said)
{
	ssize_t n = pread(fd, said, SAID_MAX - 1, 0);

	said[n > 0 ? n : 0] = '\0';
	if (!quiet)
		fputs(said, stderr);
}

int child_run(const uint8_t *data, size_t size, const struct child_options *o,
	      struct child_result *result)
{
	static struct message *message;
	static char said[SAID_MAX];
	int err, status;
	pid_t pid;

	if (!message) {
		message = mmap(NULL, sizeof(*message), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (message == MAP_FAILED) {
			message = NULL;
			return -1;
		}
	}
	message->found = false;
	err = memfd_create("stderr", MFD_CLOEXEC);
	if (err < 0)
		return -1;
	fflush(NULL);
	pid = fork();
	if (!pid)
		run_child(data, size, o, message, err);
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			pid = -1;
	if (pid > 0) {
		pass_on_signal(status);
		listen(err, o->quiet, said);
		judge(status, message, said, result);
	}
	close(err);
	return pid > 0 ? 0 : -1;
}
