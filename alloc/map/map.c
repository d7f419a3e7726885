// SPDX-License-Identifier: MIT
/* The address map; see map.h. */
#include "map/map.h"

#include "state.h"

#include <string.h>

const uint8_t apb_empty_leaf[APB_SLICE_KINDS];

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
	return (struct apb_leaf *)((uintptr_t)apb_empty_leaf + entry);
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
	map->slice[leaf->slice] = (uintptr_t)leaf - (uintptr_t)apb_empty_leaf;
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
	leaf->kind[index_of(addr)] = (uint8_t)kind;
	leaf->used++;
	if (!map->lowest || addr < map->lowest)
		map->lowest = addr;
	if (addr > map->highest)
		map->highest = addr;
	return 0;
}

void apb_map_change(uintptr_t addr, unsigned int kind)
{
	apb_map_leaf(addr)->kind[index_of(addr)] = (uint8_t)kind;
}

static void leaf_release(struct apb_leaf *leaf)
{
	struct apb_map *map = &apb_state.map;

	apb_node_del(&leaf->node);
	map->slice[leaf->slice] = 0;
	map->nr_leaves--;
	apb_os_release(leaf, APB_LEAF_BYTES);
}

void apb_map_clear(uintptr_t addr)
{
	struct apb_map *map = &apb_state.map;
	struct apb_leaf *leaf = apb_map_leaf(addr);

	leaf->kind[index_of(addr)] = APB_KIND_NONE;
	leaf->used--;
	if (addr == map->lowest)
		map->lowest += APB_ARENA;
	if (addr < map->cursor)
		map->cursor = addr;
	/* the only one stays: it is needed again soon */
	if (!leaf->used && map->nr_leaves > 1)
		leaf_release(leaf);
}

struct apb_large *apb_map_large(uintptr_t addr)
{
	return &apb_map_leaf(addr)->large[index_of(addr)];
}

/* Where the mapping that starts at @addr, whose byte is @kind, ends. */
static uintptr_t end_of(uintptr_t addr, unsigned int kind)
{
	size_t size = APB_ARENA;

	if (kind == APB_KIND_LARGE)
		size = apb_map_large(addr)->size;
	return (addr + size + APB_ARENA - 1) & ~(APB_ARENA - 1);
}

uintptr_t apb_map_hint(size_t size, size_t align)
{
	struct apb_map *map = &apb_state.map;
	uintptr_t start, addr = map->cursor;
	unsigned int steps;

	if (!map->lowest)
		return 0;
	if (addr < map->lowest)
		addr = map->lowest;
	start = (addr + align - 1) & ~(align - 1);
	for (steps = 0; steps < APB_HINT_STEPS && addr <= map->highest;
	     steps++) {
		unsigned int kind = apb_map_kind(map, addr);

		if (kind) {
			addr = end_of(addr, kind);
			start = (addr + align - 1) & ~(align - 1);
			continue;
		}
		addr += APB_ARENA;
		if (addr >= start + size) {
			map->cursor = addr;
			return start;
		}
	}
	map->cursor = addr <= map->highest ? addr : 0;
	return map->lowest > size ? (map->lowest - size) & ~(align - 1) : 0;
}

uintptr_t apb_map_below(uintptr_t addr)
{
	const struct apb_map *map = &apb_state.map;
	unsigned int index = index_of(addr), slice;
	const struct apb_leaf *leaf;

	if (addr & ~APB_ADDR_MASK)
		return 0;
	for (slice = slice_of(addr) + 1; slice--; index = APB_SLICE_KINDS - 1) {
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
