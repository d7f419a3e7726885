// SPDX-License-Identifier: MIT
/* Names of addresses; see names.h.  No lock is taken: nobody else runs. */
#include "names.h"

#include "api/lock.h"
#include "arena/flat.h"
#include "heap/thread.h"
#include "simos.h"
#include "state.h"

#include <stdio.h>
#include <string.h>

/* A member of a structure: where it starts, and how far it goes. */
struct member {
	const char *name;
	size_t at, size, each; /* each: of an array, the elements' size */
};

#define MEMBER(type, member) \
	{#member, offsetof(type, member), sizeof(((type *)0)->member), 0}
#define ARRAY(type, member)                                            \
	{#member, offsetof(type, member), sizeof(((type *)0)->member), \
	 sizeof(((type *)0)->member[0])}

static const struct member heap_members[] = {
	ARRAY(struct apb_heap, bin),
	ARRAY(struct apb_heap, out),
	MEMBER(struct apb_heap, batches),
	MEMBER(struct apb_heap, nr_batches),
	MEMBER(struct apb_heap, posted),
	MEMBER(struct apb_heap, lock),
	ARRAY(struct apb_heap, info),
	ARRAY(struct apb_heap, partial),
	MEMBER(struct apb_heap, settles),
	MEMBER(struct apb_heap, settled),
	MEMBER(struct apb_heap, recovered),
	MEMBER(struct apb_heap, trims),
	MEMBER(struct apb_heap, pools),
	ARRAY(struct apb_heap, sparse),
	MEMBER(struct apb_heap, next_sparse),
	MEMBER(struct apb_heap, sweeps),
	MEMBER(struct apb_heap, node),
	MEMBER(struct apb_heap, next_idle),
	MEMBER(struct apb_heap, attached),
	MEMBER(struct apb_heap, queue),
	ARRAY(struct apb_heap, first),
	{0},
};

static const struct member state_members[] = {
	MEMBER(struct apb_state, map.none),
	ARRAY(struct apb_state, map.slice),
	MEMBER(struct apb_state, map),
	MEMBER(struct apb_state, heaps.all),
	MEMBER(struct apb_state, heaps.idle),
	MEMBER(struct apb_state, heaps.nr),
	MEMBER(struct apb_state, heaps.nr_mapped),
	MEMBER(struct apb_state, heaps.heapless),
	MEMBER(struct apb_state, heaps),
	MEMBER(struct apb_state, larges),
	MEMBER(struct apb_state, arenas.sweeps),
	MEMBER(struct apb_state, arenas),
	MEMBER(struct apb_state, os),
	MEMBER(struct apb_state, meta),
	MEMBER(struct apb_state, misuse),
	MEMBER(struct apb_state, period),
	MEMBER(struct apb_state, trims),
	{0},
};

static const struct member pool_members[] = {
	MEMBER(struct apb_pool, owner),	     MEMBER(struct apb_pool, base),
	MEMBER(struct apb_pool, reciprocal), MEMBER(struct apb_pool, states),
	MEMBER(struct apb_pool, count),	     MEMBER(struct apb_pool, cls),
	MEMBER(struct apb_pool, used),	     MEMBER(struct apb_pool, swept),
	MEMBER(struct apb_pool, node),	     MEMBER(struct apb_pool, hint),
	MEMBER(struct apb_pool, scratch),    MEMBER(struct apb_pool, start),
	MEMBER(struct apb_pool, sparse),     {0},
};

static void say_member(const struct member *m, const char *of, size_t at,
		       char *buf, size_t len)
{
	while (m->name && (at < m->at || at - m->at >= m->size))
		m++;
	if (!m->name)
		snprintf(buf, len, "%s + %zu", of, at);
	else if (m->each)
		snprintf(buf, len, "%s %s[%zu]", of, m->name,
			 (at - m->at) / m->each);
	else
		snprintf(buf, len, "%s %s", of, m->name);
}

/* ---- heaps ------------------------------------------------------------ */

static bool in_heap(uintptr_t addr, char *buf, size_t len)
{
	struct apb_heap *heap = apb_heap_of(addr);
	const struct apb_node *node;
	char name[24];

	for (unsigned int pages = 0; pages < APB_HEAP_BYTES / APB_PAGE;
	     pages++) {
		for (node = apb_state.heaps.all; node; node = node->next)
			if (node == &heap->node)
				break;
		if (node)
			break;
		heap = (struct apb_heap *)((uintptr_t)heap - APB_PAGE);
	}
	if (heap != &apb_state.main && heap != &apb_state.common && !node)
		return false;
	if (heap == &apb_state.main)
		snprintf(name, sizeof(name), "main heap's");
	else if (heap == &apb_state.common)
		snprintf(name, sizeof(name), "common heap's");
	else
		snprintf(name, sizeof(name), "heap %lx's",
			 ((unsigned long)heap - SIMOS_BASE) >> APB_PAGE_SHIFT);
	say_member(heap_members, name, addr - (uintptr_t)heap, buf, len);
	return true;
}

/* ---- arenas ----------------------------------------------------------- */

static void say_state(const struct apb_arena *arena, uintptr_t addr, char *buf,
		      size_t len)
{
	for (unsigned int slot = 1; slot < apb_arena_slots(arena); slot++) {
		const struct apb_pool *pool = apb_pool_of(
			(uintptr_t)arena + ((uintptr_t)slot
					    << apb_kind_shift(arena->kind)),
			apb_kind_shift(arena->kind));

		if (!pool->owner ||
		    addr - (uintptr_t)pool->states >= pool->count)
			continue;
		snprintf(buf, len, "state of block %zu in pool %u (%zu bytes)",
			 addr - (uintptr_t)pool->states, slot,
			 apb_class_size(pool->cls));
		return;
	}
	snprintf(buf, len, "states, of no pool");
}

static void say_arena(uintptr_t addr, unsigned int shift, char *buf, size_t len)
{
	const struct apb_arena *arena = apb_arena_of(addr);
	size_t pools = apb_arena_slots(arena), at = addr - (uintptr_t)arena;
	size_t bits = (uintptr_t)apb_arena_bits(arena) - (uintptr_t)arena;
	char name[40];

	if (at < sizeof(*arena)) {
		snprintf(buf, len, "an arena's header + %zu", at);
	} else if (at < pools << APB_SLOT_SHIFT) {
		snprintf(name, sizeof(name), "pool %zu's",
			 at >> APB_SLOT_SHIFT);
		say_member(pool_members, name,
			   at & ((1u << APB_SLOT_SHIFT) - 1), buf, len);
	} else if (at >= bits && at < bits + pools * APB_BITS_WORDS * 8) {
		snprintf(buf, len, "pool %zu's bitmap",
			 (at - bits) / (APB_BITS_WORDS * 8));
	} else if (at < APB_META_BYTES) {
		say_state(arena, addr, buf, len);
	} else {
		snprintf(buf, len, "memory of pool %zu", at >> shift);
	}
}

/* ---- all -------------------------------------------------------------- */

static bool in_chunk(uintptr_t addr, char *buf, size_t len)
{
	const struct apb_chunk *chunk = apb_state.meta.chunks;

	while (chunk && addr - (uintptr_t)chunk >= APB_META_CHUNK)
		chunk = chunk->next;
	if (!chunk)
		return false;
	snprintf(buf, len, "metadata (batch, array) %#lx",
		 addr - (uintptr_t)chunk);
	return true;
}

static bool in_leaf(uintptr_t addr, char *buf, size_t len)
{
	const struct apb_node *node = apb_state.map.leaves;

	for (; node; node = node->next) {
		const struct apb_leaf *leaf =
			apb_entry(node, struct apb_leaf, node);
		size_t at = addr - (uintptr_t)leaf;

		if (at >= APB_LEAF_BYTES)
			continue;
		if (at < sizeof(leaf->kind))
			snprintf(buf, len, "map's byte of MiB %zu", at);
		else
			snprintf(buf, len, "map's leaf + %zu", at);
		return true;
	}
	return false;
}

static bool in_globals(uintptr_t addr, char *buf, size_t len)
{
	size_t at = addr - (uintptr_t)apb_flat.table;

	if (addr == (uintptr_t)&apb_heaps_lock)
		snprintf(buf, len, "heaps lock");
	else if (addr == (uintptr_t)&apb_state_lock)
		snprintf(buf, len, "state lock");
	else if (addr - (uintptr_t)&apb_state < sizeof(apb_state))
		say_member(state_members, "state", addr - (uintptr_t)&apb_state,
			   buf, len);
	else if (addr - (uintptr_t)&apb_policy < sizeof(apb_policy))
		snprintf(buf, len, "policy + %zu",
			 addr - (uintptr_t)&apb_policy);
	else if (addr - (uintptr_t)&apb_flat < sizeof(apb_flat))
		snprintf(buf, len, "flat map's head");
	else if (apb_flat.mask && at <= apb_flat.mask)
		snprintf(buf, len, "flat map's entry %#zx",
			 at / sizeof(struct apb_flat_entry));
	else
		return false;
	return true;
}

void names_of(uintptr_t addr, char *buf, size_t len)
{
	unsigned int shift;

	if (in_heap(addr, buf, len) || in_globals(addr, buf, len) ||
	    in_chunk(addr, buf, len) || in_leaf(addr, buf, len))
		return;
	shift = apb_map_kind(&apb_state.map, addr);
	if (!(addr & ~APB_ADDR_MASK) && shift >= APB_KIND_ARENA)
		say_arena(addr, shift, buf, len);
	else
		snprintf(buf, len, "%#lx", (unsigned long)addr);
}
