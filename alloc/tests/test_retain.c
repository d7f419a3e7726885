// SPDX-License-Identifier: MIT
/*
 * Unit tests of retained memory: that the bound learns what a program needs
 * again, that what is not needed goes with time or events, that a program
 * which drops nearly everything keeps next to nothing; with pools, as a heap
 * takes them, over the simulated kernel and its clock.
 */
#include "arenalib.h"

#define POOL (16 * KIB)
#define MOST 4000

static struct apb_pool *pool[MOST];

static struct apb_retain *retain(void)
{
	return &apb_state.arenas.retain;
}

static void build(unsigned int from, unsigned int to)
{
	unsigned int i;

	for (i = from; i < to; i++) {
		pool[i] = get(0);
		assert_non_null(pool[i]);
	}
}

static void drop(unsigned int from, unsigned int to)
{
	unsigned int i;

	for (i = from; i < to; i++)
		apb_arena_put_pool(pool[i]);
}

/* In an order that leaves no arena empty before long. */
static void drop_shuffled(unsigned int n, uint64_t seed)
{
	unsigned int i;

	for (i = n; i > 1; i--) {
		unsigned int j = (unsigned int)(rnd(&seed) % i);
		struct apb_pool *p = pool[j];

		pool[j] = pool[i - 1];
		pool[i - 1] = p;
	}
	drop(0, n);
}

static uint64_t os_calls(void)
{
	struct simos_stats s;

	simos_stats(&s);
	return s.calls[APB_OS_MAP] + s.calls[APB_OS_UNMAP] +
	       s.calls[APB_OS_PURGE];
}

/* ---- the bound -------------------------------------------------------- */

/* Built and dropped again and again: before long without a system call. */
static void test_cycles_are_learnt(void **ctx)
{
	static const unsigned int sizes[] = {70, 640, 3200};
	unsigned int i, shuffled, round;
	uint64_t before;

	(void)ctx;
	for (i = 0; i < NR_OF(sizes); i++) {
		for (shuffled = 0; shuffled < 2; shuffled++) {
			fresh_sim(i, SIMOS_HINTS);
			for (round = 0; round < 8; round++) {
				before = os_calls();
				build(0, sizes[i]);
				if (shuffled)
					drop_shuffled(sizes[i], round);
				else
					drop(0, sizes[i]);
				if (round >= 5)
					assert_int_equal(os_calls(), before);
			}
			assert_true(as()->dirty_bytes >= sizes[i] * POOL);
			assert_true(as()->dirty_bytes <=
				    apb_arena_dirty_limit());
			assert_whole();
			apb_trim();
			assert_int_equal(apb_state.os.mapped, 0);
		}
	}
}

/* Built and dropped once: what stays is the base. */
static void test_one_burst_goes_back(void **ctx)
{
	unsigned int i, kept = 0;

	(void)ctx;
	fresh_sim(1, SIMOS_HINTS);
	build(0, MOST);
	/* all but a few, which keep their arenas */
	for (i = 0; i < MOST; i++) {
		if (i % 100 == 7)
			kept++;
		else
			apb_arena_put_pool(pool[i]);
	}
	assert_int_equal(as()->used_pool_bytes, kept * POOL);
	assert_int_equal(retain()->extra, 0);
	assert_int_equal(apb_arena_dirty_limit(), MIB + kept * POOL / 128);
	assert_true(as()->dirty_bytes <= apb_arena_dirty_limit());
	for (i = 7; i < MOST; i += 100)
		apb_arena_put_pool(pool[i]);
	assert_true(as()->dirty_bytes <= MIB);
	assert_whole();
}

/* More than the cap is not learnt. */
static void test_cap(void **ctx)
{
	struct apb_retain r = {0};

	(void)ctx;
	apb_retain_gave(&r, 0, 100 * MIB);
	/* eight bytes for each that was missed */
	apb_retain_missed(&r, 3 * MIB, 64 * MIB);
	assert_int_equal(r.extra, 24 * MIB);
	assert_int_equal(r.given, 97 * MIB);
	apb_retain_missed(&r, 5 * MIB, 64 * MIB);
	assert_int_equal(r.extra, 64 * MIB);
	assert_int_equal(r.given, 92 * MIB);
	apb_retain_missed(&r, 82 * MIB, 64 * MIB);
	assert_int_equal(r.extra, 64 * MIB);
	assert_int_equal(r.given, 10 * MIB);
	/* what was never given back is no mistake */
	apb_retain_missed(&r, 60 * MIB, 1000 * MIB);
	assert_int_equal(r.extra, 144 * MIB);
	assert_int_equal(r.given, 0);
	apb_retain_missed(&r, 60 * MIB, 1000 * MIB);
	assert_int_equal(r.extra, 144 * MIB);
	/* nor does it shrink as the cap does; the bound does */
	apb_retain_missed(&r, 60 * MIB, MIB);
	assert_int_equal(r.extra, 144 * MIB);
	fresh_sim(2, 0);
	retain()->extra = 500 * MIB;
	assert_int_equal(apb_arena_dirty_limit(), 65 * MIB);
	build(0, 640);
	assert_int_equal(apb_arena_dirty_limit(),
			 65 * MIB + 640 * POOL / 128 + 640 * POOL / 4);
	drop(0, 640);
}

/* A bound that is set is that; it neither learns nor forgets. */
static void test_fixed_bound(void **ctx)
{
	unsigned int round;

	(void)ctx;
	fresh_sim(3, SIMOS_HINTS);
	apb_set_option(APB_OPT_DIRTY_LIMIT, 4 * MIB);
	for (round = 0; round < 5; round++) {
		build(0, 640);
		drop(0, 640);
		assert_int_equal(apb_arena_dirty_limit(), 4 * MIB);
		assert_in_range(as()->dirty_bytes, 3 * MIB, 4 * MIB);
	}
}

/* ---- time ------------------------------------------------------------- */

/* A quiet heap gives back at the first event after the delay. */
static void test_quiet_heap(void **ctx)
{
	struct apb_pool *p;

	(void)ctx;
	fresh_sim(4, SIMOS_HINTS);
	simos_pass(1000);
	build(0, 640);
	p = get(1);
	drop(0, 640);
	build(0, 640);
	drop(0, 640);
	assert_true(as()->dirty_bytes > 9 * MIB);
	/* no time has passed */
	apb_arena_put_pool(p);
	p = get(1);
	assert_true(as()->dirty_bytes > 9 * MIB);
	simos_pass(500);
	/* it came within this epoch, so it has another one to go */
	apb_arena_put_pool(p);
	p = get(1);
	assert_true(as()->dirty_bytes > 9 * MIB);
	simos_pass(499);
	apb_arena_put_pool(p);
	p = get(1);
	assert_true(as()->dirty_bytes > 9 * MIB);
	simos_pass(1);
	apb_arena_put_pool(p);
	assert_in_range(as()->dirty_bytes, 0, MIB);
	assert_whole();
	/* long after: all but what came just now */
	simos_pass(100000);
	p = get(1);
	apb_arena_put_pool(p);
	assert_true(as()->dirty_bytes <= 64 * KIB);
	assert_true(retain()->extra <= 8 * 64 * KIB);
	/* nothing at all is needed any more: the last of it goes */
	simos_pass(500);
	apb_retain_tick();
	assert_true(as()->dirty_bytes > 0);
	simos_pass(500);
	apb_retain_tick();
	assert_int_equal(as()->dirty_bytes, 0);
	assert_int_equal(as()->nr, 0);
	assert_whole();
}

/* What is needed within each delay stays, whatever time passes. */
static void test_needed_stays(void **ctx)
{
	uint64_t before = 0;
	unsigned int round;

	(void)ctx;
	fresh_sim(5, SIMOS_HINTS);
	for (round = 0; round < 40; round++) {
		if (round == 8)
			before = os_calls();
		build(0, 640);
		simos_pass(37);
		drop(0, 640);
		simos_pass(41);
	}
	assert_int_equal(os_calls(), before);
	/* less is needed from now on: the rest goes, but no more than that */
	for (round = 0; round < 40; round++) {
		if (round == 30)
			before = os_calls();
		build(0, 200);
		simos_pass(37);
		drop(0, 200);
		simos_pass(41);
	}
	assert_int_equal(os_calls(), before);
	assert_in_range(as()->dirty_bytes, 200 * POOL, 200 * POOL + MIB);
	assert_true(apb_arena_dirty_limit() < 5 * MIB);
	assert_whole();
}

/* Trim, and a change of the options, do not wait. */
static void test_at_once(void **ctx)
{
	(void)ctx;
	fresh_sim(6, SIMOS_HINTS);
	build(0, 640);
	drop(0, 640);
	build(0, 640);
	drop(0, 640);
	assert_true(as()->dirty_bytes > 9 * MIB);
	assert_int_equal(apb_set_option(APB_OPT_PURGE_DELAY, 0), 0);
	assert_int_equal(as()->dirty_bytes, 0);
	assert_int_equal(as()->nr, 0);
	assert_int_equal(apb_set_option(APB_OPT_PURGE_DELAY, 500), 0);
	build(0, 60);
	drop(0, 60);
	assert_true(as()->dirty_bytes > 0);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 0), 0);
	assert_int_equal(as()->dirty_bytes, 0);
	assert_whole();
}

/* Without a clock what moves in and out takes its place. */
static void test_no_clock(void **ctx)
{
	unsigned int moved, kept;

	(void)ctx;
	fresh_sim(7, SIMOS_HINTS | SIMOS_NO_CLOCK);
	assert_false(apb_os_has_clock());
	build(0, 640);
	drop(0, 640);
	build(0, 640);
	drop(0, 640);
	assert_true(as()->dirty_bytes > 9 * MIB);
	simos_pass(1000000);
	kept = (unsigned int)(as()->dirty_bytes / POOL);
	/* a pool in and out: two epochs of 64 MiB and 8 times the bound */
	for (moved = 0; moved < 2 * (64 + 8 * 66) * MIB; moved += 2 * POOL) {
		build(0, 1);
		drop(0, 1);
		if (moved < 60 * MIB)
			assert_int_equal(as()->dirty_bytes, kept * POOL);
	}
	assert_true(as()->dirty_bytes <= 2 * MIB);
	assert_whole();
}

/* A clock that steps back ends an epoch, and does no harm. */
static void test_clock_steps_back(void **ctx)
{
	(void)ctx;
	fresh_sim(8, SIMOS_HINTS);
	simos_pass(100000);
	build(0, 100);
	drop(0, 100);
	simos_pass((uint64_t)-99999);
	build(0, 100);
	drop(0, 100);
	assert_int_equal(retain()->epoch, 1);
	assert_true(as()->dirty_bytes <= apb_arena_dirty_limit());
	assert_whole();
}

/* What could not be unmapped is tried again at the end of an epoch. */
static void test_refused_spares_are_tried_again(void **ctx)
{
	uint64_t tries;

	(void)ctx;
	fresh_sim(9, SIMOS_HINTS);
	build(0, 300);
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_UNMAP), 1);
	drop(0, 300);
	assert_int_equal(as()->nr_spares, 5);
	assert_true(as()->dirty_bytes <= apb_arena_dirty_limit());
	/* still refused: one try of a clean one is enough */
	tries = apb_state.os.unmap_failures;
	simos_pass(1500);
	build(0, 1);
	drop(0, 1);
	assert_in_range(apb_state.os.unmap_failures, tries + 1, tries + 2);
	assert_int_equal(as()->nr_spares, 5);
	assert_whole();
	fault_arm(APB_FAULT_OFF, 0, 1);
	simos_pass(1500);
	build(0, 1);
	drop(0, 1);
	/* those that are left are there for what is dirty in them */
	assert_in_range(as()->nr_spares, 1, 2);
	assert_true(as()->nr_spares * 16 * KIB <= as()->dirty_bytes);
	assert_whole();
}

/* ---- idle pages of pools in use --------------------------------------- */

#define BLOCKS 60000

static void *block[BLOCKS];

/* All but one of @keep, in random order; the others stay at the front. */
static unsigned int free_most(unsigned int keep, uint64_t seed)
{
	unsigned int i, left = keep ? BLOCKS / keep : 0;

	for (i = BLOCKS; i > 1; i--) {
		unsigned int j = (unsigned int)(rnd(&seed) % i);
		void *p = block[j];

		block[j] = block[i - 1];
		block[i - 1] = p;
	}
	for (i = left; i < BLOCKS; i++)
		apb_free(block[i]);
	return left;
}

static void allocate_blocks(unsigned int from)
{
	unsigned int i;

	for (i = from; i < BLOCKS; i++) {
		block[i] = apb_malloc(64);
		assert_non_null(block[i]);
	}
}

/* Freed in random order pools are sparse before they are empty. */
static void test_sparse_cycles_are_learnt(void **ctx)
{
	static const unsigned int keep[] = {0, 500};
	unsigned int i, round, left;
	uint64_t before = 0;

	(void)ctx;
	for (i = 0; i < NR_OF(keep); i++) {
		fresh_sim(i, SIMOS_HINTS);
		left = 0;
		for (round = 0; round < 30; round++) {
			if (round == 1)
				assert_true(os_calls() > 300);
			if (round == 20)
				before = os_calls();
			allocate_blocks(left);
			left = free_most(keep[i], round);
		}
		/* at random a little more may be sparse than ever before */
		assert_true(os_calls() - before < 30);
		assert_true(as()->sparse.extra > 0);
		assert_true(as()->sparse_bytes <= as()->sparse.extra);
		assert_whole();
		while (left)
			apb_free(block[--left]);
		apb_settle();
		assert_int_equal(as()->sparse_bytes, 0);
		assert_whole();
	}
}

/* Built and dropped once: swept without delay. */
static void test_sparse_goes_back(void **ctx)
{
	struct simos_stats s;
	unsigned int left;

	(void)ctx;
	fresh_sim(1, SIMOS_HINTS);
	allocate_blocks(0);
	left = free_most(500, 1);
	assert_int_equal(as()->sparse_bytes, 0);
	simos_stats(&s);
	assert_true(s.purged > MIB / 2);
	while (left)
		apb_free(block[--left]);
}

/* What was let be is swept when it was not needed, by the heap. */
static void test_sparse_decays(void **ctx)
{
	struct simos_stats s;
	unsigned int round, left = 0;
	size_t kept;

	(void)ctx;
	fresh_sim(2, SIMOS_HINTS);
	for (round = 0; round < 8; round++) {
		allocate_blocks(left);
		left = free_most(500, round);
	}
	kept = as()->sparse_bytes;
	assert_true(kept > MIB / 2);
	for (round = 0; round < 4; round++) {
		assert_true(as()->sparse_bytes > 0);
		simos_pass(400);
		apb_retain_tick();
		/* nothing is swept before the heap comes by */
		assert_true(as()->sparse_bytes == kept);
	}
	simos_stats(&s);
	apb_free(apb_malloc(20000));
	assert_true(as()->sparse_bytes <= kept / 8);
	/* once */
	assert_int_equal(apb_tls->sweeps, as()->sweeps);
	assert_whole();
	/* a trim leaves none in any case */
	apb_trim();
	assert_int_equal(as()->sparse_bytes, 0);
	while (left)
		apb_free(block[--left]);
	apb_trim();
	assert_whole();
}

/* ---- every call refused ----------------------------------------------- */

/* Grows, drops, waits: some of everything; what fails is left out. */
static void scenario(uint64_t seed)
{
	unsigned int i, n = 0;

	for (i = 0; i < 600; i++) {
		unsigned int kind = (unsigned int)(rnd(&seed) % 3);
		bool up =
			i / 100 % 2 ? rnd(&seed) % 4 == 0 : rnd(&seed) % 4 != 0;

		if (up) {
			pool[n] = get(kind);
			n += pool[n] != NULL;
		} else if (n) {
			unsigned int at = (unsigned int)(rnd(&seed) % n);

			apb_arena_put_pool(pool[at]);
			pool[at] = pool[--n];
		}
		if (i % 37 == 0)
			simos_pass(200);
	}
	while (n)
		apb_arena_put_pool(pool[--n]);
}

static void test_every_call_may_fail(void **ctx)
{
	static const enum apb_fault_mode modes[] = {APB_FAULT_ONCE,
						    APB_FAULT_FROM};
	unsigned int calls, hit = 0;
	uint64_t n, total;
	size_t m;

	(void)ctx;
	for (calls = 1; calls <= FAULT_ALL; calls++) {
		for (m = 0; m < NR_OF(modes); m++) {
			n = 1;
			do {
				fresh_sim(calls, SIMOS_HINTS);
				apb_set_option(APB_OPT_DIRTY_LIMIT,
					       calls % 3 ? APB_DIRTY_AUTO :
							   200 * KIB);
				fault_arm(modes[m], calls, n);
				scenario(n);
				total = apb_state.os.fault.seen;
				hit += total >= n;
				assert_whole();
				/* without a refusal the bound holds */
				if (!(calls & FAULT_MASK(APB_OS_PURGE)))
					assert_true(as()->dirty_bytes <=
						    apb_arena_dirty_limit());
				fault_arm(APB_FAULT_OFF, 0, 1);
				apb_trim();
				assert_int_equal(apb_state.os.mapped, 0);
				n += 1 + n / 8;
			} while (n <= total);
		}
	}
	assert_true(hit > 350);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cycles_are_learnt),
		cmocka_unit_test(test_one_burst_goes_back),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_fixed_bound),
		cmocka_unit_test(test_quiet_heap),
		cmocka_unit_test(test_needed_stays),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_no_clock),
		cmocka_unit_test(test_clock_steps_back),
		cmocka_unit_test(test_refused_spares_are_tried_again),
		cmocka_unit_test(test_sparse_cycles_are_learnt),
		cmocka_unit_test(test_sparse_goes_back),
		cmocka_unit_test(test_sparse_decays),
		cmocka_unit_test(test_every_call_may_fail),
	};

	return cmocka_run_group_tests_name("retain", tests, NULL,
					   test_teardown);
}
