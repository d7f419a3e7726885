// SPDX-License-Identifier: MIT
/*
 * What one thread does with heaps that other threads have, or had: options and
 * checks that have to leave their bins alone, a reset while they live, heaps
 * that nobody has, forks.
 */
#include "testlib.h"

#include "api/lock.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLS 4
#define SIZE 64

/* ---- a thread that does as it is told --------------------------------- */

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	void (*todo)(void);
	bool stop;
	struct apb_heap *heap;
} worker = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.cond = PTHREAD_COND_INITIALIZER,
};

static void *work(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&worker.lock);
	while (!worker.stop) {
		if (worker.todo) {
			worker.todo();
			worker.heap = apb_tls;
			worker.todo = NULL;
			pthread_cond_broadcast(&worker.cond);
		}
		pthread_cond_wait(&worker.cond, &worker.lock);
	}
	pthread_mutex_unlock(&worker.lock);
	return NULL;
}

static void tell(void (*todo)(void))
{
	pthread_mutex_lock(&worker.lock);
	worker.todo = todo;
	pthread_cond_broadcast(&worker.cond);
	while (worker.todo)
		pthread_cond_wait(&worker.cond, &worker.lock);
	pthread_mutex_unlock(&worker.lock);
}

static void use_blocks(unsigned int n)
{
	static __thread void *p[2000];
	unsigned int i;

	for (i = 0; i < n; i++)
		p[i] = apb_malloc(SIZE);
	for (i = 0; i < n; i++)
		apb_free(p[i]);
}

static void some_blocks(void)
{
	use_blocks(20);
}

/* More than its bin has, so that it comes by the slow path. */
static void many_blocks(void)
{
	use_blocks(2000);
}

static void start_worker(void)
{
	worker.stop = false;
	worker.todo = NULL;
	assert_int_equal(pthread_create(&worker.thread, NULL, work, NULL), 0);
	tell(some_blocks);
	assert_ptr_not_equal(worker.heap, apb_tls);
	assert_true(worker.heap->attached);
}

static void stop_worker(void)
{
	pthread_mutex_lock(&worker.lock);
	worker.stop = true;
	pthread_cond_broadcast(&worker.cond);
	pthread_mutex_unlock(&worker.lock);
	pthread_join(worker.thread, NULL);
}

static unsigned int want_of(const struct apb_heap *heap)
{
	return heap->info[CLS].want;
}

/* ---- options ---------------------------------------------------------- */

/* Its own bins and those that nobody has at once, others' when they come by. */
static void test_period_of_others(void **ctx)
{
	struct apb_heap *idle;
	unsigned int want;

	(void)ctx;
	fresh_sim(1, SIMOS_HINTS);
	some_blocks();
	start_worker();
	stop_worker();
	idle = worker.heap;
	assert_false(idle->attached);
	start_worker();
	/* it has taken over the heap of the first one */
	assert_ptr_equal(worker.heap, idle);
	want = want_of(worker.heap);
	assert_int_not_equal(want, 5);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 5), 0);
	assert_int_equal(want_of(apb_tls), 5);
	assert_int_equal(want_of(worker.heap), want);
	tell(many_blocks);
	assert_int_equal(want_of(worker.heap), 5);
	stop_worker();
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 0), 0);
	assert_int_not_equal(want_of(idle), 5);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 9), 0);
	assert_int_equal(want_of(idle), 9);
	assert_whole();
}

/* ---- the check -------------------------------------------------------- */

static bool check_names(const char *invariant)
{
	struct apb_violation v;

	return apb_check(&v) && !strcmp(v.invariant, invariant);
}

/* It looks into bins that nobody is in, and into no others. */
static void test_check_of_others(void **ctx)
{
	struct apb_entry *bottom;

	(void)ctx;
	fresh_sim(2, SIMOS_HINTS);
	some_blocks();
	start_worker();
	assert_whole();
	/* as if it were at it just now */
	worker.heap->bin[CLS].top--;
	assert_whole();
	worker.heap->bin[CLS].top++;
	bottom = worker.heap->info[CLS].base;
	bottom->block = worker.heap;
	assert_whole();
	bottom->block = NULL;
	/* its own */
	bottom = apb_tls->info[CLS].base;
	bottom->block = worker.heap;
	assert_true(check_names("bin.array"));
	bottom->block = NULL;
	stop_worker();
	bottom = worker.heap->info[CLS].base;
	bottom->block = worker.heap;
	assert_true(check_names("bin.array"));
	bottom->block = NULL;
	assert_whole();
}

/* Of blocks in bins that it cannot look at it does not know. */
static void test_lists_that_are_not_seen(void **ctx)
{
	struct apb_bin *bin;

	(void)ctx;
	fresh_sim(3, SIMOS_HINTS);
	some_blocks();
	start_worker();
	/* a block that is in no list: of the thread, or lost */
	bin = &apb_tls->bin[CLS];
	bin->top--;
	assert_whole();
	bin->top++;
	stop_worker();
	/* threads there have been, but none has a bin now that is not seen */
	bin->top--;
	assert_true(check_names("pool.conservation"));
	bin->top++;
	assert_whole();
	/* a thread without heap may have one in hand */
	apb_state.heaps.heapless = true;
	bin->top--;
	assert_whole();
	bin->top++;
	apb_state.heaps.heapless = false;
	apb_state.heaps.torn = true;
	bin->top--;
	assert_whole();
	bin->top++;
	apb_state.heaps.torn = false;
	assert_whole();
}

/* ---- reset ------------------------------------------------------------ */

/* Threads that live keep their heaps, which are as new. */
static void test_reset_of_others(void **ctx)
{
	struct apb_heap *had;
	char *p;

	(void)ctx;
	fresh_sim(4, SIMOS_HINTS);
	some_blocks();
	start_worker();
	had = worker.heap;
	apb_state.heaps.torn = apb_state.heaps.heapless = true;
	apb_state.heaps.settles = 3;
	apb_state.heaps.settled = 4;
	apb_state.heaps.recovered = 5;
	errno = 77;
	assert_int_equal(apb_reset(), 0);
	assert_int_equal(errno, 77);
	assert_false(apb_state.heaps.torn);
	assert_false(apb_state.heaps.heapless);
	assert_int_equal(stats_now().settles, 0);
	assert_int_equal(stats_now().settled, 0);
	assert_int_equal(stats_now().recovered, 0);
	assert_int_equal(apb_state.heaps.nr, 1);
	assert_int_equal(apb_state.heaps.nr_mapped, 1);
	assert_int_equal(apb_state.os.mapped, APB_HEAP_BYTES);
	assert_int_equal(apb_state.os.mapped_highwater, APB_HEAP_BYTES);
	assert_true(had->attached);
	assert_int_equal(had->pools, 0);
	assert_int_equal(had->bin[CLS].top - had->info[CLS].base, 0);
	assert_int_equal(apb_check(NULL), 0);
	/* this thread has none any more */
	assert_ptr_equal(apb_tls, &apb_empty_heap);
	p = apb_malloc(SIZE);
	assert_ptr_not_equal(apb_tls, had);
	tell(some_blocks);
	assert_ptr_equal(worker.heap, had);
	assert_int_equal(apb_state.heaps.nr, 2);
	apb_free(p);
	assert_int_equal(apb_check(NULL), 0);
	stop_worker();
	assert_int_equal(apb_check(NULL), 0);
}

/* What could not be unmapped is told, whatever the table says of it. */
static int refuse(void *ctx, void *addr, size_t size)
{
	(void)ctx;
	(void)addr;
	(void)size;
	errno = EINVAL;
	return -1;
}

static void test_errno_of_reset(void **ctx)
{
	struct apb_os os;

	(void)ctx;
	fresh_sim(5, SIMOS_HINTS);
	os = *simos_ops();
	os.unmap = refuse;
	errno = 77;
	assert_int_equal(apb_set_os(&os), 0);
	assert_int_equal(errno, 77);
	some_blocks();
	errno = 77;
	assert_int_equal(apb_reset(), -1);
	assert_int_equal(errno, ENOMEM);
	simos_reset(5, 0);
}

/* ---- forks ------------------------------------------------------------ */

/* A process without other threads has a child in which nothing is torn. */
static void look_alone(void *arg)
{
	(void)arg;
	if (apb_state.heaps.torn || apb_state.heaps.idle || apb_forking)
		_exit(2);
}

static void test_fork_alone(void **ctx)
{
	struct apb_heap *mine;
	struct child c;

	(void)ctx;
	assert_true(apb_single_threaded());
	fresh_sim(8, SIMOS_HINTS);
	some_blocks();
	mine = apb_thread_swap(NULL);
	some_blocks();
	mine = apb_thread_swap(mine);
	run_child(&c, look_alone, NULL);
	assert_int_equal(c.status, 0);
	mine = apb_thread_swap(mine);
	apb_thread_end();
	apb_thread_swap(mine);
	assert_whole();
}

/* In the child the heaps of the others are nobody's, its own is its own. */
static void look_at_heaps(void *arg)
{
	const struct apb_heap *heap;
	unsigned int n = 0, all = 0;

	(void)arg;
	for (heap = apb_state.heaps.idle; heap && all < 10;
	     heap = heap->next_idle) {
		if (heap == apb_tls || heap->attached ||
		    heap == &apb_state.common)
			_exit(2);
		n += heap == worker.heap;
		all++;
	}
	/* the other one had none before */
	if (all != 2)
		_exit(6);
	if (n != 1 || worker.heap->attached || !apb_tls->attached)
		_exit(3);
	if (!apb_state.heaps.torn || apb_forking)
		_exit(4);
	some_blocks();
	apb_thread_end();
	if (apb_check(NULL))
		_exit(5);
}

static void test_fork_with_others(void **ctx)
{
	struct apb_heap *mine;
	struct child c;

	(void)ctx;
	fresh_sim(6, SIMOS_HINTS);
	some_blocks();
	/* one whose thread has ended, and the one that is nobody's */
	mine = apb_thread_swap(NULL);
	some_blocks();
	mine = apb_thread_swap(mine);
	start_worker();
	mine = apb_thread_swap(mine);
	apb_thread_end();
	apb_thread_swap(mine);
	apb_common_heap();
	assert_int_equal(apb_state.heaps.nr, 4);
	assert_whole();
	run_child(&c, look_at_heaps, NULL);
	assert_int_equal(c.status, 0);
	assert_false(apb_state.heaps.torn);
	assert_true(worker.heap->attached);
	tell(some_blocks);
	assert_whole();
	stop_worker();
}

/* ---- ends ------------------------------------------------------------- */

static struct apb_heap *seen[2];

static void use_late(void *arg)
{
	(void)arg;
	seen[0] = apb_tls;
	some_blocks();
	seen[1] = apb_tls;
}

static pthread_key_t late;

static void *end_late(void *arg)
{
	some_blocks();
	assert_int_equal(pthread_setspecific(late, arg), 0);
	return NULL;
}

/*
 * A destructor that runs after apb's has no heap, and gets none: the blocks
 * are the common heap's.
 */
static void test_no_second_heap(void **ctx)
{
	pthread_t thread;
	size_t heaps;

	(void)ctx;
	fresh_sim(7, SIMOS_HINTS);
	some_blocks();
	/* made after apb's own, so that it runs after it */
	assert_int_equal(pthread_key_create(&late, use_late), 0);
	assert_int_equal(pthread_create(&thread, NULL, end_late, &late), 0);
	pthread_join(thread, NULL);
	heaps = apb_state.heaps.nr;
	assert_ptr_equal(seen[0], &apb_empty_heap);
	assert_ptr_equal(seen[1], &apb_empty_heap);
	assert_true(apb_state.heaps.heapless);
	assert_true(apb_node_listed(&apb_state.common.node));
	/* its own, this thread's and the common one */
	assert_int_equal(heaps, 3);
	assert_non_null(apb_state.heaps.idle);
	assert_null(apb_state.heaps.idle->next_idle);
	assert_whole();
	pthread_key_delete(late);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* before there is another thread */
		cmocka_unit_test(test_fork_alone),
		cmocka_unit_test(test_no_second_heap),
		cmocka_unit_test(test_period_of_others),
		cmocka_unit_test(test_check_of_others),
		cmocka_unit_test(test_lists_that_are_not_seen),
		cmocka_unit_test(test_reset_of_others),
		cmocka_unit_test(test_errno_of_reset),
		cmocka_unit_test(test_fork_with_others),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
