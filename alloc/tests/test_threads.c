// SPDX-License-Identifier: MIT
/*
 * Threads: random calls from four of them, blocks that are passed on and freed
 * by another, the whole checked meanwhile; and from one thread to several and
 * back.  Also meant to be run under a race detector.
 */
#include "stresslib.h"

#include <sys/single_threaded.h>

#define THREADS 4
#define CALLS stress_times(150000, 1500000)
#define SLOTS 400
#define BOXES 64

static _Atomic(struct label *) boxes[BOXES];
static atomic_size_t passed_on;

static void *random_calls(void *arg)
{
	struct label *slots[SLOTS] = {NULL};
	uint64_t r = (uintptr_t)arg;
	size_t i, calls = CALLS;

	expect(!__libc_single_threaded);
	for (i = 0; i < calls; i++) {
		uint64_t x = rnd(&r);
		struct label **s = &slots[x % SLOTS];

		x >>= 32;
		if (!*s) {
			*s = label_make(label_size(&r), &r);
		} else if (x % 8 == 0) {
			*s = label_resize(*s, label_size(&r));
		} else if (x % 8 < 4) {
			/* to whoever comes by; what lay there is dropped */
			*s = atomic_exchange(&boxes[x / 8 % BOXES], *s);
			label_drop(*s);
			*s = NULL;
			atomic_fetch_add(&passed_on, 1);
		} else {
			label_drop(*s);
			*s = NULL;
		}
	}
	/* the thread ends, its last blocks are left to others */
	for (i = 0; i < SLOTS; i++)
		label_drop(atomic_exchange(&boxes[i % BOXES], slots[i]));
	return NULL;
}

static void empty_boxes(void)
{
	int i;

	for (i = 0; i < BOXES; i++)
		label_drop(atomic_exchange(&boxes[i], NULL));
}

/* What a program may call at any time. */
static void watch(int i)
{
	struct apb_fault_stats faults;
	struct apb_stats s;

	expect(!apb_check(NULL));
	apb_stats(&s);
	expect(stats_add_up(&s));
	apb_fault_get(&faults);
	if (i % 3 == 0)
		apb_settle();
	if (i % 3 == 1)
		apb_trim();
	if (i % 3 == 2)
		apb_set_option(APB_OPT_SETTLE_PERIOD, (size_t)i % 2 * 50);
}

static void run_threads(uint64_t seed, int watches)
{
	pthread_t thread[THREADS];
	uintptr_t i;

	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, random_calls,
						(void *)(seed + i)),
				 0);
	for (i = 0; i < (uintptr_t)watches; i++)
		watch((int)i);
	for (i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_no_complaint();
}

static void assert_nothing_left(void)
{
	empty_boxes();
	assert_no_complaint();
	assert_all_given_back();
}

static void test_over_the_kernel(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	passed_on = 0;
	run_threads(1, 200);
	assert_true(passed_on > THREADS * CALLS / 10);
	assert_nothing_left();
}

/* The simulated kernel knows no lock: it relies on the allocator's. */
static void test_over_the_simulation(void **ctx)
{
	(void)ctx;
	fresh_sim(2, SIMOS_HINTS);
	run_threads(100, 50);
	assert_nothing_left();
}

/* ---- one thread, several, one ----------------------------------------- */

static void *few_calls(void *arg)
{
	struct label **b = arg;
	uint64_t r = 3;
	int i;

	expect(!__libc_single_threaded);
	for (i = 0; i < 50; i++) {
		if (b[i])
			label_drop(b[i]);
		b[i] = label_make(label_size(&r), &r);
	}
	return NULL;
}

static void test_there_and_back(void **ctx)
{
	struct label *b[2][50] = {{NULL}};
	uint64_t r = 4;
	pthread_t t[2];
	int round, i;

	(void)ctx;
	fresh_sim(3, 0);
	for (round = 0; round < 40; round++) {
		for (i = 0; i < 50; i++) {
			label_drop(b[0][i]);
			b[0][i] = label_make(label_size(&r), &r);
			if (b[1][i])
				b[1][i] = label_resize(b[1][i], label_size(&r));
		}
		assert_whole();
		pthread_create(&t[0], NULL, few_calls, b[0]);
		pthread_create(&t[1], NULL, few_calls, b[1]);
		pthread_join(t[0], NULL);
		pthread_join(t[1], NULL);
		assert_whole();
	}
	for (i = 0; i < 50; i++) {
		label_drop(b[0][i]);
		label_drop(b[1][i]);
	}
	assert_nothing_left();
}

/* ---- misuse ----------------------------------------------------------- */

static atomic_size_t told;

static void count(const struct apb_misuse *m, void *arg)
{
	/* no lock is held */
	void *p = apb_malloc(100);

	expect(m->kind == APB_MISUSE_INTERIOR);
	expect(arg == &told);
	apb_free(p);
	atomic_fetch_add(&told, 1);
}

static void *misuse(void *arg)
{
	char *p;
	int i;

	(void)arg;
	for (i = 0; i < 1000; i++) {
		p = apb_malloc(48);
		apb_free(p + 16);
		expect(apb_usable_size(p + 1) == 0);
		apb_free(p);
	}
	return NULL;
}

static void test_misuse_from_threads(void **ctx)
{
	pthread_t t[THREADS];
	int i;

	(void)ctx;
	fresh_kernel();
	told = 0;
	apb_set_misuse(count, &told);
	for (i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, misuse, NULL);
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(told, THREADS * 1000 * 2);
	assert_nothing_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_over_the_kernel),
		cmocka_unit_test(test_over_the_simulation),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_misuse_from_threads),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL,
					   test_teardown);
}
