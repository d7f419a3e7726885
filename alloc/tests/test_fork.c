// SPDX-License-Identifier: MIT
/*
 * fork() while other threads allocate: the child, whose only thread is the one
 * that forked, can use the allocator, finds it whole, and does not hang;
 * neither does the parent.  A hang is a failure: alarm() sees to it, in both.
 */
#define _GNU_SOURCE /* mremap() */
#include "stresslib.h"

#include "api/lock.h"

#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8
#define HANG_SECONDS 50

static atomic_bool stop;
static atomic_size_t rounds;

/* ---- what the parent's threads do ------------------------------------- */

/* Each frees what another made. */
static _Atomic(struct label *) boxes[256];

static void busy(size_t index, void *arg)
{
	uint64_t r = index;
	void *p[64] = {NULL};
	size_t i;

	(void)arg;
	while (!stop) {
		uint64_t x = rnd(&r);

		i = x % 64;
		apb_free(p[i]);
		p[i] = apb_malloc(x >> 32 & 127 ? (x >> 40) % 3000 : 50000);
		expect(p[i]);
		label_drop(atomic_exchange(&boxes[x >> 8 & 255],
					   label_make(16 + (x >> 50), &r)));
		if (x >> 16 & 63)
			continue;
		/* what holds several locks, or holds one for long */
		if (index % 4 == 0)
			apb_settle();
		else if (index % 4 == 1)
			apb_trim();
		else if (index % 4 == 2)
			expect(!apb_check(NULL));
		else
			stats_now();
		atomic_fetch_add(&rounds, 1);
	}
	for (i = 0; i < 64; i++)
		apb_free(p[i]);
}

/* Threads that come and go, so that heaps are made and given up meanwhile. */
static void *ephemeral(void *arg)
{
	uint64_t r = (uintptr_t)arg;
	size_t i;

	for (i = 0; i < 30; i++)
		label_drop(atomic_exchange(&boxes[rnd(&r) & 255],
					   label_make(label_size(&r), &r)));
	return NULL;
}

static void comes_and_goes(size_t index, void *arg)
{
	pthread_t thread;
	uintptr_t i;

	(void)arg;
	for (i = index; !stop; i++) {
		if (pthread_create(&thread, NULL, ephemeral, (void *)i))
			continue;
		pthread_join(thread, NULL);
		atomic_fetch_add(&rounds, 1);
	}
}

static void empty_boxes(void)
{
	size_t i;

	for (i = 0; i < NR_OF(boxes); i++)
		label_drop(atomic_exchange(&boxes[i], NULL));
}

/* ---- what the child does ---------------------------------------------- */

static struct label *inherited[100];
static void *kept; /* of handlers, see below */

static void *thread_of_child(void *arg)
{
	uint64_t r = (uintptr_t)arg;
	size_t i;

	/* the blocks of threads that are no more, and of the one that forked */
	for (i = 0; i < NR_OF(boxes); i += 2)
		label_drop(atomic_exchange(&boxes[i], NULL));
	for (i = 0; i < 100; i++)
		label_drop(label_make(label_size(&r), &r));
	return NULL;
}

static void threads_of_child(void)
{
	pthread_t thread[2];
	uintptr_t i;

	for (i = 0; i < 2; i++)
		if (pthread_create(&thread[i], NULL, thread_of_child,
				   (void *)i))
			_exit(20);
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
}

static void grandchild(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(apb_check(NULL) || !apb_malloc(1) ? 1 : 0);
	if (waitpid(pid, &status, 0) != pid || status)
		_exit(21);
}

/* The heaps of threads that are no more are nobody's. */
static bool alone(void)
{
	const struct apb_node *node = apb_state.heaps.all;

	for (; node; node = node->next) {
		const struct apb_heap *heap =
			apb_entry(node, struct apb_heap, node);

		if (heap->attached != (heap == apb_tls))
			return false;
	}
	return true;
}

/* Ends with status 0 if all is well. */
static void child(size_t i)
{
	struct apb_stats stats;
	uint64_t r = i;
	size_t k;

	signal(SIGALRM, SIG_DFL);
	alarm(HANG_SECONDS);
	if (!alone())
		_exit(15);
	if (i % 4 == 0 && apb_check(NULL))
		_exit(10);
	for (k = 0; k < NR_OF(inherited); k++) {
		if (!label_holds(inherited[k]))
			_exit(11);
		label_drop(inherited[k]);
		inherited[k] = label_make(label_size(&r), &r);
	}
	inherited[0] = label_resize(inherited[0], 100000);
	inherited[1] = label_resize(inherited[1], 3000);
	if (apb_check(NULL))
		_exit(12);
	/* TSan has no second thread after such a fork */
	if (i % 16 == 0 && !APB_SAN_THREAD)
		threads_of_child();
	if (i % 16 == 8)
		grandchild();
	if (i % 3 == 0) {
		for (k = 0; k < NR_OF(inherited); k++)
			label_drop(inherited[k]);
		empty_boxes();
		apb_settle();
	}
	apb_trim();
	stats = stats_now();
	if (!stats_add_up(&stats) || apb_check(NULL))
		_exit(13);
	_exit(stress_complaints() ? 14 : 0);
}

/* ---- forking ---------------------------------------------------------- */

static void fork_once(size_t i)
{
	int status = 0;
	pid_t pid;

	/* of the parent: it hangs if fork() does */
	alarm(HANG_SECONDS);
	pid = fork();
	if (!pid)
		child(i);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		expect(!"fork");
		print_error("fork %zu: status %#x\n", i, (unsigned int)status);
	}
	/* and here all goes on */
	apb_free(apb_malloc(1 + i % 2000));
}

static void *forks(void *arg)
{
	size_t i, nr = *(size_t *)arg;

	for (i = 0; i < nr && !stress_complaints(); i++)
		fork_once(i);
	return NULL;
}

struct run {
	void (*busy)(size_t index, void *arg);
	size_t threads;
	size_t forks;
	bool elsewhere; /* not in the main thread */
};

static void run_forks(struct run run)
{
	pthread_t forker;
	struct crew crew;
	uint64_t r = 1;
	size_t i;

	stop = false;
	rounds = 0;
	for (i = 0; i < NR_OF(inherited); i++)
		inherited[i] = label_make(label_size(&r), &r);
	crew_start(&crew, run.threads, run.busy, NULL);
	if (run.elsewhere) {
		pthread_create(&forker, NULL, forks, &run.forks);
		pthread_join(forker, NULL);
	} else {
		forks(&run.forks);
	}
	while (run.threads && !rounds)
		usleep(1000);
	stop = true;
	crew_join(&crew);
	alarm(0);
	for (i = 0; i < NR_OF(inherited); i++)
		label_drop(inherited[i]);
	empty_boxes();
	apb_free(kept);
	kept = NULL;
	assert_no_complaint();
	assert_all_given_back();
}

static void test_from_the_main_thread(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	run_forks((struct run){busy, THREADS, stress_times(100, 5000), false});
}

static void test_from_another_thread(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	run_forks((struct run){busy, THREADS, stress_times(50, 2000), true});
}

static void test_with_threads_that_come_and_go(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	run_forks(
		(struct run){comes_and_goes, 4, stress_times(60, 2000), false});
}

static void test_with_one_thread(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	run_forks((struct run){busy, 0, stress_times(50, 1000), false});
}

/*
 * A handler that was registered before the allocator's, and so runs before it
 * in the child, makes that process's first thread.
 */
static bool early_thread;

static void *nothing(void *arg)
{
	return arg;
}

static void early_in_child(void)
{
	pthread_t thread;

	if (early_thread && !pthread_create(&thread, NULL, nothing, NULL))
		pthread_join(thread, NULL);
}

static void early(void)
{
	pthread_atfork(NULL, NULL, early_in_child);
}

__attribute__((section(".preinit_array"),
	       used)) static void (*preinit)(void) = early;

static void test_first_thread_is_made_in_the_child(void **ctx)
{
	int status = 0;
	pid_t pid;

	(void)ctx;
	/* until fork() returns they hold locks of theirs in the child */
	if (APB_SAN_MEMORY || APB_SAN_THREAD)
		skip();
	assert_true(apb_single_threaded());
	apb_free(apb_malloc(1));
	early_thread = true;
	pid = fork();
	early_thread = false;
	if (!pid) {
		/* what was not taken is not given up either */
		if (apb_single_threaded() || apb_state_lock.__data.__nusers ||
		    apb_heaps_lock.__data.__nusers)
			_exit(15);
		apb_free(apb_malloc(100));
		_exit(apb_check(NULL) ? 16 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Several threads fork at the same time. */
static void forks_too(size_t index, void *arg)
{
	if (index < 2) {
		busy(index, arg);
		return;
	}
	forks(arg);
	if (index == 2)
		stop = true;
}

static void test_from_several_threads(void **ctx)
{
	size_t nr = stress_times(20, 700), i;
	uint64_t r = 1;

	(void)ctx;
	fresh_kernel();
	stop = false;
	for (i = 0; i < NR_OF(inherited); i++)
		inherited[i] = label_make(label_size(&r), &r);
	crew_run(5, forks_too, &nr);
	alarm(0);
	for (i = 0; i < NR_OF(inherited); i++)
		label_drop(inherited[i]);
	empty_boxes();
	assert_no_complaint();
	assert_all_given_back();
}

/* ---- a thread sits on the locks ---------------------------------------- */

/*
 * Operations that are slow when they are told to be: the calling thread is in
 * the midst of one, with all the locks that it came with, when another forks.
 */
static atomic_bool slow, asleep;
static atomic_size_t slept;

static void take_a_nap(void)
{
	if (!slow)
		return;
	asleep = true;
	usleep(3000);
	asleep = false;
	atomic_fetch_add(&slept, 1);
}

static void *slow_map(void *ctx, void *hint, size_t size, bool *zero)
{
	void *p;

	(void)ctx;
	take_a_nap();
	*zero = true;
	p = mmap(hint, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static int slow_unmap(void *ctx, void *addr, size_t size)
{
	(void)ctx;
	take_a_nap();
	return munmap(addr, size);
}

static int slow_purge(void *ctx, void *addr, size_t size)
{
	(void)ctx;
	take_a_nap();
	return madvise(addr, size, MADV_DONTNEED);
}

static int slow_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		      void *new_addr)
{
	void *p;

	(void)ctx;
	take_a_nap();
	if (new_addr)
		p = mremap(addr, old_size, new_size,
			   MREMAP_MAYMOVE | MREMAP_FIXED, new_addr);
	else
		p = mremap(addr, old_size, new_size, 0);
	return p == MAP_FAILED ? -1 : 0;
}

/* Comes to the kernel by every way there is, one after the other. */
static void slow_thread(size_t index, void *arg)
{
	void *p[200];
	uint64_t r = 1;
	size_t i, way;
	char *big;

	(void)arg;
	if (index) {
		/* the others come and go: their heaps are taken over */
		comes_and_goes(index, NULL);
		return;
	}
	for (way = 0; !stop; way++) {
		/* a refill that maps an arena, a settling that unmaps it */
		for (i = 0; i < NR_OF(p); i++)
			p[i] = apb_malloc(1000 + way % 7 * 5000);
		for (i = 0; i < NR_OF(p); i++)
			apb_free(p[i]);
		if (way % 3 == 0)
			apb_settle();
		if (way % 3 == 1)
			apb_trim();
		big = apb_malloc(100000);
		big = apb_realloc(big, 3000000);
		big = apb_realloc(big, 50000);
		apb_free(big);
		label_drop(atomic_exchange(&boxes[0],
					   label_make(label_size(&r), &r)));
		if (way % 4 == 0)
			apb_trim();
		atomic_fetch_add(&rounds, 1);
	}
}

static void test_while_a_lock_is_held(void **ctx)
{
	size_t nr = stress_times(40, 1000), i, met = 0;
	const struct apb_os slow_os = {
		.map = slow_map,
		.unmap = slow_unmap,
		.purge = slow_purge,
		.remap = slow_remap,
	};
	struct crew crew;
	uint64_t r = 1;

	(void)ctx;
	fresh_kernel();
	assert_int_equal(apb_set_os(&slow_os), 0);
	slow = false;
	for (i = 0; i < NR_OF(inherited); i++)
		inherited[i] = label_make(label_size(&r), &r);
	stop = false;
	slept = 0;
	crew_start(&crew, 2, slow_thread, NULL);
	slow = true;
	for (i = 0; i < nr && !stress_complaints(); i++) {
		int status, wait;
		pid_t pid;

		alarm(HANG_SECONDS);
		for (wait = 0; !asleep && wait < 5000; wait++)
			usleep(20);
		met += asleep;
		pid = fork();
		if (!pid) {
			slow = false;
			child(i);
		}
		expect(pid > 0);
		expect(waitpid(pid, &status, 0) == pid && !status);
	}
	slow = false;
	stop = true;
	crew_join(&crew);
	alarm(0);
	assert_true(met >= nr / 2);
	assert_true(slept >= met / 2);
	for (i = 0; i < NR_OF(inherited); i++)
		label_drop(inherited[i]);
	empty_boxes();
	assert_no_complaint();
	assert_all_given_back();
}

/* ---- a thread is in apb_trim() ----------------------------------------- */

static void *waits(void *arg)
{
	pthread_barrier_wait(arg);
	return NULL;
}

/* Whether what is freed here goes back, as it has to. */
static bool gives_back(void)
{
	static void *p[20000];
	struct apb_stats stats;
	size_t i;

	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_malloc(500);
	for (i = 0; i < NR_OF(p); i++)
		apb_free(p[i]);
	apb_settle();
	apb_stats(&stats);
	return stats.dirty_bytes <= stats.dirty_limit;
}

/* Between two of its steps: there is nobody in the child who would finish. */
static void test_from_the_midst_of_a_trim(void **ctx)
{
	pthread_barrier_t barrier;
	pthread_t other;
	int status = 0;
	pid_t pid;

	(void)ctx;
	fresh_kernel();
	pthread_barrier_init(&barrier, NULL, 2);
	assert_int_equal(pthread_create(&other, NULL, waits, &barrier), 0);
	/* as apb_trim() has left it when it lets go of the locks for a while */
	apb_enter();
	apb_state.arenas.purge_later = true;
	apb_leave();
	pid = fork();
	if (!pid)
		_exit(gives_back() ? 0 : 17);
	apb_enter();
	apb_state.arenas.purge_later = false;
	apb_leave();
	pthread_barrier_wait(&barrier);
	pthread_join(other, NULL);
	pthread_barrier_destroy(&barrier);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(gives_back());
}

/* ---- programs started ------------------------------------------------- */

extern char **environ;

static int end_of(pid_t pid)
{
	int status = -1;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

/* vfork()'s child has the parent's memory, and ends or becomes another. */
static int vfork_true(void)
{
	pid_t pid = vfork();

	if (!pid) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	return end_of(pid);
}

static int spawn_true(void)
{
	char *argv[] = {"true", NULL};
	pid_t pid;

	if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ))
		return -1;
	return end_of(pid);
}

static void test_vfork_and_spawn(void **ctx)
{
	size_t nr = stress_times(30, 1000), i;
	struct crew crew;
	struct label *b;
	uint64_t r = 1;

	(void)ctx;
	fresh_kernel();
	stop = false;
	crew_start(&crew, 4, busy, NULL);
	for (i = 0; i < nr; i++) {
		alarm(HANG_SECONDS);
		b = label_make(label_size(&r), &r);
		expect(!vfork_true());
		expect(!spawn_true());
		label_drop(b);
	}
	stop = true;
	crew_join(&crew);
	alarm(0);
	empty_boxes();
	assert_no_complaint();
	assert_all_given_back();
}

/* ---- handlers of others ----------------------------------------------- */

static atomic_size_t handled;

static void handler(void)
{
	void *p = apb_malloc(200);

	expect(p);
	apb_free(kept);
	kept = p;
	handled++;
}

/* The same before the allocator's own, which are then around fork() first. */
static atomic_bool early_on;

static void early_handler(void)
{
	if (early_on)
		handler();
}

__attribute__((constructor(101))) static void register_early(void)
{
	pthread_atfork(early_handler, early_handler, early_handler);
}

static void test_handlers_of_earlier_libraries(void **ctx)
{
	size_t nr = stress_times(30, 1000);

	(void)ctx;
	fresh_kernel();
	handled = 0;
	early_on = true;
	run_forks((struct run){busy, THREADS, nr, false});
	early_on = false;
	assert_int_equal(handled, 2 * nr);
}

/*
 * Handlers that allocate, before, and after in both processes.  They stay
 * registered: this is the last test.
 */
static void test_handlers_that_allocate(void **ctx)
{
	size_t nr = stress_times(30, 1000);

	(void)ctx;
	fresh_kernel();
	assert_int_equal(pthread_atfork(handler, handler, handler), 0);
	handled = 0;
	run_forks((struct run){busy, THREADS, nr, false});
	assert_int_equal(handled, 2 * nr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_thread_is_made_in_the_child),
		cmocka_unit_test(test_from_the_main_thread),
		cmocka_unit_test(test_from_another_thread),
		cmocka_unit_test(test_with_threads_that_come_and_go),
		cmocka_unit_test(test_with_one_thread),
		cmocka_unit_test(test_from_several_threads),
		cmocka_unit_test(test_while_a_lock_is_held),
		cmocka_unit_test(test_from_the_midst_of_a_trim),
		cmocka_unit_test(test_vfork_and_spawn),
		cmocka_unit_test(test_handlers_of_earlier_libraries),
		cmocka_unit_test(test_handlers_that_allocate),
	};

	return cmocka_run_group_tests_name("fork", tests, NULL, test_teardown);
}
