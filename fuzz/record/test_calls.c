// SPDX-License-Identifier: MIT
/*
 * A program with known calls, for the recorder's test: calls SCENARIO [N].
 * It prints nothing and uses no stdio, whose buffers are allocated: what is
 * recorded is what stands here.  test_record.py has the expectations.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_THREADS 4
#define NR_ROUNDS 400
#define NR_MANY 17000

/* Only the recorder has them; without it they are not called. */
void free_sized(void *ptr, size_t size) __attribute__((weak));
void free_aligned_sized(void *ptr, size_t align, size_t size)
	__attribute__((weak));

static void *many[NR_MANY];

/* The compiler must not see that these can only fail. */
static volatile size_t size_max = SIZE_MAX;
static volatile size_t over_max = (size_t)PTRDIFF_MAX + 10;

static void need(int ok)
{
	if (!ok)
		_exit(3);
}

/* Each kind of call, with what may be odd about it. */
static void every_kind(void)
{
	void *a, *b, *c, *d, *e, *f, *g, *h, *p;

	a = malloc(100); /* slot 0 */
	b = calloc(7, 11); /* 1 */
	c = realloc(NULL, 30); /* 2: a malloc */
	free(NULL); /* not an operation */
	free(b);
	d = malloc(0); /* 1 */
	a = realloc(a, 5000);
	a = reallocarray(a, 3, 70);
	e = aligned_alloc(256, 512); /* 3 */
	need(!posix_memalign(&f, 64, 10)); /* 4 */
	g = memalign(4096, 1); /* 5 */
	free(f);
	free(e);
	h = valloc(9); /* 3 */
	e = pvalloc(9); /* 4: a whole page */
	/* failures that every allocator agrees on */
	need(!malloc(size_max) && errno == ENOMEM);
	need(!calloc(size_max / 2, 3));
	need(!reallocarray(a, size_max / 4, 8));
	need(posix_memalign(&p, 24, 8) == EINVAL);
	need(!realloc(c, over_max));
	need(!realloc(c, 0)); /* a free */
	free_sized(d, 0);
	free_aligned_sized(g, 4096, 1);
	a = realloc(a, (size_t)1 << 28); /* more than a record can say */
	need(a != NULL);
	free(a);
	free(e);
	free(h);
}

/* N blocks, then all are freed: sizes 1 to N. */
static void plain(int n)
{
	for (int i = 0; i < n; i++)
		many[i] = malloc((size_t)i + 1);
	for (int i = 0; i < n; i++)
		free(many[i]);
}

/* Thread T asks for 1000 * T + its round, and frees at once or a round on. */
static void *thread(void *arg)
{
	size_t t = (size_t)(uintptr_t)arg;
	void *old = NULL;

	for (size_t i = 0; i < NR_ROUNDS; i++) {
		void *p = malloc(1000 * t + i);

		if (i % 2) {
			free(p);
		} else {
			free(old);
			old = p;
		}
	}
	free(old);
	return NULL;
}

static void threads(void)
{
	pthread_t id[NR_THREADS];

	for (uintptr_t t = 0; t < NR_THREADS; t++)
		need(!pthread_create(&id[t], NULL, thread, (void *)(t + 1)));
	for (int t = 0; t < NR_THREADS; t++)
		need(!pthread_join(id[t], NULL));
}

static void await(pid_t pid)
{
	int status;

	need(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

/* The child frees what its parent has made, and asks for 77 and 78. */
static void forked(void)
{
	void *a = malloc(50), *b = malloc(51);
	pid_t pid = fork();

	if (!pid) {
		free(a);
		a = malloc(77);
		a = realloc(a, 78);
		b = realloc(b, 79);
		exit(0);
	}
	await(pid);
	free(b);
	a = realloc(a, 52);
	free(a);
}

static volatile sig_atomic_t forking;

static void *noise(void *arg)
{
	while (forking)
		free(malloc(24));
	return arg;
}

/* fork() while other threads are in the allocator: no child may hang. */
static void fork_storm(void)
{
	pthread_t id[2];

	forking = 1;
	for (int t = 0; t < 2; t++)
		need(!pthread_create(&id[t], NULL, noise, NULL));
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();

		if (!pid) {
			alarm(20);
			free(malloc(33));
			_exit(0);
		}
		await(pid);
	}
	forking = 0;
	for (int t = 0; t < 2; t++)
		need(!pthread_join(id[t], NULL));
}

/* The child of vfork() ends; the parent's recording goes on. */
static void vforked(void)
{
	void *a = malloc(10);
	pid_t pid = vfork();

	if (!pid)
		_exit(0);
	await(pid);
	free(a);
}

/* More live blocks than slots; two are freed and had anew. */
static void exhaust(void)
{
	for (int i = 0; i < NR_MANY; i++)
		many[i] = malloc(8);
	free(many[NR_MANY - 1]); /* has no slot */
	free(many[5]);
	many[5] = malloc(9);
	many[6] = realloc(many[6], 10);
	many[NR_MANY - 2] = realloc(many[NR_MANY - 2], 11);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int n = argc > 2 ? atoi(argv[2]) : 0;

	if (n < 0 || n > NR_MANY)
		return 2;
	if (!strcmp(what, "kinds"))
		every_kind();
	else if (!strcmp(what, "plain"))
		plain(n);
	else if (!strcmp(what, "threads"))
		threads();
	else if (!strcmp(what, "fork"))
		forked();
	else if (!strcmp(what, "fork-storm"))
		fork_storm();
	else if (!strcmp(what, "vfork"))
		vforked();
	else if (!strcmp(what, "exhaust"))
		exhaust();
	else if (!strcmp(what, "exec"))
		execl(argv[0], argv[0], "plain", "3", (char *)NULL);
	else if (!strcmp(what, "chdir"))
		need(!chdir("/"));
	else if (strcmp(what, "nothing"))
		return 2;
	if (!strcmp(what, "chdir"))
		plain(1);
	if (n == 0)
		return 0;
	/* how it ends is part of the test */
	if (argc > 3 && !strcmp(argv[3], "_exit"))
		_exit(0);
	if (argc > 3 && !strcmp(argv[3], "quick_exit"))
		quick_exit(0);
	if (argc > 3 && !strcmp(argv[3], "kill"))
		raise(SIGKILL);
	return 0;
}
