// SPDX-License-Identifier: MIT
/*
 * Unit tests of pools: the check of a pointer against division, where blocks
 * lie, their states, taking and putting them.  Over an arena of the test's
 * own: a header that tells the kind, and descriptors.
 */
#include "testlib.h"

#include <sys/mman.h>

#include "arena/arena.h"

#define SIZE(cls) test_class_sizes[(cls) - 1]
#define COLOURS 64

static struct apb_arena *arena;
static _Alignas(APB_HEAP_ALIGN) struct apb_heap heap;

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

/* Pools that an arena of @kind has, and its first: 48 KiB of metadata. */
static unsigned int first_slot(unsigned int kind)
{
	return kind ? 1 : 3;
}

static unsigned int nr_slots(unsigned int kind)
{
	return (unsigned int)(APB_ARENA >> apb_kind_shift(kind)) -
	       first_slot(kind);
}

/* An arena for pools of @cls, with none in use. */
static void empty_arena(unsigned int cls)
{
	memset(arena, 0, APB_CACHE_LINE);
	/* what is in use of the state lines: where slots have no pool */
	memset((char *)arena + 64, 0, 128);
	arena->kind = (uint8_t)apb_class_kind(cls);
}

/* Number @n of its pools (modulo those there are), for @cls. */
static struct apb_pool *next_pool(unsigned int cls, unsigned int n,
				  unsigned int colour)
{
	unsigned int kind = apb_class_kind(cls);
	struct apb_pool *pool;

	pool = apb_arena_pool(arena, first_slot(kind) + n % nr_slots(kind));
	/* what was there before does not matter */
	memset(pool, 0xa5, sizeof(*pool));
	memset(apb_pool_bits(pool), 0xa5, 64);
	apb_pool_init(pool, &heap, cls, colour);
	return pool;
}

/* The only one. */
static struct apb_pool *pool_new(unsigned int cls, unsigned int n,
				 unsigned int colour)
{
	empty_arena(cls);
	return next_pool(cls, n, colour);
}

/* ---- the check of a pointer ------------------------------------------- */

/* Whether @addr is a block's start, by division. */
static bool is_start(const struct apb_pool *pool, uintptr_t addr)
{
	size_t size = SIZE(pool->cls);

	return addr >= pool->base && (addr - pool->base) % size == 0 &&
	       (addr - pool->base) / size < pool->count;
}

static void check_address(const struct apb_pool *pool, uintptr_t addr)
{
	uint64_t index = apb_pool_index(pool, addr);

	if ((index < pool->count) != is_start(pool, addr) ||
	    (index < pool->count &&
	     index != (addr - pool->base) / SIZE(pool->cls)))
		fail_msg("class %u, base %#lx, %u blocks: %#lx is %lu",
			 pool->cls, pool->base, pool->count, addr, index);
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
		for (i = 0; i < NR_OF(colours); i++)
			check_pool_addresses(pool_new(cls, i * 59, colours[i]));
	}
}

/* Addresses that differ in high bits only, or lie powers of two away. */
static void test_index_of_aliases(void **ctx)
{
	unsigned int cls, bit, i;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_pool *pool = pool_new(cls, cls, cls);

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

/* Where the product is about a multiple of 2^64. */
static void check_near(const struct apb_pool *pool, uint64_t multiple)
{
	__extension__ unsigned __int128 product =
		(unsigned __int128)(multiple % pool->reciprocal) << 64;
	uint64_t distance = (uint64_t)(product / pool->reciprocal);
	int i;

	for (i = -2; i <= 2; i++)
		check_address(pool, pool->base + distance + (uint64_t)i);
}

/*
 * For every small index there is one address only, and it is a block's: also
 * where the product is a little less or more than a multiple of 2^64, which
 * few random numbers lead to.
 */
static void test_index_of_random_addresses(void **ctx)
{
	uint64_t r = 3;
	unsigned int cls;
	int i;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_pool *pool = pool_new(cls, cls, cls);

		for (i = 0; i < 20000; i++) {
			check_address(pool, rnd(&r));
			check_address(pool, pool->base + SIZE(cls) * rnd(&r));
			check_address(pool, pool->base - SIZE(cls) * (rnd(&r) %
								      65536));
			check_near(pool, rnd(&r));
		}
	}
}

/* The descriptor tells of its blocks only, whatever states are before and behind. */
static void assert_not_live(const struct apb_pool *pool)
{
	uint8_t *before = pool->states - 1,
		*behind = pool->states + pool->count;
	uint8_t was_before = *before, was_behind = *behind;
	uint64_t i;

	*before = *behind = APB_STATE_LIVE;
	assert_true(apb_block_live(pool, pool->base, &i));
	assert_int_equal(i, 0);
	assert_false(apb_block_live(pool, pool->base + 1, &i));
	assert_false(apb_block_live(pool, pool->base - 16, &i));
	assert_false(apb_block_live(pool, pool->base - SIZE(pool->cls), &i));
	assert_false(apb_block_live(
		pool, pool->base + pool->count * SIZE(pool->cls), &i));
	*before = was_before;
	*behind = was_behind;
}

/*
 * The bound on an index is the same for all pools: where it leads behind the last
 * block nothing is live, whatever was there before and is beside it.
 */
static void test_nothing_behind_is_live(void **ctx)
{
	unsigned int cls, n;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		unsigned int nr = nr_slots(apb_class_kind(cls));

		empty_arena(cls);
		memset((char *)arena + APB_FEW_STATES_OFFSET, APB_STATE_LIVE,
		       APB_PAGE - APB_FEW_STATES_OFFSET);
		memset((char *)arena + APB_STATES_OFFSET, APB_STATE_LIVE,
		       APB_META_BYTES - APB_STATES_OFFSET);
		for (n = 0; n < nr; n++) {
			struct apb_pool *pool = next_pool(cls, n, n);

			memset(pool->states, APB_STATE_LIVE, pool->count);
		}
		for (n = 0; n < nr; n++) {
			struct apb_pool *pool = apb_arena_pool(
				arena, first_slot(arena->kind) + n);
			uintptr_t end =
				apb_pool_start(pool) + apb_pool_bytes(pool);
			uintptr_t addr = pool->base;
			uint64_t i, behind = 0;

			while (addr += SIZE(cls), addr < end) {
				if (!apb_quotient(addr - pool->base,
						  pool->reciprocal, &i) ||
				    i < pool->count)
					continue;
				assert_int_equal(i, pool->count);
				assert_int_equal(
					apb_state_get(pool->states + i),
					APB_STATE_NEVER);
				behind++;
			}
			assert_in_range(behind, 0, 1);
			assert_not_live(pool);
		}
	}
}

/* ---- where blocks lie ------------------------------------------------- */

/* Powers of two lie at multiples of themselves, all others on a cache line. */
static size_t alignment_of(size_t size)
{
	if (size & (size - 1) || size < APB_CACHE_LINE)
		return APB_CACHE_LINE;
	return size < APB_PAGE ? size : APB_PAGE;
}

/* Offsets that a class can have: the lines of a pool's remainder. */
static size_t nr_offsets(unsigned int cls)
{
	size_t size = SIZE(cls);

	return size & (size - 1) ? test_pool_bytes(cls) % size % 4096 / 64 + 1 :
				   1;
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

			slot = (unsigned int)(((uintptr_t)pool -
					       (uintptr_t)arena) /
					      64);
			start = (uintptr_t)arena + slot * bytes;
			offset = pool->base - start;
			assert_int_equal(apb_pool_slot(pool), slot);
			assert_int_equal(apb_pool_bytes(pool), bytes);
			assert_int_equal(apb_pool_start(pool), start);
			assert_int_equal(apb_pool_colour_bytes(pool), offset);
			assert_true(offset <= remainder);
			/* no page more than without it */
			assert_int_equal((offset + pool->count * size + 4095) /
						 4096,
					 (pool->count * size + 4095) / 4096);
			assert_int_equal(offset % APB_CACHE_LINE, 0);
			assert_int_equal(pool->base % alignment_of(size), 0);
			assert_int_equal(pool->count,
					 test_pool_blocks(cls, bytes - offset));
			assert_int_equal(offset + pool->count * size +
						 apb_pool_remainder(pool),
					 bytes);
			assert_true(apb_pool_remainder(pool) < size ||
				    pool->count == 512);
			assert_int_equal(pool->owner,
					 (uintptr_t)&heap.bin[cls]);
			assert_int_equal(pool->cls, cls);
			assert_int_equal(pool->used, 0);
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

		for (i = 0; i < n && i < COLOURS; i++) {
			struct apb_pool *pool = pool_new(cls, 3, i);

			offset[i] = apb_pool_colour_bytes(pool);
			for (j = 0; j < i; j++)
				assert_int_not_equal(offset[i], offset[j]);
		}
		assert_int_equal(offset[0], 0);
		assert_int_equal(apb_pool_colour_bytes(pool_new(cls, 3, n)), 0);
	}
}

/* What is taken first of small pools lies elsewhere in each of some. */
static void test_first_blocks_are_apart(void **ctx)
{
	unsigned int cls, i, j, apart;

	(void)ctx;
	for (cls = 1; SIZE(cls) <= 1024; cls++) {
		uintptr_t at[8];

		for (i = apart = 0; i < NR_OF(at); i++) {
			struct apb_pool *pool = pool_new(cls, 3, i);
			struct apb_entry entry;

			assert_int_equal(apb_pool_take(pool, &entry, 1), 1);
			at[i] = ((uintptr_t)entry.block -
				 apb_pool_start(pool)) /
				64;
			for (j = 0; j < i && at[j] != at[i]; j++)
				;
			apart += i == j;
		}
		assert_true(apart >= 6);
	}
}

/* So does what a heap takes first of one pool after the other. */
static void test_heap_changes_colours(void **ctx)
{
	uintptr_t last = UINTPTR_MAX, at;
	int pools, i;

	(void)ctx;
	fresh_sim(1, 0);
	for (pools = 0; pools < 20; pools++) {
		char *p = apb_malloc(48);
		struct apb_pool *pool = pool_of(p);

		for (i = 1; i < pool->count; i++)
			assert_ptr_equal(pool_of(apb_malloc(48)), pool);
		at = (uintptr_t)p - apb_pool_start(pool);
		assert_int_not_equal(at, last);
		last = at;
	}
	assert_whole();
}

/* ---- states ----------------------------------------------------------- */

#define METADATA ((ptrdiff_t)(48 * KIB))

static size_t bits_bytes(const struct apb_pool *pool)
{
	return (pool->count + 63u) / 64 * 8;
}

/* Where a pool's bytes and bits are; of larger pools it is the first page. */
static void assert_places(const struct apb_pool *pool)
{
	ptrdiff_t states = (char *)pool->states - (char *)arena;
	ptrdiff_t bits = (char *)apb_pool_bits(pool) - (char *)arena;
	ptrdiff_t bits_at = arena->kind ? 1024 : 4096;
	ptrdiff_t states_at = 2 * bits_at;

	assert_in_range(bits, bits_at, states_at - (ptrdiff_t)bits_bytes(pool));
	assert_in_range(states, states_at,
			(arena->kind ? 4096 : METADATA) - pool->count);
	assert_true(all_bytes(pool->states, pool->count, APB_STATE_NEVER));
}

/* What is a pool's own is filled with a number, and is still when it goes. */
static void fill_own(struct apb_pool *pool, unsigned int tag)
{
	memset(pool->states, (int)tag, pool->count);
	memset(apb_pool_bits(pool), (int)tag, bits_bytes(pool));
}

static void assert_own(struct apb_pool *pool, unsigned int tag)
{
	assert_true(all_bytes(pool->states, pool->count, (uint8_t)tag));
	assert_true(
		all_bytes(apb_pool_bits(pool), bits_bytes(pool), (uint8_t)tag));
}

/*
 * Pools come and go in an arena, of all classes that it can have: the bytes
 * and bits of each are apart from all of the others'.
 */
static void test_metadata_is_apart(void **ctx)
{
	struct apb_pool *pool[64];
	unsigned int kind, n, step;
	uint64_t r = 1;

	(void)ctx;
	for (kind = 0; kind < APB_NR_POOL_KINDS; kind++) {
		unsigned int cls = kind == 0 ? 1 : kind == 1 ? 37 : 49;

		memset(arena, 0xee, METADATA);
		empty_arena(cls);
		memset(pool, 0, sizeof(pool));
		for (step = 0; step < 20000; step++) {
			n = (unsigned int)(rnd(&r) % nr_slots(kind));
			if (pool[n] && rnd(&r) % 4 == 0) {
				assert_own(pool[n], n + 10);
				apb_pool_fini(pool[n]);
				pool[n] = NULL;
			}
			if (pool[n])
				continue;
			/* mostly such as take the most room */
			pool[n] = next_pool(
				cls + (unsigned int)(rnd(&r) % 4 ? rnd(&r) % 3 :
								   rnd(&r) % 8),
				n, (unsigned int)rnd(&r));
			assert_places(pool[n]);
			fill_own(pool[n], n + 10);
		}
		for (n = 0; n < nr_slots(kind); n++) {
			assert_own(pool[n], n + 10);
			assert_int_equal(pool[n]->owner,
					 (uintptr_t)&heap.bin[pool[n]->cls]);
		}
		assert_int_equal(arena->kind, kind);
	}
}

/* All pools of a class, so that there is room for every one. */
static void test_metadata_has_room(void **ctx)
{
	unsigned int cls, n, all;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		all = nr_slots(apb_class_kind(cls));
		memset(arena, 0xee, METADATA);
		empty_arena(cls);
		for (n = 0; n < all; n++) {
			struct apb_pool *pool = next_pool(cls, n, n);

			assert_places(pool);
			fill_own(pool, n + 10);
		}
		for (n = 0; n < all; n++)
			assert_own(apb_arena_pool(arena,
						  first_slot(arena->kind) + n),
				   n + 10);
	}
}

static void assert_state(const struct apb_pool *pool, struct apb_entry entry,
			 unsigned int state)
{
	uintptr_t addr = (uintptr_t)entry.block;
	uint64_t index, own = apb_entry_index(pool, entry);

	assert_int_equal(addr, pool->base + own * SIZE(pool->cls));
	assert_int_equal(*apb_pool_state(pool, own), state);
	assert_int_equal(apb_block_live(pool, addr, &index),
			 state == APB_STATE_LIVE);
	assert_int_equal(index, own);
	assert_false(apb_block_live(pool, addr + 1, &index));
}

/* Never, live, freed, live: what it says at each step. */
static void test_states(void **ctx)
{
	struct apb_entry entry[512];
	unsigned int cls, i;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_pool *pool = pool_new(cls, cls, cls);
		unsigned int n = apb_pool_take(pool, entry, pool->count);

		assert_int_equal(n, pool->count);
		for (i = 0; i < n; i++) {
			assert_state(pool, entry[i], APB_STATE_NEVER);
			assert_int_equal(apb_pool_live(pool), i);
			assert_ptr_equal(apb_block_born(entry[i]),
					 entry[i].block);
			assert_state(pool, entry[i], APB_STATE_LIVE);
		}
		for (i = 0; i < n; i++) {
			uintptr_t addr = (uintptr_t)entry[i].block;
			struct apb_entry e;

			assert_int_equal(apb_pool_live(pool), n - i);
			e = apb_block_died(apb_entry_make(
				pool, addr, apb_entry_index(pool, entry[i])));
			assert_memory_equal(&e, &entry[i], sizeof(e));
			assert_state(pool, e, APB_STATE_FREED);
			apb_block_born(e);
			assert_state(pool, e, APB_STATE_LIVE);
			apb_block_died(e);
		}
	}
}

/* ---- taking and putting blocks ---------------------------------------- */

/* Whether block @i is in the pool. */
static bool is_in(const struct apb_pool *pool, unsigned int i)
{
	return apb_pool_bits(pool)[i / 64] >> i % 64 & 1;
}

/*
 * A pool against a set: what is taken is what lies lowest, at first from some
 * block on, and stands in the order in which it is to be used, backwards; no
 * byte of any block is touched.
 */
struct model {
	struct apb_pool *pool;
	unsigned int start;
	bool in[512];
	unsigned int nr; /* in */
};

static void assert_as_model(const struct model *m)
{
	unsigned int i;

	assert_int_equal(m->pool->used, m->pool->count - m->nr);
	assert_int_equal(apb_pool_has(m->pool), m->nr > 0);
	for (i = 0; i < m->pool->count; i++)
		if (is_in(m->pool, i) != m->in[i])
			fail_msg("class %u, block %u: in %d, not %d",
				 m->pool->cls, i, is_in(m->pool, i), m->in[i]);
	for (i = 0; i < m->pool->hint; i++)
		assert_int_equal(apb_pool_bits(m->pool)[i], 0);
}

static void model_take(struct model *m, unsigned int n)
{
	struct apb_entry entry[513];
	unsigned int want = n < m->nr ? n : m->nr, i, next;

	memset(entry, 0, sizeof(entry));
	assert_int_equal(apb_pool_take(m->pool, entry, n), want);
	assert_null(entry[want].block);
	for (i = want; i--;) {
		for (next = m->start; next < m->pool->count && !m->in[next];)
			next++;
		if (next == m->pool->count)
			for (m->start = next = 0; !m->in[next];)
				next++;
		assert_int_equal((uintptr_t)entry[i].block,
				 m->pool->base + next * SIZE(m->pool->cls));
		assert_int_equal(apb_entry_index(m->pool, entry[i]), next);
		m->in[next] = false;
		m->nr--;
	}
	assert_as_model(m);
}

/* All at once those of which @which says so, by number; what is of another pool
 * is left. */
static void model_put(struct model *m, const bool *which)
{
	uintptr_t start = apb_pool_start(m->pool);
	struct apb_entry entry[514];
	unsigned int n = 0, i;

	for (i = 0; i < m->pool->count; i++) {
		if (!which[i])
			continue;
		entry[n++] = apb_entry_make(
			m->pool, m->pool->base + i * SIZE(m->pool->cls), i);
		m->in[i] = true;
	}
	/* in any order */
	for (i = 0; i < n && m->nr % 2; i++) {
		struct apb_entry *other = &entry[i * 2654435761u % n];
		struct apb_entry was = entry[i];

		entry[i] = *other;
		*other = was;
	}
	if (!n)
		return;
	m->nr += n;
	entry[n] = entry[n + 1] = entry[0];
	entry[n].block =
		(void *)(n % 2 ? start - 16 : start + apb_pool_bytes(m->pool));
	assert_int_equal(apb_pool_put(m->pool, entry, n + 2), n);
	assert_as_model(m);
}

static void model_put_one(struct model *m, unsigned int i)
{
	struct apb_entry entry = apb_entry_make(
		m->pool, m->pool->base + i * SIZE(m->pool->cls), i);

	assert_int_equal(apb_pool_put(m->pool, &entry, 1), 1);
	m->in[i] = true;
	m->nr++;
}

static void test_take_and_put(void **ctx)
{
	unsigned int cls, i, k;
	uint64_t r = 1;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct model m = {.pool = pool_new(cls, cls * 3, cls)};
		char *start = (char *)apb_pool_start(m.pool);
		size_t bytes = test_pool_bytes(cls);
		bool which[512];

		memset(start, 0xee, bytes);
		m.start = m.pool->start;
		assert_true(m.start < m.pool->count);
		m.nr = m.pool->count;
		for (i = 0; i < m.nr; i++)
			m.in[i] = true;
		assert_as_model(&m);
		/* all of it, one by one and then at once */
		for (i = 0; i < m.pool->count; i++)
			model_take(&m, 1);
		for (i = m.pool->count; i--;)
			model_put_one(&m, i);
		model_take(&m, 512);
		for (i = 0; i < m.pool->count; i++)
			which[i] = true;
		model_put(&m, which);
		for (k = 0; k < 200; k++) {
			if (m.nr)
				model_take(&m,
					   1 + (unsigned int)(rnd(&r) % m.nr));
			for (i = 0; i < m.pool->count; i++)
				which[i] = !m.in[i] && rnd(&r) % 3 == 0;
			model_put(&m, which);
		}
		assert_true(all_bytes(start, bytes, 0xee));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index_of_every_address),
		cmocka_unit_test(test_index_of_aliases),
		cmocka_unit_test(test_index_of_random_addresses),
		cmocka_unit_test(test_nothing_behind_is_live),
		cmocka_unit_test(test_geometry),
		cmocka_unit_test(test_colours_are_distinct),
		cmocka_unit_test(test_first_blocks_are_apart),
		cmocka_unit_test(test_heap_changes_colours),
		cmocka_unit_test(test_metadata_is_apart),
		cmocka_unit_test(test_metadata_has_room),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_take_and_put),
	};

	return cmocka_run_group_tests_name("pool", tests, setup, test_teardown);
}
