// SPDX-License-Identifier: MIT
/*
 * fork() while other threads allocate: the child, whose only thread is the one
 * that forked, can use the allocator, finds it whole, and does not hang.
 */
#include "testlib.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 2
#define FORKS 100
#define HANG_SECONDS 50

static atomic_bool stop;
static atomic_size_t rounds;
static atomic_size_t errors;

/* As much as possible happens under the lock. */
static void *busy(void *arg)
{
	uint64_t r = (uintptr_t)arg;
	void *p[64] = {NULL};
	size_t i;

	while (!stop) {
		uint64_t x = rnd(&r);

		i = x % 64;
		apb_free(p[i]);
		p[i] = apb_malloc(x >> 32 & 127 ? (x >> 40) % 3000 : 50000);
		if (!p[i])
			errors++;
		if (i == 0)
			apb_settle();
		rounds++;
	}
	for (i = 0; i < 64; i++)
		apb_free(p[i]);
	return NULL;
}

static char *inherited[100];
static void *kept; /* of handlers, see below */

static void *thread_of_child(void *arg)
{
	int i;

	for (i = 0; i < 100; i++)
		apb_free(apb_malloc(100));
	return arg;
}

/* In the child: ends it, with status 0 if all is well. */
static void child(int i)
{
	pthread_t thread;
	int k;

	signal(SIGALRM, SIG_DFL);
	alarm(HANG_SECONDS);
	if (apb_check(NULL))
		_exit(2);
	for (k = 0; k < 100; k++) {
		if (!filled(inherited[k], 40, (uint64_t)k))
			_exit(3);
		apb_free(inherited[k]);
		inherited[k] = apb_malloc((size_t)k * 100);
		if (!inherited[k])
			_exit(4);
	}
	inherited[0] = apb_realloc(inherited[0], 100000);
	if (!inherited[0] || apb_check(NULL))
		_exit(5);
	/* the child may have threads of its own, and forks */
	if (i % 16 == 0) {
		if (pthread_create(&thread, NULL, thread_of_child, NULL))
			_exit(6);
		pthread_join(thread, NULL);
	}
	if (i % 16 == 8) {
		pid_t pid = fork();
		int status;

		if (!pid)
			_exit(apb_check(NULL) || !apb_malloc(1) ? 7 : 0);
		if (waitpid(pid, &status, 0) != pid || status)
			_exit(8);
	}
	apb_trim();
	_exit(apb_check(NULL) ? 9 : 0);
}

static void fork_once(int i)
{
	int status = 0;
	pid_t pid;

	/* of the parent: it hangs if fork() does */
	alarm(HANG_SECONDS);
	pid = fork();
	if (!pid)
		child(i);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		errors++;
		print_error("fork %d: status %#x\n", i, (unsigned int)status);
	}
}

static void *forks(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < FORKS && !errors; i++)
		fork_once(i);
	return NULL;
}

static void run_forks(bool in_main)
{
	pthread_t thread[THREADS], forker;
	size_t i;

	stop = false;
	errors = 0;
	rounds = 0;
	for (i = 0; i < NR_OF(inherited); i++) {
		inherited[i] = apb_malloc(40);
		fill(inherited[i], 40, i);
	}
	for (i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&thread[i], NULL, busy, (void *)(i + 1)),
			0);
	if (in_main) {
		forks(NULL);
	} else {
		pthread_create(&forker, NULL, forks, NULL);
		pthread_join(forker, NULL);
	}
	stop = true;
	for (i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(errors, 0);
	assert_true(rounds > 0);
	for (i = 0; i < NR_OF(inherited); i++)
		apb_free(inherited[i]);
	alarm(0);
	apb_free(kept);
	kept = NULL;
	assert_int_equal(stats_now().used_bytes, 0);
	assert_whole();
}

static void test_from_the_main_thread(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	run_forks(true);
}

static void test_from_another_thread(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	run_forks(false);
}

static void test_with_one_thread(void **ctx)
{
	size_t i;

	(void)ctx;
	fresh_kernel();
	errors = 0;
	for (i = 0; i < NR_OF(inherited); i++) {
		inherited[i] = apb_malloc(40);
		fill(inherited[i], 40, i);
	}
	for (i = 0; i < 20; i++)
		fork_once((int)i);
	assert_int_equal(errors, 0);
	assert_whole();
}

/* ---- handlers of others ----------------------------------------------- */

static atomic_size_t handled;

static void handler(void)
{
	void *p = apb_malloc(200);

	if (!p)
		errors++;
	apb_free(kept);
	kept = p;
	handled++;
}

/* Handlers that allocate, before, and after in both processes. */
static void test_handlers_that_allocate(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	assert_int_equal(pthread_atfork(handler, handler, handler), 0);
	handled = 0;
	run_forks(true);
	assert_int_equal(handled, 2 * FORKS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_the_main_thread),
		cmocka_unit_test(test_from_another_thread),
		cmocka_unit_test(test_with_one_thread),
		cmocka_unit_test(test_handlers_that_allocate),
	};

	return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
