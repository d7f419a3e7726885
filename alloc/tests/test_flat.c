// SPDX-License-Identifier: MIT
/*
 * Unit tests of the flat map: entries are copies of descriptors, arenas far
 * apart share them and stay right, and without a table all still works.
 */
#define _GNU_SOURCE
#include "testlib.h"

#include "arena/flat.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define ENTRY ((size_t)16 << 10) /* an entry covers this */

static uintptr_t covered(void)
{
	return (apb_flat.mask + sizeof(struct apb_flat_entry)) /
	       sizeof(struct apb_flat_entry) * ENTRY;
}

/* Before there is any pool. */
static void test_opened_first(void **ctx)
{
	uintptr_t at;

	(void)ctx;
	if (apb_flat.tried)
		skip();
	apb_flat_open(SIMOS_BASE);
	assert_true(apb_flat.tried);
	assert_int_not_equal(apb_flat.mask, 0);
	at = (uintptr_t)apb_flat_at(SIMOS_BASE) - (uintptr_t)apb_flat.table;
	at /= APB_FLAT_CHUNK;
	assert_true(apb_flat.open[at / 64] >> at % 64 & 1);
	/* the last entry of a chunk, not the first of the next one */
	at = covered() / (32 * MIB) - 3;
	assert_false(apb_flat.open[at / 64] >> at % 64 & 1);
	apb_flat_open((at + 1) * 32 * MIB - ENTRY);
	assert_true(apb_flat.open[at / 64] >> at % 64 & 1);
	at++;
	assert_false(apb_flat.open[at / 64] >> at % 64 & 1);
}

static void test_entries_are_copies(void **ctx)
{
	static const size_t sizes[] = {16, 48, 512, 1024, 1280, 8192, 32768};
	const struct apb_flat_entry *at;
	struct apb_pool *pool;
	uintptr_t start, addr;
	unsigned int i;
	void *p, *other;

	(void)ctx;
	fresh_sim(1, 0);
	for (i = 0; i < NR_OF(sizes); i++) {
		p = apb_malloc(sizes[i]);
		other = apb_malloc(sizes[i]);
		pool = pool_of(p);
		start = apb_pool_start(pool);
		assert_ptr_equal(pool_of(other), pool);
		for (addr = start; addr < start + apb_pool_bytes(pool);
		     addr += ENTRY) {
			at = apb_flat_at(addr);
			assert_int_equal(at->owner, pool->owner);
			assert_int_equal(at->base, pool->base);
			assert_int_equal(at->reciprocal, pool->reciprocal);
			assert_ptr_equal(at->states, pool->states);
			assert_int_equal(apb_bin_class(at->owner), pool->cls);
			assert_ptr_equal(apb_flat_at(addr + ENTRY - 1), at);
		}
		assert_ptr_not_equal(apb_flat_at(addr), apb_flat_at(start));
		apb_free(p);
		apb_free(other);
		assert_whole();
		apb_settle();
		for (addr = start; addr < start + ENTRY; addr += ENTRY)
			assert_int_equal(apb_flat_at(addr)->owner, 0);
		assert_whole();
	}
	assert_int_equal(apb_flat_at(0)->owner, 0);
}

/* A reset does not put pools back one by one. */
static void test_reset_clears(void **ctx)
{
	uintptr_t addr;

	(void)ctx;
	fresh_sim(2, 0);
	addr = (uintptr_t)apb_malloc(100);
	assert_int_not_equal(apb_flat_at(addr)->owner, 0);
	assert_int_equal(apb_reset(), 0);
	assert_int_equal(apb_flat_at(addr)->owner, 0);
}

static struct apb_flat_entry *entry_of(const void *p)
{
	return (struct apb_flat_entry *)(uintptr_t)apb_flat_at((uintptr_t)p);
}

static void assert_violated(struct apb_flat_entry *entry,
			    struct apb_flat_entry damaged)
{
	struct apb_flat_entry whole = *entry;
	struct apb_violation v;

	assert_whole();
	*entry = damaged;
	assert_int_equal(apb_check(&v), -1);
	assert_string_equal(v.invariant, "flat.entry");
	*entry = whole;
	assert_whole();
}

static void test_check_sees_damage(void **ctx)
{
	struct apb_flat_entry *entry, damaged;
	char *p;

	(void)ctx;
	fresh_sim(3, 0);
	p = apb_malloc(100);
	entry = entry_of(p);
	test_initialised();
#define DAMAGED(member, value)                   \
	do {                                     \
		damaged = *entry;                \
		damaged.member = (value);        \
		assert_violated(entry, damaged); \
	} while (0)
	DAMAGED(owner, 0);
	DAMAGED(owner, entry->owner + sizeof(struct apb_bin));
	DAMAGED(base, entry->base + 16);
	DAMAGED(reciprocal, entry->reciprocal + 2);
	DAMAGED(states, entry->states + 1);
	/* one that names an unused pool */
	damaged = *entry;
	damaged.base += ENTRY;
	assert_violated(entry + 1, damaged);
	apb_free(p);
}

/* ---- arenas that share entries ---------------------------------------- */

/* The kernel, but arenas come to lie at given places, as long as there are. */
static struct {
	uintptr_t at[4];
	unsigned int nr, taken;
} places;

static void *map_there(void *ctx, void *hint, size_t size, bool *zero)
{
	void *p;

	if (size != MIB || places.taken == places.nr)
		return apb_os_kernel.map(ctx, hint, size, zero);
	p = mmap((void *)places.at[places.taken++], size,
		 PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	*zero = true;
	return p == MAP_FAILED ? NULL : p;
}

static unsigned int nr_misuses;

static void count_misuse(const struct apb_misuse *m, void *arg)
{
	(void)m;
	(void)arg;
	nr_misuses++;
}

/* Enough blocks of 1 KiB for two arenas; which lie @distance apart. */
#define NR_BLOCKS 1500

static void *block[NR_BLOCKS];

static void fill_two_arenas(uintptr_t distance)
{
	uintptr_t base = FREE_ADDRESSES;
	struct apb_os there = apb_os_kernel;
	unsigned int i;

	fresh_kernel();
	assert_true(apb_flat.mask);
	places.at[0] = base;
	places.at[1] = base + distance;
	places.nr = 2;
	places.taken = 0;
	assert_int_equal(apb_reset(), 0);
	there.map = map_there;
	assert_int_equal(apb_set_os(&there), 0);
	apb_set_misuse(count_misuse, NULL);
	nr_misuses = 0;
	for (i = 0; i < NR_BLOCKS; i++) {
		block[i] = apb_malloc(1024);
		assert_non_null(block[i]);
		fill(block[i], 1024, i);
	}
	assert_int_equal(places.taken, 2);
	assert_int_equal(stats_now().arenas, 2);
	assert_whole();
}

static bool in_place(const void *p, unsigned int place)
{
	return arena_at(p) == places.at[place];
}

static void empty_arenas(void)
{
	assert_int_equal(nr_misuses, 0);
	assert_int_equal(stats_now().used_bytes, 0);
	assert_whole();
	apb_set_misuse(NULL, NULL);
	fresh_kernel();
}

static void test_shared_entries(void **ctx)
{
	unsigned int i, n[2] = {0};

	(void)ctx;
	fresh_kernel();
	apb_free(apb_malloc(1));
	fill_two_arenas(covered());
	for (i = 0; i < NR_BLOCKS; i++) {
		n[in_place(block[i], 1)]++;
		assert_true(filled(block[i], 1024, i));
		assert_int_equal(apb_usable_size(block[i]), 1024);
		block[i] = apb_realloc(block[i], 1000);
		assert_true(filled(block[i], 1000, i));
		if (i % 3 == 0)
			apb_free_sized(block[i], 1024);
		else
			apb_free(block[i]);
	}
	assert_true(n[0] > 400 && n[1] > 400);
	empty_arenas();
}

/* The address that shares the entry with a block's is no block. */
static void test_other_end_is_no_block(void **ctx)
{
	unsigned int i;

	(void)ctx;
	fresh_kernel();
	apb_free(apb_malloc(1));
	fill_two_arenas(MIB);
	for (i = 0; i < 10; i++) {
		char *p = (char *)block[i * 100] + covered();

		apb_free(p);
		assert_int_equal(nr_misuses, 3 * i + 1);
		apb_free_sized(p, 1024);
		assert_int_equal(nr_misuses, 3 * i + 2);
		assert_null(apb_realloc(p, 2000));
		assert_int_equal(nr_misuses, 3 * i + 3);
		assert_true(filled(block[i * 100], 1024, i * 100));
	}
	nr_misuses = 0;
	for (i = 0; i < NR_BLOCKS; i++)
		apb_free(block[i]);
	empty_arenas();
}

/* Entries that one arena leaves are the other's to take, pool by pool. */
static void test_entries_change_hands(void **ctx)
{
	unsigned int i, round;

	(void)ctx;
	fresh_kernel();
	apb_free(apb_malloc(1));
	fill_two_arenas(covered());
	for (round = 0; round < 20; round++) {
		for (i = round % 4; i < NR_BLOCKS; i += 4) {
			apb_free(block[i]);
			block[i] = NULL;
		}
		apb_settle();
		assert_whole();
		for (i = round % 4; i < NR_BLOCKS; i += 4) {
			/* other classes, so that pools are set up anew */
			block[i] = apb_malloc(round % 2 ? 1024 : 700);
			fill(block[i], 700, i);
		}
		assert_whole();
	}
	for (i = 0; i < NR_BLOCKS; i++) {
		assert_true(filled(block[i], 700, i));
		apb_free(block[i]);
		apb_free(block[i]);
		assert_int_equal(nr_misuses, 1);
		nr_misuses = 0;
	}
	empty_arenas();
}

/*
 * A pool must have its entries unless two arenas are so far apart that they
 * might share some.
 */
static void test_must(void **ctx)
{
	unsigned int i, j;

	(void)ctx;
	fresh_kernel();
	apb_free(apb_malloc(1));
	for (i = 0; i < 4; i++) {
		uintptr_t apart = covered() - i * MIB;
		struct apb_flat_entry *entry, was;

		fill_two_arenas(i == 3 ? covered() / 2 : apart);
		entry = entry_of(block[0]);
		was = *entry;
		entry->owner = 0;
		assert_int_equal(apb_check(NULL), i < 2 ? 0 : -1);
		*entry = was;
		assert_whole();
		for (j = 0; j < NR_BLOCKS; j++)
			apb_free(block[j]);
		empty_arenas();
	}
}

/* Where the table could not be made writable there need be no entry. */
static void test_chunk_not_open(void **ctx)
{
	struct apb_flat_entry *entry, was;
	uintptr_t chunk;
	uint64_t *open;
	void *p;

	(void)ctx;
	fresh_sim(4, 0);
	p = apb_malloc(100);
	entry = entry_of(p);
	was = *entry;
	chunk = ((uintptr_t)entry - (uintptr_t)apb_flat.table) / APB_FLAT_CHUNK;
	open = &apb_flat.open[chunk / 64];
	entry->owner = 0;
	assert_int_equal(apb_check(NULL), -1);
	*open ^= UINT64_C(1) << chunk % 64;
	assert_whole();
	*open ^= UINT64_C(1) << chunk % 64;
	*entry = was;
	assert_whole();
	apb_free(p);
}

/* Chunks far from the first one. */
static void test_far_chunks(void **ctx)
{
	unsigned int i, chunk;

	(void)ctx;
	fresh_kernel();
	apb_free(apb_malloc(1));
	for (chunk = 62; chunk < 132; chunk += 23) {
		struct apb_flat_entry *entry, was;

		fill_two_arenas(chunk * 32 * MIB);
		for (i = 0; !in_place(block[i], 1);)
			i++;
		entry = entry_of(block[i]);
		was = *entry;
		entry->owner = 0;
		assert_int_equal(apb_check(NULL), -1);
		*entry = was;
		assert_whole();
		for (i = 0; i < NR_BLOCKS; i++)
			apb_free(block[i]);
		empty_arenas();
	}
}

/* Who has an entry keeps it when the other who would have it is put back. */
static void test_entries_stay(void **ctx)
{
	const struct apb_flat_entry *entry;
	struct apb_pool *first, *second;

	(void)ctx;
	fresh_kernel();
	apb_free(apb_malloc(1));
	fill_two_arenas(covered());
	first = pool_of(block[0]);
	second = pool_of((char *)block[0] + covered());
	entry = apb_flat_at(apb_pool_start(first));
	assert_ptr_equal(entry, apb_flat_at(apb_pool_start(second)));
	assert_true(first->owner && second->owner);
	if (entry->base != first->base) {
		struct apb_pool *other = first;

		first = second;
		second = other;
	}
	assert_int_equal(entry->base, first->base);
	apb_flat_clear(second);
	assert_int_equal(entry->owner, first->owner);
	apb_flat_clear(first);
	assert_int_equal(entry->owner, 0);
	apb_flat_set(second);
	assert_int_equal(entry->base, second->base);
	apb_flat_set(first);
	assert_int_equal(entry->base, second->base);
	assert_whole();
	apb_set_misuse(NULL, NULL);
	fresh_kernel();
}

/* Pools up to the last entry of a chunk that is made writable, and beyond. */
static void test_all_of_a_chunk(void **ctx)
{
	static void *p[64 * 28];
	unsigned int i, chunks = 0;
	uintptr_t chunk = 0;

	(void)ctx;
	fresh_sim(6, SIMOS_HINTS);
	apb_set_misuse(count_misuse, NULL);
	nr_misuses = 0;
	for (i = 0; i < NR_OF(p); i++) {
		p[i] = apb_malloc(32768);
		assert_non_null(p[i]);
		if ((uintptr_t)p[i] >> 25 != chunk) {
			chunk = (uintptr_t)p[i] >> 25;
			chunks++;
		}
	}
	assert_true(chunks >= 2);
	assert_whole();
	for (i = 0; i < NR_OF(p); i++) {
		assert_int_equal(apb_flat_owner(apb_flat_at((uintptr_t)p[i])),
				 (uintptr_t)&apb_tls->bin[56]);
		apb_free(p[i]);
	}
	assert_int_equal(nr_misuses, 0);
	/* a table that there is stays */
	p[0] = apb_malloc(100);
	apb_flat_open((uintptr_t)p[0]);
	assert_int_not_equal(apb_flat_owner(apb_flat_at((uintptr_t)p[0])), 0);
	assert_whole();
	apb_free(p[0]);
	apb_set_misuse(NULL, NULL);
}

/* As where the process may have no more memory that is writable. */
static void without_chunk(void *arg)
{
	const struct rlimit limit = {0, 0};
	void *p;

	(void)arg;
	fresh_sim(9, SIMOS_HINTS);
	memset(apb_flat.open, 0, sizeof(apb_flat.open));
	if (mprotect((void *)(uintptr_t)apb_flat.table, apb_flat.mask + 32,
		     PROT_READ) ||
	    setrlimit(RLIMIT_DATA, &limit))
		abort();
	p = apb_malloc(100);
	if (!p || apb_flat_owner(apb_flat_at((uintptr_t)p)) || apb_check(NULL))
		abort();
	apb_free(p);
	if (stats_now().used_bytes || apb_check(NULL))
		abort();
}

static void test_without_chunk(void **ctx)
{
	struct child c;

	(void)ctx;
	/* a tool has memory of its own to get */
	if (test_has_tool())
		skip();
	fresh_sim(9, 0);
	apb_free(apb_malloc(1));
	run_child(&c, without_chunk, NULL);
	assert_string_equal(c.err, "");
	assert_int_equal(c.status, 0);
}

/* ---- no table ---------------------------------------------------------- */

static void without_table(void *arg)
{
	unsigned int i;

	(void)arg;
	/* as a process has it in which there was no room for a table */
	apb_flat.mask = 0;
	apb_flat.tried = true;
	fresh_kernel();
	apb_set_misuse(count_misuse, NULL);
	for (i = 0; i < NR_BLOCKS; i++) {
		block[i] = apb_malloc(i + 1);
		fill(block[i], i + 1, i);
	}
	for (i = 0; i < NR_BLOCKS; i++) {
		block[i] = apb_realloc(block[i], i + 20);
		if (!block[i] || !filled(block[i], i + 1, i))
			abort();
	}
	for (i = 0; i < NR_BLOCKS; i++)
		if (i % 2)
			apb_free(block[i]);
		else
			apb_free_sized(block[i], i + 20);
	/* in place exactly if the class stays, as with a table */
	block[0] = apb_malloc(32768);
	if (apb_realloc(block[0], 32768) != block[0])
		abort();
	apb_free(block[0]);
	block[0] = apb_malloc(1000);
	block[1] = apb_realloc(block[0], 900);
	block[2] = apb_realloc(block[1], 10);
	if (block[1] != block[0] || block[2] == block[1] ||
	    apb_usable_size(block[2]) != 16)
		abort();
	apb_free(block[2]);
	if (nr_misuses || stats_now().used_bytes || apb_check(NULL))
		abort();
	apb_free(block[2]);
	if (nr_misuses != 1)
		abort();
}

static void test_without_table(void **ctx)
{
	struct child c;

	(void)ctx;
	fresh_kernel();
	run_child(&c, without_table, NULL);
	assert_string_equal(c.err, "");
	assert_int_equal(c.status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opened_first),
		cmocka_unit_test(test_entries_are_copies),
		cmocka_unit_test(test_reset_clears),
		cmocka_unit_test(test_check_sees_damage),
		cmocka_unit_test(test_shared_entries),
		cmocka_unit_test(test_other_end_is_no_block),
		cmocka_unit_test(test_entries_change_hands),
		cmocka_unit_test(test_must),
		cmocka_unit_test(test_chunk_not_open),
		cmocka_unit_test(test_far_chunks),
		cmocka_unit_test(test_entries_stay),
		cmocka_unit_test(test_all_of_a_chunk),
		cmocka_unit_test(test_without_chunk),
		cmocka_unit_test(test_without_table),
	};

	return cmocka_run_group_tests_name("flat", tests, NULL, test_teardown);
}
