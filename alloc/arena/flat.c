// SPDX-License-Identifier: MIT
/* The flat map; see flat.h. */
#include "uninstrumented.h"

#include "arena/flat.h"

#include "os/reserve.h"
#include "state.h"

static const struct apb_flat_entry none;

struct apb_flat apb_flat = {.table = (const char *)&none};

/* The largest that can be had: programs may have a limit on address space. */
static void reserve(void)
{
	size_t size = APB_FLAT_BYTES_MAX;
	void *table;

	apb_flat.tried = true;
	while (!(table = apb_os_reserve(size))) {
		size /= 4;
		if (size < APB_FLAT_BYTES_MIN)
			return;
	}
	__atomic_store_n(&apb_flat.table, table, __ATOMIC_RELAXED);
	__atomic_store_n(&apb_flat.mask, size - sizeof(none), __ATOMIC_RELEASE);
}

static struct apb_flat_entry *entry_at(uintptr_t addr)
{
	return (struct apb_flat_entry *)(uintptr_t)apb_flat_at(addr);
}

static uintptr_t chunk_of(const struct apb_flat_entry *entry)
{
	return ((uintptr_t)entry - (uintptr_t)apb_flat.table) / APB_FLAT_CHUNK;
}

static bool is_open(uintptr_t chunk)
{
	return apb_flat.open[chunk / 64] >> chunk % 64 & 1;
}

/* Make the entry's surroundings writable. */
static bool open_at(const struct apb_flat_entry *entry)
{
	uintptr_t chunk = chunk_of(entry);
	uintptr_t start = (uintptr_t)apb_flat.table + chunk * APB_FLAT_CHUNK;

	if (!apb_flat.mask)
		return false;
	if (is_open(chunk))
		return true;
	if (apb_os_open((void *)start, APB_FLAT_CHUNK))
		return false;
	apb_flat.open[chunk / 64] |= UINT64_C(1) << chunk % 64;
	return true;
}

void apb_flat_open(uintptr_t addr)
{
	if (!apb_flat.tried)
		reserve();
	open_at(entry_at(addr));
}

/* An arena's entries lie in one chunk; a pool's lie one after the other. */
static size_t nr_entries(const struct apb_pool *pool)
{
	return apb_pool_bytes(pool) >> APB_POOL_SHIFT_SMALL;
}

static bool is_of(const struct apb_flat_entry *entry,
		  const struct apb_pool *pool)
{
	return entry->owner && entry->base == pool->base;
}

void apb_flat_set(const struct apb_pool *pool)
{
	struct apb_flat_entry *entry, *end;

	if (!apb_flat.tried)
		reserve();
	entry = entry_at(apb_pool_start(pool));
	if (!open_at(entry))
		return;
	for (end = entry + nr_entries(pool); entry < end; entry++) {
		if (entry->owner)
			continue;
		__atomic_store_n(&entry->base, pool->base, __ATOMIC_RELAXED);
		__atomic_store_n(&entry->reciprocal, pool->reciprocal,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&entry->states, pool->states,
				 __ATOMIC_RELAXED);
		__atomic_store_n(&entry->owner, pool->owner, __ATOMIC_RELAXED);
	}
}

void apb_flat_clear(const struct apb_pool *pool)
{
	struct apb_flat_entry *entry = entry_at(apb_pool_start(pool));
	struct apb_flat_entry *end = entry + nr_entries(pool);

	for (; apb_flat.mask && entry < end; entry++)
		if (is_of(entry, pool))
			__atomic_store_n(&entry->owner, 0, __ATOMIC_RELAXED);
}

/* Whether two arenas may be so far apart that they share entries. */
static bool is_shared(void)
{
	const struct apb_map *map = &apb_state.map;
	uintptr_t covered = (apb_flat.mask + sizeof(none))
			    << (APB_POOL_SHIFT_SMALL - APB_FLAT_ENTRY_SHIFT);

	return map->highest - map->lowest >= covered - APB_ARENA;
}

static bool is_copy(const struct apb_flat_entry *entry,
		    const struct apb_pool *pool)
{
	return entry->owner == pool->owner &&
	       entry->reciprocal == pool->reciprocal &&
	       entry->states == pool->states;
}

bool apb_flat_right(const struct apb_pool *pool)
{
	uintptr_t start = apb_pool_start(pool);
	const struct apb_flat_entry *entry = apb_flat_at(start);
	const struct apb_flat_entry *end = entry + nr_entries(pool);
	bool must = pool->owner && apb_flat.mask && is_open(chunk_of(entry)) &&
		    !is_shared();

	for (; apb_flat.mask && entry < end; entry++) {
		bool here = entry->owner &&
			    entry->base - start < apb_pool_bytes(pool);

		if (here ? !is_of(entry, pool) || !is_copy(entry, pool) : must)
			return false;
	}
	return true;
}

#include "instrumented.h"
