// SPDX-License-Identifier: MIT
/* Large blocks; see large.h. */
#include "large/large.h"

#include "state.h"

#include <errno.h>
#include <string.h>

static struct apb_larges *larges(void)
{
	return &apb_state.larges;
}

static void enlist(uintptr_t addr, size_t size)
{
	struct apb_large *large = apb_map_large(addr);

	large->addr = addr;
	large->size = size;
	apb_node_add(&larges()->list, &large->node);
	larges()->nr++;
	larges()->bytes += size;
}

static void delist(struct apb_large *large)
{
	larges()->nr--;
	larges()->bytes -= large->size;
	apb_node_del(&large->node);
	apb_map_clear(large->addr);
}

static void *map_large(size_t size, size_t align, bool *zero)
{
	void *p;

	if (align < APB_ARENA)
		align = APB_ARENA;
	p = apb_os_map(apb_map_hint(size, align), size, align, zero);
	if (!p)
		return NULL;
	if (apb_map_set((uintptr_t)p, APB_KIND_LARGE)) {
		apb_os_release(p, size);
		errno = ENOMEM;
		return NULL;
	}
	enlist((uintptr_t)p, size);
	return p;
}

void *apb_large_alloc(size_t size, size_t align, bool zero)
{
	bool is_zero;
	void *p;

	size = apb_page_up(size);
	p = map_large(size, align, &is_zero);
	if (p && zero && !is_zero)
		memset(p, 0, size);
	return p;
}

void apb_large_free(struct apb_large *large)
{
	uintptr_t addr = large->addr;
	size_t size = large->size;

	delist(large);
	apb_os_release((void *)addr, size);
}

/* Make @large @size bytes long where it is: 0 or -1. */
static int resize_in_place(struct apb_large *large, size_t size)
{
	if (size < large->size)
		apb_os_release((void *)(large->addr + size),
			       large->size - size);
	else if (apb_os_remap((void *)large->addr, large->size, size, NULL))
		return -1;
	larges()->bytes += size - large->size;
	large->size = size;
	return 0;
}

void *apb_large_resize(struct apb_large *large, size_t size)
{
	uintptr_t old = large->addr;
	size_t old_size = large->size;
	bool zero;
	void *p;

	size = apb_page_up(size);
	if (size == old_size || !resize_in_place(large, size))
		return (void *)old;
	p = map_large(size, APB_ARENA, &zero);
	if (!p)
		return NULL;
	if (!apb_os_remap((void *)old, old_size, size, p)) {
		delist(large);
		return p;
	}
	memcpy(p, (void *)old, old_size);
	apb_large_free(large);
	return p;
}

struct apb_large *apb_large_find(uintptr_t addr)
{
	struct apb_large *large;

	if (apb_map_kind(&apb_state.map, addr) != APB_KIND_LARGE)
		return NULL;
	large = apb_map_large(addr);
	return large->addr == addr ? large : NULL;
}

struct apb_large *apb_large_around(uintptr_t addr)
{
	/* what starts nearest below is the only one that can reach @addr */
	uintptr_t start = apb_map_below(addr);
	struct apb_large *large;

	if (apb_map_kind(&apb_state.map, start) != APB_KIND_LARGE)
		return NULL;
	large = apb_map_large(start);
	return addr - start < large->size ? large : NULL;
}

void apb_large_reset(void)
{
	struct apb_node *node, *next;

	for (node = larges()->list; node; node = next) {
		struct apb_large *large =
			apb_entry(node, struct apb_large, node);

		next = node->next;
		apb_os_release((void *)large->addr, large->size);
	}
}
