// SPDX-License-Identifier: MIT
/*
 * libapb.so as a library that is opened late, from several threads, and closed
 * while others use it: its thread-local pointer is in static TLS, of which
 * libraries that are opened late have to find enough; threads that were there
 * before have it as well; and it stays when it is closed, as threads have heaps
 * in it.  Each test is a process of its own, so that it is opened anew.
 */
#define _GNU_SOURCE /* readlink(), PATH_MAX */
#include "testlib.h"

#include "initialised.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8

/* What the library has to offer. */
struct lib {
	void *handle;
	void *(*malloc)(size_t size);
	void *(*realloc)(void *ptr, size_t size);
	void (*free)(void *ptr);
	size_t (*usable_size)(const void *ptr);
	size_t (*trim)(void);
	int (*check)(struct apb_violation *v);
	void (*stats)(struct apb_stats *s);
	void (*set_misuse)(apb_misuse_fn fn, void *arg);
};

/* In children: what is wrong ends them. */
#define must(cond)                                                            \
	do {                                                                  \
		if (!(cond)) {                                                \
			dprintf(STDERR_FILENO, "line %d: %s: %s\n", __LINE__, \
				#cond, dlerror());                            \
			_exit(1);                                             \
		}                                                             \
	} while (0)

/* The program is BUILD/FLAVOUR/unit/NAME, the library is in BUILD. */
static const char *library(void)
{
	static char path[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX);
	int up;

	must(n > 0);
	path[n] = '\0';
	for (up = 0; up < 3; up++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/libapb.so");
	return path;
}

static void symbol(const struct lib *lib, const char *name, void *fn)
{
	void *p = dlsym(lib->handle, name);

	must(p);
	memcpy(fn, &p, sizeof(p));
}

static void open_lib(struct lib *lib)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static const char *path;

	pthread_mutex_lock(&lock);
	if (!path)
		path = library();
	pthread_mutex_unlock(&lock);
	lib->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	must(lib->handle);
	symbol(lib, "apb_malloc", &lib->malloc);
	symbol(lib, "apb_realloc", &lib->realloc);
	symbol(lib, "apb_free", &lib->free);
	symbol(lib, "apb_usable_size", &lib->usable_size);
	symbol(lib, "apb_trim", &lib->trim);
	symbol(lib, "apb_check", &lib->check);
	symbol(lib, "apb_stats", &lib->stats);
	symbol(lib, "apb_set_misuse", &lib->set_misuse);
}

static void use(const struct lib *lib, uint64_t seed, int rounds)
{
	char *p[50] = {NULL};
	size_t size[50] = {0}, i;
	uint64_t r = seed;

	while (rounds--) {
		i = rnd(&r) % NR_OF(p);
		must(!p[i] || filled(p[i], size[i], seed + i));
		if (p[i] && rnd(&r) % 2) {
			lib->free(p[i]);
			p[i] = NULL;
			continue;
		}
		size[i] = 1 + rnd(&r) % (rnd(&r) % 50 ? 600 : 60000);
		p[i] = lib->realloc(p[i], size[i]);
		must(p[i]);
		must(lib->usable_size(p[i]) >= size[i]);
		fill(p[i], size[i], seed + i);
	}
	for (i = 0; i < NR_OF(p); i++) {
		must(!p[i] || filled(p[i], size[i], seed + i));
		lib->free(p[i]);
	}
}

static void must_be_empty(const struct lib *lib)
{
	struct apb_stats s;

	must(!lib->check(NULL));
	lib->stats(&s);
	initialised(&s, sizeof(s));
	must(!s.used_bytes && !s.large);
	lib->trim();
	lib->stats(&s);
	initialised(&s, sizeof(s));
	must(!s.arenas);
	must(s.mapped_bytes == s.heap_bytes);
}

static void assert_child_is_well(void (*fn)(void *arg))
{
	struct child c;

	run_child(&c, fn, NULL);
	assert_string_equal(c.err, "");
	assert_int_equal(c.status, 0);
}

/* ---- threads ---------------------------------------------------------- */

static pthread_t thread[THREADS];
static pthread_barrier_t barrier;

static void start(void *(*fn)(void *arg))
{
	uintptr_t i;

	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (i = 0; i < THREADS; i++)
		must(!pthread_create(&thread[i], NULL, fn, (void *)i));
}

static void join(void)
{
	size_t i;

	for (i = 0; i < THREADS; i++)
		must(!pthread_join(thread[i], NULL));
}

/* ---- the tests -------------------------------------------------------- */

static void in_one_thread(void *arg)
{
	struct lib lib, again;

	(void)arg;
	open_lib(&lib);
	must(lib.malloc != apb_malloc);
	use(&lib, 1, 20000);
	must_be_empty(&lib);
	dlclose(lib.handle);
	open_lib(&again);
	must(again.malloc == lib.malloc);
	use(&again, 2, 20000);
	must_be_empty(&again);
}

static void test_in_one_thread(void **ctx)
{
	(void)ctx;
	assert_child_is_well(in_one_thread);
}

static void *opens_and_closes(void *arg)
{
	struct lib lib;
	int i;

	pthread_barrier_wait(&barrier);
	for (i = 0; i < 50; i++) {
		open_lib(&lib);
		use(&lib, (uintptr_t)arg * 100 + (uint64_t)i, 200);
		dlclose(lib.handle);
	}
	return NULL;
}

/* All of them open it at once; it is closed while others use it. */
static void in_many_threads(void *arg)
{
	struct lib lib;

	(void)arg;
	start(opens_and_closes);
	pthread_barrier_wait(&barrier);
	join();
	open_lib(&lib);
	must_be_empty(&lib);
}

static void test_in_many_threads(void **ctx)
{
	int i;

	(void)ctx;
	for (i = 0; i < 20; i++)
		assert_child_is_well(in_many_threads);
}

static struct lib late;

static void *was_there_before(void *arg)
{
	pthread_barrier_wait(&barrier);
	/* it is opened now */
	pthread_barrier_wait(&barrier);
	use(&late, (uintptr_t)arg, 5000);
	pthread_barrier_wait(&barrier);
	/* and closed: the thread ends after that */
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void opened_after_the_threads(void *arg)
{
	(void)arg;
	start(was_there_before);
	pthread_barrier_wait(&barrier);
	open_lib(&late);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	dlclose(late.handle);
	pthread_barrier_wait(&barrier);
	join();
	open_lib(&late);
	must_be_empty(&late);
}

static void test_opened_after_the_threads(void **ctx)
{
	int i;

	(void)ctx;
	for (i = 0; i < 20; i++)
		assert_child_is_well(opened_after_the_threads);
}

/* A block outlives the thread that made it, and the closing. */
static char *left[THREADS];

static void *leaves_a_block(void *arg)
{
	struct lib lib;
	size_t i = (uintptr_t)arg;

	pthread_barrier_wait(&barrier);
	open_lib(&lib);
	left[i] = lib.malloc(1000);
	must(left[i]);
	fill(left[i], 1000, i);
	dlclose(lib.handle);
	return NULL;
}

static void blocks_outlive_it(void *arg)
{
	struct lib lib;
	size_t i;

	(void)arg;
	start(leaves_a_block);
	pthread_barrier_wait(&barrier);
	join();
	for (i = 0; i < THREADS; i++)
		must(filled(left[i], 1000, i));
	open_lib(&lib);
	for (i = 0; i < THREADS; i++)
		lib.free(left[i]);
	must_be_empty(&lib);
}

static void test_blocks_outlive_it(void **ctx)
{
	int i;

	(void)ctx;
	for (i = 0; i < 10; i++)
		assert_child_is_well(blocks_outlive_it);
}

/* fork() after it was opened in a thread that is no more, and closed. */
static void forks_with_it(void *arg)
{
	int status, i;
	pid_t pid;

	start(was_there_before);
	pthread_barrier_wait(&barrier);
	open_lib(&late);
	pthread_barrier_wait(&barrier);
	/* they use it */
	for (i = 0; i < 20; i++) {
		pid = fork();
		must(pid >= 0);
		if (!pid) {
			use(&late, 99, 2000);
			_exit(late.check(arg) ? 3 : 0);
		}
		must(waitpid(pid, &status, 0) == pid && !status);
	}
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	join();
	must_be_empty(&late);
}

static void test_forks_with_it(void **ctx)
{
	(void)ctx;
	assert_child_is_well(forks_with_it);
}

/* The program has an instance as well: each knows its own blocks only. */
static int foreign;

static void note(const struct apb_misuse *m, void *arg)
{
	must(m->kind == APB_MISUSE_FOREIGN);
	must(arg == &foreign);
	foreign++;
}

static void two_instances(void *arg)
{
	struct lib lib;
	char *ours, *theirs;

	(void)arg;
	open_lib(&lib);
	ours = apb_malloc(100);
	theirs = lib.malloc(100);
	apb_set_misuse(note, &foreign);
	lib.set_misuse(note, &foreign);
	apb_free(theirs);
	lib.free(ours);
	must(foreign == 2);
	must(apb_usable_size(ours) >= 100 && lib.usable_size(theirs) >= 100);
	apb_free(ours);
	lib.free(theirs);
	must(foreign == 2);
	must(!apb_check(NULL));
	must_be_empty(&lib);
}

static void test_two_instances(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	assert_child_is_well(two_instances);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_one_thread),
		cmocka_unit_test(test_in_many_threads),
		cmocka_unit_test(test_opened_after_the_threads),
		cmocka_unit_test(test_blocks_outlive_it),
		cmocka_unit_test(test_forks_with_it),
		cmocka_unit_test(test_two_instances),
	};

	return cmocka_run_group_tests_name("dlopen", tests, NULL,
					   test_teardown);
}
