// SPDX-License-Identifier: MIT
/*
 * For the recorder's test of reentry: preloaded behind it.  Its dlsym()
 * allocates before it looks anything up, as some C libraries' do, and the
 * malloc() that it lets the recorder find calls calloc() in turn.  Nothing of
 * that is a call of the program.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t size);

static unsigned int nr_early, nr_reentered;

static void *next_malloc(size_t size)
{
	/* from inside the recorder */
	char *p = calloc(3, 5);

	if (p && !p[0] && !p[14])
		nr_reentered++;
	free(p);
	return __libc_malloc(size);
}

/* The recorder has nothing to forward to yet. */
static void allocate_early(void)
{
	char *p = calloc(10, 10);
	char *q = malloc(40);

	if (!p || !q || p[99])
		abort();
	memset(p, 1, 100);
	p = realloc(p, 200);
	if (!p || p[0] != 1 || p[99] != 1)
		abort();
	p[199] = 1;
	free(p);
	free(q);
	nr_early++;
}

__attribute__((visibility("default"))) void *dlsym(void *restrict handle,
						   const char *restrict name)
{
	void *(*real_dlsym)(void *, const char *);

	allocate_early();
	if (!strcmp(name, "malloc"))
		return (void *)next_malloc;
	*(void **)&real_dlsym = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
	return real_dlsym ? real_dlsym(handle, name) : NULL;
}

static __attribute__((destructor)) void report(void)
{
	static const char text[] = "next: reentered\n";

	if (nr_early && nr_reentered &&
	    write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		return;
}
