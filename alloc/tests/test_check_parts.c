// SPDX-License-Identifier: MIT
/*
 * Unit tests of apb_check(), as in test_check.c: where one invariant is several
 * conditions, each of them is broken alone; and lists that never end.
 */
#include "checkscene.h"

/* All is right for 2048 bytes, but the class has 2560. */
DAMAGE(reciprocal_of_another, POKE(sc.medium->reciprocal, UINT64_C(1) << 53))

DAMAGE(base_far_beyond, POKE(sc.full->base, sc.full->base + MIB))

/* heap.h: a list of empty batches, and meta.h's lists, in a circle */
static void batches_in_a_circle(void)
{
	static struct apb_batch circle;

	circle.next = &circle;
	POKE(own()->batches, &circle);
}

DAMAGE(chunks_in_a_circle,
       POKE(apb_state.meta.chunks->next, apb_state.meta.chunks))

static void pieces_in_a_circle(void)
{
	unsigned int order = 0;

	while (!apb_state.meta.free[order])
		order++;
	POKE(apb_state.meta.free[order]->next, apb_state.meta.free[order]);
}

/* sparse.h, map.h */
DAMAGE(sparse_not_there, POKE(sc.full->sparse, 5))
DAMAGE(sparse_beyond, POKE(sc.full->sparse, APB_NR_SPARSE + 1))

/* The leaf that is kept though empty is one that is not empty. */
static void kept_in_use(void)
{
	struct apb_leaf *empty = apb_state.map.empty;

	assert_ptr_not_equal(empty, sc.leaf);
	POKE(apb_state.map.empty, sc.leaf);
	/* nothing else is wrong: the other is none that is known */
	POKE(apb_state.map.nr_leaves, apb_state.map.nr_leaves - 1);
	POKE(*empty->node.pprev, empty->node.next);
}

/* arena.h */
static void ring_in_a_circle(void)
{
	POKE(sc.arena->ring.next, &sc.arena->ring);
	POKE(sc.arena->ring.prev, &sc.arena->ring);
}

DAMAGE(ring_without_way_back, POKE(as()->dirty.next->prev, NULL))

DAMAGE(ring_without_last, POKE(as()->dirty.prev, NULL))

static void arenas_more_in_all(void)
{
	POKE(as()->nr, as()->nr + 1);
	POKE(as()->total, as()->total + 1);
	POKE(as()->highwater, as()->nr);
}

static void sparse_bytes_more(void)
{
	POKE(as()->sparse_bytes, as()->sparse_bytes + 4096);
	POKE(as()->sparse.high, as()->sparse_bytes);
}

/* retain.h */
DAMAGE(dirty_below_low, POKE(as()->retain.low, as()->dirty_bytes + 1))
DAMAGE(dirty_above_high, POKE(as()->retain.high, as()->dirty_bytes - 1))
DAMAGE(sparse_below_low, POKE(as()->sparse.low, as()->sparse_bytes + 1))

/* large.h */
static struct apb_larges *larges(void)
{
	return &apb_state.larges;
}

static struct apb_large *cached(void)
{
	return apb_map_large(larges()->cache[0].addr);
}

/* The cache is made to say that it lies a page further. */
static void cached_odd(void)
{
	uintptr_t addr = larges()->cache[0].addr;

	/* its descriptor and kind are those of the same MiB */
	POKE(larges()->cache[0].addr, addr + 4096);
}

/* All know of it but its descriptor. */
static void cached_longer_in_all(void)
{
	POKE(larges()->cache[0].mapped, larges()->cache[0].mapped + 4096);
	POKE(larges()->cached_bytes, larges()->cached_bytes + 4096);
}

/* Where there is no leaf. */
DAMAGE(cached_elsewhere, POKE(larges()->cache[0].addr, (uintptr_t)5 << 40))
DAMAGE(cached_has_size, POKE(cached()->size, 4096))
DAMAGE(idle_more, POKE(larges()->nr_idle, larges()->nr_cached + 1))
DAMAGE(cache_has_low, POKE(larges()->retain.low, 1))
DAMAGE(cache_over_its_bound,
       POKE(apb_policy.large_cache, larges()->cached_bytes - 1))
DAMAGE(slack_more, POKE(larges()->slack, larges()->slack + 4096))

static void large_beyond_its_mapping(void)
{
	POKE(sc.large->size, sc.large->mapped + 4096);
}

DAMAGE(mapped_odd, POKE(sc.large->mapped, sc.large->mapped + 16))

/* ---- off by one ------------------------------------------------------- */

/* So many that a remainder is no matter, but they do not fit. */
DAMAGE(blocks_512, POKE(sc.full->count, 512))
DAMAGE(blocks_513, POKE(sc.full->count, 513))
DAMAGE(base_odd, POKE(sc.medium->base, sc.medium->base + 8))
DAMAGE(base_odd_by_1, POKE(sc.medium->base, sc.medium->base + 1))
DAMAGE(large_odd_by_1, POKE(sc.large->addr, sc.large->addr + 1))
DAMAGE(large_size_odd_by_1, POKE(sc.large->size, sc.large->size - 1))
DAMAGE(large_mapped_odd_by_1, POKE(sc.large->mapped, sc.large->mapped + 1))
DAMAGE(large_just_beyond, POKE(sc.large->size, sc.large->mapped + 1))
DAMAGE(cached_odd_by_1,
       POKE(larges()->cache[0].addr, larges()->cache[0].addr + 1))
DAMAGE(cached_size_1, POKE(cached()->size, 1))
DAMAGE(retain_low_just_above, POKE(as()->sparse.low, 1))

/* An arena that nobody knows is in the ring. */
static void ring_with_another(void)
{
	static struct apb_arena stranger;
	struct apb_ring *first = as()->dirty.next;

	stranger.dirty = 1;
	stranger.ring.prev = &as()->dirty;
	stranger.ring.next = first;
	POKE(as()->dirty.next, &stranger.ring);
	POKE(first->prev, &stranger.ring);
}

/* No class has the number 0. */
static void partial_of_no_class(void)
{
	POKE(own()->partial[0], own()->partial[CLS]);
	POKE(own()->partial[CLS], NULL);
}

/* The only thread looks into all lists, whatever there was. */
static void lost_though_heapless(void)
{
	POKE(apb_state.heaps.heapless, true);
	POKE(bin()->top, bin()->top - 1);
}

/* One that says that it is there, but is not that heap's. */
static void sparse_in_two_heaps(void)
{
	unsigned int i = 0;

	while (!own()->sparse[i])
		i++;
	POKE(sc.played->sparse[i], own()->sparse[i]);
}

/* It is that heap's, but says that it is somewhere else. */
static void sparse_in_two_places(void)
{
	unsigned int i = 0;

	while (!own()->sparse[i])
		i++;
	POKE(own()->sparse[(i + 1) % APB_NR_SPARSE], own()->sparse[i]);
}

DAMAGE(fewer_leaves, POKE(apb_state.map.nr_leaves, apb_state.map.nr_leaves - 1))
DAMAGE(one_heap_more, POKE(apb_state.heaps.nr, apb_state.heaps.nr + 1))
DAMAGE(one_heap_less, POKE(apb_state.heaps.nr, apb_state.heaps.nr - 1))
DAMAGE(one_mapped_less,
       POKE(apb_state.heaps.nr_mapped, apb_state.heaps.nr_mapped - 1))
DAMAGE(meta_more, POKE(apb_state.meta.used, apb_state.meta.used + 1))
DAMAGE(orphan_bytes, POKE(apb_state.os.orphan_bytes, 1))
DAMAGE(used_pool_more, POKE(as()->used_pool_bytes, as()->used_pool_bytes + 1))
DAMAGE(highwater_less, POKE(as()->highwater, as()->nr - 1))
DAMAGE(sparse_last_beyond, POKE(sc.full->sparse, APB_NR_SPARSE))

DAMAGE(class0_has_a_block, POKE(own()->first[0].block, sc.block))
/* So little that behind the last there is less than a block. */
DAMAGE(base_just_below, POKE(sc.full->base, sc.full->base - 16))
DAMAGE(sparse_in_last_place, POKE(own()->sparse[APB_NR_SPARSE - 1], sc.full))

/* Its number of unused pools is right for its bucket, but not for its mask. */
static void unused_not_counted(void)
{
	uint64_t used = apb_slot_mask(sc.arena->kind) & ~sc.arena->unused;

	POKE(sc.arena->unused, sc.arena->unused | (used & -used));
}

/* Where nobody looks for one of its kind, but the mask is right. */
static void other_kind_in_bucket(void)
{
	unsigned int n = sc.other->nr_unused;

	POKE(as()->bucket[2][n], as()->bucket[1][n]);
	POKE(as()->bucket[1][n], NULL);
	POKE(as()->buckets[1], as()->buckets[1] & ~(UINT64_C(1) << n));
	POKE(as()->buckets[2], as()->buckets[2] | UINT64_C(1) << n);
}

DAMAGE(full_bucket_in_mask, POKE(as()->buckets[2], as()->buckets[2] | 1))
/* Nobody ever has it, and yet nobody may take it. */
DAMAGE(common_is_idle, POKE(sc.idle->next_idle, &apb_state.common))

static const struct damage damages[] = {
	{"bin.class0", "in use", class0_has_a_block},
	{"pool.geometry", "256 blocks of 64 bytes from 18446744073709551600 on",
	 base_just_below},
	{"heap.sparse", "place 31", sparse_in_last_place},
	{"arena.bucket", "56 unused pools counted", unused_not_counted},
	{"heaps.idle", "but attached", common_is_idle},
	{"arena.bucket", "14 unused pools of kind 1 in 2/14",
	 other_kind_in_bucket},
	{"arena.bucket", "mask 0x#", full_bucket_in_mask},
	{"pool.geometry", "512 blocks of 64 bytes from 0 on", blocks_512},
	{"pool.geometry", "blocks of 2560 bytes start at 0x#", base_odd},
	{"pool.geometry", "blocks of 2560 bytes start at 0x#", base_odd_by_1},
	{"large.shape", "102400 bytes at 0x#", large_odd_by_1},
	{"large.shape", "102399 bytes at 0x#", large_size_odd_by_1},
	{"large.shape", "102400 bytes at 0x#", large_mapped_odd_by_1},
	{"large.shape", "106497 bytes at 0x#", large_just_beyond},
	{"large.cached", "212992 bytes at 0x#", cached_odd_by_1},
	{"large.cached", "212992 bytes at 0x#", cached_size_1},
	{"retain.level", "0 bytes, not 1 to 0", retain_low_just_above},
	{"arena.dirty", "2 arenas in the ring, 1 are dirty", ring_with_another},
	{"heap.partial", "class 4 on list 0", partial_of_no_class},
	{"pool.conservation", "22 out, but 19 live, 2 listed",
	 lost_though_heapless},
	{"map.entry", "3 leaves", fewer_leaves},
	{"heaps.idle", "3 heaps, 2 mapped", one_heap_more},
	{"heaps.idle", "3 heaps, 2 mapped", one_heap_less},
	{"heaps.idle", "3 heaps, 2 mapped", one_mapped_less},
	{"meta.used", "5120, not 5121", meta_more},
	{"os.mapped", "7380993 bytes mapped, not 7380992", orphan_bytes},
	{"arenas.counts", "409600 bytes in pools, not 409601", used_pool_more},
	{"arenas.counts", "4 arenas, not 4", highwater_less},
	{"heap.sparse", "not in place 31", sparse_last_beyond},
	{"pool.geometry", "class 4, 513 blocks", blocks_513},
	{"heap.sparse", "place 0", sparse_in_two_heaps},
	{"heap.sparse", "place 1", sparse_in_two_places},
	{"pool.geometry", "reciprocal of 2560", reciprocal_of_another},
	{"pool.geometry", "256 blocks of 64 bytes from 1048576 on",
	 base_far_beyond},
	{"heap.out", "3 empty batches, not 2", batches_in_a_circle},
	{"meta.used", "10240, not 5120", chunks_in_a_circle},
	{"meta.bytes", "1 of 1 chunks, 132096 + 5120 bytes",
	 pieces_in_a_circle},
	{"arena.dirty", "the first has another before it", ring_in_a_circle},
	{"arena.dirty", "the first has another before it",
	 ring_without_way_back},
	{"arena.dirty", "0 arenas in the ring, 1 are dirty", ring_without_last},
	{"arenas.counts", "4 arenas, not 5", arenas_more_in_all},
	{"sparse.bytes", "0 idle bytes, not 4096", sparse_bytes_more},
	{"retain.level", "16384 bytes, not 16385 to 16384", dirty_below_low},
	{"retain.level", "16384 bytes, not 0 to 16383", dirty_above_high},
	{"retain.level", "0 bytes, not 1 to 0", sparse_below_low},
	{"large.cached", "212992 bytes at 0x#", cached_odd},
	{"large.cached", "217088 bytes at 0x#", cached_longer_in_all},
	{"large.kind", "map has another kind", cached_elsewhere},
	{"large.cached", "212992 bytes at 0x#", cached_has_size},
	{"heap.sparse", "not in place 4", sparse_not_there},
	{"heap.sparse", "not in place 32", sparse_beyond},
	{"map.used", "empty, but not the one that is kept, or not empty",
	 kept_in_use},
	{"large.cached", "1 mappings, 2 idle", idle_more},
	{"large.cached", "1 mappings, 0 idle", cache_has_low},
	{"large.cached", "212992 bytes, not 212992, of 212991",
	 cache_over_its_bound},
	{"large.bytes", "2 blocks, 2199552 bytes, 4096 of slack", slack_more},
	{"large.shape", "110592 bytes at 0x#", large_beyond_its_mapping},
	{"large.shape", "102400 bytes at 0x#", mapped_odd},
};

DAMAGE_TEST(test_parts, "")
USE_TEST(test_check_changes_nothing)

/* Of two the one is told that is looked at first. */
static void test_first_is_told(void **ctx)
{
	struct apb_violation v;

	(void)ctx;
	make_scene();
	slack_more();
	POKE(apb_state.os.mapped, apb_state.os.mapped + 1);
	assert_int_equal(apb_check(&v), -1);
	assert_string_equal(v.invariant, "large.bytes");
	assert_int_equal(v.addr, (uintptr_t)larges());
	assert_non_null(strstr(v.text, "blocks"));
	assert_null(strstr(v.text, "os.mapped"));
	undo_pokes();
	assert_whole();
}

/* Where a fork() has torn heaps, a slot may have an owner but no batch. */
static void test_torn_slot(void **ctx)
{
	struct apb_violation v;
	struct apb_out *out;

	(void)ctx;
	make_scene();
	out = own()->out;
	while (out->owner)
		out++;
	POKE(out->owner, sc.out->owner);
	assert_int_equal(apb_check(&v), -1);
	assert_string_equal(v.invariant, "heap.out");
	POKE(apb_state.heaps.torn, true);
	assert_whole();
	POKE(own()->nr_batches, own()->nr_batches + 1);
	assert_whole();
	/* but not another's */
	POKE(sc.out->owner, (uintptr_t)bin());
	assert_int_equal(apb_check(&v), -1);
	assert_string_equal(v.invariant, "heap.out");
	undo_pokes();
	assert_whole();
}

static bool says(const char *text)
{
	struct apb_violation v;

	return apb_check(&v) && strstr(v.text, text);
}

/* In use, but by nobody. */
static void test_metadata_lost(void **ctx)
{
	void *lost;

	(void)ctx;
	make_scene();
	lost = apb_meta_alloc(APB_BATCH_SIZE);
	assert_non_null(lost);
	assert_true(says("meta.bytes"));
	assert_true(says("5120 in use, not 6144"));
	apb_meta_free(lost, APB_BATCH_SIZE);
	assert_whole();
}

/* What is named is the bin itself. */
static void test_where(void **ctx)
{
	struct apb_violation v;

	(void)ctx;
	make_scene();
	class0_has_a_block();
	assert_int_equal(apb_check(&v), -1);
	assert_int_equal(v.addr, (uintptr_t)&own()->bin[0]);
	undo_pokes();
}

/* Of the smallest class half the pool is no block's. */
static void test_behind_the_last(void **ctx)
{
	struct apb_pool *pool;
	unsigned int i;

	(void)ctx;
	fresh_sim(2, 0);
	apb_free(apb_malloc(16));
	pool = pool_of(own()->bin[1].top->block);
	assert_int_equal(pool->count, 512);
	for (i = 511; i < 514; i++) {
		POKE(*own()->bin[1].top, entry_of(pool, i));
		assert_true(says(i < 512 ? "in the pool, too" :
					   "no block of class 1"));
		undo_pokes();
		assert_whole();
	}
}

/* However many blocks a pool has: the bit behind the last is none. */
static void test_bits_behind_the_last(void **ctx)
{
	unsigned int cls, n, i = 0;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_pool *pool;
		uint64_t *bits;

		fresh_sim(cls, 0);
		pool = pool_of(apb_malloc(test_class_sizes[cls - 1]));
		bits = apb_pool_bits(pool);
		n = pool->count;
		if (n % 64 == 0)
			continue;
		POKE(bits[n / 64], bits[n / 64] | UINT64_C(1) << n % 64);
		assert_true(says("bits beyond block"));
		undo_pokes();
		POKE(bits[n / 64], bits[n / 64] | UINT64_C(1) << 63);
		assert_true(says("bits beyond block"));
		undo_pokes();
		assert_whole();
		i++;
	}
	assert_true(i > 30);
}

/* Blocks of a power of two are where that divides, but for a page at most. */
static void test_alignment_of_pools(void **ctx)
{
	static const size_t sizes[] = {32,   64,   256,	 512,	1024,
				       2048, 4096, 8192, 16384, 32768};
	unsigned int i, shift;

	(void)ctx;
	for (i = 0; i < NR_OF(sizes); i++) {
		size_t most = sizes[i] < APB_PAGE ? sizes[i] : APB_PAGE;
		struct apb_pool *pool;
		unsigned int cls;

		fresh_sim(3, 0);
		pool = pool_of(apb_malloc(sizes[i]));
		cls = pool->cls;
		/* the lists would be looked at first */
		while (bin_length(cls))
			apb_malloc(sizes[i]);
		for (shift = 0; (size_t)1 << shift <= most; shift++) {
			POKE(pool->base, pool->base + ((size_t)1 << shift));
			POKE(pool->count, (uint16_t)(pool->count - 1));
			assert_int_equal(says("start at"),
					 (size_t)1 << shift < most);
			undo_pokes();
			assert_whole();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_parts, undo_after),
		cmocka_unit_test_teardown(test_check_changes_nothing,
					  undo_after),
		cmocka_unit_test_teardown(test_first_is_told, undo_after),
		cmocka_unit_test_teardown(test_torn_slot, undo_after),
		cmocka_unit_test_teardown(test_behind_the_last, undo_after),
		cmocka_unit_test_teardown(test_alignment_of_pools, undo_after),
		cmocka_unit_test_teardown(test_bits_behind_the_last,
					  undo_after),
		cmocka_unit_test_teardown(test_metadata_lost, undo_after),
		cmocka_unit_test_teardown(test_where, undo_after),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, test_teardown);
}
