// SPDX-License-Identifier: MIT
/*
 * Which mutant runs: APB_MUTANT in the environment.  APB_MUTANT_MARKS names a
 * file with a byte for each; a tracing program sets those it comes by.  The
 * file is mapped shared, so that what a child or a killed process did is seen.
 * APB_MUTANT_CPU are the milliseconds of CPU that a mutant may take.
 */
#include "mutate/select.h"

#include "mutate/schema.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

unsigned int apb_mutant;

static unsigned char no_file[APB_MUTANTS_MAX];
unsigned char *apb_mutant_marks = no_file;
static size_t nr_marks;

size_t mutate_marks(const unsigned char **at)
{
	*at = apb_mutant_marks;
	return nr_marks;
}

void mutate_forget(void)
{
	memset(apb_mutant_marks, 0, nr_marks);
}

static void map_marks(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) || st.st_size < APB_MUTANTS_MAX)
		_exit(2);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		 fd, 0);
	if (p == MAP_FAILED)
		_exit(2);
	close(fd);
	apb_mutant_marks = p;
	nr_marks = (size_t)st.st_size;
}

/*
 * A mutant must not run for ever, take all memory, fill the disk, or outlive
 * who watches it.  A limit knows of whole seconds only, a timer is not a
 * child's: both.
 */
static void limit(unsigned long ms)
{
	unsigned long seconds = ms / 1000 + 1;
	struct itimerval timer = {
		.it_value = {(time_t)(ms / 1000),
			     (suseconds_t)(ms % 1000 * 1000)},
	};
	struct rlimit cpu = {seconds, seconds};
	struct rlimit data = {(rlim_t)4 << 30, (rlim_t)4 << 30};
	struct rlimit file = {64 << 20, 64 << 20};
	struct rlimit core = {0, 0};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setrlimit(RLIMIT_CPU, &cpu) || setrlimit(RLIMIT_DATA, &data) ||
	    setrlimit(RLIMIT_FSIZE, &file) || setrlimit(RLIMIT_CORE, &core) ||
	    setitimer(ITIMER_PROF, &timer, NULL))
		_exit(2);
}

static const char *value_of(char **env, const char *name)
{
	size_t len = strlen(name);

	for (; *env; env++)
		if (!strncmp(*env, name, len) && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

/* Before any constructor, of which the allocator has some, and libc's own. */
static void choose(int argc, char **argv, char **env)
{
	const char *mutant = value_of(env, "APB_MUTANT");
	const char *path = value_of(env, "APB_MUTANT_MARKS");
	const char *cpu = value_of(env, "APB_MUTANT_CPU");

	(void)argc;
	(void)argv;
	if (cpu)
		limit(strtoul(cpu, NULL, 10));
	if (mutant)
		apb_mutant = (unsigned int)strtoul(mutant, NULL, 10);
	if (path)
		map_marks(path);
}

__attribute__((section(".preinit_array"),
	       used)) static void (*const first)(int argc, char **argv,
						 char **env) = choose;
