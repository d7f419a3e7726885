// SPDX-License-Identifier: MIT
/* Tiny programs; see toys.h.  Compiled as the allocator is. */
#include "toys.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define RLX memory_order_relaxed
#define ACQ memory_order_acquire
#define REL memory_order_release
#define SEQ memory_order_seq_cst

static struct {
	_Atomic int x, y[8], turn, flag[2], inside;
	int data, got, sum;
	pthread_mutex_t a, b;
} v;

static void begin(void)
{
	memset(&v, 0, sizeof(v));
}

/* ---- counting --------------------------------------------------------- */

static void store_same(unsigned int t)
{
	atomic_store_explicit(&v.x, (int)t, RLX);
}

static void store_own(unsigned int t)
{
	atomic_store_explicit(&v.y[t], 1, RLX);
}

static void store_own_thrice(unsigned int t)
{
	for (int i = 0; i < 3; i++)
		atomic_store_explicit(&v.y[t], i, RLX);
}

static void write_or_read(unsigned int t)
{
	if (!t)
		atomic_store_explicit(&v.x, 1, RLX);
	else
		atomic_load_explicit(&v.x, RLX);
}

static void add(unsigned int t)
{
	(void)t;
	atomic_fetch_add_explicit(&v.x, 1, RLX);
}

static void locked_add(unsigned int t)
{
	(void)t;
	pthread_mutex_lock(&v.a);
	v.sum++;
	pthread_mutex_unlock(&v.a);
}

static void lock_or_try(unsigned int t)
{
	if (!t)
		pthread_mutex_lock(&v.a);
	else if (pthread_mutex_trylock(&v.a))
		return;
	v.sum++;
	pthread_mutex_unlock(&v.a);
}

static void two_try(unsigned int t)
{
	lock_or_try(t);
	if (t)
		lock_or_try(t);
}

/* Example "lastzero" of the source sets paper: 64 classes with 5 writers. */
#define LAST 5
static void last_zero(unsigned int t)
{
	int i = LAST;

	if (!t)
		while (i && atomic_load_explicit(&v.y[i], RLX))
			i--;
	else
		atomic_store_explicit(
			&v.y[t], atomic_load_explicit(&v.y[t - 1], RLX) + 1,
			RLX);
}

/* ---- publishing ------------------------------------------------------- */

static void pass(unsigned int t, memory_order store, memory_order load)
{
	if (!t) {
		v.data = 42;
		atomic_store_explicit(&v.x, 1, store);
	} else if (atomic_load_explicit(&v.x, load)) {
		v.got = v.data;
	}
}

static void pass_well(unsigned int t)
{
	pass(t, REL, ACQ);
}

static void pass_without_release(unsigned int t)
{
	pass(t, RLX, ACQ);
}

static void pass_without_acquire(unsigned int t)
{
	pass(t, REL, RLX);
}

static void pass_by_fences(unsigned int t)
{
	if (!t) {
		v.data = 42;
		atomic_thread_fence(REL);
		atomic_store_explicit(&v.x, 1, RLX);
	} else if (atomic_load_explicit(&v.x, RLX)) {
		atomic_thread_fence(ACQ);
		v.got = v.data;
	}
}

/* A relaxed RMW goes on with the release sequence, a store ends it. */
static void pass_on(unsigned int t, bool store)
{
	int one = 1;

	if (!t) {
		v.data = 42;
		atomic_store_explicit(&v.x, 1, REL);
	} else if (t == 1) {
		if (!store)
			atomic_compare_exchange_strong_explicit(&v.x, &one, 2,
								RLX, RLX);
		else if (atomic_load_explicit(&v.x, RLX) == 1)
			atomic_store_explicit(&v.x, 2, RLX);
	} else if (atomic_load_explicit(&v.x, ACQ) == 2) {
		v.got = v.data;
	}
}

static void pass_on_by_rmw(unsigned int t)
{
	pass_on(t, false);
}

static void pass_on_by_store(unsigned int t)
{
	pass_on(t, true);
}

static void plain_and_atomic(unsigned int t)
{
	if (!t)
		atomic_store_explicit(&v.x, 1, SEQ);
	else
		memset(&v.x, 0, sizeof(v.x));
}

/* ---- mutual exclusion ------------------------------------------------- */

static void critical(void)
{
	v.sum++;
}

static void lost_update(unsigned int t)
{
	(void)t;
	atomic_store(&v.x, atomic_load(&v.x) + 1);
}

static void expect_two(void)
{
	if (v.x != 2)
		sched_fail("count", "%d, not 2", v.x);
}

/* Locks that spin give up after some turns: else schedules have no end. */
#define TURNS 2

static void spin(unsigned int t)
{
	(void)t;
	for (int i = 0; i < TURNS; i++) {
		if (atomic_exchange_explicit(&v.x, 1, ACQ))
			continue;
		critical();
		atomic_store_explicit(&v.x, 0, REL);
		return;
	}
}

/* The test and the setting are two. */
static void spin_broken(unsigned int t)
{
	(void)t;
	for (int i = 0; i < TURNS; i++) {
		if (atomic_load_explicit(&v.x, ACQ))
			continue;
		atomic_store_explicit(&v.x, 1, RLX);
		critical();
		atomic_store_explicit(&v.x, 0, REL);
		return;
	}
}

static void peterson(unsigned int t, bool turn_first, memory_order mo)
{
	unsigned int other = 1 - t;

	if (turn_first)
		atomic_store_explicit(&v.turn, (int)other, mo);
	atomic_store_explicit(&v.flag[t], 1, mo);
	if (!turn_first)
		atomic_store_explicit(&v.turn, (int)other, mo);
	for (int i = 0; i < TURNS; i++) {
		if (atomic_load_explicit(&v.flag[other], mo) &&
		    atomic_load_explicit(&v.turn, mo) == (int)other)
			continue;
		if (atomic_fetch_add_explicit(&v.inside, 1, RLX))
			sched_fail("inside", "two threads are");
		critical();
		atomic_fetch_sub_explicit(&v.inside, 1, RLX);
		break;
	}
	atomic_store_explicit(&v.flag[t], 0, mo == RLX ? RLX : REL);
}

static void peterson_well(unsigned int t)
{
	peterson(t, false, SEQ);
}

static void peterson_relaxed(unsigned int t)
{
	peterson(t, false, RLX);
}

static void peterson_broken(unsigned int t)
{
	peterson(t, true, SEQ);
}

static void two_locks(unsigned int t, bool same_order)
{
	pthread_mutex_t *first = t && !same_order ? &v.b : &v.a;
	pthread_mutex_t *second = first == &v.a ? &v.b : &v.a;

	pthread_mutex_lock(first);
	pthread_mutex_lock(second);
	v.sum++;
	pthread_mutex_unlock(second);
	pthread_mutex_unlock(first);
}

static void locks_in_order(unsigned int t)
{
	two_locks(t, true);
}

static void locks_crossed(unsigned int t)
{
	two_locks(t, false);
}

static void lock_left(unsigned int t)
{
	(void)t;
	pthread_mutex_lock(&v.a);
}

static void unlock_only(unsigned int t)
{
	(void)t;
	pthread_mutex_unlock(&v.a);
}

/* ---- drawn programs --------------------------------------------------- */

#define DRAWN_OPS 4u
enum drawn {
	LOAD,
	STORE,
	ADD,
	LOCK_A,
	LOCK_B,
	TRY_A,
	NOTHING,
	DRAWN_NR
};

static enum drawn drawn[SCHED_THREADS][DRAWN_OPS];
static unsigned int drawn_at[SCHED_THREADS][DRAWN_OPS];

static void locked_load(pthread_mutex_t *lock, unsigned int at)
{
	pthread_mutex_lock(lock);
	atomic_load_explicit(&v.y[at], RLX);
	pthread_mutex_unlock(lock);
}

static void do_drawn(unsigned int t)
{
	for (unsigned int i = 0; i < DRAWN_OPS; i++) {
		unsigned int at = drawn_at[t][i];

		switch (drawn[t][i]) {
		case LOAD:
			atomic_load_explicit(&v.y[at], RLX);
			break;
		case STORE:
			atomic_store_explicit(&v.y[at], (int)t, RLX);
			break;
		case ADD:
			atomic_fetch_add_explicit(&v.y[at], 1, RLX);
			break;
		case LOCK_A:
			locked_load(&v.a, at);
			break;
		case LOCK_B:
			locked_load(&v.b, at);
			break;
		case TRY_A:
			/* what happens then depends on the schedule */
			if (pthread_mutex_trylock(&v.a)) {
				atomic_store_explicit(&v.y[at], 7, RLX);
				break;
			}
			atomic_load_explicit(&v.y[at], RLX);
			pthread_mutex_unlock(&v.a);
			break;
		default:
			break;
		}
	}
}

void toy_random(struct toy *toy, uint32_t seed, unsigned int threads)
{
	unsigned int ops = threads == 2 ? DRAWN_OPS : 2;
	uint64_t rng = seed;

	for (unsigned int t = 0; t < threads; t++) {
		for (unsigned int i = 0; i < DRAWN_OPS; i++) {
			/* splitmix64, Steele, Lea and Flood 2014 */
			uint64_t z = rng += UINT64_C(0x9e3779b97f4a7c15);

			z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
			z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
			z ^= z >> 31;
			drawn[t][i] =
				i < ops ? (enum drawn)(z % DRAWN_NR) : NOTHING;
			drawn_at[t][i] = z >> 32 & 1;
		}
	}
	*toy = (struct toy){
		{"drawn", NULL, threads, begin, do_drawn, NULL}, 0, 0, NULL};
}

#define TOY(fn, threads, ...) \
	{{#fn, NULL, threads, begin, fn, NULL}, __VA_ARGS__}

const struct toy toys[] = {
	TOY(store_same, 2, 2, 2, NULL),
	TOY(store_same, 3, 6, 6, NULL),
	TOY(store_own, 2, 1, 2, NULL),
	TOY(store_own, 3, 1, 6, NULL),
	TOY(store_own_thrice, 2, 1, 20, NULL),
	TOY(store_own_thrice, 3, 1, 1680, NULL),
	TOY(write_or_read, 2, 2, 2, NULL),
	TOY(write_or_read, 3, 4, 6, NULL),
	TOY(write_or_read, 5, 16, 120, NULL),
	TOY(add, 3, 6, 6, NULL),
	TOY(locked_add, 2, 2, 2, NULL),
	TOY(locked_add, 3, 6, 6, NULL),
	TOY(lock_or_try, 2, 3, 3, NULL),
	TOY(lock_or_try, 3, 0, 0, NULL),
	TOY(two_try, 2, 0, 0, NULL),
	TOY(two_try, 3, 0, 0, NULL),
	TOY(last_zero, LAST + 1, 64, 0, NULL),
	TOY(pass_well, 2, 2, 2, NULL),
	TOY(pass_without_release, 2, 0, 0, "race"),
	TOY(pass_without_acquire, 2, 0, 0, "race"),
	TOY(pass_by_fences, 2, 2, 2, NULL),
	TOY(pass_on_by_rmw, 3, 6, 6, NULL),
	TOY(pass_on_by_store, 3, 0, 0, "race"),
	TOY(plain_and_atomic, 2, 0, 0, "race"),
	{{"lost_update", NULL, 2, begin, lost_update, expect_two},
	 0,
	 0,
	 "count"},
	TOY(spin, 2, 0, 0, NULL),
	TOY(spin, 3, 0, 0, NULL),
	TOY(spin_broken, 2, 0, 0, "race"),
	TOY(peterson_well, 2, 0, 0, NULL),
	TOY(peterson_relaxed, 2, 0, 0, "race"),
	TOY(peterson_broken, 2, 0, 0, "race"),
	TOY(locks_in_order, 2, 2, 0, NULL),
	TOY(locks_crossed, 2, 0, 0, "deadlock"),
	TOY(lock_left, 1, 0, 0, "lock"),
	TOY(unlock_only, 1, 0, 0, "lock"),
};

const unsigned int toys_nr = sizeof(toys) / sizeof(toys[0]);
