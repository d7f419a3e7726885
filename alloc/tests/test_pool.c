// SPDX-License-Identifier: MIT
/*
 * Unit tests of pools: the check of a pointer against division, where blocks
 * lie, taking and putting them.  Over an arena of the test's own: a header that tells the
 * kind, and descriptors.
 */
#include "testlib.h"

#include <sys/mman.h>

#include "arena/arena.h"

#define SIZE(cls) test_class_sizes[(cls) - 1]
#define KEY UINT64_C(0x123456789abcdef1)
#define COLOURS 64

static struct apb_arena *arena;
static struct apb_heap heap;

static int setup(void **ctx)
{
	char *p = mmap(NULL, 2 * APB_ARENA, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)ctx;
	if (p == MAP_FAILED)
		return -1;
	arena = apb_arena_of((uintptr_t)p + APB_ARENA - 1);
	return 0;
}

/* Pool @slot of the arena (modulo those there are), for @cls, not carved. */
static struct apb_pool *pool_new(unsigned int cls, unsigned int slot,
				 unsigned int colour)
{
	struct apb_pool *pool;

	arena->kind = (uint8_t)apb_class_kind(cls);
	pool = apb_arena_pool(arena, 1 + slot % (apb_arena_slots(arena) - 1));
	/* what was there before does not matter */
	memset(pool, 0xa5, sizeof(*pool));
	apb_pool_init(pool, &heap, cls, colour);
	return pool;
}

/* ---- the check of a pointer ------------------------------------------- */

/* Whether @addr is a carved block's start, by division. */
static bool is_start(const struct apb_pool *pool, uintptr_t addr)
{
	size_t size = SIZE(pool->cls);

	return addr >= pool->base && (addr - pool->base) % size == 0 &&
	       (addr - pool->base) / size < pool->carved;
}

static void check_address(const struct apb_pool *pool, uintptr_t addr)
{
	uint64_t index = apb_pool_index(pool, addr);

	if ((index < pool->carved) != is_start(pool, addr) ||
	    (index < pool->carved &&
	     index != (addr - pool->base) / SIZE(pool->cls)))
		fail_msg("class %u, base %#lx, carved %u: %#lx is %lu",
			 pool->cls, pool->base, pool->carved, addr, index);
}

/* Every address of the pool and of as much before and behind it. */
static void check_pool_addresses(const struct apb_pool *pool)
{
	uintptr_t start = apb_pool_start(pool);
	size_t bytes = test_pool_bytes(pool->cls);
	uintptr_t addr;

	for (addr = start - bytes; addr < start + 2 * bytes; addr++)
		check_address(pool, addr);
}

static void test_index_of_every_address(void **ctx)
{
	static const unsigned int colours[] = {0, 1, 7};
	unsigned int cls, i;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		for (i = 0; i < NR_OF(colours); i++) {
			struct apb_pool *pool =
				pool_new(cls, i * 62, colours[i]);

			pool->carved = i == 1 ? pool->count / 2u : pool->count;
			check_pool_addresses(pool);
		}
	}
}

static void test_index_before_the_first_carve(void **ctx)
{
	unsigned int cls;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_pool *pool = pool_new(cls, cls, cls);

		assert_int_equal(pool->carved, 0);
		check_address(pool, pool->base);
		check_address(pool, pool->base + SIZE(cls));
		pool->carved = 1;
		check_address(pool, pool->base);
		check_address(pool, pool->base + SIZE(cls));
	}
}

/* Addresses that differ in high bits only, or lie powers of two away. */
static void test_index_of_aliases(void **ctx)
{
	unsigned int cls, bit, i;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_pool *pool = pool_new(cls, cls, cls);

		pool->carved = pool->count;
		for (i = 0; i < pool->count; i++) {
			uintptr_t addr = pool->base + i * SIZE(cls);

			check_address(pool, addr);
			for (bit = 4; bit < 64; bit++) {
				uintptr_t step = (uintptr_t)1 << bit;

				check_address(pool, addr ^ step);
				check_address(pool, addr + step);
				check_address(pool, addr - step);
				check_address(pool, addr | -step);
			}
		}
	}
}

/*
 * What the multiplication maps to a small number: q times the inverse of the
 * inverse.  For every small index there is one address only, and it is a
 * block's.
 */
static void test_index_of_random_addresses(void **ctx)
{
	uint64_t r = 3;
	unsigned int cls;
	int i;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_pool *pool = pool_new(cls, cls, cls);

		pool->carved = pool->count;
		for (i = 0; i < 20000; i++) {
			check_address(pool, rnd(&r));
			check_address(pool, pool->base + SIZE(cls) * rnd(&r));
			check_address(pool, pool->base - SIZE(cls) * (rnd(&r) %
								      65536));
		}
	}
}

/* ---- where blocks lie ------------------------------------------------- */

static size_t alignment_of(size_t size)
{
	size_t align = APB_PAGE;

	while (size % align)
		align /= 2;
	return align;
}

/* Offsets that a class can have, by what pool.h says of colours. */
static size_t nr_offsets(unsigned int cls)
{
	size_t size = SIZE(cls), unit = size & -size;
	size_t room = test_pool_bytes(cls) % size;
	size_t n;

	if (unit < APB_CACHE_LINE)
		unit = APB_CACHE_LINE;
	if (test_pool_bytes(cls) == 16 * KIB && room < APB_COLOUR_SPAN)
		room = APB_COLOUR_SPAN;
	n = room / unit + 1;
	return n < APB_COLOUR_LINES ? n : APB_COLOUR_LINES;
}

static void test_geometry(void **ctx)
{
	unsigned int cls, colour, slot;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t bytes = test_pool_bytes(cls), size = SIZE(cls);
		size_t remainder = bytes % size;

		for (colour = 0; colour < COLOURS; colour++) {
			struct apb_pool *pool =
				pool_new(cls, colour * 5, colour);
			uintptr_t start;
			size_t offset;

			slot = (unsigned int)(pool - (struct apb_pool *)arena);
			start = (uintptr_t)arena + slot * bytes;
			offset = pool->base - start;
			assert_int_equal(apb_pool_slot(pool), slot);
			assert_int_equal(apb_pool_bytes(pool), bytes);
			assert_int_equal(apb_pool_start(pool), start);
			assert_int_equal(apb_pool_colour_bytes(pool), offset);
			assert_true(offset <= remainder ||
				    (bytes == 16 * KIB &&
				     offset <= APB_COLOUR_SPAN));
			assert_int_equal(offset % APB_CACHE_LINE, 0);
			assert_int_equal(pool->base % alignment_of(size), 0);
			assert_int_equal(pool->count, (bytes - offset) / size);
			assert_int_equal(offset + pool->count * size +
						 apb_pool_remainder(pool),
					 bytes);
			assert_true(apb_pool_remainder(pool) < size);
			assert_int_equal(pool->owner,
					 (uintptr_t)&heap.bin[cls]);
			assert_int_equal(pool->cls, cls);
			assert_int_equal(pool->carved, 0);
			assert_int_equal(pool->used, 0);
			assert_int_equal(pool->nr_free, 0);
			assert_null(pool->free);
			assert_false(apb_node_listed(&pool->node));
		}
	}
}

/* So many neighbouring colours are all different, and then they come again. */
static void test_colours_are_distinct(void **ctx)
{
	unsigned int cls, i, j;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t n = nr_offsets(cls), offset[COLOURS];

		for (i = 0; i < n; i++) {
			struct apb_pool *pool = pool_new(cls, 3, i);

			offset[i] = apb_pool_colour_bytes(pool);
			for (j = 0; j < i; j++)
				assert_int_not_equal(offset[i], offset[j]);
		}
		assert_int_equal(offset[0], 0);
	}
	/* the small classes up to 256 have colours at all */
	for (cls = 1; cls <= 16; cls++)
		assert_true(nr_offsets(cls) >= 3);
}

/* Pools that a heap takes one after the other have different colours. */
static void test_heap_changes_colours(void **ctx)
{
	size_t last = SIZE_MAX, offset;
	int pools, i;

	(void)ctx;
	fresh_sim(1, 0);
	for (pools = 0; pools < 20; pools++) {
		struct apb_pool *pool = pool_of(apb_malloc(48));

		for (i = 1; i < pool->count; i++)
			assert_ptr_equal(pool_of(apb_malloc(48)), pool);
		offset = apb_pool_colour_bytes(pool);
		assert_int_not_equal(offset, last);
		last = offset;
	}
	assert_whole();
}

/* ---- taking and putting blocks ---------------------------------------- */

/* About a page of blocks, or one, or as many as there are. */
static unsigned int batch(const struct apb_pool *pool, unsigned int left)
{
	size_t n = APB_PAGE / SIZE(pool->cls);

	if (!n)
		n = 1;
	return n < left ? (unsigned int)n : left;
}

static void test_fresh_blocks(void **ctx)
{
	unsigned int cls;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_pool *pool = pool_new(cls, cls * 3, cls);
		uintptr_t end = apb_pool_start(pool) + test_pool_bytes(cls);
		unsigned int total = 0;

		memset((void *)apb_pool_start(pool), 0xee,
		       test_pool_bytes(cls));
		while (pool->carved < pool->count) {
			unsigned int n =
				test_carved(cls, pool->count, total + 1) -
				total;
			struct apb_block *block = apb_pool_take(pool, KEY);
			unsigned int i;

			for (i = total; i < total + n; i++) {
				assert_int_equal((uintptr_t)block,
						 pool->base + i * SIZE(cls));
				assert_true((uintptr_t)block + SIZE(cls) <=
					    end);
				assert_true(apb_marked(block, KEY));
				assert_true(apb_looks_free(block, KEY));
				assert_false(apb_marked(block, KEY ^ 2));
				assert_false(apb_looks_free(block, KEY ^ 2));
				block = block->next;
			}
			assert_null(block);
			total += n;
			assert_int_equal(pool->carved, total);
			assert_int_equal(pool->used, total);
			assert_int_equal(apb_pool_has(pool),
					 total < pool->count);
			/* what is not carved is not touched */
			assert_true(total == pool->count ||
				    all_bytes((void *)(pool->base +
						       total * SIZE(cls)),
					      SIZE(cls), 0xee));
		}
		assert_int_equal(total, pool->count);
		assert_false(apb_pool_has(pool));
	}
}

/* What is put comes back last in, first out, before any fresh block. */
static void test_put_and_take(void **ctx)
{
	unsigned int cls, i, n;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_pool *pool = pool_new(cls, cls * 7, cls);
		unsigned int all = pool->count / 2;
		struct apb_block *block;

		while (pool->carved < all)
			apb_pool_take(pool, KEY);
		n = pool->carved;
		for (i = 0; i < n; i++) {
			block = (struct apb_block *)(pool->base +
						     i * SIZE(cls));
			apb_pool_put(pool, block, KEY);
			assert_int_equal(pool->used, n - i - 1);
			assert_int_equal(pool->nr_free, i + 1);
			assert_true(apb_looks_free(block, KEY));
			/* not as in a bin: it must not be put twice */
			assert_false(apb_marked(block, KEY));
		}
		while (i) {
			unsigned int some = batch(pool, i), j;

			block = apb_pool_take(pool, KEY);
			for (j = 0; j < some; j++) {
				assert_int_equal((uintptr_t)block,
						 pool->base + --i * SIZE(cls));
				assert_true(apb_marked(block, KEY));
				block = block->next;
			}
			assert_null(block);
			assert_int_equal(pool->carved, n);
			assert_int_equal(pool->nr_free, i);
			assert_int_equal(pool->used, n - i);
		}
		assert_null(pool->free);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index_of_every_address),
		cmocka_unit_test(test_index_before_the_first_carve),
		cmocka_unit_test(test_index_of_aliases),
		cmocka_unit_test(test_index_of_random_addresses),
		cmocka_unit_test(test_geometry),
		cmocka_unit_test(test_colours_are_distinct),
		cmocka_unit_test(test_heap_changes_colours),
		cmocka_unit_test(test_fresh_blocks),
		cmocka_unit_test(test_put_and_take),
	};

	return cmocka_run_group_tests_name("pool", tests, setup, test_teardown);
}
