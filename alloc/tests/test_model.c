// SPDX-License-Identifier: MIT
/*
 * Unit tests of the reference model: slots, classes, overlap, content.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model.h"

static struct model model;
static _Alignas(4096) uint8_t memory[4 << 20];

static uint64_t rng = 1;

static uint64_t draw(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (rng * UINT64_C(0x2545f4914f6cdd1d) >> 16) % n;
}

static int fresh(void **ctx)
{
	(void)ctx;
	model_reset(&model);
	return 0;
}

/* A block in @slot at @off of the memory, as a plain allocation makes it. */
static bool add(unsigned int slot, size_t off, size_t size)
{
	return model_add(&model, slot, memory + off, size, 16,
			 model_class(size));
}

/* ---- classes ---------------------------------------------------------- */

static void test_classes(void **ctx)
{
	unsigned int cls = 1;

	(void)ctx;
	for (size_t size = 0; size <= 32768; size++) {
		if (size > ops_class_size(cls))
			cls++;
		assert_int_equal(model_class(size), cls);
	}
	assert_int_equal(cls, OPS_CLASSES);
	assert_int_equal(model_class(32769), MODEL_LARGE);
	assert_int_equal(model_class(SIZE_MAX), MODEL_LARGE);
}

static void test_aligned_classes(void **ctx)
{
	(void)ctx;
	for (size_t align = 1; align <= 4096; align *= 2) {
		for (size_t size = 1; size <= 32768; size += 13) {
			unsigned int cls = model_class_aligned(align, size);

			assert_true(ops_class_size(cls) >= size);
			assert_int_equal(ops_class_size(cls) % align, 0);
			if (align > 64)
				assert_false(ops_class_size(cls) &
					     (ops_class_size(cls) - 1));
			/* no smaller one would do */
			while (--cls && ops_class_size(cls) >= size)
				assert_true(
					ops_class_size(cls) % align ||
					(align > 64 &&
					 ops_class_size(cls) &
						 (ops_class_size(cls) - 1)));
		}
	}
	assert_int_equal(model_class_aligned(8192, 1), MODEL_LARGE);
	assert_int_equal(model_class_aligned(16, 32769), MODEL_LARGE);
	assert_int_equal(model_usable(MODEL_LARGE, 1), 4096);
	assert_int_equal(model_usable(MODEL_LARGE, 0), 4096);
	assert_int_equal(model_usable(MODEL_LARGE, 40960), 40960);
	assert_int_equal(model_usable(MODEL_LARGE, 40961), 45056);
	assert_int_equal(model_usable(2, 17), 32);
}

/* ---- slots ------------------------------------------------------------ */

static void test_slots_to_fill(void **ctx)
{
	(void)ctx;
	assert_int_equal(model_slot_to_fill(&model, 7), 7);
	assert_int_equal(model_slot_to_fill(&model, 7 + OPS_SLOTS), 7);
	for (unsigned int i = 0; i < 10; i++)
		assert_true(add(i, i * 16, 16));
	/* taken: the lowest that was never used */
	assert_int_equal(model_slot_to_fill(&model, 3), 10);
	model_remove(&model, 8);
	model_remove(&model, 2);
	model_remove(&model, 5);
	/* taken: the one freed last */
	assert_int_equal(model_slot_to_fill(&model, 3), 5);
	/* a freed slot may be named out of turn */
	assert_true(add(2, 2 * 16, 16));
	assert_int_equal(model_slot_to_fill(&model, 3), 5);
	assert_true(add(5, 5 * 16, 16));
	assert_int_equal(model_slot_to_fill(&model, 3), 8);
	assert_true(add(8, 8 * 16, 16));
	assert_int_equal(model_slot_to_fill(&model, 3), 10);
}

static void test_slots_to_take(void **ctx)
{
	(void)ctx;
	assert_int_equal(model_slot_to_take(&model, 0), -1);
	for (unsigned int i = 0; i < 4; i++)
		assert_true(add(100 + i, i * 16, 16));
	assert_int_equal(model_slot_to_take(&model, 102), 102);
	/* empty: by its place in the dense list */
	assert_int_equal(model_slot_to_take(&model, 5), 101);
	model_remove(&model, 101);
	/* the last took the removed one's place */
	assert_int_equal(model_slot_to_take(&model, 1), 103);
	assert_int_equal(model_slot_to_take(&model, 2), 102);
	assert_int_equal(model_slot_to_take(&model, 3), 100);
}

static void test_slots_run_out(void **ctx)
{
	(void)ctx;
	for (unsigned int i = 0; i < OPS_SLOTS; i++)
		assert_true(add((i + 77) % OPS_SLOTS, i * 16, 1));
	assert_int_equal(model_slot_to_fill(&model, 0), -1);
	assert_int_equal(model_next_free(&model, 0), -1);
	model_remove(&model, 5);
	assert_int_equal(model_slot_to_fill(&model, 0), 5);
	assert_int_equal(model_next_free(&model, 0), 5);
	assert_int_equal(model_next_free(&model, 5), 5);
	/* wraps round, also within one word of the bitmap */
	assert_int_equal(model_next_free(&model, 6), 5);
	assert_int_equal(model_next_free(&model, OPS_SLOTS - 1), 5);
	model_remove(&model, OPS_SLOTS - 1);
	assert_int_equal(model_next_free(&model, 6), OPS_SLOTS - 1);
}

/* Against lists that are kept in the plainest way. */
static void test_slots_at_random(void **ctx)
{
	static uint16_t dense[OPS_SLOTS], freed[OPS_SLOTS];
	static bool live[OPS_SLOTS], used[OPS_SLOTS];
	size_t nr_live = 0, nr_freed = 0;

	(void)ctx;
	memset(live, 0, sizeof(live));
	memset(used, 0, sizeof(used));
	for (int step = 0; step < 20000; step++) {
		uint16_t raw = (uint16_t)draw(300);
		unsigned int slot = raw;

		if (draw(5) < 3) {
			if (live[slot] && nr_freed)
				slot = freed[nr_freed - 1];
			else if (live[slot])
				for (slot = 0; used[slot];)
					slot++;
			assert_int_equal(model_slot_to_fill(&model, raw), slot);
			assert_true(add(slot, slot * 64, 40));
			for (size_t i = 0; i < nr_freed; i++) {
				if (freed[i] != slot)
					continue;
				memmove(&freed[i], &freed[i + 1],
					(--nr_freed - i) * sizeof(freed[0]));
				break;
			}
			live[slot] = used[slot] = true;
			dense[nr_live++] = (uint16_t)slot;
		} else if (nr_live) {
			if (!live[slot])
				slot = dense[raw % nr_live];
			assert_int_equal(model_slot_to_take(&model, raw), slot);
			model_remove(&model, slot);
			for (size_t i = 0; i < nr_live; i++)
				if (dense[i] == slot) {
					dense[i] = dense[--nr_live];
					break;
				}
			live[slot] = false;
			freed[nr_freed++] = (uint16_t)slot;
		}
		assert_int_equal(model.live, nr_live);
	}
}

/* ---- overlap ---------------------------------------------------------- */

static void test_overlap(void **ctx)
{
	(void)ctx;
	assert_true(add(0, 1024, 64));
	assert_false(add(1, 1024, 64));
	assert_false(add(1, 1024 + 48, 64));
	assert_false(add(1, 1024 - 48, 64));
	assert_false(add(1, 1024 + 16, 16));
	assert_false(add(1, 0, 40000));
	assert_int_equal(model_find(&model, (uintptr_t)memory + 1087, 1), 0);
	assert_int_equal(model_find(&model, (uintptr_t)memory + 1088, 1), -1);
	/* what was refused left nothing behind */
	assert_int_equal(model.live, 1);
	assert_true(add(1, 1024 + 64, 64));
	assert_true(add(2, 1024 - 64, 64));
	model_remove(&model, 0);
	assert_true(add(0, 1024, 64));
}

/* The usable size counts, not what was asked for. */
static void test_overlap_with_slack(void **ctx)
{
	(void)ctx;
	assert_true(add(0, 0, 513));
	assert_false(add(1, 624, 16));
	assert_true(add(1, 640, 16));
	assert_true(add(2, 8192, 32769));
	assert_false(add(3, 8192 + 36864 - 16, 16));
	assert_true(add(3, 8192 + 36864, 16));
}

/* Ranges of all sizes against a byte per granule. */
static void test_cover_at_random(void **ctx)
{
	static struct cover cover;
	static bool taken[sizeof(memory) / 16];
	static struct {
		size_t at, n;
	} ranges[64];
	uintptr_t base = UINT64_C(0x3fff00000); /* across regions */

	(void)ctx;
	for (int step = 0; step < 20000; step++) {
		unsigned int i = (unsigned int)draw(64);
		size_t n = 1 + draw((size_t)1 << draw(15));
		size_t at = draw(sizeof(memory) / 16 - n);
		bool any = false;

		if (ranges[i].n) {
			cover_remove(&cover, base + ranges[i].at * 16,
				     ranges[i].n * 16);
			memset(&taken[ranges[i].at], false, ranges[i].n);
			ranges[i].n = 0;
			continue;
		}
		for (size_t k = at; k < at + n; k++)
			any |= taken[k];
		assert_int_equal(cover_any(&cover, base + at * 16, n * 16),
				 any);
		assert_int_equal(cover_add(&cover, base + at * 16, n * 16),
				 !any);
		if (any)
			continue;
		memset(&taken[at], true, n);
		ranges[i].at = at;
		ranges[i].n = n;
	}
}

static void test_cover_giants(void **ctx)
{
	static struct cover cover;
	size_t gib = (size_t)1 << 30;

	(void)ctx;
	assert_true(cover_add(&cover, 40 * gib, 16));
	assert_false(cover_add(&cover, 39 * gib, 2 * gib));
	assert_true(cover_add(&cover, 38 * gib, 2 * gib));
	assert_false(cover_add(&cover, 39 * gib, 16));
	assert_false(cover_add(&cover, 37 * gib, 2 * gib));
	cover_remove(&cover, 38 * gib, 2 * gib);
	assert_true(cover_add(&cover, 39 * gib, 16));
	/* more regions than there are: still exact */
	for (size_t i = 0; i < 4 * COVER_REGIONS; i++)
		assert_true(cover_add(&cover, (100 + i) * gib, 64));
	for (size_t i = 0; i < 4 * COVER_REGIONS; i++)
		assert_false(cover_add(&cover, (100 + i) * gib + 48, 64));
	for (size_t i = 0; i < 4 * COVER_REGIONS; i++)
		cover_remove(&cover, (100 + i) * gib, 64);
	assert_false(cover_any(&cover, 100 * gib, 5000 * gib));
}

/* ---- content ---------------------------------------------------------- */

/* Every byte of a small block counts, and those beyond it do not. */
static void test_content_whole(void **ctx)
{
	(void)ctx;
	for (size_t size = 1; size <= 1024; size = size * 5 / 4 + 1) {
		assert_true(add(0, 0, size));
		for (size_t at = 0; at < model_usable(model_class(size), size);
		     at++) {
			memory[at] ^= 1;
			assert_int_equal(
				model_verify(&model, 0, NULL, SIZE_MAX),
				at < size ? at : CONTENT_OK);
			memory[at] ^= 1;
		}
		assert_int_equal(model_verify(&model, 0, NULL, SIZE_MAX),
				 CONTENT_OK);
		model_remove(&model, 0);
	}
}

/* Of a big one both ends and a word of each page count. */
static void test_content_sample(void **ctx)
{
	static const size_t sizes[] = {1025, 5000, 32768, 65536};

	(void)ctx;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i];

		assert_true(add(0, 0, size));
		for (size_t at = 0; at < size; at++) {
			bool looked = at < 32 || at >= size - 32 ||
				      (at % 4096 < 8 && at / 4096 <= 15 &&
				       (at | 7) < size);

			memory[at] ^= 0x80;
			if (looked)
				assert_int_equal(
					model_verify(&model, 0, NULL, SIZE_MAX),
					at);
			memory[at] ^= 0x80;
		}
		/* and all of it once it was filled */
		model_fill(&model, 0);
		for (size_t at = 0; at < size && size <= CONTENT_FILL;
		     at += 7) {
			memory[at] ^= 0x80;
			assert_int_equal(
				model_verify(&model, 0, NULL, SIZE_MAX), at);
			memory[at] ^= 0x80;
		}
		model_remove(&model, 0);
	}
}

/* A block that was moved by a correct realloc, and by ones that are not. */
static void test_content_moved(void **ctx)
{
	static const size_t sizes[] = {1,    17,   1000,  1024,	 1025,
				       3000, 4097, 32768, 40000, 70000};
	size_t n = sizeof(sizes) / sizeof(sizes[0]), to = 1 << 20;

	(void)ctx;
	for (size_t i = 0; i < n * n; i++) {
		size_t old = sizes[i / n], new = sizes[i % n];
		size_t limit = old < new ? old : new;

		assert_true(add(0, 0, old));
		model_before_resize(&model, 0, limit);
		memset(memory + to, 0, new);
		memcpy(memory + to, memory, limit);
		assert_int_equal(model_verify(&model, 0, memory + to, limit),
				 CONTENT_OK);
		/* one byte too few at the end, or the first one lost */
		memory[to + limit - 1] ^= 0xff;
		assert_int_equal(model_verify(&model, 0, memory + to, limit),
				 limit - 1);
		memory[to + limit - 1] ^= 0xff;
		memory[to] ^= 0xff;
		assert_int_equal(model_verify(&model, 0, memory + to, limit),
				 0);
		memory[to] ^= 0xff;
		assert_true(model_resize(&model, 0, memory + to, new,
					 model_class(new)));
		assert_int_equal(model_verify(&model, 0, NULL, SIZE_MAX),
				 CONTENT_OK);
		model_remove(&model, 0);
	}
}

static void test_zero(void **ctx)
{
	static const size_t sizes[] = {1, 7, 16, 4096, 4097, 65536};

	(void)ctx;
	memset(memory, 0, sizeof(memory));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i];

		assert_int_equal(content_check_zero(memory, size), CONTENT_OK);
		for (size_t at = 0; at < size; at++) {
			if (size > 4096 && at >= 32 && at < size - 32 &&
			    at % 4096)
				continue;
			memory[at] = 1;
			assert_int_equal(content_check_zero(memory, size), at);
			memory[at] = 0;
		}
		memory[size] = 1;
		assert_int_equal(content_check_zero(memory, size), CONTENT_OK);
		memory[size] = 0;
	}
}

/* ---- accounting ------------------------------------------------------- */

static void test_accounting(void **ctx)
{
	(void)ctx;
	assert_true(add(0, 0, 17));
	assert_true(add(1, 64, 32));
	assert_true(add(2, 128, 40000));
	assert_int_equal(model.class_used[2], 2);
	assert_int_equal(model.used_bytes, 64);
	assert_int_equal(model.large, 1);
	assert_int_equal(model.large_bytes, 40960);
	assert_true(model_resize(&model, 0, memory + 65536, 33000, 0));
	assert_int_equal(model.class_used[2], 1);
	assert_int_equal(model.large_bytes, 40960 + 36864);
	assert_false(model_resize(&model, 1, memory + 256, 16, 1));
	model_remove(&model, 2);
	assert_true(model_resize(&model, 1, memory + 256, 16, 1));
	assert_int_equal(model.class_used[1], 1);
	assert_int_equal(model.used_bytes, 16);
	model_reset(&model);
	assert_int_equal(model.live + model.large + model.used_bytes, 0);
	assert_true(add(5, 0, 40000));
}

#define TEST(fn) cmocka_unit_test_setup(fn, fresh)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_classes),	    TEST(test_aligned_classes),
		TEST(test_slots_to_fill),   TEST(test_slots_to_take),
		TEST(test_slots_run_out),   TEST(test_slots_at_random),
		TEST(test_overlap),	    TEST(test_overlap_with_slack),
		TEST(test_cover_at_random), TEST(test_cover_giants),
		TEST(test_content_whole),   TEST(test_content_sample),
		TEST(test_content_moved),   TEST(test_zero),
		TEST(test_accounting),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
