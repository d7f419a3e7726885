// SPDX-License-Identifier: MIT
/*
 * Unit tests of the locks: the programs here have one thread, which is told
 * that it is not alone.  It sees each lock that is taken and let go: in order,
 * none twice, none that is not held, none kept, and the OS table only under the
 * state lock.  What two threads would get wrong once in a million times, one
 * thread gets wrong here each time.
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "testlib.h"

#include "api/lock.h"
#include "heap/remote.h"
#include "ops.h"
#include "run.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what is held ------------------------------------------------------ */

enum rank {
	RANK_HEAPS,
	RANK_HEAP,
	RANK_STATE
};

#define HELD_MAX 64

static bool watched;

/*
 * What another thread does at that very moment: while the one that is watched
 * waits for the @at-th time for that lock, or for any.
 */
static struct {
	void (*fn)(void);
	const pthread_mutex_t *lock;
	unsigned int at;
} meanwhile;

static void let_others(const pthread_mutex_t *lock);

static pthread_mutex_t *held[HELD_MAX];
static unsigned int nr_held;
static size_t nr_taken;
static char complaint[200];
/* A lock that another thread has. */
static const pthread_mutex_t *others;

static void complain(const char *what)
{
	if (!*complaint)
		snprintf(complaint, sizeof(complaint), "%s, %u locks held",
			 what, nr_held);
}

static enum rank rank_of(const pthread_mutex_t *lock)
{
	if (lock == &apb_heaps_lock)
		return RANK_HEAPS;
	return lock == &apb_state_lock ? RANK_STATE : RANK_HEAP;
}

static bool holds(const pthread_mutex_t *lock)
{
	unsigned int i;

	for (i = 0; i < nr_held; i++)
		if (held[i] == lock)
			return true;
	return false;
}

static void took(pthread_mutex_t *lock, bool waited)
{
	unsigned int i;

	if (holds(lock))
		complain("taken twice");
	for (i = 0; i < nr_held && waited; i++) {
		if (rank_of(held[i]) > rank_of(lock))
			complain("taken out of order");
		/* two heaps' only under the heaps lock */
		if (rank_of(held[i]) == RANK_HEAP &&
		    rank_of(lock) == RANK_HEAP && !holds(&apb_heaps_lock))
			complain("a second heap's lock");
		if (rank_of(held[i]) == RANK_HEAP &&
		    rank_of(lock) == RANK_HEAP && held[i] > lock)
			complain("heaps' locks not in the order of addresses");
	}
	nr_taken++;
	if (nr_held < HELD_MAX)
		held[nr_held++] = lock;
	else
		complain("too many");
}

static void let_go(const pthread_mutex_t *lock)
{
	unsigned int i;

	for (i = 0; i < nr_held; i++) {
		if (held[i] == lock) {
			held[i] = held[--nr_held];
			return;
		}
	}
	complain("let go, but not held");
}

/* ---- glibc's functions, as the program and the allocator see them ------ */

static int (*real(const char *name))(pthread_mutex_t *lock)
{
	return (int (*)(pthread_mutex_t *))(uintptr_t)dlsym(RTLD_NEXT, name);
}

int pthread_mutex_lock(pthread_mutex_t *lock)
{
	static int (*lock_fn)(pthread_mutex_t *);

	if (!lock_fn)
		lock_fn = real("pthread_mutex_lock");
	if (watched) {
		let_others(lock);
		took(lock, true);
		return 0;
	}
	return lock_fn(lock);
}

int pthread_mutex_trylock(pthread_mutex_t *lock)
{
	static int (*trylock_fn)(pthread_mutex_t *);

	if (!trylock_fn)
		trylock_fn = real("pthread_mutex_trylock");
	if (!watched)
		return trylock_fn(lock);
	if (holds(lock) || lock == others)
		return EBUSY;
	took(lock, false);
	return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *lock)
{
	static int (*unlock_fn)(pthread_mutex_t *);

	if (!unlock_fn)
		unlock_fn = real("pthread_mutex_unlock");
	if (watched) {
		let_go(lock);
		return 0;
	}
	return unlock_fn(lock);
}

static void let_others(const pthread_mutex_t *lock)
{
	void (*fn)(void) = meanwhile.fn;

	if (!fn || (meanwhile.lock && meanwhile.lock != lock) || --meanwhile.at)
		return;
	meanwhile.fn = NULL;
	/* it waits for nothing */
	watched = false;
	__libc_single_threaded = true;
	fn();
	watched = true;
	__libc_single_threaded = false;
}

/* ---- an OS table that wants to be called under the state lock ---------- */

static struct apb_os below;

static void *checked_map(void *ctx, void *hint, size_t size, bool *zero)
{
	if (watched && !holds(&apb_state_lock))
		complain("map without the state lock");
	return below.map(ctx, hint, size, zero);
}

static int checked_unmap(void *ctx, void *addr, size_t size)
{
	if (watched && !holds(&apb_state_lock))
		complain("unmap without the state lock");
	return below.unmap(ctx, addr, size);
}

static int checked_purge(void *ctx, void *addr, size_t size)
{
	if (watched && !holds(&apb_state_lock))
		complain("purge without the state lock");
	return below.purge(ctx, addr, size);
}

static int checked_remap(void *ctx, void *addr, size_t old_size,
			 size_t new_size, void *new_addr)
{
	if (watched && !holds(&apb_state_lock))
		complain("remap without the state lock");
	return below.remap(ctx, addr, old_size, new_size, new_addr);
}

static uint64_t checked_now(void *ctx)
{
	if (watched && !holds(&apb_state_lock))
		complain("now without the state lock");
	return below.now(ctx);
}

static int set_checked_os(const struct apb_os *os)
{
	struct apb_os table;

	if (!os)
		return apb_set_os(NULL);
	below = table = *os;
	table.map = checked_map;
	table.unmap = checked_unmap;
	table.purge = checked_purge;
	table.remap = checked_remap;
	table.now = os->now ? checked_now : NULL;
	return apb_set_os(&table);
}

/* ---- watching ---------------------------------------------------------- */

static void watch(void)
{
	nr_held = 0;
	nr_taken = 0;
	*complaint = '\0';
	watched = true;
	__libc_single_threaded = false;
}

/* What was called took locks, and let them go again. */
static void unwatch(bool some, const char *file, int line)
{
	watched = false;
	__libc_single_threaded = true;
	if (nr_held)
		complain("kept");
	if (some && !nr_taken)
		complain("none taken");
	if (*complaint) {
		print_error("%s:%d: %s\n", file, line, complaint);
		_fail(file, line);
	}
}

#define LOCKS(call)                                \
	do {                                       \
		watch();                           \
		call;                              \
		unwatch(true, __FILE__, __LINE__); \
	} while (0)

/* ---- tests ------------------------------------------------------------- */

static void ignore(const struct apb_misuse *m, void *arg)
{
	(void)m;
	(void)arg;
}

static int setup(void **ctx)
{
	(void)ctx;
	fresh_sim(1, 0);
	assert_int_equal(apb_set_os(NULL), 0);
	assert_int_equal(set_checked_os(simos_ops()), 0);
	apb_set_misuse(ignore, NULL);
	return 0;
}

/* Each public function that takes any, one at a time. */
static void test_functions(void **ctx)
{
	struct apb_fault_stats faults;
	struct apb_violation v;
	struct apb_stats stats;
	char *small, *large;
	int fd = open("/dev/null", O_WRONLY);

	(void)ctx;
	assert_true(fd >= 0);
	LOCKS(small = apb_malloc(100));
	LOCKS(large = apb_malloc(100 * KIB));
	apb_free(apb_malloc(800 * KIB));
	/* copied to there */
	LOCKS(large = apb_realloc(large, 450 * KIB));
	LOCKS(large = apb_realloc(large, 500 * KIB));
	LOCKS(large = apb_realloc(large, 50 * KIB));
	LOCKS(assert_int_equal(apb_usable_size(large), 52 * KIB));
	LOCKS(apb_free(large));
	LOCKS(large = apb_calloc(3, 5 * MIB));
	LOCKS(apb_free_sized(large, 15 * MIB));
	LOCKS(large = apb_aligned_alloc(8 * MIB, 5));
	LOCKS(apb_free_aligned_sized(large, 8 * MIB, 5));
	/* no memory until what is cached is given back */
	apb_free(apb_malloc(300 * KIB));
	fault_arm(APB_FAULT_ONCE, FAULT_MASK(APB_OS_MAP), 1);
	LOCKS(large = apb_malloc(3 * MIB));
	fault_arm(APB_FAULT_OFF, 0, 0);
	assert_int_equal(apb_state.larges.recovered, 1);
	apb_free(large);
	apb_free(small);
	LOCKS(apb_free(small));
	LOCKS(apb_free_sized(small + 1, 100));
	small = apb_malloc(100);
	LOCKS(apb_free_sized(small, 1000));
	LOCKS(apb_free_aligned_sized(small, 3, 1000));
	LOCKS(assert_null(apb_realloc(small + 1, 5)));
	LOCKS(assert_int_equal(apb_usable_size(small + 1), 0));
	LOCKS(apb_settle());
	LOCKS(apb_trim());
	LOCKS(apb_stats(&stats));
	LOCKS(apb_stats_print(fd));
	LOCKS(apb_check(&v));
	LOCKS(apb_fault_set(NULL));
	LOCKS(apb_fault_get(&faults));
	LOCKS(apb_set_misuse(ignore, NULL));
	LOCKS(apb_set_option(APB_OPT_SETTLE_PERIOD, 4));
	LOCKS(apb_set_option(APB_OPT_SETTLE_PERIOD, 0));
	LOCKS(apb_set_option(APB_OPT_JUNK, 0));
	LOCKS(apb_set_option(APB_OPT_DIRTY_LIMIT, 0));
	LOCKS(apb_set_option(APB_OPT_PURGE_DELAY, 7));
	LOCKS(apb_set_option(APB_OPT_LARGE_CACHE, MIB));
	LOCKS(apb_set_option(APB_OPT_THP, APB_THP_NEVER));
	LOCKS(apb_thread_end());
	LOCKS(apb_trim());
	LOCKS(apb_reset());
	LOCKS(assert_int_equal(set_checked_os(&below), 0));
	close(fd);
}

/* The fast paths take none. */
static void test_fast(void **ctx)
{
	void *p = apb_malloc(100);

	(void)ctx;
	apb_free(p);
	watch();
	p = apb_malloc(100);
	apb_free(p);
	p = apb_calloc(1, 100);
	apb_free_sized(p, 100);
	unwatch(false, __FILE__, __LINE__);
	assert_int_equal(nr_taken, 0);
}

/* All heaps' locks, of which many are made, in the order of their addresses. */
static void test_many_heaps(void **ctx)
{
	struct apb_heap *mine, *heap[HELD_MAX / 4];
	struct apb_violation v;
	size_t i, round;

	(void)ctx;
	apb_free(apb_malloc(1));
	mine = apb_thread_swap(NULL);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < NR_OF(heap); i++) {
			apb_free(apb_malloc(1));
			heap[i] = apb_thread_swap(NULL);
		}
		LOCKS(assert_int_equal(apb_check(&v), 0));
		LOCKS(assert_int_equal(apb_check(&v), 0));
		/* those that are made next fill holes */
		for (i = 0; i < NR_OF(heap); i++) {
			apb_thread_swap(heap[i * 7 % NR_OF(heap)]);
			apb_thread_end();
			if (i % 3 == round)
				LOCKS(apb_trim());
		}
		LOCKS(assert_int_equal(apb_check(&v), 0));
	}
	apb_thread_swap(mine);
	assert_whole();
}

/* With no memory: everything is asked for it. */
static void test_no_memory(void **ctx)
{
	void *blocks[300], *large = apb_malloc(MIB);
	struct apb_violation v;
	struct apb_heap *heap;
	size_t i;

	(void)ctx;
	for (i = 0; i < NR_OF(blocks); i++)
		blocks[i] = apb_malloc(1024);
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	LOCKS(assert_null(apb_malloc(20 * MIB)));
	LOCKS(assert_null(apb_realloc(large, 20 * MIB)));
	LOCKS(assert_null(apb_malloc(32768)));
	/* a thread for which there is no heap either */
	heap = apb_thread_swap(NULL);
	LOCKS(assert_null(apb_malloc(20 * MIB)));
	LOCKS(assert_null(apb_malloc(32768)));
	LOCKS(apb_free(blocks[0]));
	assert_null(apb_thread_swap(heap));
	fault_arm(APB_FAULT_OFF, 0, 0);
	apb_free(large);
	watch();
	for (i = 1; i < NR_OF(blocks); i++)
		apb_free(blocks[i]);
	unwatch(true, __FILE__, __LINE__);
	assert_int_equal(apb_check(&v), 0);
}

/* ---- what another thread does meanwhile -------------------------------- */

static struct apb_heap *mine, *other;
static unsigned int nr_ignored;
static void *shared, *got;

static void count(const struct apb_misuse *m, void *arg)
{
	(void)m;
	(void)arg;
	nr_ignored++;
}

/* Two heaps; the first one is the caller's. */
static void play_two(void)
{
	apb_free(apb_malloc(1));
	mine = apb_thread_swap(NULL);
	apb_free(apb_malloc(1));
	other = apb_thread_swap(mine);
	assert_ptr_not_equal(mine, other);
	apb_set_misuse(count, NULL);
	nr_ignored = 0;
}

static void end_two(void)
{
	assert_null(meanwhile.fn);
	apb_thread_swap(other);
	apb_thread_end();
	apb_thread_swap(mine);
	assert_whole();
	apb_set_misuse(ignore, NULL);
}

static void free_shared(void)
{
	apb_thread_swap(other);
	apb_free(shared);
	apb_remote_flush(other);
	apb_thread_swap(mine);
}

static void take_shared(void)
{
	got = apb_malloc(100);
}

static void map_much(void)
{
	apb_thread_swap(other);
	got = apb_malloc(20 * MIB);
	apb_thread_swap(mine);
}

/* Whoever is the second to free a large block is told, however close it was. */
static void test_large_freed_meanwhile(void **ctx)
{
	unsigned int at;

	(void)ctx;
	for (at = 1; at <= 2; at++) {
		play_two();
		shared = apb_malloc(100 * KIB);
		meanwhile.fn = free_shared;
		meanwhile.lock = &apb_state_lock;
		meanwhile.at = at;
		LOCKS(apb_free(shared));
		assert_int_equal(nr_ignored, 1);
		end_two();
	}
}

static void take_large(void)
{
	got = apb_malloc(100 * KIB);
}

static void free_shared_and_take(void)
{
	free_shared();
	meanwhile.fn = take_large;
	meanwhile.lock = &apb_heaps_lock;
	meanwhile.at = 1;
}

/* If it has been handed out again by then nothing is told. */
static void test_large_taken_meanwhile(void **ctx)
{
	(void)ctx;
	play_two();
	shared = apb_malloc(100 * KIB);
	meanwhile.fn = free_shared_and_take;
	meanwhile.lock = &apb_state_lock;
	meanwhile.at = 2;
	LOCKS(apb_free(shared));
	assert_ptr_equal(got, shared);
	assert_int_equal(nr_ignored, 0);
	apb_free(got);
	end_two();
}

/* Nor is one lost that is freed while it is copied to a larger one. */
static void test_freed_while_copied(void **ctx)
{
	void *p = NULL;

	(void)ctx;
	play_two();
	shared = apb_malloc(100);
	meanwhile.fn = free_shared;
	meanwhile.lock = NULL;
	meanwhile.at = 1;
	LOCKS(p = apb_realloc(shared, 1000));
	assert_non_null(p);
	assert_int_equal(nr_ignored, 1);
	apb_free(p);
	end_two();
}

/*
 * Nor a large one: its second free is that at the end of the copy.  Before
 * there is anything to copy the block is not there any more.
 */
static void test_large_freed_while_resized(void **ctx)
{
	unsigned int at;
	void *p = NULL;

	(void)ctx;
	for (at = 1; at <= 3; at++) {
		play_two();
		apb_free(apb_malloc(800 * KIB));
		shared = apb_malloc(100 * KIB);
		meanwhile.fn = free_shared;
		meanwhile.lock = &apb_state_lock;
		meanwhile.at = at;
		LOCKS(p = apb_realloc(shared, 450 * KIB));
		assert_int_equal(!p, at < 3);
		assert_int_equal(nr_ignored, at != 2);
		apb_free(p);
		end_two();
	}
}

/* A block that has just been handed out again is no misuse. */
static void test_allocated_meanwhile(void **ctx)
{
	(void)ctx;
	play_two();
	shared = apb_malloc(100);
	apb_free(shared);
	meanwhile.fn = take_shared;
	meanwhile.lock = &apb_heaps_lock;
	meanwhile.at = 1;
	LOCKS(assert_int_equal(apb_usable_size(shared), 112));
	assert_ptr_equal(got, shared);
	assert_int_equal(nr_ignored, 0);
	apb_free(shared);
	end_two();
}

/* What others have mapped since is not given back by a trim. */
static void test_mapped_meanwhile(void **ctx)
{
	size_t bytes = 0;

	(void)ctx;
	play_two();
	apb_free(apb_malloc(100 * KIB));
	meanwhile.fn = map_much;
	meanwhile.lock = &apb_heaps_lock;
	meanwhile.at = 1;
	LOCKS(bytes = apb_trim());
	assert_true(bytes < 20 * MIB);
	apb_free(got);
	end_two();
}

/* The last block there is: another thread frees it while there is none. */
static void test_freed_meanwhile(void **ctx)
{
	unsigned int n = 0;
	static void *p[64];
	void *q = NULL;

	(void)ctx;
	play_two();
	do {
		p[n++] = apb_malloc(32768);
		assert_in_range(n, 1, NR_OF(p) - 1);
	} while (n % 28);
	assert_int_equal(bin_length(56), 0);
	shared = p[0];
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_MAP), 1);
	meanwhile.fn = free_shared;
	meanwhile.lock = &apb_state_lock;
	meanwhile.at = 1;
	LOCKS(q = apb_malloc(32768));
	fault_arm(APB_FAULT_OFF, 0, 0);
	assert_ptr_equal(q, shared);
	assert_int_equal(mine->recovered, 1);
	while (n)
		apb_free(p[--n]);
	end_two();
}

/* Nobody who holds a lock waits for one who goes through all heaps. */
static void test_busy_meanwhile(void **ctx)
{
	void *q = NULL;

	(void)ctx;
	play_two();
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_MAP), 1);
	others = &apb_heaps_lock;
	LOCKS(while ((q = apb_malloc(32768))) nr_taken++);
	others = NULL;
	fault_arm(APB_FAULT_OFF, 0, 0);
	assert_whole();
	apb_thread_end();
	apb_thread_swap(other);
	apb_thread_end();
	assert_int_equal(apb_reset(), 0);
}

/* What another handler does inside fork(): those of the allocator have run. */
static bool allocate_in_fork;
static void *allocated;

static void in_fork(void)
{
	if (allocate_in_fork)
		allocated = apb_malloc(40000);
}

static void register_early(void)
{
	pthread_atfork(in_fork, NULL, NULL);
}

/* Before any constructor: so it is called after those that have one. */
__attribute__((section(".preinit_array"),
	       used)) static void (*const early)(void) = register_early;

/* The locks are the thread's, and not taken again. */
static void test_fork_allocates(void **ctx)
{
	void *p = apb_malloc(1);
	int status;
	pid_t pid;

	(void)ctx;
	allocated = NULL;
	allocate_in_fork = true;
	watch();
	pid = fork();
	if (!pid)
		_exit(nr_held || !nr_taken || *complaint || !allocated);
	unwatch(true, __FILE__, __LINE__);
	allocate_in_fork = false;
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	apb_free(allocated);
	apb_free(p);
}

/* Both processes that come out of fork() have none. */
static void test_fork_lets_go(void **ctx)
{
	void *p = apb_malloc(1);
	int status;
	pid_t pid;

	(void)ctx;
	watch();
	pid = fork();
	if (!pid)
		_exit(nr_held || !nr_taken || *complaint);
	unwatch(true, __FILE__, __LINE__);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	apb_free(p);
}

/* ---- random inputs ----------------------------------------------------- */

static void on_finding(const struct run_finding *f, void *arg)
{
	(void)arg;
	watched = false;
	run_print_finding(f, stderr);
	_fail(__FILE__, __LINE__);
}

static void random_input(uint64_t *state, unsigned int i, uint8_t *data,
			 size_t size)
{
	struct ops_header header = {
		.locked = true,
		.threads = 1u << i % 4,
		.small_period = i % 3 == 0,
		.no_dirty = i % 5 == 0,
		.seed = i,
	};

	for (i = 0; i < size; i += 8) {
		uint64_t word = rnd(state);

		memcpy(data + i, &word, sizeof(word));
	}
	ops_encode_header(data, &header);
}

/* What the harness thinks of, played threads among it. */
static void test_random_inputs(void **ctx)
{
	static uint8_t data[OPS_HEADER_SIZE + 200 * OPS_RECORD_SIZE];
	struct apb_api api = apb_api;
	struct run_options options = {.on_finding = on_finding, .api = &api};
	uint64_t state = 1;
	size_t taken = 0;
	unsigned int i;

	(void)ctx;
	fresh_kernel();
	api.set_os = set_checked_os;
	for (i = 0; i < 150; i++) {
		random_input(&state, i, data, sizeof(data));
		watch();
		run_input(data, sizeof(data), &options);
		unwatch(false, __FILE__, __LINE__);
		taken += nr_taken;
	}
	assert_true(taken > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_functions, setup),
		cmocka_unit_test_setup(test_fast, setup),
		cmocka_unit_test_setup(test_many_heaps, setup),
		cmocka_unit_test_setup(test_no_memory, setup),
		cmocka_unit_test_setup(test_fork_lets_go, setup),
		cmocka_unit_test_setup(test_large_freed_meanwhile, setup),
		cmocka_unit_test_setup(test_large_taken_meanwhile, setup),
		cmocka_unit_test_setup(test_freed_while_copied, setup),
		cmocka_unit_test_setup(test_large_freed_while_resized, setup),
		cmocka_unit_test_setup(test_allocated_meanwhile, setup),
		cmocka_unit_test_setup(test_mapped_meanwhile, setup),
		cmocka_unit_test_setup(test_freed_meanwhile, setup),
		cmocka_unit_test_setup(test_busy_meanwhile, setup),
		cmocka_unit_test_setup(test_fork_allocates, setup),
		cmocka_unit_test(test_random_inputs),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
