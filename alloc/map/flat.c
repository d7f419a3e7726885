// SPDX-License-Identifier: MIT
/* The flat map; see flat.h. */
#include "map/flat.h"

#include "os/reserve.h"

#include <string.h>

static const uint8_t no_kind;

struct apb_flat apb_flat = {.kinds = &no_kind};

static uintptr_t page_of(uintptr_t addr)
{
	return (addr & APB_ADDR_MASK) >> APB_ARENA_SHIFT >> APB_PAGE_SHIFT;
}

static bool is_open(uintptr_t page)
{
	return apb_flat.open[page / 64] >> page % 64 & 1;
}

static void reserve(void)
{
	void *table;

	apb_flat.tried = true;
	table = apb_os_reserve(APB_FLAT_BYTES);
	if (!table)
		return;
	__atomic_store_n(&apb_flat.kinds, table, __ATOMIC_RELAXED);
	__atomic_store_n(&apb_flat.mask, APB_FLAT_BYTES - 1, __ATOMIC_RELEASE);
}

static uint8_t *table(void)
{
	return (uint8_t *)(uintptr_t)apb_flat.kinds;
}

void apb_flat_open(uintptr_t addr)
{
	uintptr_t page = page_of(addr);

	if (!apb_flat.tried)
		reserve();
	if (!apb_flat.mask || is_open(page) ||
	    apb_os_open(table() + page * APB_PAGE, APB_PAGE))
		return;
	apb_flat.open[page / 64] |= UINT64_C(1) << page % 64;
}

void apb_flat_set(uintptr_t addr, unsigned int kind)
{
	if (is_open(page_of(addr)))
		__atomic_store_n(
			table() + ((addr >> APB_ARENA_SHIFT) & apb_flat.mask),
			(uint8_t)kind, __ATOMIC_RELAXED);
}

void apb_flat_clear(uintptr_t addr)
{
	uintptr_t page = page_of(addr);

	if (is_open(page))
		memset(table() + page * APB_PAGE, 0, APB_PAGE);
}
