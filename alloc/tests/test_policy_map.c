// SPDX-License-Identifier: MIT
/*
 * The address map against a model of it: what is where, which gap is proposed
 * for a mapping, what lies below an address, which leaves there are; at random,
 * over a few slices, with ranges of which only the map knows.
 */
#include "testlib.h"

#include "map/map.h"

#define RANGES 700
#define SLICE ((uintptr_t)4 << 30)

struct range {
	uintptr_t start, end; /* start 0: none; the end in whole MiB */
	unsigned int kind;
};

static struct range range[RANGES];
static uintptr_t lowest, highest, cursor;
static uint64_t seed;

static size_t below(size_t n)
{
	return rnd(&seed) % n;
}

static struct apb_map *map(void)
{
	return &apb_state.map;
}

/* ---- the model -------------------------------------------------------- */

/* The range that starts first from @from on. */
static struct range *next(uintptr_t from)
{
	struct range *found = NULL;
	unsigned int i;

	for (i = 0; i < RANGES; i++)
		if (range[i].start && range[i].start >= from &&
		    (!found || range[i].start < found->start))
			found = &range[i];
	return found;
}

static struct range *last(uintptr_t to)
{
	struct range *found = NULL;
	unsigned int i;

	for (i = 0; i < RANGES; i++)
		if (range[i].start && range[i].start <= to &&
		    (!found || range[i].start > found->start))
			found = &range[i];
	return found;
}

static uintptr_t gap(uintptr_t from, uintptr_t to, size_t size, size_t align,
		     unsigned int *steps)
{
	while (from <= to && *steps) {
		uintptr_t start = (from + align - 1) / align * align;
		struct range *r = next(from);

		--*steps;
		if (!r)
			return 0;
		if (r->start >= start && r->start - start >= size) {
			cursor = start + size;
			return start;
		}
		from = cursor = r->end;
	}
	return 0;
}

static uintptr_t hint(size_t size, size_t align)
{
	uintptr_t middle = cursor > lowest ? cursor : lowest, at;
	unsigned int steps = 256;

	if (!lowest)
		return 0;
	size = (size + MIB - 1) / MIB * MIB;
	at = gap(middle, highest, size, align, &steps);
	if (!at)
		at = gap(lowest, middle, size, align, &steps);
	if (!at && lowest > size)
		at = (lowest - size) / align * align;
	return at;
}

/* ---- both ------------------------------------------------------------- */

static void set(uintptr_t start, size_t size, unsigned int kind)
{
	unsigned int i = 0;

	while (i < RANGES && range[i].start)
		i++;
	if (i == RANGES)
		return;
	range[i].start = start;
	range[i].end = start + (size + MIB - 1) / MIB * MIB;
	range[i].kind = kind;
	assert_int_equal(apb_map_set(start, kind), 0);
	if (kind < APB_KIND_ARENA)
		apb_map_large(start)->mapped = size;
	lowest = !lowest || start < lowest ? start : lowest;
	highest = start > highest ? start : highest;
}

static void clear(struct range *r)
{
	apb_map_clear(r->start);
	if (r->start == lowest)
		lowest += MIB;
	if (r->start < cursor)
		cursor = r->start;
	r->start = 0;
}

static bool is_free(uintptr_t start, size_t size)
{
	const struct range *r = last(start + size - 1);

	return !r || r->end <= start;
}

static void compare(void)
{
	unsigned int i, used[8] = {0}, leaves = 0, empty = 0;
	struct apb_node *node;

	assert_int_equal(map()->lowest, lowest);
	assert_int_equal(map()->highest, highest);
	assert_int_equal(map()->cursor, cursor);
	for (i = 0; i < RANGES; i++) {
		if (!range[i].start)
			continue;
		used[range[i].start / SLICE]++;
		assert_int_equal(apb_map_kind(map(), range[i].start),
				 range[i].kind);
		if (range[i].end > range[i].start + MIB)
			assert_int_equal(apb_map_kind(map(), range[i].end - 1),
					 APB_KIND_NONE);
	}
	for (node = map()->leaves; node; node = node->next, leaves++) {
		struct apb_leaf *leaf = apb_entry(node, struct apb_leaf, node);

		assert_int_equal(leaf->used, used[leaf->slice]);
		assert_ptr_equal(apb_map_leaf(leaf->slice * SLICE), leaf);
		empty += !leaf->used;
		used[leaf->slice] = 0;
	}
	assert_int_equal(map()->nr_leaves, leaves);
	assert_int_equal(empty, map()->empty != NULL);
	for (i = 0; i < 8; i++)
		assert_int_equal(used[i], 0);
}

/* What is mapped of a kind that has a length may end anywhere. */
static void set_some(size_t most)
{
	static const unsigned int kinds[] = {APB_KIND_LARGE, APB_KIND_CACHED,
					     APB_POOL_SHIFT_SMALL,
					     APB_POOL_SHIFT_MEDIUM};
	unsigned int kind = kinds[below(NR_OF(kinds))];
	size_t size = kind < APB_KIND_ARENA ? 1 + below(most) : MIB;
	size_t align = MIB << (below(4) ? 0 : below(6));
	uintptr_t at = apb_map_hint(size, align);

	assert_int_equal(at, hint(size, align));
	assert_true(!at || is_aligned((void *)at, align));
	if (at)
		assert_true(is_free(at, size));
	if (!at || !below(6))
		at = SLICE + below(6 * SLICE / MIB) * MIB;
	if (at >= SLICE && at + size < 7 * SLICE && is_free(at, size))
		set(at, size, kind);
}

static void look_below(void)
{
	uintptr_t addr = below(8 * SLICE);
	const struct range *r = next(addr);

	if (r && below(2))
		addr = r->start - below(2);
	r = last(addr);
	assert_int_equal(apb_map_below(addr), r ? r->start : 0);
}

static void release(void)
{
	unsigned int i;

	apb_map_release(false);
	for (i = 0; i < RANGES; i++)
		if (range[i].start)
			return;
	lowest = highest = cursor = 0;
	assert_int_equal(map()->nr_leaves, 0);
}

static void run(uint64_t from, unsigned int steps, size_t most)
{
	unsigned int i, rise = 1;

	fresh_sim(from, SIMOS_HINTS);
	memset(range, 0, sizeof(range));
	lowest = highest = cursor = 0;
	seed = from;
	for (i = 0; i < steps; i++) {
		struct range *r = &range[below(RANGES)];

		if (!below(steps / 8))
			rise = !rise;
		if (below(8) < 2 + rise * 4)
			set_some(most);
		else if (r->start)
			clear(r);
		if (!below(50))
			release();
		look_below();
		compare();
	}
	for (i = 0; i < RANGES; i++)
		if (range[i].start)
			clear(&range[i]);
	compare();
	release();
	compare();
}

static void test_at_random(void **ctx)
{
	(void)ctx;
	run(1, 1500, 4 * MIB);
	run(2, 1500, 300 * MIB);
	run(3, 1500, 2000 * MIB);
	run(4, 4000, MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
