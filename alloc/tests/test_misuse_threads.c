// SPDX-License-Identifier: MIT
/*
 * Misuse across threads: the first free was made by another thread, which may
 * hold the block still in a batch of its own, have posted it, or be gone; the
 * block's owner may be at work, asleep or dead.  Every second free is reported
 * as what it is, wherever the block is, and has no effect.
 */
#include "stresslib.h"

#include <sched.h>

#define SIZE 48
#define BLOCKS 200

/* ---- reports ---------------------------------------------------------- */

static atomic_size_t reports;
static struct apb_misuse last;
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;

static void note(const struct apb_misuse *m, void *arg)
{
	pthread_mutex_lock(&last_lock);
	last = *m;
	pthread_mutex_unlock(&last_lock);
	expect(arg == &last);
	atomic_fetch_add(&reports, 1);
}

static void setup(void)
{
	fresh_kernel();
	reports = 0;
	apb_set_misuse(note, &last);
}

static void finish(void)
{
	assert_no_complaint();
	assert_whole();
	apb_set_misuse(NULL, NULL);
	assert_all_given_back();
}

/* @ptr is freed, and that is told as a misuse of @kind in a live pool. */
static void expect_report(void *ptr, enum apb_misuse_kind kind, size_t size)
{
	size_t before = reports;

	apb_free(ptr);
	expect(reports == before + 1);
	expect(last.kind == kind);
	expect(last.ptr == ptr);
	expect(last.class_size == size);
	expect(last.arena == arena_at(ptr) || size > APB_MAX_POOLED);
	expect(last.text[0]);
	/* through the other functions as well */
	expect(!apb_usable_size(ptr));
	expect(last.kind == kind);
	expect(!apb_realloc(ptr, 2 * size));
	expect(last.kind == kind);
	apb_free_sized(ptr, size);
	expect(last.kind == kind);
	expect(reports == before + 4);
}

static void expect_double(void *ptr)
{
	expect_report(ptr, APB_MISUSE_DOUBLE_FREE, SIZE);
}

static void expect_interior(char *ptr)
{
	expect_report(ptr + 16, APB_MISUSE_INTERIOR, SIZE);
	expect_report(ptr + 1, APB_MISUSE_INTERIOR, SIZE);
}

/* ---- threads that do one thing at a time ------------------------------ */

/*
 * A thread that does what it is given, and waits: so what happens in which
 * thread is in a certain order.
 */
struct actor {
	pthread_t thread;
	pthread_barrier_t go, done;
	void (*fn)(void *arg); /* NULL: end */
	void *arg;
};

static void *act(void *arg)
{
	struct actor *a = arg;

	for (;;) {
		pthread_barrier_wait(&a->go);
		if (!a->fn)
			return NULL;
		a->fn(a->arg);
		pthread_barrier_wait(&a->done);
	}
}

static void hire(struct actor *a)
{
	pthread_barrier_init(&a->go, NULL, 2);
	pthread_barrier_init(&a->done, NULL, 2);
	assert_int_equal(pthread_create(&a->thread, NULL, act, a), 0);
}

static void let(struct actor *a, void (*fn)(void *arg), void *arg)
{
	a->fn = fn;
	a->arg = arg;
	pthread_barrier_wait(&a->go);
	pthread_barrier_wait(&a->done);
}

static void dismiss(struct actor *a)
{
	a->fn = NULL;
	pthread_barrier_wait(&a->go);
	pthread_join(a->thread, NULL);
	pthread_barrier_destroy(&a->go);
	pthread_barrier_destroy(&a->done);
}

/* Blocks of one class, some of them in the same pools. */
static char *block[BLOCKS];

static void make_blocks(void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < BLOCKS; i++) {
		block[i] = apb_malloc(SIZE);
		expect(block[i]);
	}
}

static void free_one(void *arg)
{
	apb_free(arg);
}

/* All but a few, which keep the pools in use. */
static bool stays(size_t i)
{
	return i % 40 == 0;
}

static void free_most(void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < BLOCKS; i++)
		if (!stays(i))
			apb_free(block[i]);
}

static void free_rest(void *arg)
{
	size_t i;

	(void)arg;
	for (i = 0; i < BLOCKS; i++)
		if (stays(i))
			apb_free(block[i]);
}

static void settle(void *arg)
{
	(void)arg;
	apb_settle();
}

static void free_again(void *arg)
{
	expect_double(arg);
}

static void free_interior(void *arg)
{
	expect_interior(arg);
}

/* Everybody frees @ptr, which is free, again. */
static void all_free_again(struct actor *a, size_t nr, char *ptr)
{
	size_t i;

	expect_double(ptr);
	for (i = 0; i < nr; i++) {
		let(&a[i], free_again, ptr);
		let(&a[i], free_interior, ptr);
	}
	expect_interior(ptr);
	assert_no_complaint();
}

/* ---- one block -------------------------------------------------------- */

/* Owner 0, freer 1, a third one 2: the block is in the freer's batch. */
static void test_before_it_is_posted(void **ctx)
{
	struct actor a[3];
	size_t i;

	(void)ctx;
	setup();
	for (i = 0; i < NR_OF(a); i++)
		hire(&a[i]);
	let(&a[0], make_blocks, NULL);
	let(&a[1], free_one, block[1]);
	all_free_again(a, NR_OF(a), block[1]);
	/* its owner settles: the batch is not its yet */
	let(&a[0], settle, NULL);
	all_free_again(a, NR_OF(a), block[1]);
	assert_int_equal(stats_now().used_bytes, (BLOCKS - 1) * SIZE);
	/* the freer settles, and so posts it */
	let(&a[1], settle, NULL);
	all_free_again(a, NR_OF(a), block[1]);
	let(&a[0], settle, NULL);
	all_free_again(a, NR_OF(a), block[1]);
	assert_int_equal(stats_now().used_bytes, (BLOCKS - 1) * SIZE);
	for (i = 0; i < BLOCKS; i++)
		if (i != 1)
			apb_free(block[i]);
	for (i = 0; i < NR_OF(a); i++)
		dismiss(&a[i]);
	finish();
}

/* Of many: some in full batches that were posted, some in one that is not. */
static void test_many(void **ctx)
{
	struct actor a[3];
	size_t i, round;

	(void)ctx;
	setup();
	for (i = 0; i < NR_OF(a); i++)
		hire(&a[i]);
	let(&a[0], make_blocks, NULL);
	let(&a[1], free_most, NULL);
	for (round = 0; round < 4; round++) {
		for (i = 0; i < BLOCKS; i++) {
			size_t who = (i + round) % NR_OF(a);

			if (stays(i))
				expect(apb_usable_size(block[i]) == SIZE);
			else
				let(&a[who], free_again, block[i]);
		}
		assert_no_complaint();
		let(&a[round % NR_OF(a)], settle, NULL);
		assert_int_equal(stats_now().used_bytes, (BLOCKS / 40) * SIZE);
	}
	let(&a[2], free_rest, NULL);
	for (i = 0; i < NR_OF(a); i++)
		dismiss(&a[i]);
	finish();
}

/* ---- of the dead ------------------------------------------------------ */

static void test_the_owner_is_dead(void **ctx)
{
	struct actor owner, a[2];
	size_t i;

	(void)ctx;
	setup();
	hire(&owner);
	let(&owner, make_blocks, NULL);
	dismiss(&owner);
	hire(&a[0]);
	hire(&a[1]);
	for (i = 0; i < BLOCKS; i++) {
		if (stays(i))
			continue;
		let(&a[i % 2], free_one, block[i]);
		let(&a[i % 2], free_again, block[i]);
		let(&a[(i + 1) % 2], free_again, block[i]);
		expect_double(block[i]);
		expect_interior(block[i]);
		assert_no_complaint();
	}
	dismiss(&a[0]);
	dismiss(&a[1]);
	free_rest(NULL);
	finish();
}

static void test_the_freer_is_dead(void **ctx)
{
	struct actor owner, freer, third;
	size_t i;

	(void)ctx;
	setup();
	hire(&owner);
	hire(&freer);
	let(&owner, make_blocks, NULL);
	let(&freer, free_most, NULL);
	dismiss(&freer);
	/* it has its place, and perhaps its heap */
	hire(&third);
	for (i = 0; i < BLOCKS; i++) {
		if (stays(i))
			continue;
		let(&third, free_again, block[i]);
		let(&owner, free_again, block[i]);
		expect_double(block[i]);
	}
	dismiss(&third);
	dismiss(&owner);
	/* all that had to do with them are gone */
	for (i = 0; i < BLOCKS; i++)
		if (!stays(i))
			expect_double(block[i]);
	free_rest(NULL);
	finish();
}

/* ---- large ------------------------------------------------------------ */

static void make_large(void *arg)
{
	*(char **)arg = apb_malloc(100000);
}

static void free_large_again(void *arg)
{
	size_t before = reports;

	apb_free(arg);
	expect(reports == before + 1);
	expect(last.kind == APB_MISUSE_FOREIGN ||
	       last.kind == APB_MISUSE_DOUBLE_FREE);
}

static void free_inside_large(void *arg)
{
	size_t before = reports;

	apb_free((char *)arg + 4096);
	expect(reports == before + 1);
	expect(last.kind == APB_MISUSE_INTERIOR);
}

static void test_large(void **ctx)
{
	struct actor a[2];
	char *p;

	(void)ctx;
	setup();
	hire(&a[0]);
	hire(&a[1]);
	let(&a[0], make_large, &p);
	let(&a[1], free_inside_large, p);
	free_inside_large(p);
	let(&a[1], free_one, p);
	let(&a[1], free_large_again, p);
	let(&a[0], free_large_again, p);
	free_large_again(p);
	dismiss(&a[0]);
	dismiss(&a[1]);
	finish();
}

/* ---- at the same time ------------------------------------------------- */

/*
 * Half of the threads free what the other half made, and one more frees each
 * block a second time, after it was freed, while all goes on.  What is freed
 * twice is not reused meanwhile: all of it is made before, and of a class that
 * nobody else allocates; and some blocks of each pool stay.
 */
#define PAIRS 2
#define EACH 2000
#define KEPT 50

static char *made[PAIRS][EACH];
static _Atomic(char *) freed[PAIRS][EACH];

static void make_all(size_t pair)
{
	size_t i;

	for (i = 0; i < EACH; i++)
		made[pair][i] = apb_malloc(SIZE);
}

/* What else a program does, in other classes. */
static void make_others(size_t pair)
{
	uint64_t r = pair;
	size_t i;

	for (i = 0; i < EACH; i++)
		label_drop(label_make(100 + rnd(&r) % 400, &r));
}

static void free_all(size_t pair)
{
	size_t i;

	for (i = 0; i < EACH; i++) {
		if (i % KEPT)
			apb_free(made[pair][i]);
		atomic_store(&freed[pair][i], made[pair][i]);
	}
}

static char *wait_for(_Atomic(char *) *place)
{
	char *p;

	while (!(p = atomic_load(place)))
		sched_yield();
	return p;
}

static void free_all_again(void)
{
	size_t i, pair, before;

	for (i = 0; i < EACH; i++) {
		for (pair = 0; pair < PAIRS; pair++) {
			char *p = wait_for(&freed[pair][i]);

			before = reports;
			if (i % KEPT) {
				apb_free(p);
				expect(reports == before + 1);
				expect(last.kind == APB_MISUSE_DOUBLE_FREE);
			} else {
				apb_free(p + 8);
				expect(reports == before + 1);
				expect(last.kind == APB_MISUSE_INTERIOR);
			}
		}
	}
}

static pthread_barrier_t all_made;

static void together(size_t index, void *arg)
{
	bool makes = index < 2 * PAIRS && index % 2 == 0;

	(void)arg;
	if (makes)
		make_all(index / 2);
	pthread_barrier_wait(&all_made);
	if (makes)
		make_others(index / 2);
	else if (index < 2 * PAIRS)
		free_all(index / 2);
	else
		free_all_again();
}

static void test_all_at_once(void **ctx)
{
	size_t round, pair, i;

	(void)ctx;
	setup();
	for (round = 0; round < stress_times(5, 300); round++) {
		memset(freed, 0, sizeof(freed));
		pthread_barrier_init(&all_made, NULL, 2 * PAIRS + 1);
		crew_run(2 * PAIRS + 1, together, NULL);
		pthread_barrier_destroy(&all_made);
		assert_int_equal(stats_now().used_bytes,
				 PAIRS * (EACH / KEPT) * SIZE);
		for (pair = 0; pair < PAIRS; pair++)
			for (i = 0; i < EACH; i += KEPT)
				apb_free(made[pair][i]);
		assert_no_complaint();
		/* from fresh pools the next time, so that some of each stay */
		apb_trim();
		assert_int_equal(stats_now().arenas, 0);
	}
	finish();
}

/* ---- two at once ------------------------------------------------------ */

/* Two threads free the same large block: one of them is told so. */
static pthread_barrier_t race;
static char *large_block;

static void race_free_large(size_t index, void *arg)
{
	size_t i, nr = *(size_t *)arg;

	for (i = 0; i < nr; i++) {
		if (!index)
			large_block = apb_malloc(40000 + i % 7 * 10000);
		pthread_barrier_wait(&race);
		apb_free(large_block);
		pthread_barrier_wait(&race);
		if (!index)
			expect(reports == i + 1);
		pthread_barrier_wait(&race);
	}
}

static void test_large_at_once(void **ctx)
{
	size_t nr = stress_times(2000, 100000);

	(void)ctx;
	setup();
	pthread_barrier_init(&race, NULL, 2);
	crew_run(2, race_free_large, &nr);
	pthread_barrier_destroy(&race);
	assert_int_equal(reports, nr);
	finish();
}

/*
 * Two threads free the same block at the same time, which no allocator that
 * takes no lock can tell from two blocks in all cases; here they do it one
 * right after the other, with a fence of the program between: that is told.
 */
static _Atomic(char *) baton;

static void race_free(size_t index, void *arg)
{
	size_t i, nr = *(size_t *)arg, before;
	char *p;

	for (i = 0; i < nr; i++) {
		if (!index) {
			p = apb_malloc(SIZE);
			apb_free(p);
			atomic_store(&baton, p);
			while (atomic_load(&baton))
				sched_yield();
			continue;
		}
		p = wait_for(&baton);
		before = reports;
		apb_free(p);
		expect(reports == before + 1);
		expect(last.kind == APB_MISUSE_DOUBLE_FREE);
		atomic_store(&baton, NULL);
	}
}

static void test_right_after(void **ctx)
{
	size_t nr = stress_times(2000, 200000);

	(void)ctx;
	setup();
	baton = NULL;
	crew_run(2, race_free, &nr);
	assert_int_equal(reports, nr);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_it_is_posted),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_the_owner_is_dead),
		cmocka_unit_test(test_the_freer_is_dead),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_large_at_once),
		cmocka_unit_test(test_right_after),
	};

	return cmocka_run_group_tests_name("misuse_threads", tests, NULL,
					   test_teardown);
}
