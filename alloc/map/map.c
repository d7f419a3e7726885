// SPDX-License-Identifier: MIT
/* The address map; see map.h. */
#include "uninstrumented.h"

#include "map/map.h"

#include "os/reserve.h"
#include "state.h"

#include <string.h>

static unsigned int slice_of(uintptr_t addr)
{
	return (addr >> APB_SLICE_SHIFT) & (APB_NR_SLICES - 1);
}

static unsigned int index_of(uintptr_t addr)
{
	return (addr >> APB_ARENA_SHIFT) & (APB_SLICE_KINDS - 1);
}

struct apb_leaf *apb_map_leaf(uintptr_t addr)
{
	uintptr_t entry = apb_state.map.slice[slice_of(addr)];

	if (!entry)
		return NULL;
	/* kind[] is the leaf's first member */
	return (struct apb_leaf *)((uintptr_t)apb_state.map.none + entry);
}

static void set_kind(struct apb_leaf *leaf, uintptr_t addr, unsigned int kind)
{
	__atomic_store_n(&leaf->kind[index_of(addr)], (uint8_t)kind,
			 __ATOMIC_RELAXED);
}

static struct apb_leaf *leaf_new(uintptr_t addr)
{
	struct apb_map *map = &apb_state.map;
	struct apb_leaf *leaf;
	bool zero;

	leaf = apb_os_map(0, APB_LEAF_BYTES, APB_PAGE, &zero);
	if (!leaf)
		return NULL;
	if (!zero)
		memset(leaf->kind, 0, sizeof(leaf->kind));
	leaf->slice = slice_of(addr);
	leaf->used = 0;
	apb_node_add(&map->leaves, &leaf->node);
	__atomic_store_n(&map->slice[leaf->slice],
			 (uintptr_t)leaf - (uintptr_t)map->none,
			 __ATOMIC_RELEASE);
	map->nr_leaves++;
	return leaf;
}

int apb_map_set(uintptr_t addr, unsigned int kind)
{
	struct apb_map *map = &apb_state.map;
	struct apb_leaf *leaf = apb_map_leaf(addr);

	if (!leaf)
		leaf = leaf_new(addr);
	if (!leaf)
		return -1;
	set_kind(leaf, addr, kind);
	leaf->used++;
	if (leaf == map->empty)
		map->empty = NULL;
	if (!map->lowest || addr < map->lowest)
		map->lowest = addr;
	if (addr > map->highest)
		map->highest = addr;
	return 0;
}

void apb_map_change(uintptr_t addr, unsigned int kind)
{
	set_kind(apb_map_leaf(addr), addr, kind);
}

static void leaf_release(struct apb_leaf *leaf)
{
	struct apb_map *map = &apb_state.map;

	if (leaf == map->empty)
		map->empty = NULL;
	apb_node_del(&leaf->node);
	__atomic_store_n(&map->slice[leaf->slice], 0, __ATOMIC_RELAXED);
	map->nr_leaves--;
	apb_os_release(leaf, APB_LEAF_BYTES);
}

void apb_map_clear(uintptr_t addr)
{
	struct apb_map *map = &apb_state.map;
	struct apb_leaf *leaf = apb_map_leaf(addr);

	set_kind(leaf, addr, APB_KIND_NONE);
	if (addr == map->lowest)
		map->lowest += APB_ARENA;
	if (addr < map->cursor)
		map->cursor = addr;
	if (--leaf->used)
		return;
	/* one stays empty: it is likely to be needed again */
	if (map->empty)
		leaf_release(leaf);
	else
		map->empty = leaf;
}

struct apb_large *apb_map_large(uintptr_t addr)
{
	return &apb_map_leaf(addr)->large[index_of(addr)];
}

/* Where the mapping that starts at @addr, whose byte is @kind, ends. */
static uintptr_t end_of(uintptr_t addr, unsigned int kind)
{
	size_t size = APB_ARENA;

	if (kind == APB_KIND_LARGE || kind == APB_KIND_CACHED)
		size = apb_map_large(addr)->mapped;
	return (addr + size + APB_ARENA - 1) & ~(APB_ARENA - 1);
}

/* The first address from @addr on whose byte is not 0, or beyond the highest. */
static uintptr_t next_set(uintptr_t addr)
{
	const struct apb_map *map = &apb_state.map;
	const struct apb_leaf *leaf;
	unsigned int i;
	uint64_t word;

	while (addr <= map->highest) {
		leaf = apb_map_leaf(addr);
		for (i = index_of(addr); leaf && i < APB_SLICE_KINDS;) {
			/* eight bytes at a time where they are 0 */
			memcpy(&word, leaf->kind + (i & ~7u), sizeof(word));
			if (!(word >> (i & 7u) * 8))
				i = (i | 7u) + 1;
			else if (leaf->kind[i])
				return (addr & ~APB_SLICE_MASK) |
				       (uintptr_t)i << APB_ARENA_SHIFT;
			else
				i++;
		}
		addr = (addr | APB_SLICE_MASK) + 1;
	}
	return addr;
}

/* Whether some of it is what the allocator reserved for itself. */
static bool is_reserved(uintptr_t addr, size_t size)
{
	return addr < apb_reserved.end && addr + size > apb_reserved.start;
}

/* A gap of @size bytes in [@from, @to], or 0; *@steps bounds the work. */
static uintptr_t find_gap(uintptr_t from, uintptr_t to, size_t size,
			  size_t align, unsigned int *steps)
{
	struct apb_map *map = &apb_state.map;

	while (from <= to && *steps) {
		uintptr_t start = (from + align - 1) & ~(align - 1);
		uintptr_t end = next_set(from);

		--*steps;
		if (end > map->highest)
			break;
		if (end < start || end - start < size) {
			from = end_of(end, apb_map_kind(map, end));
		} else if (is_reserved(start, size)) {
			from = (apb_reserved.end + APB_ARENA - 1) &
			       ~(APB_ARENA - 1);
		} else {
			map->cursor = start + size;
			return start;
		}
		map->cursor = from;
	}
	return 0;
}

/* The last place for @size bytes below @addr, or 0. */
static uintptr_t below(uintptr_t addr, size_t size, size_t align)
{
	return addr > size ? (addr - size) & ~(align - 1) : 0;
}

uintptr_t apb_map_hint(size_t size, size_t align)
{
	struct apb_map *map = &apb_state.map;
	unsigned int steps = APB_HINT_STEPS;
	uintptr_t at, middle = map->cursor;

	if (!map->lowest)
		return 0;
	if (middle < map->lowest)
		middle = map->lowest;
	size = (size + APB_ARENA - 1) & ~(APB_ARENA - 1);
	at = find_gap(middle, map->highest, size, align, &steps);
	if (!at)
		at = find_gap(map->lowest, middle, size, align, &steps);
	if (!at)
		at = below(map->lowest, size, align);
	if (at && is_reserved(at, size))
		at = below(apb_reserved.start, size, align);
	return at;
}

uintptr_t apb_map_below(uintptr_t addr)
{
	const struct apb_map *map = &apb_state.map;
	unsigned int index = index_of(addr), slice;
	const struct apb_leaf *leaf;

	if (addr & ~APB_ADDR_MASK || addr < map->lowest)
		return 0;
	for (slice = slice_of(addr) + 1; slice-- > slice_of(map->lowest);
	     index = APB_SLICE_KINDS - 1) {
		if (!map->slice[slice])
			continue;
		leaf = apb_map_leaf((uintptr_t)slice << APB_SLICE_SHIFT);
		for (index++; index--;) {
			if (leaf->kind[index])
				return ((uintptr_t)slice << APB_SLICE_SHIFT) |
				       ((uintptr_t)index << APB_ARENA_SHIFT);
		}
	}
	return 0;
}

void apb_map_release(bool all)
{
	struct apb_map *map = &apb_state.map;
	struct apb_node *node, *next;

	for (node = map->leaves; node; node = next) {
		struct apb_leaf *leaf = apb_entry(node, struct apb_leaf, node);

		next = node->next;
		if (!leaf->used || all)
			leaf_release(leaf);
	}
	if (!map->leaves)
		map->lowest = map->highest = map->cursor = 0;
}

#include "instrumented.h"
