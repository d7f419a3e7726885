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

	leaf = apb_os_map(APB_LEAF_BYTES, APB_PAGE, &zero);
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
	struct apb_leaf *leaf = apb_map_leaf(addr);

	if (!leaf)
		leaf = leaf_new(addr);
	if (!leaf)
		return -1;
	leaf->kind[index_of(addr)] = (uint8_t)kind;
	leaf->used++;
	return 0;
}

void apb_map_clear(uintptr_t addr)
{
	struct apb_leaf *leaf = apb_map_leaf(addr);

	leaf->kind[index_of(addr)] = APB_KIND_NONE;
	leaf->used--;
}

struct apb_large *apb_map_large(uintptr_t addr)
{
	return &apb_map_leaf(addr)->large[index_of(addr)];
}

void apb_map_release(bool all)
{
	struct apb_map *map = &apb_state.map;
	struct apb_node *node, *next;

	for (node = map->leaves; node; node = next) {
		struct apb_leaf *leaf = apb_entry(node, struct apb_leaf, node);

		next = node->next;
		if (leaf->used && !all)
			continue;
		apb_node_del(node);
		map->slice[leaf->slice] = 0;
		map->nr_leaves--;
		apb_os_release(leaf, APB_LEAF_BYTES);
	}
}
