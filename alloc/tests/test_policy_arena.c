// SPDX-License-Identifier: MIT
/*
 * The arenas' policies against a model of them: which pool is taken, which
 * arena is cut anew, what is unmapped or purged when, in which order and in
 * which calls; at random, with a system that refuses at times.  What the model
 * knows is what arena/arena.h and os/retain.h say, slot by slot.
 */
#include "arenalib.h"
#include "policylib.h"

#include <stdlib.h>

#define ARENAS 48

enum {
	NONE,
	USED,
	CLEAN,
	DIRTY
}; /* a slot */

struct arena {
	uintptr_t addr; /* 0: none */
	unsigned int kind;
	unsigned char slot[64];
	unsigned int idle[64];
	/* when it was put on the list that it is on, and into the ring */
	uint64_t listed, ringed;
};

static struct arena arena[ARENAS];
static uint64_t stamp;
static struct policy dirt, sparse;
static size_t dirty, used, sparse_bytes, floor_, nr, total, gone, highwater;
static uint64_t now, sweeps;
static bool later;
static unsigned int replayed; /* of the log */

/* ---- the model: an arena ---------------------------------------------- */

static unsigned int nr_slots(const struct arena *a)
{
	return (unsigned int)(MIB / pool_bytes(a->kind));
}

static unsigned int count(const struct arena *a, unsigned int state)
{
	unsigned int i, n = 0;

	for (i = 0; i < nr_slots(a); i++)
		n += a->slot[i] == state;
	return n;
}

static size_t dirty_of(const struct arena *a)
{
	return count(a, DIRTY) * pool_bytes(a->kind);
}

static bool is_spare(const struct arena *a)
{
	return a->addr && !count(a, USED);
}

static void set_slot(struct arena *a, unsigned int i, unsigned int state)
{
	if (a->slot[i] == DIRTY)
		dirty -= pool_bytes(a->kind);
	if (state == DIRTY) {
		if (!count(a, DIRTY))
			a->ringed = ++stamp;
		dirty += pool_bytes(a->kind);
	}
	a->slot[i] = (unsigned char)state;
}

static void cut(struct arena *a, unsigned int kind)
{
	unsigned int i;

	a->kind = kind;
	for (i = 0; i < 64; i++) {
		a->idle[i] = 0;
		a->slot[i] = NONE;
		if (i < nr_slots(a) && i * pool_bytes(kind) >= 48 * KIB)
			a->slot[i] = CLEAN;
		else if (i && i < nr_slots(a) && kind)
			a->slot[i] = CLEAN;
	}
}

/* Whether a call that the model expects next, was made; and with success. */
static bool called(enum apb_os_call call, uintptr_t addr, size_t size)
{
	const struct policy_call *c;

	assert_true(replayed < policy_logged);
	c = &policy_log[replayed++];
	assert_int_equal(c->call, call);
	assert_int_equal(c->addr, addr);
	assert_int_equal(c->size, size);
	return !c->err;
}

/* From the first dirty one to the last, of each row of unused neighbours. */
static void purge(struct arena *a)
{
	unsigned int i, j, end, last;
	size_t size = pool_bytes(a->kind), before = dirty;

	for (i = 0; i < nr_slots(a); i = end) {
		end = i + 1;
		if (a->slot[i] != DIRTY)
			continue;
		last = i;
		while (end < nr_slots(a) &&
		       (a->slot[end] == CLEAN || a->slot[end] == DIRTY)) {
			if (a->slot[end] == DIRTY)
				last = end;
			end++;
		}
		if (!called(APB_OS_PURGE, a->addr + i * size,
			    (last + 1 - i) * size))
			continue;
		for (j = i; j <= last; j++)
			set_slot(a, j, CLEAN);
	}
	policy_gave(&dirt, dirty, before - dirty);
}

/* A spare; refused, it is the newest one. */
static bool unmap(struct arena *a, bool or_purge)
{
	size_t bytes = dirty_of(a);

	if (called(APB_OS_UNMAP, a->addr, MIB)) {
		dirty -= bytes;
		a->addr = 0;
		nr--;
		gone++;
		policy_gave(&dirt, dirty, bytes);
		return true;
	}
	a->ringed = ++stamp;
	a->listed = ++stamp;
	if (or_purge)
		purge(a);
	return false;
}

/* ---- the model: all of them ------------------------------------------- */

static int by_listed(const void *a, const void *b)
{
	uint64_t x = (*(struct arena *const *)a)->listed;
	uint64_t y = (*(struct arena *const *)b)->listed;

	return x < y ? -1 : x > y;
}

static int by_ringed(const void *a, const void *b)
{
	uint64_t x = (*(struct arena *const *)a)->ringed;
	uint64_t y = (*(struct arena *const *)b)->ringed;

	return x < y ? -1 : x > y;
}

/* The spares, or the arenas that are dirty, oldest first. */
static unsigned int in_order(struct arena **list, bool spares)
{
	unsigned int i, n = 0;

	for (i = 0; i < ARENAS; i++)
		if (arena[i].addr &&
		    (spares ? is_spare(&arena[i]) : dirty_of(&arena[i]) > 0))
			list[n++] = &arena[i];
	qsort(list, n, sizeof(struct arena *), spares ? by_listed : by_ringed);
	return n;
}

static size_t cap(void)
{
	return 64 * MIB + used / 4;
}

static size_t bound(void)
{
	if (!policy_options.delay)
		return 0;
	if (policy_options.dirty_limit != APB_DIRTY_AUTO)
		return policy_options.dirty_limit;
	return MIB + used / 128 + (dirt.extra < cap() ? dirt.extra : cap());
}

/* Whether @a would take more than what is too much. */
static bool too_much(const struct arena *a, size_t target)
{
	return dirty - target < dirty_of(a);
}

static void unmap_spares(size_t target, bool below)
{
	struct arena *list[ARENAS];
	unsigned int i, n = in_order(list, true);

	for (i = 0; i < n && dirty > target; i++) {
		if (!below && too_much(list[i], target))
			break;
		if (dirty_of(list[i]) && !unmap(list[i], true))
			break;
	}
}

static void purge_oldest(size_t target, bool below)
{
	struct arena *list[ARENAS];
	unsigned int i, n = in_order(list, false);

	for (i = 0; i < n && dirty > target; i++) {
		if (!below && too_much(list[i], target))
			break;
		purge(list[i]);
	}
}

static void purge_now(size_t target)
{
	purge_oldest(target, true);
	floor_ = dirty > target ? dirty + MIB : 0;
}

static void limit(void)
{
	size_t most = bound();

	if (later || dirty <= most || dirty <= floor_)
		return;
	unmap_spares(most, true);
	if (dirty > most)
		purge_now(most / 2);
	else
		floor_ = 0;
}

static size_t sparse_bound(void)
{
	size_t most = policy_options.dirty_limit;

	if (!policy_options.delay)
		return 0;
	if (most == APB_DIRTY_AUTO)
		most = cap();
	return sparse.extra < most ? sparse.extra : most;
}

static void tick(void)
{
	struct arena *list[ARENAS];
	size_t target;
	unsigned int n;

	if (later)
		return;
	if (policy_epoch(&sparse, now, sparse_bytes, sparse_bound(), &target) &&
	    (sparse_bytes > target || sparse_bytes > sparse_bound()))
		sweeps++;
	if (!policy_epoch(&dirt, now, dirty, bound(), &target))
		return;
	unmap_spares(target, false);
	purge_oldest(target, false);
	for (n = in_order(list, true); n; n--)
		if (!dirty_of(list[n - 1]) && !unmap(list[n - 1], false))
			break;
	limit();
}

/* Cut a spare for pools of another size: what is dirty stays so. */
static void recut(struct arena *a, unsigned int kind)
{
	bool was[64] = {false};
	unsigned int i, first = 64, last = 0, grains;

	grains = (unsigned int)(pool_bytes(a->kind) / (16 * KIB));
	for (i = 0; i < 64; i++)
		was[i] = a->slot[i / grains] == DIRTY;
	dirty -= dirty_of(a);
	cut(a, kind);
	grains = (unsigned int)(pool_bytes(kind) / (16 * KIB));
	for (i = 0; i < 64; i++) {
		if (was[i] && a->slot[i / grains] == NONE) {
			last = i;
			if (first == 64)
				first = i;
		}
	}
	if (first < 64)
		called(APB_OS_PURGE, a->addr + first * 16 * KIB,
		       (last + 1 - first) * 16 * KIB);
	for (i = 0; i < 64; i++)
		if (was[i] && a->slot[i / grains] == CLEAN)
			set_slot(a, i / grains, DIRTY);
	policy_came(&dirt, dirty, 0);
}

/* Where the next pool comes from, if from an arena there is. */
static struct arena *source(unsigned int kind)
{
	struct arena *list[ARENAS], *best = NULL;
	unsigned int i, n, most = 64;

	for (i = 0; i < ARENAS; i++) {
		struct arena *a = &arena[i];

		if (!a->addr || a->kind != kind || is_spare(a))
			continue;
		n = count(a, CLEAN) + count(a, DIRTY);
		if (!n || n > most ||
		    (n == most && best && a->listed < best->listed))
			continue;
		most = n;
		best = a;
	}
	if (best)
		return best;
	n = in_order(list, true);
	for (i = n; i--;)
		if (list[i]->kind == kind)
			return list[i];
	if (!n)
		return NULL;
	recut(list[n - 1], kind);
	return list[n - 1];
}

static struct arena *fresh(uintptr_t addr, unsigned int kind)
{
	unsigned int i = 0;

	while (arena[i].addr)
		i++;
	assert_true(i < ARENAS);
	memset(&arena[i], 0, sizeof(arena[i]));
	arena[i].addr = addr;
	cut(&arena[i], kind);
	nr++;
	total++;
	if (nr > highwater)
		highwater = nr;
	return &arena[i];
}

/* ---- both ------------------------------------------------------------- */

static bool in_arena(uintptr_t addr)
{
	unsigned int i;

	for (i = 0; i < ARENAS; i++)
		if (arena[i].addr && addr - arena[i].addr < MIB)
			return true;
	return false;
}

/* Of the log only what is about arenas; what else is mapped is others'. */
static void expect_calls(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < policy_logged; i++)
		if (in_arena(policy_log[i].addr))
			policy_log[n++] = policy_log[i];
	policy_logged = n;
	replayed = 0;
}

static void compare(void)
{
	unsigned int i, j, spares = 0;

	assert_int_equal(replayed, policy_logged);
	policy_forget();
	for (i = 0; i < ARENAS; i++) {
		struct arena *a = &arena[i];
		struct apb_arena *is = (struct apb_arena *)a->addr;
		uint64_t unused = 0, dirties = 0;

		if (!is)
			continue;
		for (j = 0; j < nr_slots(a); j++) {
			if (a->slot[j] == DIRTY)
				dirties |= UINT64_C(1) << j;
			if (a->slot[j] >= CLEAN)
				unused |= UINT64_C(1) << j;
		}
		assert_int_equal(is->kind, a->kind);
		assert_int_equal(is->unused, unused);
		assert_int_equal(is->dirty, dirties);
		spares += is_spare(a);
	}
	assert_policy(&dirt, &as()->retain);
	assert_policy(&sparse, &as()->sparse);
	assert_int_equal(as()->dirty_bytes, dirty);
	assert_int_equal(as()->sparse_bytes, sparse_bytes);
	assert_int_equal(as()->used_pool_bytes, used);
	assert_int_equal(as()->purge_floor, floor_);
	assert_int_equal(as()->sweeps, sweeps);
	assert_int_equal(as()->nr, nr);
	assert_int_equal(as()->nr_spares, spares);
	assert_int_equal(as()->total, total);
	assert_int_equal(as()->reclaimed, gone);
	assert_int_equal(as()->highwater, highwater);
	assert_int_equal(apb_arena_dirty_limit(), bound());
	assert_int_equal(apb_state.os.purges, policy_done.purges);
	assert_int_equal(apb_state.os.purged, policy_done.purged);
	assert_int_equal(apb_state.os.unmap_failures,
			 policy_done.refused_unmaps);
}

static void start(uint64_t seed, unsigned int flags)
{
	policy_fresh(seed, flags);
	memset(arena, 0, sizeof(arena));
	memset(&dirt, 0, sizeof(dirt));
	memset(&sparse, 0, sizeof(sparse));
	dirty = used = sparse_bytes = floor_ = 0;
	nr = total = gone = highwater = 0;
	now = sweeps = stamp = 0;
	later = false;
}

static struct apb_pool *take(unsigned int kind, bool may_map)
{
	struct apb_pool *pool = apb_arena_get_pool(kind, may_map);
	struct arena *a;
	unsigned int i = 0;
	bool was_dirty;
	size_t given;

	expect_calls();
	tick();
	a = source(kind);
	given = dirt.given;
	if (!a && may_map && policy_options.dirty_limit == APB_DIRTY_AUTO)
		purge_oldest(dirty > MIB ? dirty - MIB : 0, true);
	dirt.given = given;
	if (!a && pool && may_map)
		a = fresh((uintptr_t)pool & ~(MIB - 1), kind);
	assert_true(!pool == !a);
	if (!a) {
		compare();
		return NULL;
	}
	was_dirty = dirty_of(a);
	while (a->slot[i] != (was_dirty ? DIRTY : CLEAN))
		i++;
	assert_int_equal((uintptr_t)pool, a->addr + i * 64);
	set_slot(a, i, USED);
	a->listed = ++stamp;
	used += pool_bytes(kind);
	policy_needed(&dirt, dirty, pool_bytes(kind));
	if (was_dirty)
		policy_missed(&sparse, a->idle[i] * APB_PAGE, cap());
	else
		policy_missed(&dirt, pool_bytes(kind), cap());
	limit();
	compare();
	pool->owner = 1;
	return pool;
}

/* @idle pages of it had been given back while it was in use. */
static void put(struct apb_pool *pool, unsigned int idle)
{
	uintptr_t at = (uintptr_t)pool & ~(MIB - 1);
	unsigned int i = (unsigned int)((uintptr_t)pool & (MIB - 1)) / 64;
	struct arena *a = arena;

	pool->idle = idle & 0x7f;
	apb_arena_put_pool(pool);
	expect_calls();
	while (a->addr != at)
		a++;
	a->idle[i] = idle;
	set_slot(a, i, DIRTY);
	a->listed = ++stamp;
	used -= pool_bytes(a->kind);
	policy_came(&dirt, dirty, pool_bytes(a->kind));
	tick();
	limit();
	compare();
}

/* ---- at random -------------------------------------------------------- */

#define POOLS 2000

static struct apb_pool *held[POOLS];
static unsigned int nr_held;
static unsigned int order; /* of what is put */
static unsigned int only; /* the kind that is taken, if it is one */
static uint64_t seed;

static unsigned int below(size_t n)
{
	return (unsigned int)(rnd(&seed) % n);
}

static void put_some(void)
{
	unsigned int i;

	if (!nr_held)
		return;
	i = order == 0 ? below(nr_held) : order == 1 ? nr_held - 1 : 0;
	put(held[i], below(4) ? 0 : below(9));
	nr_held--;
	memmove(held + i, held + i + 1, (nr_held - i) * sizeof(held[0]));
}

static void take_some(void)
{
	static const unsigned int kinds[] = {0, 0, 0, 0, 1, 1, 2};
	unsigned int kind = kinds[below(NR_OF(kinds))];
	struct apb_pool *pool;

	if (nr_held == POOLS || nr == ARENAS)
		return;
	if (only < APB_NR_POOL_KINDS)
		kind = only;
	pool = take(kind, below(16));
	if (pool)
		held[nr_held++] = pool;
}

static void set_option(void)
{
	static const size_t delays[] = {500, 500, 37, 1, 0};
	static const size_t limits[] = {APB_DIRTY_AUTO, APB_DIRTY_AUTO,
					APB_DIRTY_AUTO, 3 * MIB + 5,
					16 * MIB,	0};

	if (below(2))
		policy_option(APB_OPT_DIRTY_LIMIT,
			      limits[below(NR_OF(limits))]);
	else
		policy_option(APB_OPT_PURGE_DELAY,
			      delays[below(NR_OF(delays))]);
	expect_calls();
	floor_ = 0;
	limit();
}

static void drop(void)
{
	struct arena *list[ARENAS];
	unsigned int n;

	apb_arena_unmap_spares();
	expect_calls();
	for (n = in_order(list, true); n; n--)
		unmap(list[n - 1], false);
}

/* Idle pages of pools in use: may they stay, and go. */
static void idle_pages(void)
{
	size_t bytes = (1 + below(40)) * APB_PAGE * (1 + below(400)), old;
	bool stay, gave = below(2);

	switch (below(4)) {
	case 0:
		old = sparse_bytes / (1 + below(4));
		stay = later || sparse_bytes - old + bytes <= sparse_bound();
		assert_int_equal(apb_arena_sparse_stays(old, bytes), stay);
		sparse_bytes -= old;
		if (!stay) {
			policy_gave(&sparse, sparse_bytes, bytes);
			break;
		}
		sparse_bytes += bytes;
		policy_came(&sparse, sparse_bytes, bytes);
		policy_needed(&sparse, sparse_bytes, 0);
		break;
	case 1:
		apb_arena_sparse_missed(bytes);
		policy_missed(&sparse, bytes, cap());
		break;
	default:
		bytes = sparse_bytes / (2 + below(4));
		apb_arena_sparse_del(bytes, gave);
		sparse_bytes -= bytes;
		if (gave)
			policy_gave(&sparse, sparse_bytes, bytes);
		else
			policy_needed(&sparse, sparse_bytes, bytes);
	}
	expect_calls();
}

static void others(void)
{
	size_t target;

	switch (below(8)) {
	case 0:
		set_option();
		break;
	case 1:
		drop();
		break;
	case 2:
		target = below(2) ? 0 : below(4 * MIB);
		apb_arena_purge(target);
		expect_calls();
		purge_now(target);
		break;
	case 3:
		as()->purge_later = later = !later && !below(4);
		expect_calls();
		break;
	case 4:
		policy_refuse = 0;
		if (!below(3))
			policy_refuse = 1u << APB_OS_UNMAP;
		if (!below(3))
			policy_refuse |= 1u << APB_OS_PURGE;
		expect_calls();
		break;
	case 5:
		apb_retain_tick();
		expect_calls();
		tick();
		break;
	default:
		idle_pages();
	}
	compare();
}

/* In waves: more is taken than put, and then less. */
static void run(uint64_t from, unsigned int flags, unsigned int steps,
		unsigned int most)
{
	unsigned int i, what, rise = 1, delay = (unsigned int)(from % 3);

	start(from, flags);
	/* as if so much had been learnt that the caps count */
	if (from % 4 == 3)
		as()->retain.extra = as()->sparse.extra = dirt.extra =
			sparse.extra = 500 * MIB;
	seed = from;
	nr_held = 0;
	/* idle pages may be as many as that, and no more */
	while (from % 4 == 3 &&
	       apb_arena_sparse_stays(0, 5 * MIB) ==
		       (sparse_bytes + 5 * MIB <= sparse_bound())) {
		if (sparse_bytes + 5 * MIB > sparse_bound()) {
			policy_gave(&sparse, sparse_bytes, 5 * MIB);
			break;
		}
		sparse_bytes += 5 * MIB;
		policy_came(&sparse, sparse_bytes, 5 * MIB);
		policy_needed(&sparse, sparse_bytes, 0);
	}
	assert_int_equal(sparse_bytes, from % 4 == 3 ? 60 * MIB : 0);
	for (i = 0; i < steps; i++) {
		if (nr_held > most || !below(most)) {
			rise = 0;
			order = below(3);
		}
		if (!nr_held || !below(most)) {
			rise = 1;
			only = below(6);
		}
		if (!below(8)) {
			what = below(!below(20) ? 1500 : delay ? 40 : 400);
			now += policy_options.clock ? what : 0;
			simos_pass(what);
		}
		what = below(20);
		if (!what)
			others();
		else if (what < 4 + rise * 12)
			take_some();
		else
			put_some();
	}
	as()->purge_later = later = false;
	policy_refuse = 0;
	while (nr_held)
		put_some();
	apb_arena_sparse_del(sparse_bytes, true);
	expect_calls();
	policy_gave(&sparse, 0, sparse_bytes);
	sparse_bytes = 0;
	compare();
	assert_whole();
}

static void test_at_random(void **ctx)
{
	unsigned int i;

	(void)ctx;
	for (i = 0; i < 16; i++)
		run(i, SIMOS_HINTS, 8000, i % 2 ? 60 : 900);
}

static void test_without_clock(void **ctx)
{
	unsigned int i;

	(void)ctx;
	for (i = 20; i < 23; i++)
		run(i, SIMOS_HINTS | SIMOS_NO_CLOCK, 8000, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_random),
		cmocka_unit_test(test_without_clock),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
