// SPDX-License-Identifier: MIT
/*
 * The end of threads: many short-lived ones leave no growth; their blocks live
 * on and are freed by others, while they end and after; destructors of all
 * kinds, in all orders, allocate and free; so does what runs at the very end
 * of the process.
 */
#define _GNU_SOURCE /* fopencookie() */
#include "stresslib.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- many of them ----------------------------------------------------- */

#define AT_ONCE 4
#define WARM_UP 500
/* What a thread of the crowd leaves behind, here for another to free. */
static _Atomic(struct label *) left[64];

typedef void *(*thread_fn)(void *arg);

/* So many threads, a few at a time; the argument is the thread's number. */
static void crowd(size_t nr, thread_fn fn)
{
	pthread_t thread[AT_ONCE];
	size_t i, k;

	for (i = 0; i < nr; i += AT_ONCE) {
		for (k = 0; k < AT_ONCE; k++)
			assert_int_equal(pthread_create(&thread[k], NULL, fn,
							(void *)(i + k)),
					 0);
		for (k = 0; k < AT_ONCE; k++)
			pthread_join(thread[k], NULL);
	}
}

static void clear_left(void)
{
	size_t i;

	for (i = 0; i < NR_OF(left); i++)
		label_drop(atomic_exchange(&left[i], NULL));
}

/*
 * A crowd to get used to it, and then another, @nr strong: what is mapped and
 * resident is the same before and after, but for @slack bytes: as much as a
 * hundredth of what each thread touches at the least.
 */
static void assert_no_growth(size_t nr, thread_fn fn, size_t slack)
{
	struct apb_stats before, after;
	size_t rss, more;

	fresh_kernel();
	crowd(WARM_UP, fn);
	before = stats_now();
	rss = resident_bytes();
	crowd(nr, fn);
	after = stats_now();
	more = resident_bytes();
	print_message("  %zu threads: mapped %zu to %zu KiB, resident %zu to "
		      "%zu KiB\n",
		      nr, before.mapped_bytes / 1024, after.mapped_bytes / 1024,
		      rss / 1024, more / 1024);
	assert_in_range(after.mapped_bytes, 0, before.mapped_bytes + slack);
	if (!test_has_tool())
		assert_in_range(more, 0, rss + slack);
	assert_whole();
	clear_left();
	assert_no_complaint();
	assert_all_given_back();
}

#define CROWD stress_times(5000, 100000)

/* Keeps nothing. */
static void *tidy(void *arg)
{
	struct label *b[20];
	uint64_t r = (uintptr_t)arg;
	size_t i;

	for (i = 0; i < NR_OF(b); i++)
		b[i] = label_make(label_size(&r), &r);
	for (i = 0; i < NR_OF(b); i++)
		label_drop(b[i]);
	return NULL;
}

/* Leaves what it made to others, frees what others left. */
static void *untidy(void *arg)
{
	uint64_t r = (uintptr_t)arg;
	size_t i;

	for (i = 0; i < 20; i++)
		label_drop(atomic_exchange(&left[rnd(&r) % NR_OF(left)],
					   label_make(label_size(&r), &r)));
	return NULL;
}

/* Has nothing of its own. */
static void *only_frees(void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < NR_OF(left); i++)
		label_drop(atomic_exchange(&left[i], NULL));
	return NULL;
}

static void *one_in_two_only_frees(void *arg)
{
	return (uintptr_t)arg % 2 ? only_frees(arg) : untidy(arg);
}

static void *does_nothing(void *arg)
{
	return arg;
}

static void test_crowd_tidy(void **ctx)
{
	(void)ctx;
	assert_no_growth(CROWD, tidy, 2 * MIB);
}

static void test_crowd_untidy(void **ctx)
{
	(void)ctx;
	assert_no_growth(CROWD, untidy, 4 * MIB);
}

static void test_crowd_only_frees(void **ctx)
{
	(void)ctx;
	assert_no_growth(CROWD, one_in_two_only_frees, 4 * MIB);
}

static void test_crowd_does_nothing(void **ctx)
{
	(void)ctx;
	assert_no_growth(CROWD, does_nothing, MIB);
}

/* ---- blocks that outlive their thread --------------------------------- */

#define OWNED 4000
static struct label *owned[OWNED];

static void *makes_owned(void *arg)
{
	uint64_t r = (uintptr_t)arg;
	size_t i;

	for (i = 0; i < OWNED; i++)
		owned[i] = label_make(label_size(&r), &r);
	return NULL;
}

static void *drops_owned(void *arg)
{
	size_t i;

	for (i = (uintptr_t)arg; i < OWNED; i += 2)
		label_drop(owned[i]);
	return NULL;
}

static void run_thread(thread_fn fn, void *arg)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, fn, arg), 0);
	pthread_join(thread, NULL);
}

/* Freed and resized, by main and by a thread that comes later. */
static void test_blocks_outlive_their_thread(void **ctx)
{
	size_t i, round;

	(void)ctx;
	fresh_kernel();
	for (round = 0; round < stress_times(10, 200); round++) {
		run_thread(makes_owned, (void *)round);
		assert_whole();
		for (i = 0; i < OWNED; i += 8)
			owned[i] = label_resize(owned[i], 16 + i);
		run_thread(drops_owned, (void *)0);
		drops_owned((void *)1);
		assert_whole();
		assert_no_complaint();
		assert_int_equal(stats_now().used_bytes, 0);
	}
	assert_all_given_back();
}

/* A dead thread's memory is not lost: it is used again, by whoever comes. */
static void test_memory_of_the_dead_is_used(void **ctx)
{
	size_t round, mapped = 0;

	(void)ctx;
	fresh_kernel();
	for (round = 0; round < 20; round++) {
		run_thread(makes_owned, (void *)1);
		drops_owned((void *)0);
		drops_owned((void *)1);
		if (round == 2)
			mapped = stats_now().mapped_highwater;
	}
	assert_in_range(stats_now().mapped_highwater, 0, mapped + MIB);
	assert_no_complaint();
	assert_all_given_back();
}

/* ---- frees to a thread that ends -------------------------------------- */

/* The owners end one after the other, in the midst of it. */
static _Atomic(struct label *) handed[4096];
static atomic_bool over;

static void *hands_out(void *arg)
{
	uint64_t r = (uintptr_t)arg;
	size_t i;

	for (i = 0; i < 500; i++)
		label_drop(atomic_exchange(&handed[rnd(&r) % NR_OF(handed)],
					   label_make(label_size(&r), &r)));
	return NULL;
}

static void takes(size_t index, void *arg)
{
	size_t i = index * 1000;

	(void)arg;
	while (!over) {
		label_drop(atomic_exchange(&handed[i % NR_OF(handed)], NULL));
		i++;
	}
}

static void test_frees_while_owners_end(void **ctx)
{
	struct crew crew;
	size_t i;

	(void)ctx;
	fresh_kernel();
	over = false;
	crew_start(&crew, 3, takes, NULL);
	crowd(stress_times(800, 40000), hands_out);
	over = true;
	crew_join(&crew);
	for (i = 0; i < NR_OF(handed); i++)
		label_drop(atomic_exchange(&handed[i], NULL));
	assert_no_complaint();
	assert_all_given_back();
}

/* ---- destructors ------------------------------------------------------ */

/*
 * Keys older than the allocator's own, if it has one, and younger ones: their
 * destructors run before and after its, in each of the four rounds that there
 * are (PTHREAD_DESTRUCTOR_ITERATIONS).
 */
#define OLD_KEYS 4
#define KEYS 12
/* TSan's own ends its idea of the thread in the fourth. */
#define ROUNDS (APB_SAN_THREAD ? 3u : 4u)

static pthread_key_t keys[KEYS];
static atomic_size_t destroyed;

struct value {
	size_t key;
	unsigned int rounds; /* to come */
	struct label *block;
};

static struct value *new_value(size_t key, unsigned int rounds, uint64_t *r)
{
	struct value *v = apb_malloc(sizeof(*v));

	expect(v);
	*v = (struct value){key, rounds, label_make(label_size(r), r)};
	return v;
}

static void destroy(void *arg)
{
	struct value *v = arg;
	uint64_t r = (uintptr_t)v;
	struct label *more[10];
	size_t i;

	for (i = 0; i < NR_OF(more); i++)
		more[i] = label_make(label_size(&r), &r);
	/* another's, of a thread that may be gone */
	label_drop(atomic_exchange(&left[v->key], v->block));
	if (v->rounds > 1)
		pthread_setspecific(keys[v->key],
				    new_value(v->key, v->rounds - 1, &r));
	for (i = 0; i < NR_OF(more); i++)
		label_drop(more[i]);
	apb_free(v);
	atomic_fetch_add(&destroyed, 1);
}

/* Before the allocator's constructor, which may make a key. */
__attribute__((constructor(101))) static void make_old_keys(void)
{
	size_t i;

	for (i = 0; i < OLD_KEYS; i++)
		if (pthread_key_create(&keys[i], destroy))
			abort();
}

/* What C++ calls for each thread_local object. */
int __cxa_thread_atexit_impl(void (*fn)(void *), void *obj, void *dso);
extern void *__dso_handle;

static void destroy_object(void *arg)
{
	struct value *v = arg;

	label_drop(v->block);
	v->block = apb_malloc(100);
	apb_free(v->block);
	apb_free(v);
	atomic_fetch_add(&destroyed, 1);
}

#define WITH_VALUES 1 /* of keys */
#define WITH_OBJECTS 2 /* thread_local */
#define WITH_BLOCKS 4 /* allocates before it ends */
#define WITH_STATE 7

/* The destructors run in a thread that never allocated itself, too. */
static void *has_destructors(void *arg)
{
	size_t nr = (uintptr_t)arg, with = nr & WITH_STATE, i;
	uint64_t r = nr;

	if (with & WITH_BLOCKS)
		tidy(arg);
	for (i = 0; i < KEYS && with & WITH_VALUES; i++)
		pthread_setspecific(
			keys[i],
			new_value(i, 1 + (unsigned int)(rnd(&r) % ROUNDS), &r));
	for (i = 0; i < 3 && with & WITH_OBJECTS; i++)
		__cxa_thread_atexit_impl(destroy_object, new_value(0, 0, &r),
					 &__dso_handle);
	return NULL;
}

/*
 * The same with values that were made by another thread: the first thing this
 * one does with the allocator is done in its destructors.
 */
static struct value *made_for[AT_ONCE][KEYS];

static void *has_values_of_others(void *arg)
{
	struct value **v = made_for[(uintptr_t)arg];
	size_t i;

	for (i = 0; i < KEYS; i++)
		pthread_setspecific(keys[i], v[i]);
	return NULL;
}

static void make_keys(void)
{
	size_t i;

	for (i = OLD_KEYS; i < KEYS; i++)
		assert_int_equal(pthread_key_create(&keys[i], destroy), 0);
	destroyed = 0;
}

static void delete_keys(void)
{
	size_t i;

	for (i = OLD_KEYS; i < KEYS; i++)
		pthread_key_delete(keys[i]);
}

static void test_destructors(void **ctx)
{
	(void)ctx;
	make_keys();
	assert_no_growth(stress_times(4000, 100000), has_destructors, 4 * MIB);
	assert_true(destroyed > stress_times(4000, 100000));
	delete_keys();
}

static void test_first_call_in_a_destructor(void **ctx)
{
	size_t round, i, k;
	uint64_t r = 1;

	(void)ctx;
	fresh_kernel();
	make_keys();
	for (round = 0; round < stress_times(500, 10000); round++) {
		for (i = 0; i < AT_ONCE; i++)
			for (k = 0; k < KEYS; k++)
				made_for[i][k] =
					new_value(k, 1 + round % ROUNDS, &r);
		crowd(AT_ONCE, has_values_of_others);
	}
	assert_int_equal(destroyed % KEYS, 0);
	assert_true(destroyed >= round * AT_ONCE * KEYS);
	delete_keys();
	clear_left();
	assert_no_complaint();
	assert_all_given_back();
}

/* ---- other ways to end ------------------------------------------------ */

static void *exits(void *arg)
{
	tidy(arg);
	pthread_exit(untidy(arg));
}

static void *is_cancelled(void *arg)
{
	untidy(arg);
	for (;;)
		pause();
	return NULL;
}

static void test_exit_and_cancellation(void **ctx)
{
	pthread_t thread;
	size_t i;

	(void)ctx;
	assert_no_growth(stress_times(1000, 20000), exits, 4 * MIB);
	for (i = 0; i < stress_times(500, 20000); i++) {
		assert_int_equal(
			pthread_create(&thread, NULL, is_cancelled, (void *)i),
			0);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
	}
	clear_left();
	assert_no_complaint();
	assert_all_given_back();
}

static void *joins_nobody(void *arg)
{
	untidy(arg);
	atomic_fetch_add(&destroyed, 1);
	return NULL;
}

static void test_detached(void **ctx)
{
	pthread_attr_t attr;
	pthread_t thread;
	size_t i, nr = stress_times(2000, 50000);

	(void)ctx;
	fresh_kernel();
	destroyed = 0;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (i = 0; i < nr; i++) {
		while (pthread_create(&thread, &attr, joins_nobody, (void *)i))
			usleep(100);
		while (i + 1 - atomic_load(&destroyed) > 50)
			usleep(100);
	}
	pthread_attr_destroy(&attr);
	while (atomic_load(&destroyed) < nr)
		usleep(1000);
	/* the last may be at their very end still */
	usleep(20000);
	clear_left();
	assert_no_complaint();
	assert_all_given_back();
}

/* ---- the end of the process ------------------------------------------- */

static struct label *kept_to_the_end;

/* Runs when stdio is flushed, after all handlers and destructors. */
static ssize_t write_late(void *cookie, const char *buf, size_t size)
{
	uint64_t r = size;

	(void)cookie;
	(void)buf;
	label_drop(kept_to_the_end);
	kept_to_the_end = label_make(300, &r);
	label_drop(kept_to_the_end);
	kept_to_the_end = NULL;
	if (stress_complaints() || apb_check(NULL))
		_exit(3);
	if (write(STDERR_FILENO, "late\n", 5) != 5)
		_exit(4);
	return (ssize_t)size;
}

static void at_exit(void)
{
	uint64_t r = 5;

	kept_to_the_end = label_make(5000, &r);
	only_frees(NULL);
	if (write(STDERR_FILENO, "atexit\n", 7) != 7)
		_exit(5);
}

static atomic_bool forever;

static void *never_ends(void *arg)
{
	while (!forever)
		untidy(arg);
	return NULL;
}

static void ends_as_a_whole(void *arg)
{
	cookie_io_functions_t io = {.write = write_late};
	pthread_t thread;
	FILE *f;

	fresh_kernel();
	if (arg)
		pthread_create(&thread, NULL, never_ends, NULL);
	f = fopencookie(NULL, "w", io);
	fputs("unflushed", f);
	atexit(at_exit);
	pthread_setspecific(keys[0], NULL);
	untidy(NULL);
	exit(0);
}

/* A second thread allocates all through it, or none. */
static void test_end_of_the_process(void **ctx)
{
	struct child c;
	size_t i;

	(void)ctx;
	fresh_kernel();
	for (i = 0; i < 2 * stress_times(10, 500); i++) {
		run_child(&c, ends_as_a_whole, i % 2 ? &forever : NULL);
		assert_string_equal(c.err, "atexit\nlate\n");
		assert_int_equal(c.status, 0);
	}
}

/* main() of a process may end its thread, and others go on. */
static atomic_bool main_ends;

static void main_destructor(void *arg)
{
	label_drop(arg);
	main_ends = true;
}

static void *goes_on(void *arg)
{
	while (!main_ends)
		usleep(100);
	usleep(1000);
	only_frees(NULL);
	untidy(NULL);
	only_frees(NULL);
	_exit(stress_complaints() || apb_check(NULL) || stats_now().used_bytes);
	return arg;
}

static void ends_its_main_thread(void *arg)
{
	pthread_t thread;
	pthread_key_t key;
	uint64_t r = 7;

	(void)arg;
	fresh_kernel();
	untidy(NULL);
	pthread_key_create(&key, main_destructor);
	pthread_setspecific(key, label_make(1000, &r));
	pthread_create(&thread, NULL, goes_on, NULL);
	pthread_exit(NULL);
}

static void test_end_of_the_main_thread(void **ctx)
{
	struct child c;
	size_t i;

	(void)ctx;
	fresh_kernel();
	for (i = 0; i < stress_times(10, 500); i++) {
		run_child(&c, ends_its_main_thread, NULL);
		assert_string_equal(c.err, "");
		assert_int_equal(c.status, 0);
	}
}

/* ---- statistics ------------------------------------------------------- */

static void *settles(void *arg)
{
	void *p[100];
	size_t i;

	(void)arg;
	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_malloc(48);
	for (i = 0; i < NR_OF(p); i++)
		apb_free(p[i]);
	apb_settle();
	return NULL;
}

/* What a heap has counted stays counted when it is unmapped. */
static void test_counts_outlive_their_heap(void **ctx)
{
	struct apb_stats before, after;
	pthread_t thread;

	(void)ctx;
	fresh_kernel();
	/* so that the thread's heap is another */
	apb_free(apb_malloc(1));
	apb_settle();
	pthread_create(&thread, NULL, settles, NULL);
	pthread_join(thread, NULL);
	before = stats_now();
	assert_true(before.settled >= 100);
	apb_trim();
	after = stats_now();
	assert_int_equal(after.heaps, before.heaps - 1);
	assert_int_equal(after.settled, before.settled);
	assert_in_range(after.settles, before.settles, before.settles + 2);
	assert_int_equal(after.recovered, before.recovered);
	assert_whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crowd_tidy),
		cmocka_unit_test(test_crowd_untidy),
		cmocka_unit_test(test_crowd_only_frees),
		cmocka_unit_test(test_crowd_does_nothing),
		cmocka_unit_test(test_blocks_outlive_their_thread),
		cmocka_unit_test(test_memory_of_the_dead_is_used),
		cmocka_unit_test(test_frees_while_owners_end),
		cmocka_unit_test(test_destructors),
		cmocka_unit_test(test_first_call_in_a_destructor),
		cmocka_unit_test(test_exit_and_cancellation),
		cmocka_unit_test(test_detached),
		cmocka_unit_test(test_end_of_the_process),
		cmocka_unit_test(test_end_of_the_main_thread),
		cmocka_unit_test(test_counts_outlive_their_heap),
	};

	return cmocka_run_group_tests_name("thread_end", tests, NULL,
					   test_teardown);
}
