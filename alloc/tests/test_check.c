// SPDX-License-Identifier: MIT
/*
 * Unit tests of apb_check(): each invariant that a header states is broken in
 * live structures, in every way that the words of it suggest; the check must
 * name that very one; with the damage undone it must find nothing again.
 */
#include "testlib.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- damage that can be undone ---------------------------------------- */

static struct {
	void *at;
	size_t size;
	char old[16];
} pokes[32];
static size_t nr_pokes;

static void poke(void *at, size_t size, const void *value)
{
	assert_true(nr_pokes < NR_OF(pokes) && size <= sizeof(pokes[0].old));
	pokes[nr_pokes].at = at;
	pokes[nr_pokes].size = size;
	memcpy(pokes[nr_pokes++].old, at, size);
	memcpy(at, value, size);
}

#define POKE(lvalue, val)                               \
	do {                                            \
		__typeof__(lvalue) new_ = (val);        \
		poke(&(lvalue), sizeof(lvalue), &new_); \
	} while (0)

static void undo(void)
{
	while (nr_pokes) {
		nr_pokes--;
		memcpy(pokes[nr_pokes].at, pokes[nr_pokes].old,
		       pokes[nr_pokes].size);
	}
}

/* ---- a scene with everything in it ------------------------------------ */

/*
 * Class 4, 64 bytes: pool full is all live; pool partial has 6 blocks in its
 * list, the others live; pool binned is partly carved and has 3 blocks in the
 * bin.  Class 40: an arena of kind 1 with live blocks only.  A spare, two
 * large blocks; unused pools, dirty and clean.
 */
static struct {
	struct apb_pool *full, *partial, *binned, *medium;
	struct apb_arena *arena, *other, *spare;
	struct apb_large *large;
	struct apb_leaf *leaf;
	char *block; /* a live one */
} sc;

#define EMPTY_SLICE 7 /* one with a leaf, but nothing in it */
#define CLS 4
#define SIZE 64

static struct apb_bin *bin(void)
{
	return &apb_state.heap.bin[CLS];
}

static struct apb_arenas *as(void)
{
	return &apb_state.arenas;
}

static uint64_t mark(const void *next, uint64_t kind)
{
	return apb_mark(next, apb_state.heap.key, kind);
}

/* Blocks of a pool of a class of its own: to be emptied. */
static void empty_pool(size_t size)
{
	struct apb_pool *pool;
	char *p[256];
	size_t n = 0, i;

	do {
		p[n] = apb_malloc(size);
		pool = pool_of(p[n++]);
	} while (n < pool->count);
	for (i = 0; i < n; i++)
		apb_free(p[i]);
	apb_settle();
}

static char *fill_pool(size_t size, struct apb_pool **pool)
{
	char *first = apb_malloc(size);
	unsigned int i;

	*pool = pool_of(first);
	for (i = 1; i < (*pool)->count; i++)
		assert_ptr_equal(pool_of(apb_malloc(size)), *pool);
	return first;
}

static void make_scene(void)
{
	char *p, *q;
	size_t i;

	fresh_sim(1, 0);
	/* an arena that is filled from its start and emptied: the spare */
	p = fill_pool(32768, &sc.medium);
	for (i = 0; i < sc.medium->count; i++)
		apb_free(p + i * 32768);
	apb_settle();
	sc.spare = apb_entry(as()->spares, struct apb_arena, node);
	/* it would be taken for the others: out of the way for a moment */
	apb_node_del(&sc.spare->node);
	sc.block = fill_pool(SIZE, &sc.full);
	p = fill_pool(SIZE, &sc.partial);
	q = apb_malloc(SIZE);
	sc.binned = pool_of(q);
	while (bin()->head)
		apb_malloc(SIZE);
	for (i = 0; i < 6; i++)
		apb_free(p + 3 * i * SIZE);
	sc.medium = pool_of(apb_malloc(2560));
	while (apb_state.heap.bin[41].head)
		apb_malloc(2560);
	empty_pool(100);
	empty_pool(200);
	apb_arena_purge(0);
	empty_pool(400);
	for (i = 0; i < 3; i++)
		apb_free(q + 2 * i * SIZE);
	apb_node_add(&as()->spares, &sc.spare->node);
	sc.arena = apb_arena_of((uintptr_t)sc.full);
	sc.other = apb_arena_of((uintptr_t)sc.medium);
	sc.large = apb_large_find((uintptr_t)apb_malloc(100000));
	apb_malloc(2 * MIB);
	sc.leaf = apb_map_leaf((uintptr_t)sc.arena);
	apb_map_set((uintptr_t)EMPTY_SLICE << APB_SLICE_SHIFT, APB_KIND_LARGE);
	apb_map_clear((uintptr_t)EMPTY_SLICE << APB_SLICE_SHIFT);
	assert_whole();
	assert_int_equal(bin_length(CLS), 3);
	assert_int_equal(sc.full->carved, sc.full->count);
	assert_int_equal(sc.full->nr_free, 0);
	assert_int_equal(sc.partial->nr_free, 6);
	assert_true(sc.binned->carved < sc.binned->count);
	assert_true(sc.arena->dirty && sc.arena->dirty != sc.arena->unused);
	assert_int_equal(sc.other->kind, 1);
}

/* ---- how each is broken ----------------------------------------------- */

struct damage {
	const char *invariant;
	void (*fn)(void);
};

#define DAMAGE(name, code)     \
	static void name(void) \
	{                      \
		code;          \
	}

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
DAMAGE(another_owner,
       POKE(sc.full->owner, (uintptr_t)&apb_state.heap.bin[CLS + 1]))

static void owner_of_unused(void)
{
	unsigned int slot = (unsigned int)__builtin_ctzll(sc.arena->unused);

	POKE(apb_arena_pool(sc.arena, slot)->owner, (uintptr_t)bin());
}

/* pool.h */
DAMAGE(base_off, POKE(sc.full->base, sc.full->base + 16))
DAMAGE(base_below, POKE(sc.full->base, sc.full->base - 128))
DAMAGE(base_of_next_block, POKE(sc.full->base, sc.full->base + 2 * SIZE))
DAMAGE(one_block_fewer,
       POKE(sc.binned->count, (uint16_t)(sc.binned->count - 1)))
DAMAGE(one_block_more, POKE(sc.full->count, (uint16_t)(sc.full->count + 1)))
DAMAGE(no_blocks, POKE(sc.full->count, 0))
DAMAGE(wrong_inverse, POKE(sc.full->inverse, sc.full->inverse + 2))
DAMAGE(wrong_rotation, POKE(sc.full->rotate, 5))
DAMAGE(class_0, POKE(sc.full->cls, 0))
DAMAGE(class_57, POKE(sc.full->cls, APB_NR_CLASSES + 1))

/* All is right for 2048 bytes, but not in an arena of small pools. */
static void class_of_another_kind(void)
{
	struct apb_pool *pool = sc.full;

	POKE(pool->owner, (uintptr_t)&apb_state.heap.bin[40]);
	POKE(pool->cls, 40);
	POKE(pool->base, apb_pool_start(pool));
	POKE(pool->inverse, 1);
	POKE(pool->rotate, 11);
	POKE(pool->count, 8);
	POKE(pool->carved, 8);
	POKE(pool->used, 8);
}

DAMAGE(carved_0, POKE(sc.full->carved, 0))
DAMAGE(carved_too_many, POKE(sc.full->carved, sc.full->count + 1u))
DAMAGE(used_more, POKE(sc.partial->used, (uint16_t)(sc.partial->used + 1)))
DAMAGE(used_less, POKE(sc.partial->used, (uint16_t)(sc.partial->used - 1)))
DAMAGE(free_more, POKE(sc.partial->nr_free, 7))
DAMAGE(carved_less, POKE(sc.binned->carved, sc.binned->carved - 1))

static void more_binned_than_used(void)
{
	POKE(sc.binned->used, 2);
	POKE(sc.binned->nr_free, (uint16_t)(sc.binned->carved - 2));
}

static void none_used(void)
{
	POKE(sc.partial->used, 0);
	POKE(sc.partial->nr_free, (uint16_t)sc.partial->carved);
}

static struct apb_block *listed(unsigned int i)
{
	struct apb_block *block = sc.partial->free;

	while (i--)
		block = block->next;
	return block;
}

static void relink(struct apb_block *block, void *next, uint64_t kind)
{
	POKE(block->next, next);
	POKE(block->mark, mark(next, kind));
}

DAMAGE(list_lost, POKE(sc.partial->free, NULL))
DAMAGE(list_shorter, relink(listed(3), NULL, APB_MARK_POOL))
DAMAGE(list_unmarked, POKE(listed(2)->mark, listed(2)->mark ^ 16))
DAMAGE(list_zeroed, POKE(listed(5)->mark, 0))
DAMAGE(list_marked_as_bin, POKE(listed(1)->mark, listed(1)->mark ^ 1))
DAMAGE(list_of_itself, relink(listed(2), listed(2), APB_MARK_POOL))
DAMAGE(list_in_a_circle, relink(listed(5), listed(1), APB_MARK_POOL))
DAMAGE(list_leaves_pool, relink(listed(5), sc.block, APB_MARK_POOL))
DAMAGE(list_leaves_arena, relink(listed(5), &sc, APB_MARK_POOL))
DAMAGE(list_off_block,
       relink(listed(5), (char *)sc.partial->base + 16, APB_MARK_POOL))
DAMAGE(list_high_bits,
       POKE(sc.partial->free,
	    (struct apb_block *)((uintptr_t)sc.partial->free | 1ul << 50)))

/* A live block in the list, in the place of the last. */
static void list_has_live(void)
{
	relink(listed(4), (char *)sc.partial->base + SIZE, APB_MARK_POOL);
}

/* Beyond what is carved, with the numbers right. */
static void list_has_uncarved(void)
{
	char *block = (char *)sc.binned->base + sc.binned->carved * SIZE;

	POKE(sc.binned->free, (struct apb_block *)block);
	relink((struct apb_block *)block, NULL, APB_MARK_POOL);
	POKE(sc.binned->nr_free, 1);
	POKE(sc.binned->used, (uint16_t)(sc.binned->used - 1));
}

static void counts_differ_from_list(void)
{
	POKE(sc.partial->nr_free, 7);
	POKE(sc.partial->used, (uint16_t)(sc.partial->used - 1));
}

DAMAGE(full_on_partial, POKE(sc.full->node.pprev, &apb_state.heap.partial[CLS]))
DAMAGE(not_on_partial, POKE(sc.partial->node.pprev, NULL))
DAMAGE(uncarved_not_on_partial, POKE(sc.binned->node.pprev, NULL))

/* heap.h */
DAMAGE(bin_unmarked, POKE(bin()->head->mark, 0))
DAMAGE(bin_marked_as_pools, POKE(bin()->head->mark, bin()->head->mark ^ 1))
DAMAGE(bin_of_itself, relink(bin()->head, bin()->head, APB_MARK_BIN))
DAMAGE(bin_in_a_circle,
       relink(bin()->head->next->next, bin()->head, APB_MARK_BIN))
DAMAGE(bin_leaves_arenas, relink(bin()->head, &sc, APB_MARK_BIN))
DAMAGE(bin_into_large,
       relink(bin()->head, (void *)sc.large->addr, APB_MARK_BIN))
DAMAGE(bin_into_header, relink(bin()->head, sc.arena, APB_MARK_BIN))
DAMAGE(bin_into_unused,
       relink(bin()->head, (char *)sc.arena + MIB - 64, APB_MARK_BIN))
DAMAGE(bin_off_block, relink(bin()->head, sc.block + 16, APB_MARK_BIN))
DAMAGE(bin_high_bits,
       POKE(bin()->head,
	    (struct apb_block *)((uintptr_t)bin()->head | 1ul << 47)))
DAMAGE(bin_has_live, relink(bin()->head, sc.block + SIZE, APB_MARK_BIN))
DAMAGE(bin_has_listed, relink(bin()->head, sc.partial->free, APB_MARK_BIN))
DAMAGE(bin_has_uncarved,
       relink(bin()->head, (char *)sc.binned->base + sc.binned->carved * SIZE,
	      APB_MARK_BIN))
DAMAGE(another_class,
       relink(bin()->head, (void *)sc.medium->base, APB_MARK_BIN))

DAMAGE(class0, POKE(apb_state.heap.bin[0].head, bin()->head))
DAMAGE(countdown_0, POKE(bin()->countdown, 0))
DAMAGE(countdown_high, POKE(bin()->countdown, bin()->period + 1u))
DAMAGE(no_period, POKE(bin()->period, 0))

static void period_of(uint16_t period)
{
	POKE(bin()->period, period);
	POKE(bin()->countdown, 1);
}

DAMAGE(period_low, period_of(31))
DAMAGE(period_high, period_of(4097))
DAMAGE(period_not_fixed, POKE(apb_state.heap.fixed_period, 5000))

static void partial_of_another_class(void)
{
	POKE(apb_state.heap.partial[7], apb_state.heap.partial[CLS]);
	POKE(apb_state.heap.partial[CLS], NULL);
}

DAMAGE(partial_lost, POKE(apb_state.heap.partial[CLS], NULL))
DAMAGE(partial_cut, POKE(apb_state.heap.partial[CLS]->next, NULL))

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
DAMAGE(mapped_more, POKE(apb_state.os.mapped, apb_state.os.mapped + 4096))
DAMAGE(orphans_more, POKE(apb_state.os.orphan_bytes, 4096))

static const struct damage damages[] = {
	{"map.entry", leaves_counted},
	{"map.entry", leaf_of_another_slice},
	{"map.entry", entry_lost},
	{"map.used", empty_not_named},
	{"map.used", leaf_more},
	{"map.used", leaf_fewer},
	{"map.kind", stray_arena},
	{"map.kind", stray_large},
	{"arena.kind", no_guard},
	{"arena.kind", kind_in_map},
	{"arena.kind", kind_of_spare},
	{"arena.masks", slot_0_unused},
	{"arena.masks", beyond_the_slots},
	{"arena.masks", dirty_beyond},
	{"arena.masks", dirty_in_use},
	{"arena.bucket", one_more_unused},
	{"arena.bucket", bucket_not_in_mask},
	{"arena.bucket", empty_bucket_in_mask},
	{"arena.bucket", no_full_arena_but_in_mask},
	{"arena.bucket", wrong_bucket},
	{"arena.bucket", wrong_kind_of_bucket},
	{"arena.bucket", spare_in_use},
	{"arena.bucket", spare_in_bucket},
	{"arena.dirty", dirty_not_in_ring},
	{"arena.dirty", clean_in_ring},
	{"arena.dirty", ring_misses_one},
	{"arenas.counts", arenas_more},
	{"arenas.counts", spares_more},
	{"arenas.counts", spares_fewer},
	{"arenas.counts", total_less},
	{"arenas.counts", reclaimed_more},
	{"arenas.counts", highwater_low},
	{"arenas.counts", used_bytes_more},
	{"arenas.counts", dirty_bytes_less},
	{"pool.unused", no_owner},
	{"pool.unused", another_owner},
	{"pool.unused", owner_of_unused},
	{"pool.geometry", base_off},
	{"pool.geometry", base_below},
	{"pool.geometry", base_of_next_block},
	{"pool.geometry", one_block_fewer},
	{"pool.geometry", one_block_more},
	{"pool.geometry", no_blocks},
	{"pool.geometry", wrong_inverse},
	{"pool.geometry", wrong_rotation},
	{"pool.geometry", class_0},
	{"pool.geometry", class_57},
	{"pool.geometry", class_of_another_kind},
	{"pool.carved", carved_0},
	{"pool.carved", carved_too_many},
	{"pool.conservation", used_more},
	{"pool.conservation", used_less},
	{"pool.conservation", free_more},
	{"pool.conservation", carved_less},
	{"pool.conservation", more_binned_than_used},
	{"pool.used", none_used},
	{"pool.free", list_lost},
	{"pool.free", list_shorter},
	{"pool.free", list_unmarked},
	{"pool.free", list_zeroed},
	{"pool.free", list_marked_as_bin},
	{"pool.free", list_of_itself},
	{"pool.free", list_in_a_circle},
	{"pool.free", list_leaves_pool},
	{"pool.free", list_leaves_arena},
	{"pool.free", list_off_block},
	{"pool.free", list_high_bits},
	{"pool.free", list_has_live},
	{"pool.free", list_has_uncarved},
	{"pool.free", counts_differ_from_list},
	{"pool.partial", full_on_partial},
	{"pool.partial", not_on_partial},
	{"pool.partial", uncarved_not_on_partial},
	{"bin.free", bin_unmarked},
	{"bin.free", bin_marked_as_pools},
	{"bin.free", bin_of_itself},
	{"bin.free", bin_in_a_circle},
	{"bin.free", bin_leaves_arenas},
	{"bin.free", bin_into_large},
	{"bin.free", bin_into_header},
	{"bin.free", bin_into_unused},
	{"bin.free", bin_off_block},
	{"bin.free", bin_high_bits},
	{"bin.free", bin_has_live},
	{"bin.free", bin_has_listed},
	{"bin.free", bin_has_uncarved},
	{"bin.free", another_class},
	{"bin.class0", class0},
	{"bin.countdown", countdown_0},
	{"bin.countdown", countdown_high},
	{"bin.countdown", no_period},
	{"bin.period", period_low},
	{"bin.period", period_high},
	{"bin.period", period_not_fixed},
	{"heap.partial", partial_of_another_class},
	{"heap.partial", partial_lost},
	{"heap.partial", partial_cut},
	{"large.kind", large_no_kind},
	{"large.kind", large_is_arena},
	{"large.shape", large_addr},
	{"large.shape", large_odd},
	{"large.shape", large_empty},
	{"large.bytes", larges_more},
	{"large.bytes", large_bytes},
	{"large.bytes", large_grown},
	{"large.bytes", large_lost},
	{"os.mapped", mapped_more},
	{"os.mapped", orphans_more},
};

static void assert_damage_is_named(const struct damage *d, size_t i)
{
	struct apb_violation v = {0};
	int result;

	d->fn();
	assert_true(nr_pokes > 0);
	errno = 0;
	result = apb_check(&v);
	if (!result)
		print_error("damage %zu: not found\n", i);
	else if (strcmp(v.invariant, d->invariant))
		print_error("damage %zu: %s\n", i, v.text);
	assert_int_equal(result, -1);
	assert_int_equal(errno, EUCLEAN);
	assert_string_equal(v.invariant, d->invariant);
	/* a line that begins with the name */
	assert_int_equal(strncmp(v.text, d->invariant, strlen(d->invariant)),
			 0);
	assert_null(strchr(v.text, '\n'));
	assert_int_not_equal(v.addr, 0);
	undo();
	assert_whole();
}

static void run_damages(const char *prefix)
{
	size_t i, n = 0;

	make_scene();
	for (i = 0; i < NR_OF(damages); i++) {
		if (strncmp(damages[i].invariant, prefix, strlen(prefix)))
			continue;
		assert_damage_is_named(&damages[i], i);
		n++;
	}
	assert_true(n > 0);
}

/* Whatever a test left half done. */
static int undo_after(void **ctx)
{
	(void)ctx;
	undo();
	return 0;
}

#define DAMAGE_TEST(name, prefix)    \
	static void name(void **ctx) \
	{                            \
		(void)ctx;           \
		run_damages(prefix); \
	}

DAMAGE_TEST(test_map_entry, "map.entry")
DAMAGE_TEST(test_map_used, "map.used")
DAMAGE_TEST(test_map_kind, "map.kind")
DAMAGE_TEST(test_arena_kind, "arena.kind")
DAMAGE_TEST(test_arena_masks, "arena.masks")
DAMAGE_TEST(test_arena_bucket, "arena.bucket")
DAMAGE_TEST(test_arena_dirty, "arena.dirty")
DAMAGE_TEST(test_arenas_counts, "arenas.counts")
DAMAGE_TEST(test_pool_unused, "pool.unused")
DAMAGE_TEST(test_pool_geometry, "pool.geometry")
DAMAGE_TEST(test_pool_carved, "pool.carved")
DAMAGE_TEST(test_pool_conservation, "pool.conservation")
DAMAGE_TEST(test_pool_used, "pool.used")
DAMAGE_TEST(test_pool_free, "pool.free")
DAMAGE_TEST(test_pool_partial, "pool.partial")
DAMAGE_TEST(test_bin_free, "bin.free")
DAMAGE_TEST(test_bin_class0, "bin.class0")
DAMAGE_TEST(test_bin_countdown, "bin.countdown")
DAMAGE_TEST(test_bin_period, "bin.period")
DAMAGE_TEST(test_heap_partial, "heap.partial")
DAMAGE_TEST(test_large_kind, "large.kind")
DAMAGE_TEST(test_large_shape, "large.shape")
DAMAGE_TEST(test_large_bytes, "large.bytes")
DAMAGE_TEST(test_os_mapped, "os.mapped")

/* After each damage the allocator is used as if there had been no check. */
static void test_check_changes_nothing(void **ctx)
{
	struct apb_violation v;
	char *p[50];
	size_t i, j;

	(void)ctx;
	make_scene();
	for (i = 0; i < NR_OF(damages); i++) {
		damages[i].fn();
		apb_check(&v);
		undo();
		for (j = 0; j < NR_OF(p); j++)
			p[j] = apb_malloc(SIZE);
		for (j = 0; j < NR_OF(p); j++)
			apb_free(p[j]);
		apb_settle();
		assert_whole();
		make_scene();
	}
}

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
	undo();
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
		cmocka_unit_test_teardown(test_pool_geometry, undo_after),
		cmocka_unit_test_teardown(test_pool_carved, undo_after),
		cmocka_unit_test_teardown(test_pool_conservation, undo_after),
		cmocka_unit_test_teardown(test_pool_used, undo_after),
		cmocka_unit_test_teardown(test_pool_free, undo_after),
		cmocka_unit_test_teardown(test_pool_partial, undo_after),
		cmocka_unit_test_teardown(test_bin_free, undo_after),
		cmocka_unit_test_teardown(test_bin_class0, undo_after),
		cmocka_unit_test_teardown(test_bin_countdown, undo_after),
		cmocka_unit_test_teardown(test_bin_period, undo_after),
		cmocka_unit_test_teardown(test_heap_partial, undo_after),
		cmocka_unit_test_teardown(test_large_kind, undo_after),
		cmocka_unit_test_teardown(test_large_shape, undo_after),
		cmocka_unit_test_teardown(test_large_bytes, undo_after),
		cmocka_unit_test_teardown(test_os_mapped, undo_after),
		cmocka_unit_test_teardown(test_check_changes_nothing,
					  undo_after),
		cmocka_unit_test_teardown(test_without_a_place_for_it,
					  undo_after),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, test_teardown);
}
