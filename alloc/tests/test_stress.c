// SPDX-License-Identifier: MIT
/*
 * Stress: threads that allocate, resize, verify, send blocks to each other and
 * free what they are sent, while others read the statistics, check everything,
 * settle and trim; owners that sleep while their blocks are freed by others;
 * and reset between rounds of threads that live on.
 */
#include "stresslib.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- everybody to everybody ------------------------------------------- */

#define WORKERS 8
#define WATCHERS 4
#define SLOTS 300
#define BOX 128

/* Each worker's mailbox: a sender leaves a block, and drops what lay there. */
static _Atomic(struct label *) mail[WORKERS][BOX];
static atomic_size_t at_work;
static atomic_size_t watched;

struct storm {
	size_t calls; /* of each worker */
	size_t largest; /* bytes of a block; 0: any */
};

static size_t storm_size(const struct storm *storm, uint64_t *r)
{
	return storm->largest ? 16 + rnd(r) % storm->largest : label_size(r);
}

static void work(size_t index, const struct storm *storm)
{
	struct label *slot[SLOTS] = {NULL};
	uint64_t r = index;
	size_t i;

	for (i = 0; i < storm->calls; i++) {
		uint64_t x = rnd(&r);
		struct label **s = &slot[x % SLOTS];
		size_t to = (x >> 16) % WORKERS, box = (x >> 24) % BOX;

		x >>= 32;
		if (!*s) {
			*s = label_make(storm_size(storm, &r), &r);
			continue;
		}
		if (x % 8 == 0) {
			*s = label_resize(*s, storm_size(storm, &r));
			continue;
		}
		if (x % 8 < 4)
			*s = atomic_exchange(&mail[to][box], *s);
		label_drop(*s);
		*s = NULL;
		/* now and then the mail is read: all of it is others' */
		if (x % 512 < 8)
			for (box = 0; box < BOX; box++)
				label_drop(atomic_exchange(&mail[index][box],
							   NULL));
	}
	for (i = 0; i < SLOTS; i++)
		label_drop(slot[i]);
}

static void watch(size_t kind)
{
	struct apb_stats s;

	switch (kind) {
	case 0:
		apb_stats(&s);
		expect(stats_add_up(&s));
		expect(s.mapped_bytes <= s.mapped_highwater);
		break;
	case 1:
		expect(!apb_check(NULL));
		break;
	case 2:
		apb_settle();
		break;
	default:
		apb_trim();
	}
}

static void storm_thread(size_t index, void *arg)
{
	if (index < WORKERS) {
		work(index, arg);
		atomic_fetch_sub(&at_work, 1);
		return;
	}
	while (atomic_load(&at_work)) {
		watch(index - WORKERS);
		atomic_fetch_add(&watched, 1);
		usleep(500);
	}
}

static void empty_mail(void)
{
	size_t i, k;

	for (i = 0; i < WORKERS; i++)
		for (k = 0; k < BOX; k++)
			label_drop(atomic_exchange(&mail[i][k], NULL));
}

static void run_storm(struct storm storm, size_t watchers)
{
	fresh_kernel();
	at_work = WORKERS;
	watched = 0;
	crew_run(WORKERS + watchers, storm_thread, &storm);
	assert_true(!watchers || watched >= watchers);
	empty_mail();
	assert_no_complaint();
	assert_all_given_back();
}

static void test_storm(void **ctx)
{
	(void)ctx;
	run_storm((struct storm){stress_times(60000, 3000000), 0}, WATCHERS);
}

static void test_storm_of_small_blocks(void **ctx)
{
	(void)ctx;
	run_storm((struct storm){stress_times(60000, 3000000), 200}, WATCHERS);
}

static void test_storm_of_big_blocks(void **ctx)
{
	(void)ctx;
	run_storm((struct storm){stress_times(6000, 300000), 100000}, WATCHERS);
}

static void test_storm_unwatched(void **ctx)
{
	(void)ctx;
	run_storm((struct storm){stress_times(60000, 3000000), 0}, 0);
}

/* Each list is settled after a few frees, each empty pool purged at once. */
static void test_storm_with_short_periods(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 3), 0);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 0), 0);
	at_work = WORKERS;
	crew_run(WORKERS + WATCHERS, storm_thread,
		 &(struct storm){stress_times(10000, 500000), 0});
	empty_mail();
	assert_no_complaint();
	assert_all_given_back();
}

/* One call to the system in three fails, again and again. */
static void test_storm_without_memory(void **ctx)
{
	struct apb_fault f = {
		.mode = APB_FAULT_RANDOM,
		.calls = FAULT_ALL,
		.n = 3,
	};
	struct apb_fault_stats stats;
	size_t round;

	(void)ctx;
	fresh_kernel();
	for (round = 0; round < stress_times(10, 500); round++) {
		f.seed = round;
		apb_fault_set(&f);
		stress_no_memory = true;
		at_work = WORKERS;
		crew_run(WORKERS + WATCHERS, storm_thread,
			 &(struct storm){3000, round % 2 ? 30000 : 0});
		apb_fault_get(&stats);
		assert_true(stats.failed[APB_OS_MAP] > 0);
		apb_fault_set(NULL);
		stress_no_memory = false;
		empty_mail();
		assert_no_complaint();
		assert_all_given_back();
	}
}

/* ---- an owner that sleeps --------------------------------------------- */

#define OWNED (100 * MIB)
#define FREERS 3
/* What may stay of it, until a trim, while all that have to do with it sleep. */
#define STAYS (OWNED / 5)
/* And when those who freed it have ended: what its owner has in its lists. */
#define OWN_LISTS (4 * MIB)

struct sleeper {
	struct label **block;
	size_t nr;
	size_t size; /* of a block; 0: any up to 2 KiB */
	_Atomic size_t next; /* to be freed */
	pthread_barrier_t made, freed, seen, end;
};

static void make_them(struct sleeper *sl, uint64_t seed)
{
	size_t sum = 0, size;

	sl->next = 0;
	for (sl->nr = 0; sum < OWNED; sl->nr++) {
		size = sl->size ? sl->size : 16 + rnd(&seed) % 2032;
		sl->block[sl->nr] = apb_malloc(size);
		expect(sl->block[sl->nr]);
		*sl->block[sl->nr] = (struct label){size, seed};
		sum += apb_usable_size(sl->block[sl->nr]);
	}
}

static void free_them(struct sleeper *sl)
{
	size_t i;

	while ((i = atomic_fetch_add(&sl->next, 1)) < sl->nr) {
		expect(sl->block[i]->size >= sizeof(struct label));
		apb_free(sl->block[i]);
	}
}

static void *owner_thread(void *arg)
{
	struct sleeper *sl = arg;

	make_them(sl, 1);
	pthread_barrier_wait(&sl->made);
	/* it sleeps, and never allocates again */
	pthread_barrier_wait(&sl->end);
	return NULL;
}

static void freer_thread(size_t index, void *arg)
{
	struct sleeper *sl = arg;

	(void)index;
	free_them(sl);
	pthread_barrier_wait(&sl->freed);
	/* and sleeps, too, until that was looked at */
	pthread_barrier_wait(&sl->seen);
}

/* At most so much is resident above what was, and so much mapped. */
static void assert_held(const char *when, size_t rss, size_t resident,
			size_t mapped)
{
	struct apb_stats s = stats_now();

	if (!test_has_tool()) {
		size_t now = resident_bytes();

		print_message("  %s: %zu KiB resident, %zu KiB mapped\n", when,
			      now < rss ? 0 : (now - rss) / 1024,
			      s.mapped_bytes / 1024);
		assert_in_range(now, 0, rss + resident);
	}
	assert_in_range(s.mapped_bytes, 0, mapped);
}

static void sleeper_setup(struct sleeper *sl)
{
	fresh_kernel();
	sl->block = malloc(OWNED / 16 * sizeof(*sl->block));
	assert_non_null(sl->block);
	memset(sl->block, 1, OWNED / 16 * sizeof(*sl->block));
	pthread_barrier_init(&sl->made, NULL, 2);
	pthread_barrier_init(&sl->freed, NULL, FREERS + 1);
	pthread_barrier_init(&sl->seen, NULL, FREERS + 1);
	pthread_barrier_init(&sl->end, NULL, 2);
}

static void sleeper_teardown(struct sleeper *sl)
{
	pthread_barrier_destroy(&sl->made);
	pthread_barrier_destroy(&sl->freed);
	pthread_barrier_destroy(&sl->seen);
	pthread_barrier_destroy(&sl->end);
	free(sl->block);
	assert_no_complaint();
	assert_all_given_back();
}

static void run_sleeper(size_t size)
{
	struct sleeper sl = {.size = size};
	struct crew crew;
	pthread_t owner;
	size_t rss;

	sleeper_setup(&sl);
	rss = resident_bytes();
	assert_int_equal(pthread_create(&owner, NULL, owner_thread, &sl), 0);
	pthread_barrier_wait(&sl.made);
	crew_start(&crew, FREERS, freer_thread, &sl);
	pthread_barrier_wait(&sl.freed);
	assert_int_equal(stats_now().used_bytes, 0);
	assert_held("freed", rss, STAYS, 2 * STAYS);
	assert_whole();
	apb_trim();
	assert_held("trimmed", rss, STAYS / 2, 2 * STAYS);
	pthread_barrier_wait(&sl.seen);
	crew_join(&crew);
	apb_trim();
	assert_held("only its owner is left", rss, OWN_LISTS, 16 * MIB);
	assert_whole();
	pthread_barrier_wait(&sl.end);
	pthread_join(owner, NULL);
	sleeper_teardown(&sl);
}

static void test_owner_asleep(void **ctx)
{
	(void)ctx;
	run_sleeper(0);
	run_sleeper(48);
	run_sleeper(4000);
}

/* The owner allocates round after round, and frees nothing ever. */
struct stream {
	struct label *_Atomic box[1024];
	atomic_bool end;
	size_t rounds;
};

static void stream_thread(size_t index, void *arg)
{
	struct stream *st = arg;
	uint64_t r = index;
	size_t i, k;

	if (!index) {
		for (i = 0; i < st->rounds; i++)
			for (k = 0; k < NR_OF(st->box); k++)
				label_drop(atomic_exchange(
					&st->box[k],
					label_make(16 + rnd(&r) % 500, &r)));
		st->end = true;
		return;
	}
	while (!st->end) {
		for (k = 0; k < NR_OF(st->box); k++)
			label_drop(atomic_exchange(&st->box[k], NULL));
	}
}

static void test_stream(void **ctx)
{
	static struct stream st;
	size_t rss, k;

	(void)ctx;
	fresh_kernel();
	st.end = false;
	st.rounds = stress_times(1000, 50000);
	rss = resident_bytes();
	crew_run(3, stream_thread, &st);
	for (k = 0; k < NR_OF(st.box); k++)
		label_drop(atomic_exchange(&st.box[k], NULL));
	assert_in_range(stats_now().mapped_highwater, 0, 32 * MIB);
	assert_held("streamed", rss, 8 * MIB, 16 * MIB);
	assert_no_complaint();
	assert_all_given_back();
}

/* ---- reset under threads that live on --------------------------------- */

struct rounds {
	pthread_barrier_t begin, end;
	size_t nr;
};

static void round_thread(size_t index, void *arg)
{
	struct rounds *rounds = arg;
	struct label *slot[50];
	uint64_t r = index;
	size_t i, k;

	for (i = 0; i < rounds->nr; i++) {
		pthread_barrier_wait(&rounds->begin);
		for (k = 0; k < NR_OF(slot); k++)
			slot[k] = label_make(label_size(&r), &r);
		/* some are freed by the next thread, most by none */
		for (k = 0; k < NR_OF(slot); k += 2)
			label_drop(atomic_exchange(&mail[0][k], slot[k]));
		for (k = 1; k < NR_OF(slot); k += 4)
			label_drop(slot[k]);
		pthread_barrier_wait(&rounds->end);
		/* here all blocks are gone */
	}
	/* a thread that ends is inside of the allocator */
	pthread_barrier_wait(&rounds->begin);
}

static void test_reset_with_threads(void **ctx)
{
	struct rounds rounds = {.nr = stress_times(300, 10000)};
	struct crew crew;
	size_t i, k;

	(void)ctx;
	fresh_kernel();
	pthread_barrier_init(&rounds.begin, NULL, 5);
	pthread_barrier_init(&rounds.end, NULL, 5);
	crew_start(&crew, 4, round_thread, &rounds);
	for (i = 0; i < rounds.nr; i++) {
		pthread_barrier_wait(&rounds.begin);
		if (i % 8 == 0)
			expect(!apb_check(NULL));
		pthread_barrier_wait(&rounds.end);
		assert_whole();
		for (k = 0; k < BOX; k++)
			atomic_store(&mail[0][k], NULL);
		assert_int_equal(apb_reset(), 0);
		assert_int_equal(stats_now().used_bytes, 0);
		assert_int_equal(stats_now().arenas, 0);
		assert_int_equal(stats_now().large, 0);
		assert_whole();
	}
	pthread_barrier_wait(&rounds.begin);
	crew_join(&crew);
	pthread_barrier_destroy(&rounds.begin);
	pthread_barrier_destroy(&rounds.end);
	assert_no_complaint();
	assert_all_given_back();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_storm),
		cmocka_unit_test(test_storm_of_small_blocks),
		cmocka_unit_test(test_storm_of_big_blocks),
		cmocka_unit_test(test_storm_unwatched),
		cmocka_unit_test(test_storm_with_short_periods),
		cmocka_unit_test(test_storm_without_memory),
		cmocka_unit_test(test_owner_asleep),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_reset_with_threads),
	};

	return cmocka_run_group_tests_name("stress", tests, NULL,
					   test_teardown);
}
