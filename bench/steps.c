// SPDX-License-Identifier: MIT
/*
 * The instructions of a malloc and a free, one by one: this program starts
 * itself, lets the copy warm its allocator up, and single-steps it through
 * some pairs.  Printed is a line "malloc" or "free" for each call, and then,
 * for each instruction executed in it, the file it is in and its address
 * there.  bench/count.py looks them up in the disassembly and counts.
 *
 * x86-64 only, as are the classes of instructions in count.py.
 */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 64
#define WARM_LIVE 200
#define WARM_PAIRS 10000
#define PAIRS 64
#define MAX_STEPS 100000
#define MAX_MAPS 256

struct mapping {
	unsigned long from, to, base;
	char path[256];
};

static struct mapping maps[MAX_MAPS];
static size_t nr_maps;

/* Tell the tracer something; it sees the two registers. */
static inline void mark(const void *a, const void *b)
{
	__asm__ volatile("int3" : : "a"(a), "b"(b) : "memory");
}

/*
 * What is measured.  Some blocks of the size stay, some are free, and each
 * pair is as the one before.
 */
static void child(void)
{
	static void *live[WARM_LIVE];
	void *p;
	int i;

	for (i = 0; i < WARM_LIVE; i++)
		live[i] = bench_malloc(SIZE);
	for (i = 0; i < WARM_LIVE; i += 2)
		bench_free(live[i]);
	for (i = 0; i < WARM_PAIRS; i++) {
		p = bench_malloc(SIZE);
		bench_touch(p, 1);
		bench_free(p);
	}
	mark(bench_malloc_addr(), bench_free_addr());
	for (i = 0; i < PAIRS; i++) {
		p = bench_malloc(SIZE);
		bench_touch(p, 1);
		bench_free(p);
	}
	mark(NULL, NULL);
	_exit(0);
}

static void read_maps(pid_t pid)
{
	char path[64], line[512];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	file = fopen(path, "r");
	if (!file)
		bench_die("cannot read %s", path);
	while (nr_maps < MAX_MAPS && fgets(line, sizeof(line), file)) {
		struct mapping *m = &maps[nr_maps];
		size_t i;

		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %255s", &m->from,
			   &m->to, m->path) != 3)
			continue;
		m->base = m->from;
		for (i = 0; i < nr_maps; i++) {
			if (!strcmp(maps[i].path, m->path)) {
				m->base = maps[i].base;
				break;
			}
		}
		nr_maps++;
	}
	fclose(file);
}

static void print_step(unsigned long rip)
{
	size_t i;

	for (i = 0; i < nr_maps; i++) {
		if (rip >= maps[i].from && rip < maps[i].to) {
			printf("%s %lx\n", maps[i].path, rip - maps[i].base);
			return;
		}
	}
	bench_die("an instruction at %lx is in no file", rip);
}

static struct user_regs_struct registers(pid_t pid)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs))
		bench_die("PTRACE_GETREGS: %s", strerror(errno));
	return regs;
}

/* Go on until the next trap; false when the program has ended. */
static bool go(pid_t pid, int how)
{
	int status;

	if (ptrace((enum __ptrace_request)how, pid, NULL, NULL))
		bench_die("ptrace: %s", strerror(errno));
	if (waitpid(pid, &status, 0) != pid)
		bench_die("waitpid: %s", strerror(errno));
	if (WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP)
		bench_die("the program got signal %d", WSTOPSIG(status));
	return WIFSTOPPED(status);
}

/* From the first instruction of a function to its return. */
static void step_through(pid_t pid, const char *name,
			 struct user_regs_struct regs)
{
	unsigned long sp = regs.rsp;
	int steps;

	printf("%s\n", name);
	for (steps = 0; regs.rsp <= sp; steps++) {
		if (steps == MAX_STEPS)
			bench_die("no end of a %s", name);
		print_step(regs.rip);
		if (!go(pid, PTRACE_SINGLESTEP))
			bench_die("the program ended in a %s", name);
		regs = registers(pid);
	}
}

static void trace(pid_t pid)
{
	struct user_regs_struct regs;
	unsigned long at_malloc, at_free;
	int calls = 0;

	/* the first stop is that of exec */
	if (!go(pid, PTRACE_CONT))
		bench_die("the program ended too early");
	regs = registers(pid);
	at_malloc = regs.rax;
	at_free = regs.rbx;
	read_maps(pid);
	while (calls < 2 * PAIRS) {
		if (!go(pid, PTRACE_SINGLESTEP))
			bench_die("the program ended too early");
		regs = registers(pid);
		if (regs.rip != at_malloc && regs.rip != at_free)
			continue;
		step_through(pid, regs.rip == at_malloc ? "malloc" : "free",
			     regs);
		calls++;
	}
	ptrace(PTRACE_KILL, pid, NULL, NULL);
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc == 2 && !strcmp(argv[1], "--child"))
		child();
	if (argc != 1)
		bench_die("usage: bench-steps");
	pid = fork();
	if (pid < 0)
		bench_die("fork: %s", strerror(errno));
	if (!pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			bench_die("PTRACE_TRACEME: %s", strerror(errno));
		execl("/proc/self/exe", argv[0], "--child", NULL);
		bench_die("exec: %s", strerror(errno));
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		bench_die("the program did not start");
	trace(pid);
	printf("%s\n", bench_origin());
	return 0;
}
