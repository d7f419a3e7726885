// SPDX-License-Identifier: MIT
/*
 * Unit tests of apb_check(), as in test_check.c: the invariants of pools,
 * heaps, what lies between them, and their memory.
 */
#include "checkscene.h"

/* pool.h */
DAMAGE(base_off, POKE(sc.full->base, sc.full->base + 16))
DAMAGE(base_below, POKE(sc.full->base, sc.full->base - 128))
DAMAGE(base_of_next_block, POKE(sc.full->base, sc.full->base + 2 * SIZE))
DAMAGE(one_block_fewer, POKE(sc.full->count, (uint16_t)(sc.full->count - 1)))
DAMAGE(one_block_more, POKE(sc.full->count, (uint16_t)(sc.full->count + 1)))
DAMAGE(no_blocks, POKE(sc.full->count, 0))
DAMAGE(reciprocal_less, POKE(sc.full->reciprocal, sc.full->reciprocal - 1))
DAMAGE(reciprocal_more, POKE(sc.full->reciprocal, sc.full->reciprocal + 1))
DAMAGE(class_0, POKE(sc.full->cls, 0))
DAMAGE(class_57, POKE(sc.full->cls, APB_NR_CLASSES + 1))

/* All is right for 2048 bytes, but not in an arena of small pools. */
static void class_of_another_kind(void)
{
	struct apb_pool *pool = sc.full;

	POKE(pool->owner, (uintptr_t)&own()->bin[40]);
	POKE(pool->cls, 40);
	POKE(pool->base, apb_pool_start(pool));
	POKE(pool->reciprocal, UINT64_C(1) << 53);
	POKE(pool->count, 8);
	POKE(pool->used, 8);
}

/* 25 blocks of 2560 bytes, and 1536 bytes in which none fits. */
DAMAGE(live_behind, POKE(sc.medium->states[25], APB_STATE_LIVE))

/* Bit @i of @pool's bitmap is flipped. */
static void flip(struct apb_pool *pool, unsigned int i)
{
	uint64_t *word = &apb_pool_bits(pool)[i / 64];

	POKE(*word, *word ^ UINT64_C(1) << i % 64);
}

static void bit_beyond(void)
{
	assert_true(sc.medium->count % 64);
	flip(sc.medium, sc.medium->count);
}

DAMAGE(hint_high,
       POKE(sc.partial->hint, (uint16_t)(index_in(sc.partial) / 64 + 1)))

DAMAGE(used_more, POKE(sc.partial->used, (uint16_t)(sc.partial->used + 1)))
DAMAGE(used_less, POKE(sc.partial->used, (uint16_t)(sc.partial->used - 1)))
DAMAGE(bit_lost, flip(sc.partial, index_in(sc.partial)))
DAMAGE(bit_more, flip(sc.partial, live_index(sc.partial)))
DAMAGE(bit_of_binned, flip(sc.binned, live_index(sc.binned)))

/* A block that is out, but neither live nor in a list. */
static void bit_lost_but_counted(void)
{
	flip(sc.partial, index_in(sc.partial));
	POKE(sc.partial->used, (uint16_t)(sc.partial->used + 1));
}

static uint8_t *live_state(const struct apb_pool *pool)
{
	return apb_pool_state(pool, live_index(pool));
}

DAMAGE(neither_live_nor_listed, POKE(*live_state(sc.full), APB_STATE_FREED))
DAMAGE(never_out, POKE(*live_state(sc.full), APB_STATE_NEVER))
DAMAGE(binned_lost, POKE(bin()->top, bin()->top - 1))
DAMAGE(batched_lost, POKE(sc.out->next, sc.out->next - 1))
DAMAGE(queued_lost, POKE(sc.queued->n, 0))

DAMAGE(no_state, POKE(*live_state(sc.full), 3))
DAMAGE(wild_state, POKE(*live_state(sc.full), 0x7f))
DAMAGE(live_in_the_pool,
       POKE(*apb_pool_state(sc.partial, index_in(sc.partial)), APB_STATE_LIVE))

/* It is in the pool, and live, and the numbers are right. */
static void live_put_back(void)
{
	flip(sc.partial, live_index(sc.partial));
	POKE(sc.partial->used, (uint16_t)(sc.partial->used - 1));
	if (live_index(sc.partial) / 64 < sc.partial->hint)
		POKE(sc.partial->hint, 0);
}

/* All of it is in the pool, and yet it is in use. */
static void none_used(void)
{
	unsigned int i;

	for (i = 0; i < sc.single->count; i++) {
		if (*apb_pool_state(sc.single, i) == APB_STATE_LIVE)
			POKE(*apb_pool_state(sc.single, i), APB_STATE_FREED);
		if (!(apb_pool_bits(sc.single)[0] >> i & 1))
			flip(sc.single, i);
	}
	POKE(own()->bin[55].top, own()->info[55].base);
	POKE(sc.single->used, 0);
	POKE(sc.single->hint, 0);
}

DAMAGE(full_on_partial, POKE(sc.full->node.pprev, &own()->partial[CLS]))
DAMAGE(not_on_partial, POKE(sc.partial->node.pprev, NULL))
DAMAGE(binned_not_on_partial, POKE(sc.binned->node.pprev, NULL))

/* heap.h */
static void bin_names(struct apb_entry entry)
{
	POKE(*bin()->top, entry);
}

static void bin_names_block(void *block)
{
	POKE(bin()->top->block, block);
}

DAMAGE(bin_leaves_arenas, bin_names_block(&sc))
DAMAGE(bin_into_large, bin_names_block((void *)sc.large->addr))
DAMAGE(bin_into_header, bin_names_block(sc.arena))
DAMAGE(bin_into_metadata, bin_names_block((char *)sc.arena + 20 * KIB))
DAMAGE(bin_into_unused, bin_names_block((char *)sc.arena + MIB - 64))
DAMAGE(bin_off_block, bin_names_block((char *)bin()->top->block + 16))
DAMAGE(bin_high_bits,
       bin_names_block((void *)((uintptr_t)bin()->top->block | 1ul << 47)))

/* One block more than the pool of these has, on its remainder. */
static void bin_behind(void)
{
	struct apb_bin *last = &own()->bin[sc.single->cls];

	POKE(last->top[1], entry_of(sc.single, sc.single->count));
	POKE(last->top, last->top + 1);
}

DAMAGE(bin_wrong_state, POKE(bin()->top->state, bin()->top->state + 1))
DAMAGE(bin_twice, bin_names(bin()->top[-1]))
DAMAGE(bin_has_live, bin_names(entry_of(sc.full, 3)))
DAMAGE(bin_live, POKE(*bin()->top->state, APB_STATE_LIVE))
DAMAGE(bin_has_pools, bin_names(entry_of(sc.partial, index_in(sc.partial))))
DAMAGE(bin_has_another_class, bin_names(entry_of(sc.medium, 0)))
DAMAGE(bin_has_batched,
       bin_names(apb_entry_unpack(*word_of(apb_out_batch(sc.out), 0))))

DAMAGE(no_bottom, POKE(info()->base->block, sc.block))
DAMAGE(top_below, POKE(bin()->top, info()->base - 1))
DAMAGE(top_above, POKE(bin()->top, bin()->limit + 1))
DAMAGE(limit_below_top, POKE(bin()->limit, bin()->top - 1))
DAMAGE(limit_high, POKE(bin()->limit, info()->base + info()->room + 1))
DAMAGE(room_small, POKE(info()->room, 2))
DAMAGE(class0, POKE(own()->bin[0].top, bin()->top))
DAMAGE(class0_has_room, POKE(own()->bin[0].limit, own()->bin[0].limit + 1))

static void partial_of_another_class(void)
{
	POKE(own()->partial[7], own()->partial[CLS]);
	POKE(own()->partial[CLS], NULL);
}

static void partial_of_another_heap(void)
{
	POKE(sc.idle->partial[CLS], own()->partial[CLS]);
	POKE(own()->partial[CLS], NULL);
}

DAMAGE(partial_lost, POKE(own()->partial[CLS], NULL))
DAMAGE(partial_cut, POKE(own()->partial[CLS]->next, NULL))

/* The pool with a single block is in the ring of sparse ones. */
static unsigned int sparse_place(void)
{
	unsigned int i = 0;

	while (!own()->sparse[i])
		i++;
	return i;
}

static void sparse_moved(void)
{
	unsigned int i = sparse_place();

	POKE(own()->sparse[(i + 1) % APB_NR_SPARSE], own()->sparse[i]);
	POKE(own()->sparse[i], NULL);
}

static void sparse_of_another_heap(void)
{
	POKE(sc.idle->sparse[sparse_place()], own()->sparse[sparse_place()]);
	POKE(own()->sparse[sparse_place()], NULL);
}

DAMAGE(sparse_says_not, POKE(own()->sparse[sparse_place()]->sparse, 0))
DAMAGE(sparse_is_another, POKE(own()->sparse[sparse_place()], sc.full))

#define BATCH ((uintptr_t)1 << APB_QUEUE_SHIFT)

static void queue_is(uintptr_t queue)
{
	uintptr_t *word = (uintptr_t *)&sc.played->queue;

	POKE(*word, queue);
}

DAMAGE(queue_longer, queue_is(sc.played->queue + BATCH))
DAMAGE(queue_shorter, queue_is(sc.played->queue - BATCH))
DAMAGE(queue_without_batch, queue_is(BATCH))
DAMAGE(queue_in_a_circle, POKE(sc.queued->next, sc.queued))
DAMAGE(queued_for_another,
       POKE(sc.queued->owner, (uintptr_t)&own()->bin[apb_class_of(BIG)]))
DAMAGE(queued_for_another_class,
       POKE(sc.queued->owner, sc.queued->owner + sizeof(struct apb_bin)))
DAMAGE(queued_too_many, POKE(sc.queued->n, 2))
DAMAGE(queued_live,
       POKE(*apb_entry_unpack(*word_of(sc.queued, 0)).state, APB_STATE_LIVE))
DAMAGE(queued_off_block,
       POKE(*word_of(sc.queued, 0), *word_of(sc.queued, 0) + 16))
DAMAGE(queued_wrong_state,
       POKE(*word_of(sc.queued, 0), *word_of(sc.queued, 0) + (1ul << 48)))
DAMAGE(queue_lost, queue_is(0))

DAMAGE(arrived_more, POKE(sc.played->nr_arrived, 2))
DAMAGE(arrived_fewer, POKE(sc.played->nr_arrived, 0))
DAMAGE(arrived_lost, POKE(sc.played->arrived[BIG_CLS], NULL))
DAMAGE(arrived_in_a_circle, POKE(sc.arrived->next, sc.arrived))
DAMAGE(arrived_for_another, POKE(sc.arrived->owner, (uintptr_t)bin()))
DAMAGE(arrived_elsewhere, POKE(sc.played->arrived[BIG_CLS + 1], sc.arrived))
DAMAGE(arrived_too_many, POKE(sc.arrived->n, 2))
DAMAGE(arrived_live,
       POKE(*apb_entry_unpack(*word_of(sc.arrived, 0)).state, APB_STATE_LIVE))

DAMAGE(out_for_another,
       POKE(sc.out->owner, sc.out->owner + sizeof(struct apb_bin)))
DAMAGE(out_for_own, POKE(apb_out_batch(sc.out)->owner, (uintptr_t)bin()))
DAMAGE(out_begins_beyond, POKE(apb_out_batch(sc.out)->first, 126))
DAMAGE(out_fewer_than_none, POKE(apb_out_batch(sc.out)->first, 3))
DAMAGE(out_twice, POKE(*word_of(apb_out_batch(sc.out), 0),
		       *word_of(apb_out_batch(sc.out), 1)))
DAMAGE(out_live,
       POKE(*apb_entry_unpack(*word_of(apb_out_batch(sc.out), 0)).state,
	    APB_STATE_LIVE))
DAMAGE(out_not_of_the_bin, POKE(*word_of(apb_out_batch(sc.out), 0),
				apb_entry_pack(entry_of(sc.binned, 0))))
DAMAGE(batches_more, POKE(own()->nr_batches, own()->nr_batches + 1))

/* thread.h */
DAMAGE(idle_attached, POKE(sc.idle->attached, true))
DAMAGE(idle_lost, POKE(apb_state.heaps.idle, NULL))
DAMAGE(idle_in_a_circle, POKE(sc.idle->next_idle, sc.idle))
DAMAGE(not_attached, POKE(sc.played->attached, false))
DAMAGE(heaps_more, POKE(apb_state.heaps.nr, apb_state.heaps.nr + 1))
DAMAGE(heaps_mapped, POKE(apb_state.heaps.nr_mapped, 0))
DAMAGE(pools_more, POKE(own()->pools, own()->pools + 1))
DAMAGE(pools_fewer, POKE(sc.played->pools, sc.played->pools - 1))

/* meta.h */
static size_t *meta_used(void)
{
	return &apb_state.meta.used;
}

DAMAGE(meta_more, POKE(*meta_used(), *meta_used() + 1024))
DAMAGE(chunk_less, POKE(apb_state.meta.chunks->used, 0))

/* As if the batch were in use no more: its chunk says so, and the sum. */
static void meta_lost(void)
{
	struct apb_chunk *chunk = (struct apb_chunk *)((uintptr_t)sc.queued &
						       ~(APB_META_CHUNK - 1));

	POKE(chunk->used, chunk->used - APB_BATCH_SIZE);
	POKE(*meta_used(), *meta_used() - APB_BATCH_SIZE);
}

DAMAGE(chunks_more, POKE(apb_state.meta.nr_chunks, 2))

static void piece_lost(void)
{
	unsigned int order = 0;

	while (!apb_state.meta.free[order])
		order++;
	POKE(apb_state.meta.free[order], apb_state.meta.free[order]->next);
}

static const struct damage damages[] = {
	{"pool.geometry", "256 blocks of 64 bytes from 16 on", base_off},
	{"pool.geometry", "256 blocks of 64 bytes from 18446744073709551488 on",
	 base_below},
	{"pool.geometry", "256 blocks of 64 bytes from 128 on",
	 base_of_next_block},
	{"pool.geometry", "255 blocks of 64 bytes from 0 on", one_block_fewer},
	{"pool.geometry", "257 blocks of 64 bytes from 0 on", one_block_more},
	{"pool.geometry", "class 4, 0 blocks", no_blocks},
	{"pool.geometry", "reciprocal of 64", reciprocal_less},
	{"pool.geometry", "reciprocal of 64", reciprocal_more},
	{"pool.geometry", "class 0, 256 blocks", class_0},
	{"pool.geometry", "class 57, 256 blocks", class_57},
	{"pool.geometry", "class 40 in an arena of kind 0",
	 class_of_another_kind},
	{"pool.bits", "bits beyond block 25", bit_beyond},
	{"pool.bits", "word 0 is 0x#, hint 1", hint_high},
	{"pool.conservation", "256 blocks, 251 out, 6 in the pool", used_more},
	{"pool.conservation", "256 blocks, 249 out, 6 in the pool", used_less},
	{"pool.conservation", "256 blocks, 250 out, 5 in the pool", bit_lost},
	{"pool.conservation", "256 blocks, 250 out, 7 in the pool", bit_more},
	{"pool.conservation", "256 blocks, 22 out, 235 in the pool",
	 bit_of_binned},
	{"pool.conservation", "251 out, but 250 live, 0 listed",
	 bit_lost_but_counted},
	{"pool.conservation", "256 out, but 255 live, 0 listed",
	 neither_live_nor_listed},
	{"pool.conservation", "256 out, but 255 live, 0 listed", never_out},
	{"pool.conservation", "22 out, but 19 live, 2 listed", binned_lost},
	{"pool.conservation", "6 out, but 2 live, 3 listed", batched_lost},
	{"pool.conservation", "6 out, but 0 live, 5 listed", queued_lost},
	{"pool.conservation", "6 out, but 0 live, 5 listed", queue_lost},
	{"pool.state", "3 of block 0", no_state},
	{"pool.state", "127 of block 0", wild_state},
	{"pool.state", "block 0 is live, and in the pool", live_in_the_pool},
	{"pool.state", "block 1 is live, and in the pool", live_put_back},
	{"pool.state", "live behind the last block, 25", live_behind},
	{"pool.used", "no block out", none_used},
	{"pool.partial", "wrongly on the partial list", full_on_partial},
	{"pool.partial", "not on the partial list", not_on_partial},
	{"pool.partial", "not on the partial list", binned_not_on_partial},
	{"bin.entries", "not in an arena", bin_leaves_arenas},
	{"bin.entries", "not in an arena", bin_into_large},
	{"bin.entries", "in another's pool", bin_into_header},
	{"bin.entries", "in another's pool", bin_into_metadata},
	{"bin.entries", "in another's pool", bin_into_unused},
	{"bin.entries", "no block of class 4", bin_off_block},
	{"bin.entries", "no block of class 4", bin_high_bits},
	{"bin.entries", "no block of class 4", bin_wrong_state},
	{"bin.entries", "no block of class 54", bin_behind},
	{"bin.entries", "listed twice", bin_twice},
	{"bin.entries", "live", bin_has_live},
	{"bin.entries", "live", bin_live},
	{"bin.entries", "in the pool, too", bin_has_pools},
	{"bin.entries", "in another's pool", bin_has_another_class},
	{"bin.entries", "in another's pool", bin_has_batched},
	{"bin.array", "0x# <= 0x# <= 0x# <= 0x# + 16", no_bottom},
	{"bin.array", "0x# <= 0x# <= 0x# <= 0x# + 16", top_below},
	{"bin.array", "0x# <= 0x# <= 0x# <= 0x# + 16", top_above},
	{"bin.array", "0x# <= 0x# <= 0x# <= 0x# + 16", limit_below_top},
	{"bin.array", "0x# <= 0x# <= 0x# <= 0x# + 16", limit_high},
	{"bin.array", "0x# <= 0x# <= 0x# <= 0x# + 2", room_small},
	{"bin.class0", "in use", class0},
	{"bin.class0", "in use", class0_has_room},
	{"heap.partial", "class 4 on list 7", partial_of_another_class},
	{"heap.partial", "class 4 on list 4", partial_of_another_heap},
	{"heap.partial", "5 listed, not 7", partial_lost},
	{"heap.partial", "6 listed, not 7", partial_cut},
	{"heap.sparse", "not in place 0", sparse_moved},
	{"heap.sparse", "not in place 0", sparse_of_another_heap},
	{"heap.sparse", "place 0", sparse_says_not},
	{"heap.sparse", "not in place 0", sparse_is_another},
	{"heap.queue", "1 batches, not 2", queue_longer},
	{"heap.queue", "1 batches, not 0", queue_shorter},
	{"heap.queue", "0 batches, not 1", queue_without_batch},
	{"heap.queue", "listed twice", queue_in_a_circle},
	{"heap.queue", "of another heap", queued_for_another},
	{"heap.queue", "in another's pool", queued_for_another_class},
	{"heap.queue", "2 blocks from 124 on", queued_too_many},
	{"heap.queue", "live", queued_live},
	{"heap.queue", "no block of class 52", queued_off_block},
	{"heap.queue", "no block of class 52", queued_wrong_state},
	{"heap.arrived", "1 batches, not 2", arrived_more},
	{"heap.arrived", "1 batches, not 0", arrived_fewer},
	{"heap.arrived", "0 batches, not 1", arrived_lost},
	{"heap.arrived", "listed twice", arrived_in_a_circle},
	{"heap.arrived", "of another bin", arrived_for_another},
	{"heap.arrived", "of another bin", arrived_elsewhere},
	{"heap.arrived", "2 blocks from 124 on", arrived_too_many},
	{"heap.arrived", "live", arrived_live},
	{"heap.out", "of another bin", out_for_another},
	{"heap.out", "of another bin", out_for_own},
	{"heap.out", "4294967172 blocks from 126 on", out_begins_beyond},
	{"heap.out", "4294967295 blocks from 3 on", out_fewer_than_none},
	{"heap.out", "listed twice", out_twice},
	{"heap.out", "live", out_live},
	{"heap.out", "in another's pool", out_not_of_the_bin},
	{"heap.out", "2 empty batches, not 3", batches_more},
	{"heaps.idle", "but attached", idle_attached},
	{"heaps.idle", "18446744073709551615 idle too many", idle_lost},
	{"heaps.idle", "3 idle too many", idle_in_a_circle},
	{"heaps.idle", "18446744073709551615 idle too many", not_attached},
	{"heaps.idle", "3 heaps, 2 mapped", heaps_more},
	{"heaps.idle", "3 heaps, 2 mapped", heaps_mapped},
	{"heaps.idle", "9 pools, not 8", pools_more},
	{"heaps.idle", "7 pools, not 8", pools_fewer},
	{"meta.used", "5120, not 6144", meta_more},
	{"meta.used", "0, not 5120", chunk_less},
	{"meta.bytes", "1 of 1 chunks, 125952 + 4096 bytes", meta_lost},
	{"meta.bytes", "1 of 2 chunks, 125952 + 5120 bytes", chunks_more},
	{"meta.bytes", "1 of 1 chunks, 123904 + 5120 bytes", piece_lost},
};

DAMAGE_TEST(test_pool_geometry, "pool.geometry")
DAMAGE_TEST(test_pool_bits, "pool.bits")
DAMAGE_TEST(test_pool_conservation, "pool.conservation")
DAMAGE_TEST(test_pool_used, "pool.used")
DAMAGE_TEST(test_pool_state, "pool.state")
DAMAGE_TEST(test_pool_partial, "pool.partial")
DAMAGE_TEST(test_bin_entries, "bin.entries")
DAMAGE_TEST(test_bin_array, "bin.array")
DAMAGE_TEST(test_bin_class0, "bin.class0")
DAMAGE_TEST(test_heap_sparse, "heap.sparse")
DAMAGE_TEST(test_heap_queue, "heap.queue")
DAMAGE_TEST(test_heap_arrived, "heap.arrived")
DAMAGE_TEST(test_heap_out, "heap.out")
DAMAGE_TEST(test_heaps_idle, "heaps.idle")
DAMAGE_TEST(test_meta, "meta.")
DAMAGE_TEST(test_heap_partial, "heap.partial")
USE_TEST(test_check_changes_nothing)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_pool_geometry, undo_after),
		cmocka_unit_test_teardown(test_pool_bits, undo_after),
		cmocka_unit_test_teardown(test_pool_conservation, undo_after),
		cmocka_unit_test_teardown(test_pool_used, undo_after),
		cmocka_unit_test_teardown(test_pool_state, undo_after),
		cmocka_unit_test_teardown(test_pool_partial, undo_after),
		cmocka_unit_test_teardown(test_bin_entries, undo_after),
		cmocka_unit_test_teardown(test_bin_array, undo_after),
		cmocka_unit_test_teardown(test_bin_class0, undo_after),
		cmocka_unit_test_teardown(test_heap_sparse, undo_after),
		cmocka_unit_test_teardown(test_heap_queue, undo_after),
		cmocka_unit_test_teardown(test_heap_arrived, undo_after),
		cmocka_unit_test_teardown(test_heap_out, undo_after),
		cmocka_unit_test_teardown(test_heaps_idle, undo_after),
		cmocka_unit_test_teardown(test_meta, undo_after),
		cmocka_unit_test_teardown(test_heap_partial, undo_after),
		cmocka_unit_test_teardown(test_check_changes_nothing,
					  undo_after),
	};

	return cmocka_run_group_tests_name("check_heap", tests, NULL,
					   test_teardown);
}
