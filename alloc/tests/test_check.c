// SPDX-License-Identifier: MIT
/*
 * Unit tests of apb_check(): each invariant that a header states is broken in
 * live structures, in every way that the words of it suggest; the check must
 * name that very one; with the damage undone it must find nothing again.  Here
 * those of the map, arenas, large blocks and the OS layer; those of pools and
 * heaps are in test_check_heap.c.
 */
#include "checkscene.h"

#include <sys/wait.h>
#include <unistd.h>

/* map.h */
DAMAGE(leaves_counted,
       POKE(apb_state.map.nr_leaves, apb_state.map.nr_leaves + 1))
DAMAGE(leaf_of_another_slice, POKE(sc.leaf->slice, sc.leaf->slice + 1))
DAMAGE(entry_lost, POKE(apb_state.map.slice[EMPTY_SLICE], 0))
DAMAGE(empty_not_named, POKE(apb_state.map.empty, NULL))
DAMAGE(leaf_more, POKE(sc.leaf->used, sc.leaf->used + 1))
DAMAGE(leaf_fewer, POKE(sc.leaf->used, sc.leaf->used - 1))

static void stray_kind(unsigned int kind)
{
	unsigned int i = 0;

	while (sc.leaf->kind[i])
		i++;
	POKE(sc.leaf->kind[i], (uint8_t)kind);
	POKE(sc.leaf->used, sc.leaf->used + 1);
}

DAMAGE(stray_arena, stray_kind(14))
DAMAGE(stray_large, stray_kind(APB_KIND_LARGE))

static uint8_t *kind_of(const void *p)
{
	return &apb_map_leaf((uintptr_t)p)
			->kind[(uintptr_t)p >> APB_ARENA_SHIFT &
			       (APB_SLICE_KINDS - 1)];
}

/* arena.h */
DAMAGE(no_guard, POKE(sc.arena->guard, 0))
DAMAGE(kind_in_map, POKE(*kind_of(sc.other), APB_POOL_SHIFT_BIG))
DAMAGE(kind_of_spare, POKE(*kind_of(sc.spare), APB_POOL_SHIFT_SMALL))
DAMAGE(slot_0_unused, POKE(sc.arena->unused, sc.arena->unused | 1))
DAMAGE(beyond_the_slots, POKE(sc.other->unused, sc.other->unused | 1 << 16))
DAMAGE(dirty_beyond, POKE(sc.other->dirty, UINT64_C(1) << 63))
DAMAGE(dirty_in_use, POKE(sc.arena->dirty, sc.arena->dirty | 2))
DAMAGE(one_more_unused,
       POKE(sc.arena->nr_unused, (uint8_t)(sc.arena->nr_unused + 1)))
DAMAGE(bucket_not_in_mask, POKE(as()->buckets[1], 0))
DAMAGE(empty_bucket_in_mask, POKE(as()->buckets[2], 4))
DAMAGE(no_full_arena_but_in_mask, POKE(as()->buckets[2], 1))

static void wrong_bucket(void)
{
	struct apb_node **from = &as()->bucket[1][sc.other->nr_unused];

	POKE(as()->bucket[1][1], *from);
	POKE(*from, NULL);
	POKE(as()->buckets[1], 2);
}

static void wrong_kind_of_bucket(void)
{
	unsigned int n = sc.other->nr_unused;

	POKE(as()->bucket[2][n], as()->bucket[1][n]);
	POKE(as()->bucket[1][n], NULL);
	POKE(as()->buckets[1], 0);
	POKE(as()->buckets[2], UINT64_C(1) << n);
}

DAMAGE(spare_in_use, POKE(sc.spare->unused, sc.spare->unused & ~2ul))

/* All its pools are unused, and yet it is in a bucket. */
static void spare_in_bucket(void)
{
	unsigned int n = sc.spare->nr_unused;

	POKE(as()->bucket[sc.spare->kind][n], as()->spares);
	POKE(as()->buckets[sc.spare->kind], UINT64_C(1) << n);
	POKE(as()->spares, NULL);
	POKE(as()->nr_spares, 0);
}

static void spare_among_others(void)
{
	unsigned int n = sc.spare->nr_unused, kind = sc.spare->kind;

	POKE(as()->bucket[kind][n], as()->spares);
	POKE(as()->buckets[kind], as()->buckets[kind] | UINT64_C(1) << n);
	POKE(as()->spares, NULL);
	POKE(as()->nr_spares, 0);
}

DAMAGE(dirty_not_in_ring, POKE(sc.arena->ring.next, NULL))
DAMAGE(clean_in_ring, POKE(sc.arena->dirty, 0))

/* It says that it is in the ring, but is not. */
static void ring_misses_one(void)
{
	struct apb_ring *ring = &sc.arena->ring;

	POKE(ring->prev->next, ring->next);
	POKE(ring->next->prev, ring->prev);
}

DAMAGE(arenas_more, POKE(as()->nr, as()->nr + 1))
DAMAGE(spares_more, POKE(as()->nr_spares, 2))
DAMAGE(spares_fewer, POKE(as()->nr_spares, 0))
DAMAGE(total_less, POKE(as()->total, as()->total - 1))
DAMAGE(reclaimed_more, POKE(as()->reclaimed, as()->reclaimed + 1))
DAMAGE(highwater_low, POKE(as()->highwater, as()->nr - 1))
DAMAGE(used_bytes_more,
       POKE(as()->used_pool_bytes, as()->used_pool_bytes + 16384))
DAMAGE(dirty_bytes_less, POKE(as()->dirty_bytes, as()->dirty_bytes - 16384))

DAMAGE(no_owner, POKE(sc.full->owner, 0))
DAMAGE(another_owner, POKE(sc.full->owner, (uintptr_t)&own()->bin[CLS + 1]))
DAMAGE(owner_of_metadata,
       POKE(apb_arena_pool(sc.arena, 1)->owner, (uintptr_t)bin()))
DAMAGE(owner_between_bins, POKE(sc.full->owner, (uintptr_t)bin() + 8))

static void owner_of_unused(void)
{
	unsigned int slot = (unsigned int)__builtin_ctzll(sc.arena->unused);

	POKE(apb_arena_pool(sc.arena, slot)->owner, (uintptr_t)bin());
}

/* large.h, os.h */
DAMAGE(large_no_kind, POKE(*kind_of((void *)sc.large->addr), 0))
DAMAGE(large_is_arena, POKE(*kind_of((void *)sc.large->addr), 17))
DAMAGE(large_addr, POKE(sc.large->addr, sc.large->addr + 4096))
DAMAGE(large_odd, POKE(sc.large->size, sc.large->size + 16))
DAMAGE(large_empty, POKE(sc.large->size, 0))
DAMAGE(larges_more, POKE(apb_state.larges.nr, 3))
DAMAGE(large_bytes, POKE(apb_state.larges.bytes, 0))
DAMAGE(large_grown, POKE(sc.large->size, sc.large->size + 4096))
DAMAGE(large_lost, POKE(apb_state.larges.list, apb_state.larges.list->next))
DAMAGE(cached_kind,
       POKE(*kind_of((void *)apb_state.larges.cache[0].addr), APB_KIND_LARGE))
DAMAGE(cached_more, POKE(apb_state.larges.nr_cached, APB_LARGE_CACHE_NR + 1))
DAMAGE(cached_bytes, POKE(apb_state.larges.cached_bytes, 4096))
DAMAGE(cached_longer, POKE(apb_state.larges.cache[0].mapped,
			   apb_state.larges.cache[0].mapped + 4096))
DAMAGE(mapped_more, POKE(apb_state.os.mapped, apb_state.os.mapped + 4096))
DAMAGE(orphans_more, POKE(apb_state.os.orphan_bytes, 4096))

static const struct damage damages[] = {
	{"map.entry", "3 leaves", leaves_counted},
	{"map.entry", "slice " SIMOS_LAST_SLICE_TEXT, leaf_of_another_slice},
	{"map.entry", "slice 7", entry_lost},
	{"map.used", "empty, but not the one that is kept, or not empty",
	 empty_not_named},
	{"map.used", "4, not 5", leaf_more},
	{"map.used", "4, not 3", leaf_fewer},
	{"map.kind", "8 set, not 7", stray_arena},
	{"map.kind", "8 set, not 7", stray_large},
	{"arena.kind", "header overwritten", no_guard},
	{"arena.kind", "map has another kind", kind_in_map},
	{"arena.kind", "map has another kind", kind_of_spare},
	{"arena.masks", "unused 0x#, dirty 0x#", slot_0_unused},
	{"arena.masks", "unused 0x#, dirty 0", beyond_the_slots},
	{"arena.masks", "unused 0x#, dirty 0x#", dirty_beyond},
	{"arena.masks", "unused 0x#, dirty 0x#", dirty_in_use},
	{"arena.masks", "slot 1 has an owner", owner_of_metadata},
	{"arena.bucket", "57 unused pools of kind 0 in 0/56", one_more_unused},
	{"arena.bucket", "mask 0", bucket_not_in_mask},
	{"arena.bucket", "mask 0x#", empty_bucket_in_mask},
	{"arena.bucket", "mask 0x#", no_full_arena_but_in_mask},
	{"arena.bucket", "14 unused pools of kind 1 in 1/1", wrong_bucket},
	{"arena.bucket", "mask 0x#", wrong_kind_of_bucket},
	{"arena.bucket", "a spare with pools in use", spare_in_use},
	{"arena.bucket", "mask 0x#", spare_in_bucket},
	{"arena.bucket", "7 unused pools of kind 2 in 2/7", spare_among_others},
	{"arena.dirty", "dirty 0x#", dirty_not_in_ring},
	{"arena.dirty", "dirty 0", clean_in_ring},
	{"arena.dirty", "0 arenas in the ring, 1 are dirty", ring_misses_one},
	{"arenas.counts", "4 arenas, not 5", arenas_more},
	{"arenas.counts", "1 spares, not 2", spares_more},
	{"arenas.counts", "1 spares, not 0", spares_fewer},
	{"arenas.counts", "4 arenas, not 4", total_less},
	{"arenas.counts", "4 arenas, not 4", reclaimed_more},
	{"arenas.counts", "4 arenas, not 4", highwater_low},
	{"arenas.counts", "409600 bytes in pools, not 425984", used_bytes_more},
	{"arenas.counts", "16384 dirty bytes, not 0", dirty_bytes_less},
	{"pool.unused", "owner and mask differ", no_owner},
	{"pool.unused", "in use, owner 0x#", another_owner},
	{"pool.unused", "in use, owner 0x#", owner_between_bins},
	{"pool.unused", "owner and mask differ", owner_of_unused},
	{"large.kind", "map has another kind", large_no_kind},
	{"large.kind", "map has another kind", large_is_arena},
	{"large.shape", "102400 bytes at 0x#", large_addr},
	{"large.shape", "102416 bytes at 0x#", large_odd},
	{"large.shape", "0 bytes at 0x#", large_empty},
	{"large.bytes", "2 blocks, 2199552 bytes, 4096 of slack", larges_more},
	{"large.bytes", "2 blocks, 2199552 bytes, 4096 of slack", large_bytes},
	{"large.bytes", "2 blocks, 2203648 bytes, 0 of slack", large_grown},
	{"large.bytes", "1 blocks, 102400 bytes, 4096 of slack", large_lost},
	{"large.kind", "map has another kind", cached_kind},
	{"large.cached", "257 mappings, 0 idle", cached_more},
	{"large.cached", "212992 bytes, not 4096, of 1065760", cached_bytes},
	{"large.cached", "217088 bytes at 0x#", cached_longer},
	{"os.mapped", "7380992 bytes mapped, not 7385088", mapped_more},
	{"os.mapped", "7385088 bytes mapped, not 7380992", orphans_more},
};

DAMAGE_TEST(test_map_entry, "map.entry")
DAMAGE_TEST(test_map_used, "map.used")
DAMAGE_TEST(test_map_kind, "map.kind")
DAMAGE_TEST(test_arena_kind, "arena.kind")
DAMAGE_TEST(test_arena_masks, "arena.masks")
DAMAGE_TEST(test_arena_bucket, "arena.bucket")
DAMAGE_TEST(test_arena_dirty, "arena.dirty")
DAMAGE_TEST(test_arenas_counts, "arenas.counts")
DAMAGE_TEST(test_pool_unused, "pool.unused")
DAMAGE_TEST(test_large_kind, "large.kind")
DAMAGE_TEST(test_large_shape, "large.shape")
DAMAGE_TEST(test_large_cached, "large.cached")
DAMAGE_TEST(test_large_bytes, "large.bytes")
DAMAGE_TEST(test_os_mapped, "os.mapped")
USE_TEST(test_check_changes_nothing)

static void check_to_stderr(void *arg)
{
	(void)arg;
	_exit(apb_check(NULL) == -1 && errno == EUCLEAN ? 77 : 1);
}

static void test_without_a_place_for_it(void **ctx)
{
	struct apb_violation v;
	char want[300];
	struct child c;

	(void)ctx;
	make_scene();
	leaf_more();
	apb_check(&v);
	run_child(&c, check_to_stderr, NULL);
	undo_pokes();
	assert_int_equal(WEXITSTATUS(c.status), 77);
	snprintf(want, sizeof(want), "apb: invariant %s\n", v.text);
	assert_string_equal(c.err, want);
	assert_int_equal(apb_check(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_map_entry, undo_after),
		cmocka_unit_test_teardown(test_map_used, undo_after),
		cmocka_unit_test_teardown(test_map_kind, undo_after),
		cmocka_unit_test_teardown(test_arena_kind, undo_after),
		cmocka_unit_test_teardown(test_arena_masks, undo_after),
		cmocka_unit_test_teardown(test_arena_bucket, undo_after),
		cmocka_unit_test_teardown(test_arena_dirty, undo_after),
		cmocka_unit_test_teardown(test_arenas_counts, undo_after),
		cmocka_unit_test_teardown(test_pool_unused, undo_after),
		cmocka_unit_test_teardown(test_large_kind, undo_after),
		cmocka_unit_test_teardown(test_large_shape, undo_after),
		cmocka_unit_test_teardown(test_large_cached, undo_after),
		cmocka_unit_test_teardown(test_large_bytes, undo_after),
		cmocka_unit_test_teardown(test_os_mapped, undo_after),
		cmocka_unit_test_teardown(test_check_changes_nothing,
					  undo_after),
		cmocka_unit_test_teardown(test_without_a_place_for_it,
					  undo_after),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, test_teardown);
}
