// SPDX-License-Identifier: MIT
/*
 * Unit tests of arenas, by getting and putting pools: where new pools come
 * from, what becomes of an arena that is empty.
 */
#include "arenalib.h"

/* ---- a single arena --------------------------------------------------- */

static void test_an_arena_has_all_its_pools(void **ctx)
{
	struct apb_pool *pool[64];
	unsigned int kind;

	(void)ctx;
	for (kind = 0; kind < APB_NR_POOL_KINDS; kind++) {
		struct apb_arena *a;

		fresh_sim(kind, SIMOS_NONZERO);
		a = get_arena(kind, pool);
		assert_true(is_aligned(a, APB_ARENA));
		assert_true(simos_is_mapped(a, APB_ARENA));
		assert_int_equal(apb_map_kind(&apb_state.map,
					      (uintptr_t)a + APB_ARENA - 1),
				 apb_kind_shift(kind));
		assert_int_equal(a->guard, APB_ARENA_GUARD);
		assert_int_equal(a->unused, 0);
		assert_int_equal(a->dirty, 0);
		assert_int_equal(as()->nr, 1);
		assert_int_equal(as()->used_pool_bytes,
				 slots(kind) * pool_bytes(kind));
		assert_int_equal(apb_state.os.mapped,
				 APB_ARENA + APB_LEAF_BYTES);
		/* the next one is in another arena */
		assert_ptr_not_equal(arena_of(get(kind)), a);
		assert_int_equal(as()->nr, 2);
		assert_int_equal(as()->highwater, 2);
	}
}

static void test_masks_of_slots(void **ctx)
{
	(void)ctx;
	assert_int_equal(apb_slot_mask(0),
			 UINT64_MAX << APB_META_BYTES / (16 * KIB));
	assert_int_equal(apb_slot_mask(1), 0xfffe);
	assert_int_equal(apb_slot_mask(2), 0xfe);
}

static void test_no_pool_without_memory(void **ctx)
{
	struct apb_pool *pool[64];
	unsigned int n;

	(void)ctx;
	fresh_sim(1, 0);
	assert_null(apb_arena_get_pool(0, false));
	assert_whole();
	/* no arena, no leaf for the map */
	for (n = 1; n <= 2; n++) {
		fault_arm(APB_FAULT_ONCE, FAULT_MASK(APB_OS_MAP), n);
		errno = 0;
		assert_null(get(0));
		assert_int_equal(errno, ENOMEM);
		assert_int_equal(as()->nr, 0);
		assert_int_equal(as()->total, 0);
		assert_int_equal(apb_state.os.mapped, 0);
		assert_whole();
	}
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 3);
	get_arena(0, pool);
	assert_null(get(0));
	assert_int_equal(as()->nr, 1);
	/* one that was put is there again */
	apb_arena_put_pool(pool[20]);
	assert_ptr_equal(get(0), pool[20]);
	assert_null(get(0));
	apb_arena_put_pool(pool[20]);
	assert_ptr_equal(apb_arena_get_pool(0, false), pool[20]);
}

/* ---- where new pools come from ---------------------------------------- */

static void test_fullest_first(void **ctx)
{
	struct apb_pool *pool[3][64];
	struct apb_arena *a[3];
	unsigned int i;

	(void)ctx;
	fresh_sim(2, 0);
	for (i = 0; i < 3; i++)
		a[i] = get_arena(0, pool[i]);
	put_all(pool[0], 20);
	put_all(pool[1], 5);
	put_all(pool[2], 10);
	for (i = 0; i < 5; i++)
		assert_ptr_equal(arena_of(get(0)), a[1]);
	for (i = 0; i < 10; i++)
		assert_ptr_equal(arena_of(get(0)), a[2]);
	for (i = 0; i < 20; i++)
		assert_ptr_equal(arena_of(get(0)), a[0]);
	assert_int_equal(as()->nr, 3);
	get(0);
	assert_int_equal(as()->nr, 4);
}

/* A kind takes nothing from arenas of another that have pools in use. */
static void test_kinds_do_not_mix(void **ctx)
{
	unsigned int kind;

	(void)ctx;
	fresh_sim(3, 0);
	for (kind = 0; kind < APB_NR_POOL_KINDS; kind++) {
		struct apb_arena *a = arena_of(get(kind));

		assert_int_equal(a->kind, kind);
		assert_int_equal(as()->nr, kind + 1);
		assert_int_equal(a->nr_unused, slots(kind) - 1);
	}
}

/* Pages that may be there are used before such as have to be faulted in. */
static void test_dirty_pools_first(void **ctx)
{
	struct apb_pool *pool[64];

	(void)ctx;
	fresh_sim(4, 0);
	get_arena(0, pool);
	no_dirt();
	apb_arena_put_pool(pool[3]);
	apb_arena_put_pool(pool[4]);
	assert_int_equal(arena_of(pool[0])->dirty, 0);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, APB_DIRTY_AUTO),
			 0);
	apb_arena_put_pool(pool[50]);
	assert_int_equal(arena_of(pool[0])->dirty,
			 UINT64_C(1) << (50 + apb_first_slot(0)));
	assert_int_equal(as()->dirty_bytes, 16 * KIB);
	assert_ptr_equal(get(0), pool[50]);
	assert_int_equal(as()->dirty_bytes, 0);
	assert_ptr_equal(get(0), pool[3]);
	assert_ptr_equal(get(0), pool[4]);
}

/* ---- empty arenas ----------------------------------------------------- */

/* Empty arenas stay as long as what is dirty in them is within the bound. */
static void test_spares_within_the_bound(void **ctx)
{
	struct apb_pool *pool[4][64];
	struct apb_arena *a[4];
	size_t mapped;
	unsigned int i;

	(void)ctx;
	fresh_sim(5, 0);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 2 * MIB), 0);
	for (i = 0; i < 4; i++)
		a[i] = get_arena(1, pool[i]);
	put_all(pool[2], slots(1));
	put_all(pool[0], slots(1));
	assert_int_equal(as()->nr_spares, 2);
	assert_int_equal(calls(APB_OS_UNMAP), 0);
	assert_int_equal(as()->dirty_bytes, 2 * slots(1) * 64 * KIB);
	/* the one emptied first goes as soon as it is too much: no purge */
	put_all(pool[3], slots(1));
	assert_false(simos_is_mapped(a[2], APB_PAGE));
	assert_true(simos_is_mapped(a[0], APB_ARENA));
	assert_int_equal(as()->nr_spares, 2);
	put_all(pool[1], slots(1));
	assert_false(simos_is_mapped(a[0], APB_PAGE));
	assert_int_equal(calls(APB_OS_UNMAP), 2);
	assert_int_equal(calls(APB_OS_PURGE), 0);
	assert_int_equal(as()->nr, 2);
	assert_int_equal(as()->nr_spares, 2);
	assert_int_equal(as()->reclaimed, 2);
	assert_int_equal(as()->total, 4);
	assert_int_equal(as()->highwater, 4);
	assert_int_equal(as()->used_pool_bytes, 0);
	assert_whole();
	/* they serve without a call, the one emptied last first */
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	assert_ptr_equal(get_arena(1, pool[1]), a[1]);
	assert_ptr_equal(get_arena(1, pool[3]), a[3]);
	assert_int_equal(as()->nr_spares, 0);
	put_all(pool[1], slots(1));
	put_all(pool[3], slots(1));
	fault_arm(APB_FAULT_OFF, 0, 1);
	mapped = apb_state.os.mapped;
	assert_int_equal(apb_trim(), mapped);
	assert_int_equal(apb_state.os.mapped, 0);
	assert_int_equal(apb_trim(), 0);
	assert_whole();
}

/* With a bound of 0 nothing that is empty stays. */
static void test_nothing_is_retained(void **ctx)
{
	struct apb_pool *pool[64];
	unsigned int how;

	(void)ctx;
	for (how = 0; how < 2; how++) {
		fresh_sim(5, 0);
		if (how)
			apb_set_option(APB_OPT_PURGE_DELAY, 0);
		else
			no_dirt();
		assert_int_equal(apb_arena_dirty_limit(), 0);
		get_arena(0, pool);
		apb_arena_put_pool(pool[7]);
		assert_int_equal(as()->dirty_bytes, 0);
		assert_int_equal(calls(APB_OS_PURGE), 1);
		pool[7] = get(0);
		put_all(pool, slots(0));
		assert_int_equal(as()->nr, 0);
		assert_int_equal(apb_state.os.mapped, APB_LEAF_BYTES);
		assert_whole();
	}
}

/* Between full and empty there are no system calls at all. */
static void test_spare_stops_thrashing(void **ctx)
{
	struct apb_pool *pool[64];
	uint64_t maps, unmaps;
	int i;

	(void)ctx;
	fresh_sim(6, 0);
	get_arena(0, pool);
	apb_arena_put_pool(get(0));
	maps = calls(APB_OS_MAP);
	unmaps = calls(APB_OS_UNMAP);
	for (i = 0; i < 100; i++)
		apb_arena_put_pool(get(0));
	assert_int_equal(calls(APB_OS_MAP), maps);
	assert_int_equal(calls(APB_OS_UNMAP), unmaps);
}

/* A spare with nothing dirty: one that could not be unmapped. */
static void make_clean_spare(unsigned int kind)
{
	struct apb_pool *pool[64];

	get_arena(kind, pool);
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_UNMAP), 1);
	no_dirt();
	put_all(pool, slots(kind));
	assert_int_equal(as()->nr_spares, 1);
	assert_int_equal(as()->dirty_bytes, 0);
	fault_arm(APB_FAULT_OFF, 0, 1);
	apb_set_option(APB_OPT_DIRTY_LIMIT, APB_DIRTY_AUTO);
}

static void test_spare_is_cut_anew(void **ctx)
{
	unsigned int from, to, dirty, i;
	struct apb_pool *pool[64];

	(void)ctx;
	for (from = 0; from < 3; from++) {
		for (to = 0; to < 3; to++) {
			for (dirty = 0; dirty < 2; dirty++) {
				struct apb_arena *a;

				fresh_sim(from * 3 + to, SIMOS_NONZERO);
				if (dirty) {
					get_arena(from, pool);
					put_all(pool, slots(from));
				} else {
					make_clean_spare(from);
				}
				a = apb_entry(as()->spares, struct apb_arena,
					      node);
				assert_whole();
				assert_int_equal(as()->dirty_bytes,
						 dirty * slots(from) *
							 pool_bytes(from));
				/* slots that are dirty come first */
				for (i = 0; i < slots(to); i++) {
					pool[i] = get(to);
					assert_ptr_equal(arena_of(pool[i]), a);
				}
				assert_int_equal(as()->nr, 1);
				assert_int_equal(as()->total, 1);
				assert_int_equal(as()->nr_spares, 0);
				assert_int_equal(as()->dirty_bytes, 0);
				assert_int_equal(apb_map_kind(&apb_state.map,
							      (uintptr_t)a),
						 apb_kind_shift(to));
				put_all(pool, slots(to));
				assert_whole();
			}
		}
	}
}

/* What is dirty before the cut is so after it, in the slots it lies in. */
static void test_cut_keeps_dirt(void **ctx)
{
	struct apb_pool *pool[64], *p;
	struct apb_arena *a;

	(void)ctx;
	fresh_sim(7, 0);
	get_arena(0, pool);
	put_all(pool, slots(0));
	p = get(2);
	assert_int_equal(arena_of(p)->dirty, apb_slot_mask(2) & ~UINT64_C(2));
	assert_int_equal(as()->dirty_bytes, 6 * 128 * KIB);
	/* what has become a part of slot 0 is purged: slots up to 7 */
	assert_int_equal(calls(APB_OS_PURGE), 1);
	apb_arena_put_pool(p);
	assert_whole();

	/* only what has been used: slots 4, 8 to 10 and 20 of 16 KiB */
	fresh_sim(7, 0);
	apb_set_option(APB_OPT_DIRTY_LIMIT, 10 * MIB);
	get_arena(0, pool);
	a = arena_of(pool[0]);
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_UNMAP), 1);
	put_all(pool, slots(0));
	apb_trim();
	assert_int_equal(a->dirty, 0);
	fault_arm(APB_FAULT_OFF, 0, 1);
	a->unused &= ~UINT64_C(0x100710);
	a->nr_unused -= 5;
	apb_node_del(&a->node);
	as()->nr_spares--;
	apb_node_add(&as()->bucket[0][a->nr_unused], &a->node);
	as()->buckets[0] |= UINT64_C(1) << a->nr_unused;
	as()->used_pool_bytes += 5 * 16 * KIB;
	apb_arena_put_pool(apb_arena_pool(a, 4));
	apb_arena_put_pool(apb_arena_pool(a, 8));
	apb_arena_put_pool(apb_arena_pool(a, 9));
	apb_arena_put_pool(apb_arena_pool(a, 10));
	apb_arena_put_pool(apb_arena_pool(a, 20));
	assert_int_equal(a->dirty, 0x100710);
	assert_whole();
	/* 64 KiB: slots 1, 2 and 5, of which the first is taken */
	p = get(1);
	assert_ptr_equal(arena_of(p), a);
	assert_int_equal(apb_pool_slot(p), 1);
	assert_int_equal(a->dirty, 0x24);
	apb_arena_put_pool(p);
	/* 128 KiB: slots 1 and 2; the 64 KiB in slot 0 are purged */
	p = get(2);
	assert_ptr_equal(arena_of(p), a);
	assert_int_equal(apb_pool_slot(p), 1);
	assert_int_equal(a->dirty, 4);
	apb_arena_put_pool(p);
	assert_whole();
}

/* A spare of the right kind is taken before one that has to be cut. */
static void test_spare_of_the_right_kind(void **ctx)
{
	struct apb_pool *pool[3][64];
	struct apb_arena *a[3];
	unsigned int kind;

	(void)ctx;
	fresh_sim(7, 0);
	apb_set_option(APB_OPT_DIRTY_LIMIT, 10 * MIB);
	for (kind = 0; kind < 3; kind++)
		a[kind] = get_arena(kind, pool[kind]);
	for (kind = 0; kind < 3; kind++)
		put_all(pool[kind], slots(kind));
	assert_int_equal(as()->nr_spares, 3);
	for (kind = 0; kind < 3; kind++)
		assert_ptr_equal(arena_of(get(kind)), a[kind]);
	assert_int_equal(as()->nr_spares, 0);
}

/* Beyond the bound, and the system refuses: purged instead, and kept. */
static void test_unmap_fails(void **ctx)
{
	struct apb_pool *pool[3][64];
	struct apb_arena *a[3];
	unsigned int i;
	size_t mapped;

	(void)ctx;
	fresh_sim(8, 0);
	for (i = 0; i < 3; i++)
		a[i] = get_arena(0, pool[i]);
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_UNMAP), 1);
	for (i = 0; i < 3; i++)
		put_all(pool[i], slots(0));
	assert_int_equal(as()->nr, 3);
	assert_int_equal(as()->nr_spares, 3);
	assert_int_equal(as()->reclaimed, 0);
	/* as often as the bound was passed, not for each pool */
	assert_in_range(apb_state.os.unmap_failures, 2, 4);
	assert_true(as()->dirty_bytes <= apb_arena_dirty_limit());
	assert_int_equal(a[0]->dirty, 0);
	assert_whole();
	/* they serve again, any kind, and nothing new is mapped */
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	get_arena(0, pool[0]);
	get_arena(1, pool[1]);
	get_arena(2, pool[2]);
	assert_int_equal(as()->nr_spares, 0);
	assert_int_equal(as()->nr, 3);
	assert_null(get(0));
	put_all(pool[0], slots(0));
	put_all(pool[1], slots(1));
	put_all(pool[2], slots(2));
	/* neither unmap nor purge: all stays as it is */
	assert_int_equal(as()->nr_spares, 3);
	assert_int_equal(apb_trim(), 0);
	assert_int_equal(as()->nr_spares, 3);
	assert_whole();
	fault_arm(APB_FAULT_OFF, 0, 1);
	mapped = apb_state.os.mapped;
	assert_int_equal(apb_trim(), mapped);
	assert_int_equal(as()->reclaimed, 3);
	assert_int_equal(apb_state.os.mapped, 0);
	assert_whole();
}

/* ---- walks, and all of it at random ----------------------------------- */

static void count_arena(struct apb_arena *arena, void *arg)
{
	unsigned int *seen = arg;

	assert_int_equal(arena->guard, APB_ARENA_GUARD);
	seen[arena->kind]++;
	seen[3] += arena->unused == apb_slot_mask(arena->kind);
	seen[4] += !arena->unused;
}

static void test_walk_sees_all(void **ctx)
{
	unsigned int seen[5] = {0};
	struct apb_pool *pool[64];

	(void)ctx;
	fresh_sim(14, 0);
	apb_arena_for_each(count_arena, seen);
	assert_true(all_bytes(seen, sizeof(seen), 0));
	get_arena(0, pool);
	get_arena(1, pool);
	put_all(pool, slots(1));
	get_arena(1, pool);
	get(1);
	get_arena(0, pool);
	get(2);
	put_all(pool, slots(0));
	apb_arena_for_each(count_arena, seen);
	assert_int_equal(seen[0], 2);
	assert_int_equal(seen[1], 2);
	assert_int_equal(seen[2], 1);
	assert_int_equal(seen[3], 1);
	assert_int_equal(seen[4], 2);
}

#define HELD 600

/* Unused pools of the fullest arena of @kind that has any; 0: none has. */
struct fullest {
	unsigned int kind;
	unsigned int unused;
};

static void find_fullest(struct apb_arena *arena, void *arg)
{
	struct fullest *f = arg;

	if (arena->kind != f->kind || !arena->nr_unused ||
	    arena->nr_unused == slots(arena->kind))
		return;
	if (!f->unused || arena->nr_unused < f->unused)
		f->unused = arena->nr_unused;
}

static struct apb_pool *get_checked(unsigned int kind)
{
	struct fullest f = {.kind = kind};
	size_t nr = as()->nr, spares = as()->nr_spares;
	struct apb_pool *pool;

	apb_arena_for_each(find_fullest, &f);
	pool = get(kind);
	if (!pool)
		return NULL;
	assert_int_equal(arena_of(pool)->kind, kind);
	if (f.unused) {
		assert_int_equal(arena_of(pool)->nr_unused, f.unused - 1);
		assert_int_equal(as()->nr, nr);
	} else {
		assert_int_equal(arena_of(pool)->nr_unused, slots(kind) - 1);
		assert_int_equal(as()->nr, spares ? nr : nr + 1);
	}
	return pool;
}

static void test_random_pools(void **ctx)
{
	static struct apb_pool *held[HELD];
	unsigned int flags;
	size_t used;
	uint64_t r;
	int step;

	(void)ctx;
	for (flags = 0; flags < SIMOS_TIGHT; flags++) {
		r = flags;
		used = 0;
		fresh_sim(flags, flags);
		memset(held, 0, sizeof(held));
		assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 256 * KIB),
				 0);
		for (step = 0; step < 4000; step++) {
			/* the target goes up and down */
			size_t some = step / 500 % 2 ? HELD : HELD / 8;
			struct apb_pool **at = &held[rnd(&r) % some];

			if (*at) {
				used -= apb_pool_bytes(*at);
				apb_arena_put_pool(*at);
				*at = NULL;
				assert_true(as()->dirty_bytes <= 256 * KIB);
			} else {
				*at = get_checked(rnd(&r) % 3);
				assert_non_null(*at);
				used += apb_pool_bytes(*at);
			}
			assert_int_equal(as()->used_pool_bytes, used);
			assert_true(as()->nr_spares * 16 * KIB <=
				    as()->dirty_bytes);
			assert_int_equal(as()->nr,
					 as()->total - as()->reclaimed);
		}
		for (step = 0; step < HELD; step++)
			if (held[step])
				apb_arena_put_pool(held[step]);
		assert_int_equal(as()->nr, as()->nr_spares);
		assert_true(as()->dirty_bytes <= 256 * KIB);
		assert_whole();
		apb_trim();
		assert_int_equal(apb_state.os.mapped, 0);
		assert_whole();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_arena_has_all_its_pools),
		cmocka_unit_test(test_masks_of_slots),
		cmocka_unit_test(test_no_pool_without_memory),
		cmocka_unit_test(test_fullest_first),
		cmocka_unit_test(test_kinds_do_not_mix),
		cmocka_unit_test(test_dirty_pools_first),
		cmocka_unit_test(test_spares_within_the_bound),
		cmocka_unit_test(test_nothing_is_retained),
		cmocka_unit_test(test_spare_stops_thrashing),
		cmocka_unit_test(test_spare_is_cut_anew),
		cmocka_unit_test(test_cut_keeps_dirt),
		cmocka_unit_test(test_spare_of_the_right_kind),
		cmocka_unit_test(test_unmap_fails),
		cmocka_unit_test(test_walk_sees_all),
		cmocka_unit_test(test_random_pools),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, test_teardown);
}
