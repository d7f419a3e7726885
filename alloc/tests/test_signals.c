// SPDX-License-Identifier: MIT
/*
 * Signals.  The allocator is not async-signal-safe: a handler must not call it
 * and must not leave a call by siglongjmp().  What a program may rely on is
 * tested: handlers that come at any moment, on a stack of their own too, do no
 * harm; errno of the interrupted call is as documented; and siglongjmp() out
 * of code that is not the allocator's leaves it fit for use.
 */
#define _GNU_SOURCE /* SIGEV_THREAD_ID */
#include "stresslib.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_USEC 100

static atomic_size_t came;
static atomic_int wrong;
static int pipe_fd[2];

/* What a handler may do: system calls, its own variables; it keeps errno. */
static void handler(int sig)
{
	int saved = errno;
	char canary[256];

	memset(canary, sig, sizeof(canary));
	if (write(pipe_fd[1], canary, 1) != 1 && errno != EAGAIN)
		wrong = 1;
	if (canary[255] != sig)
		wrong = 2;
	came++;
	errno = saved;
}

static void install(void (*fn)(int), int flags)
{
	struct sigaction sa = {.sa_handler = fn, .sa_flags = flags};

	assert_int_equal(sigaction(SIGALRM, &sa, NULL), 0);
	came = 0;
	wrong = 0;
}

static void every(long usec)
{
	struct itimerval it = {{0, usec}, {0, usec}};

	assert_int_equal(setitimer(ITIMER_REAL, &it, NULL), 0);
}

static void setup(void)
{
	fresh_kernel();
	assert_int_equal(pipe2(pipe_fd, 04000 /* O_NONBLOCK */), 0);
}

static void finish(void)
{
	every(0);
	/* one may still be on its way */
	signal(SIGALRM, SIG_IGN);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	assert_int_equal(wrong, 0);
	assert_no_complaint();
	assert_all_given_back();
}

/* All sizes, all calls; until enough signals came. */
static void tight_loop(size_t signals, uint64_t r)
{
	struct label *slot[100] = {NULL};
	size_t i, n = 0;

	while (came < signals) {
		uint64_t x = rnd(&r);
		struct label **s = &slot[x % NR_OF(slot)];

		errno = 7777;
		if (!*s) {
			*s = label_make(label_size(&r), &r);
		} else if (x >> 32 & 1) {
			*s = label_resize(*s, label_size(&r));
		} else {
			label_drop(*s);
			/* apb_free() keeps it, whatever the handler did */
			expect(errno == 7777);
			*s = NULL;
		}
		if (++n % 1024 == 0) {
			apb_trim();
			expect(!apb_check(NULL));
		}
	}
	for (i = 0; i < NR_OF(slot); i++)
		label_drop(slot[i]);
}

#define SIGNALS stress_times(2000, 100000)

static void test_tight_loop(void **ctx)
{
	(void)ctx;
	setup();
	install(handler, SA_RESTART);
	every(PERIOD_USEC);
	tight_loop(SIGNALS, 1);
	finish();
}

/* Calls of the system may end with EINTR. */
static void test_without_restart(void **ctx)
{
	(void)ctx;
	setup();
	install(handler, 0);
	every(PERIOD_USEC);
	tight_loop(SIGNALS, 2);
	finish();
}

static void test_on_a_stack_of_its_own(void **ctx)
{
	stack_t ss = {.ss_size = 65536}, off = {.ss_flags = SS_DISABLE};

	(void)ctx;
	setup();
	/* even one of the allocator's blocks */
	ss.ss_sp = apb_malloc(ss.ss_size);
	assert_int_equal(sigaltstack(&ss, NULL), 0);
	install(handler, SA_RESTART | SA_ONSTACK);
	every(PERIOD_USEC);
	tight_loop(SIGNALS, 3);
	every(0);
	assert_int_equal(sigaltstack(&off, NULL), 0);
	apb_free(ss.ss_sp);
	finish();
}

/* ---- threads ---------------------------------------------------------- */

static void signalled(size_t index, void *arg)
{
	(void)arg;
	tight_loop(SIGNALS, index);
}

/* The threads wait for each other's locks, and are interrupted in that. */
static void test_threads(void **ctx)
{
	struct crew crew;
	size_t i;

	(void)ctx;
	setup();
	install(handler, SA_RESTART);
	crew_start(&crew, 4, signalled, NULL);
	for (i = 0; came < SIGNALS; i++) {
		pthread_kill(crew.thread[i % 4], SIGALRM);
		usleep(50);
	}
	crew_join(&crew);
	finish();
}

/* ---- siglongjmp() ----------------------------------------------------- */

static sigjmp_buf back;
static atomic_bool may_jump;

static void jump(int sig)
{
	came++;
	if (!may_jump)
		return;
	may_jump = false;
	siglongjmp(back, sig);
}

/*
 * By a pointer, lest the compiler write the bytes itself: ThreadSanitizer's run
 * time hands on a signal where it is called, and nowhere else.
 */
static void *(*volatile set)(void *p, int c, size_t size) = memset;

/* Out of a loop that computes, and out of a copy to a block. */
static void compute(char *block, size_t size)
{
	volatile uint64_t x = 1;

	for (;;) {
		set(block, (int)x, size);
		x = x * 3 + 1;
	}
}

static void test_jump_out_of_nothing(void **ctx)
{
	struct label *volatile b = NULL;
	volatile uint64_t r = 1;
	volatile size_t i;
	char *volatile p;

	(void)ctx;
	setup();
	p = apb_malloc(3000);
	install(jump, SA_RESTART);
	every(1000);
	for (i = 0; i < stress_times(300, 20000); i++) {
		uint64_t seed = r;

		b = label_make(label_size(&seed), &seed);
		r = seed;
		if (!sigsetjmp(back, 1)) {
			may_jump = true;
			compute(p, 3000);
		}
		label_drop(b);
		expect(i % 32 || !apb_check(NULL));
	}
	every(0);
	apb_free(p);
	finish();
}

/*
 * A fault in the program's own code: the handler leaves it, and the allocator
 * goes on to work.  (How some runtimes look whether memory can be read.)
 */
static void fault(int sig)
{
	siglongjmp(back, sig);
}

static void test_fault_in_the_program(void **ctx)
{
	struct sigaction sa = {.sa_handler = fault}, old;
	volatile size_t i;
	char *volatile p;

	(void)ctx;
	setup();
	assert_int_equal(sigaction(SIGUSR1, &sa, &old), 0);
	for (i = 0; i < 200; i++) {
		p = apb_malloc(100 + i * 300);
		if (!sigsetjmp(back, 1))
			raise(SIGUSR1);
		p = apb_realloc(p, 50 + i * 400);
		apb_free(p);
	}
	sigaction(SIGUSR1, &old, NULL);
	finish();
}

/* ---- the handler that forks ------------------------------------------- */

/*
 * fork() is async-signal-safe by POSIX of 2008 as long as no handler of
 * pthread_atfork() is not; ours take locks, so that it is documented to be
 * fit for a handler that interrupts what is not the allocator.
 */
static void forking(int sig)
{
	int saved = errno, status = -1;
	pid_t pid;

	came++;
	(void)sig;
	if (!may_jump)
		return;
	pid = fork();
	if (!pid)
		_exit(0);
	if (waitpid(pid, &status, 0) != pid || status)
		wrong = 3;
	may_jump = false;
	errno = saved;
}

static void test_fork_in_a_handler(void **ctx)
{
	volatile size_t i;
	void *p;

	(void)ctx;
	setup();
	install(forking, SA_RESTART);
	every(1000);
	for (i = 0; i < stress_times(100, 2000); i++) {
		p = apb_malloc(i * 100 + 1);
		for (may_jump = true; may_jump;)
			;
		apb_free(p);
	}
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tight_loop),
		cmocka_unit_test(test_without_restart),
		cmocka_unit_test(test_on_a_stack_of_its_own),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_jump_out_of_nothing),
		cmocka_unit_test(test_fault_in_the_program),
		cmocka_unit_test(test_fork_in_a_handler),
	};

	return cmocka_run_group_tests_name("signals", tests, NULL,
					   test_teardown);
}
