// SPDX-License-Identifier: MIT
/*
 * Allocation before main() and after it, and by what allocates behind the
 * program's back: constructors of every priority, dlsym(), pthread keys,
 * getenv(), stdio, dl_iterate_phdr(), thread-local storage and its
 * destructors, atexit(), destructors.  A getenv() of the program's own
 * allocates, as bash's does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "expect.h"

#define NR_KEYS 100
#define NR_THREADS 8

extern char **environ;

static char *early, *earlier, *late;
static pthread_key_t keys[NR_KEYS];
static int destroyed;

/* Allocate, write and free a bit of everything; returns a block. */
static char *work(char c)
{
	static const size_t sizes[] = {1, 100, 1000, 10000, 100000, 1000000};
	char *kept = NULL;
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *p = malloc(sizes[i]);

		EXPECT(p);
		memset(p, c, sizes[i]);
		p = realloc(p, sizes[i] + 50);
		EXPECT(p && p[0] == c && p[sizes[i] - 1] == c);
		free(kept);
		kept = p;
	}
	return kept;
}

char *getenv(const char *name)
{
	char *copy = strdup(name), *value = NULL;
	size_t len = strlen(name);
	char **e;

	for (e = environ; e && *e && !value; e++) {
		if (!strncmp(*e, copy, len) && (*e)[len] == '=')
			value = *e + len + 1;
	}
	free(copy);
	return value;
}

/* ---- before main() ---------------------------------------------------- */

static void in_preinit(void)
{
	earlier = work('p');
}

/* Before the constructors of all libraries. */
__attribute__((section(".preinit_array"),
	       used)) static void (*const preinit)(void) = in_preinit;

__attribute__((constructor(101))) static void first(void)
{
	early = work('e');
}

static int per_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	char *copy = strdup(info->dlpi_name);

	(void)size;
	++*(int *)arg;
	free(copy);
	return 0;
}

__attribute__((constructor)) static void last(void)
{
	int nr = 0;

	EXPECT(early[0] == 'e' && earlier[0] == 'p');
	dl_iterate_phdr(per_object, &nr);
	EXPECT(nr > 0);
	EXPECT(getenv("PATH"));
	EXPECT(!secure_getenv("NO_SUCH_VARIABLE"));
	free(earlier);
	late = work('l');
}

/* ---- threads ---------------------------------------------------------- */

/* Some keys set again, so that destructors run more than once. */
static void destroy(void *p)
{
	static _Thread_local int rounds;

	EXPECT(*(char *)p == 'k');
	free(p);
	__atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
	if (rounds++ < 10)
		pthread_setspecific(keys[rounds], memset(malloc(50), 'k', 50));
}

static void *thread(void *arg)
{
	static _Thread_local char *own;
	int i;

	(void)arg;
	own = work('t');
	for (i = 0; i < NR_KEYS; i++)
		pthread_setspecific(keys[i], memset(malloc(100), 'k', 100));
	EXPECT(own[0] == 't');
	return own;
}

static void threads(void)
{
	pthread_t id[NR_THREADS];
	void *own;
	int i;

	for (i = 0; i < NR_KEYS; i++)
		EXPECT(!pthread_key_create(&keys[i], destroy));
	for (i = 0; i < NR_THREADS; i++)
		EXPECT(!pthread_create(&id[i], NULL, thread, NULL));
	for (i = 0; i < NR_THREADS; i++) {
		EXPECT(!pthread_join(id[i], &own));
		EXPECT(*(char *)own == 't');
		free(own);
	}
	EXPECT(destroyed >= NR_THREADS * NR_KEYS);
}

/* ---- after main() ----------------------------------------------------- */

static void at_exit(void)
{
	EXPECT(late[0] == 'l' || late[0] == 'x');
	free(late);
	late = work('x');
}

__attribute__((destructor)) static void end(void)
{
	EXPECT(late[0] == 'x');
	free(late);
	late = work('d');
}

__attribute__((destructor(101))) static void very_end(void)
{
	EXPECT(late[0] == 'd');
	free(late);
	free(work('v'));
}

/* Arguments: none, or anything: the program has no dynamic symbols. */
int main(int argc, char **argv)
{
	char *line;
	int i;

	(void)argv;
	free(early);
	for (i = 0; i < 200; i++)
		EXPECT(!atexit(at_exit)); /* its list is allocated */
	EXPECT(argc > 1 || dlsym(RTLD_DEFAULT, "malloc"));
	EXPECT(!dlsym(RTLD_DEFAULT, "no_such_function") && dlerror());
	EXPECT(setlocale(LC_ALL, "C.UTF-8"));
	EXPECT(!setenv("APB_TEST", "value", 1) && getenv("APB_TEST"));
	EXPECT(asprintf(&line, "%200d", 7) == 200);
	free(line);
	threads();
	return 0;
}
