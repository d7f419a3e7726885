// SPDX-License-Identifier: MIT
/*
 * Threads: random calls from four of them, blocks that are passed on and freed
 * by another, the whole checked meanwhile; and from one thread to several and
 * back.  Also meant to be run under a race detector.
 */
#include "testlib.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/single_threaded.h>

#include "api/lock.h"

#define THREADS 4
#define CALLS 150000
#define SLOTS 400
#define BOXES 64

/* What a block begins with; the rest of it is filled from the seed. */
struct label {
	size_t size;
	uint64_t seed;
};

static _Atomic(struct label *) boxes[BOXES];
static atomic_size_t errors;
static atomic_size_t passed_on;

static void expect(bool cond)
{
	if (!cond)
		atomic_fetch_add(&errors, 1);
}

/* A line of each page, and the end. */
static void sign(struct label *b)
{
	char *p = (char *)b;
	size_t at;

	for (at = 4096; at + 16 <= b->size; at += 4096)
		fill(p + at, 8, b->seed + at);
	if (b->size >= sizeof(*b) + 8)
		fill(p + b->size - 8, 8, b->seed);
}

static bool is_signed(const struct label *b)
{
	const char *p = (const char *)b;
	size_t at;

	for (at = 4096; at + 16 <= b->size; at += 4096)
		if (!filled(p + at, 8, b->seed + at))
			return false;
	return b->size < sizeof(*b) + 8 || filled(p + b->size - 8, 8, b->seed);
}

static size_t random_size(uint64_t *r)
{
	uint64_t x = rnd(r);

	if (x % 512 == 0)
		return 33000 + (x >> 16) % 100000;
	if (x % 16 == 0)
		return 16 + (x >> 16) % 32000;
	return 16 + (x >> 16) % 600;
}

static struct label *make(uint64_t *r)
{
	size_t size = random_size(r);
	struct label *b;

	switch (rnd(r) % 4) {
	case 0:
		b = apb_calloc(1, size);
		expect(b && all_bytes(b, size < 64 ? size : 64, 0));
		break;
	case 1:
		b = apb_aligned_alloc(64, size);
		expect(b && is_aligned(b, 64));
		break;
	default:
		b = apb_malloc(size);
	}
	if (!b) {
		expect(false);
		return NULL;
	}
	b->size = size;
	b->seed = rnd(r);
	sign(b);
	return b;
}

static void drop(struct label *b)
{
	if (!b)
		return;
	expect(is_signed(b));
	expect(apb_usable_size(b) >= b->size);
	apb_free(b);
}

static struct label *grow(struct label *b, uint64_t *r)
{
	size_t size = random_size(r), old = b->size;

	expect(is_signed(b));
	b = apb_realloc(b, size);
	if (!b) {
		expect(false);
		return NULL;
	}
	expect(b->size == old);
	b->size = size;
	sign(b);
	return b;
}

static void *random_calls(void *arg)
{
	struct label *slots[SLOTS] = {NULL};
	uint64_t r = (uintptr_t)arg;
	int i;

	expect(!__libc_single_threaded);
	for (i = 0; i < CALLS; i++) {
		uint64_t x = rnd(&r);
		struct label **s = &slots[x % SLOTS];

		x >>= 32;
		if (!*s) {
			*s = make(&r);
		} else if (x % 8 == 0) {
			*s = grow(*s, &r);
		} else if (x % 8 < 4) {
			/* to whoever comes by; what lay there is dropped */
			*s = atomic_exchange(&boxes[x / 8 % BOXES], *s);
			drop(*s);
			*s = NULL;
			atomic_fetch_add(&passed_on, 1);
		} else {
			drop(*s);
			*s = NULL;
		}
	}
	/* the thread ends, its last blocks are left to others */
	for (i = 0; i < SLOTS; i++)
		drop(atomic_exchange(&boxes[i % BOXES], slots[i]));
	return NULL;
}

static void empty_boxes(void)
{
	int i;

	for (i = 0; i < BOXES; i++)
		drop(atomic_exchange(&boxes[i], NULL));
}

/* What a program may call at any time. */
static void watch(int i)
{
	struct apb_fault_stats faults;
	struct apb_stats s;

	expect(!apb_check(NULL));
	apb_stats(&s);
	expect(s.used_bytes + s.avail_bytes + s.unused_pool_bytes +
		       s.header_bytes + s.quant_bytes + s.align_bytes ==
	       s.arenas * s.arena_bytes);
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
	assert_int_equal(errors, 0);
}

static void assert_nothing_left(void)
{
	empty_boxes();
	assert_int_equal(errors, 0);
	assert_int_equal(stats_now().used_bytes, 0);
	assert_int_equal(stats_now().large, 0);
	assert_whole();
	apb_trim();
	assert_int_equal(stats_now().mapped_bytes, 0);
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
			drop(b[i]);
		b[i] = make(&r);
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
			drop(b[0][i]);
			b[0][i] = make(&r);
			if (b[1][i])
				b[1][i] = grow(b[1][i], &r);
		}
		assert_whole();
		pthread_create(&t[0], NULL, few_calls, b[0]);
		pthread_create(&t[1], NULL, few_calls, b[1]);
		pthread_join(t[0], NULL);
		pthread_join(t[1], NULL);
		assert_whole();
		assert_false(apb_state_locked);
	}
	for (i = 0; i < 50; i++) {
		drop(b[0][i]);
		drop(b[1][i]);
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
