// SPDX-License-Identifier: MIT
/* An input in a process of its own; see child.h. */
#define _GNU_SOURCE /* memfd_create(), sigabbrev_np() */
#include "child.h"

#include "frames.h"
#include "ops.h"
#include "trace.h"

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
	struct run_finding finding;
	bool begun; /* an operation, or the end */
	size_t op_index;
	int op_kind; /* OP_NR: the end */
	struct frames frames;
	struct trace *trace; /* the child's, or NULL */
};

#define SAID_MAX 65536 /* of what the child says, this much is looked at */

/* The child's; its handlers have no argument. */
static struct message *message;

/* Of the sanitizers, if there is one in the program. */
void __sanitizer_set_death_callback(void (*callback)(void))
	__attribute__((weak));

/* ---- in the child ----------------------------------------------------- */

static void on_finding(const struct run_finding *f, void *arg)
{
	struct message *m = arg;

	m->finding = *f;
	if (m->trace)
		trace_found(m->trace, f);
	snprintf(m->oracle, sizeof(m->oracle), "%s", f->oracle);
	m->found = true;
	fflush(NULL);
	run_print_finding(f, stderr);
	_exit(1);
}

static void on_death(void)
{
	frames_capture(&message->frames);
	frames_print(&message->frames, STDERR_FILENO);
}

static void on_signal(int sig)
{
	on_death();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* The sanitizers tell of memory errors themselves. */
static void catch_death(void)
{
	static const int memory[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	static char stack[1 << 16];
	stack_t alt = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {
		.sa_handler = on_signal,
		.sa_flags = SA_ONSTACK,
	};

	sigaction(SIGABRT, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(on_death);
		return;
	}
	sigaltstack(&alt, NULL);
	for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++)
		sigaction(memory[i], &action, NULL);
}

static void on_op(const struct op *op, size_t index, void *arg)
{
	message->begun = true;
	message->op_index = index;
	message->op_kind = op ? (int)op->kind : OP_NR;
	if (arg)
		trace_op(arg, op, index);
}

static void on_write(const void *p, size_t size, unsigned int how, uint32_t val,
		     void *arg)
{
	if (arg)
		trace_write(arg, p, size, how, val);
}

static void run_child(const uint8_t *data, size_t size,
		      const struct child_options *o, int err)
{
	struct run_observer observer = {
		.op = on_op,
		.write = on_write,
		.arg = o->trace,
	};
	struct run_options options = {
		.allow_real_kernel = true,
		.fill = true,
		.describe = o->describe,
		.on_finding = on_finding,
		.arg = message,
		.observer = &observer,
	};
	int failed;

	if (o->trace)
		options.api = trace_api(o->trace, &apb_api);
	dup2(err, STDERR_FILENO);
	catch_death();
	alarm(o->timeout);
	failed = run_input(data, size, &options);
	fflush(NULL);
	_exit(failed);
}

/* ---- in the parent ---------------------------------------------------- */

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

/* Of the allocator's own check, each invariant is an oracle. */
static void name_oracle(const struct message *m, char *out, size_t len)
{
	const char *detail = m->finding.detail;

	if (!strcmp(m->oracle, "check"))
		snprintf(out, len, "check %.*s", (int)strcspn(detail, ": "),
			 detail);
	else
		snprintf(out, len, "%s", m->oracle);
}

static void name_op(const struct message *m, char *out, size_t len)
{
	snprintf(out, len, "%s",
		 !m->begun	    ? "(begin)" :
		 m->op_kind < OP_NR ? op_names[m->op_kind] :
				      "(end)");
}

static void judge(int status, const struct message *m, const char *said,
		  struct child_result *result)
{
	struct signature *s = &result->signature;
	char *out = s->oracle;
	size_t len = sizeof(s->oracle);

	memset(result, 0, sizeof(*result));
	result->finding = true;
	result->op_index = m->op_index;
	if (m->found) {
		name_oracle(m, out, len);
		result->has_detail = true;
		result->detail = m->finding;
		result->detail.oracle = s->oracle;
	} else if (WIFEXITED(status) && !WEXITSTATUS(status)) {
		result->finding = false;
		return;
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
	name_op(m, s->op, sizeof(s->op));
	/* where it is when time is over is chance */
	if (strcmp(out, "timeout"))
		frames_top(&m->frames, s->frames, sizeof(s->frames));
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
	static char said[SAID_MAX];
	int err, status;
	pid_t pid;

	frames_prepare();
	if (!message) {
		message = mmap(NULL, sizeof(*message), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (message == MAP_FAILED) {
			message = NULL;
			return -1;
		}
	}
	message->found = message->begun = false;
	message->op_index = 0;
	message->trace = o->trace;
	message->frames.nr = 0;
	err = memfd_create("stderr", MFD_CLOEXEC);
	if (err < 0)
		return -1;
	fflush(NULL);
	pid = fork();
	if (!pid)
		run_child(data, size, o, err);
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

bool signature_same(const struct signature *a, const struct signature *b)
{
	return !strcmp(a->oracle, b->oracle) && !strcmp(a->op, b->op) &&
	       !strcmp(a->frames, b->frames);
}

void signature_print(const struct signature *s, FILE *to)
{
	fprintf(to, "SIGNATURE: %s | %s | %s\n", s->oracle, s->op, s->frames);
	fflush(to);
}
