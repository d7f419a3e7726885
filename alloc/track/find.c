// SPDX-License-Identifier: MIT
/*
 * What blocks there are and were, for reports and for the leak check.
 *
 * All of it reads what is there without a lock, as a report may come from
 * anywhere: a block that is just being made or recycled may be described
 * wrongly, and everything that is followed is checked before.
 */
#include "uninstrumented.h"

#include "arena/arena.h"
#include "glue/tool.h"
#include "state.h"
#include "track/region.h"
#include "track/track.h"

#include <apb/sanitize.h>

uint32_t apb_track_reset_stack;
uint32_t apb_track_reset_thread;

/*
 * MiBs of the region that are or were arenas, whose header is as it was then,
 * and which are closed but for the program's blocks and the metadata.
 */
static uint64_t arenas_seen[APB_REGION_MAX / APB_ARENA / 64];

static bool seen(const void *arena)
{
	size_t i = ((uintptr_t)arena - apb_region.start) >> APB_ARENA_SHIFT;

	return apb_region_has(arena) && arenas_seen[i / 64] >> i % 64 & 1;
}

static void set_seen(const void *arena, bool value)
{
	size_t i = ((uintptr_t)arena - apb_region.start) >> APB_ARENA_SHIFT;
	uint64_t bit = UINT64_C(1) << i % 64;

	if (!apb_region_has(arena))
		return;
	if (value)
		arenas_seen[i / 64] |= bit;
	else
		arenas_seen[i / 64] &= ~bit;
}

void apb_track_arena(void *arena)
{
	if (seen(arena))
		return;
	set_seen(arena, true);
	tool_pool_made((char *)arena + APB_META_BYTES,
		       APB_ARENA - APB_META_BYTES);
	/* what was there may have been closed */
	tool_pool_gone(arena, APB_META_BYTES);
	/* but what the last block of the arena in front overflows into is */
	if (TOOL_CLOSED_HEADER)
		tool_pool_made(arena, sizeof(struct apb_arena));
}

void apb_track_unmap(void *addr, size_t size)
{
	if (apb_os_is_own())
		tool_pool_gone(addr, size);
}

void apb_track_purged(void *addr, size_t size)
{
	if (apb_os_is_own() && (uintptr_t)addr % APB_ARENA >= APB_META_BYTES)
		tool_pool_made(addr, size);
}

void apb_track_forget(const char *block, size_t size)
{
	const char *mib;

	for (mib = block; mib < block + size; mib += APB_ARENA)
		set_seen(mib, false);
}

void apb_track_open(char *start, size_t size)
{
	apb_track_forget(start, size);
	tool_pool_gone(start, size);
}

/* ---- where an address is ---------------------------------------------- */

bool apb_track_is_large(const char *block)
{
	return apb_map_kind(&apb_state.map, (uintptr_t)block) == APB_KIND_LARGE;
}

APB_UNINSTRUMENTED struct apb_note *apb_note_at(char *block)
{
	struct apb_note *note = (struct apb_note *)block;

	if (!apb_note_valid(note) || !apb_note_state(note) ||
	    apb_note_shift(note) < 4 || apb_note_shift(note) > 46)
		return NULL;
	return note;
}

APB_UNINSTRUMENTED static bool large_place(struct apb_track_place *place,
					   const char *addr)
{
	struct apb_large *large = apb_large_around((uintptr_t)addr);

	if (!large)
		return false;
	place->block = (char *)large->addr;
	place->end = place->block + large->mapped;
	place->out = place->large = true;
	place->note = apb_note_at(place->block);
	return true;
}

/*
 * One that was a large block, and is cached, or unmapped: where a MiB begins
 * that is nothing now there may still be its note.
 */
#define STALE_MIBS 256

APB_UNINSTRUMENTED static bool stale_place(struct apb_track_place *place,
					   const char *addr)
{
	char *block = (char *)apb_arena_of((uintptr_t)addr);
	struct apb_note *note = NULL;
	unsigned int i, kind;

	for (i = 0; i < STALE_MIBS && apb_region_has(block); i++) {
		kind = apb_map_kind(&apb_state.map, (uintptr_t)block);
		if (seen(block) ||
		    (kind != APB_KIND_NONE && kind != APB_KIND_CACHED))
			return false;
		note = apb_note_at(block);
		if (note)
			break;
		block -= APB_ARENA;
	}
	if (!note)
		return false;
	place->block = block;
	place->end = apb_note_user(note) + apb_note_size(note) + APB_PAGE;
	place->out = false;
	place->large = true;
	place->note = note;
	return addr < place->end;
}

/* Whether the descriptor tells of a pool that is there or was. */
static bool was_pool(const struct apb_arena *arena, const struct apb_pool *pool,
		     unsigned int slot)
{
	size_t bytes = (size_t)1 << apb_kind_shift(arena->kind);
	uintptr_t start = (uintptr_t)arena + slot * bytes;

	return pool->cls && pool->cls < APB_NR_BINS + 1 && pool->count &&
	       pool->base - start < bytes &&
	       pool->count * apb_class_size(pool->cls) <=
		       bytes - (pool->base - start);
}

APB_UNINSTRUMENTED static bool pool_place(struct apb_track_place *place,
					  const char *addr)
{
	struct apb_arena *arena = apb_arena_of((uintptr_t)addr);
	struct apb_pool *pool;
	unsigned int slot;
	bool mapped;
	size_t size, i;

	mapped =
		apb_map_kind(&apb_state.map, (uintptr_t)addr) >= APB_KIND_ARENA;
	if (!mapped && !seen(arena))
		return false;
	if (arena->guard != APB_ARENA_GUARD || arena->kind >= APB_NR_POOL_KINDS)
		return false;
	slot = (unsigned int)((size_t)(addr - (char *)arena) >>
			      apb_kind_shift(arena->kind));
	pool = apb_arena_pool(arena, slot);
	if (slot < apb_first_slot(arena->kind) || !was_pool(arena, pool, slot))
		return false;
	size = apb_class_size(pool->cls);
	/* in front of the first one it may still have been meant for that */
	i = (uintptr_t)addr < pool->base ?
		    0 :
		    ((uintptr_t)addr - pool->base) / size;
	if (i >= pool->count)
		i = pool->count - 1u;
	place->block = (char *)pool->base + i * size;
	place->end = place->block + size;
	place->large = false;
	place->out = mapped && apb_pool_in_use(pool) &&
		     apb_state_get(apb_pool_state(pool, i)) == APB_STATE_LIVE;
	place->note = apb_note_at(place->block);
	return true;
}

bool apb_track_locate(const void *addr, struct apb_track_place *place)
{
	unsigned int kind;

	if ((uintptr_t)addr >> APB_ADDR_BITS)
		return false;
	kind = apb_map_kind(&apb_state.map, (uintptr_t)addr);
	if (kind >= APB_KIND_ARENA)
		return pool_place(place, addr);
	return large_place(place, addr) || pool_place(place, addr) ||
	       stale_place(place, addr);
}

/* ---- what a report says ----------------------------------------------- */

/* The program's block in the core's one at @at; false if there was none. */
APB_UNINSTRUMENTED static bool describe(const struct apb_track_place *at,
					struct apb_san_block *block)
{
	struct apb_note *note = at->note;
	struct apb_grave *grave;

	if (!note)
		return false;
	block->addr = apb_note_user(note);
	block->size = apb_note_size(note);
	block->born_stack = note->born_stack;
	block->born_thread = apb_word_thread(note->word);
	block->died_stack = block->died_thread = 0;
	block->state = APB_SAN_LIVE;
	if (apb_note_state(note) == APB_NOTE_LIVE && at->out)
		return true;
	block->state = APB_SAN_DEAD;
	if (apb_note_state(note) == APB_NOTE_LIVE) {
		block->died_stack = apb_track_reset_stack;
		block->died_thread = apb_track_reset_thread;
		return true;
	}
	grave = (struct apb_grave *)block->addr;
	if ((uint8_t)grave->word == (uint8_t)apb_grave_word(grave, 0)) {
		block->died_stack = grave->died_stack;
		block->died_thread = apb_word_thread(grave->word);
	}
	return true;
}

/* How far @addr is from @block; 0 if it is inside. */
static size_t distance(const struct apb_san_block *block, const char *addr)
{
	const char *start = block->addr;

	if (addr < start)
		return (size_t)(start - addr);
	return addr < start + block->size ?
		       0 :
		       (size_t)(addr - start) - block->size + 1;
}

/* Which of two an access at @addr was meant for: live ones first, then near. */
static bool better(const struct apb_san_block *a, const struct apb_san_block *b,
		   const char *addr)
{
	size_t far_a = distance(a, addr), far_b = distance(b, addr);

	if (!far_a || !far_b)
		return !far_a;
	if ((a->state == APB_SAN_LIVE) != (b->state == APB_SAN_LIVE))
		return a->state == APB_SAN_LIVE;
	return far_a < far_b;
}

#define SMALLEST_POOL ((size_t)1 << APB_POOL_SHIFT_SMALL)

/* What is at @addr, if it is better than @block, which is something or (false)
 * nothing; whether there is something now. */
static bool consider(const char *at, const char *addr, bool found,
		     struct apb_san_block *block)
{
	struct apb_track_place place;
	struct apb_san_block other;

	if (!apb_track_locate(at, &place) || !describe(&place, &other))
		return found;
	if (!found || better(&other, block, addr))
		*block = other;
	return true;
}

struct seek {
	const char *addr;
	struct apb_san_block *found;
	bool any;
};

static void seek_one(const struct apb_san_block *block, void *arg)
{
	struct seek *seek = arg;

	if (distance(block, seek->addr))
		return;
	*seek->found = *block;
	seek->any = true;
}

/*
 * The block whose place in the core @addr is in; and if that is in front of the
 * block, or behind it, the next one on that side.
 */
static bool find(const struct apb_san_pool *pool, const void *ptr,
		 struct apb_san_block *block)
{
	const char *addr = ptr, *slot, *start;
	bool found, in_front = true, behind = true;
	struct seek seek = {.addr = addr, .found = block};
	struct apb_track_place place;

	(void)pool;
	if (tool_lends()) {
		apb_lent_walk(seek_one, &seek);
		return seek.any;
	}
	if (!apb_track_locate(addr, &place)) {
		/* an unused pool: the last one in front, the first behind */
		slot = (char *)((uintptr_t)addr & -SMALLEST_POOL);
		found = consider(slot - 1, addr, false, block);
		return consider(slot + SMALLEST_POOL, addr, found, block);
	}
	found = describe(&place, block);
	if (found) {
		start = block->addr;
		in_front = addr < start;
		behind = addr >= start + block->size;
	}
	if (in_front)
		found = consider(place.block - 1, addr, found, block);
	if (behind)
		found = consider(place.end, addr, found, block);
	return found;
}

/* ---- all that live ---------------------------------------------------- */

struct walk {
	void (*fn)(const struct apb_san_block *block, void *arg);
	void *arg;
};

APB_UNINSTRUMENTED static void walk_one(const struct walk *walk,
					struct apb_track_place *place)
{
	struct apb_san_block block;

	place->note = apb_note_at(place->block);
	if (describe(place, &block) && block.state == APB_SAN_LIVE)
		walk->fn(&block, walk->arg);
}

static void walk_arena(struct apb_arena *arena, void *arg)
{
	uint64_t used = ~arena->unused & apb_slot_mask(arena->kind);
	struct apb_track_place place = {.out = true};

	for (; used; used &= used - 1) {
		struct apb_pool *pool = apb_arena_pool(
			arena, (unsigned int)__builtin_ctzll(used));
		size_t i, size = apb_class_size(pool->cls);

		for (i = 0; i < pool->count; i++) {
			if (apb_state_get(apb_pool_state(pool, i)) !=
			    APB_STATE_LIVE)
				continue;
			place.block = (char *)pool->base + i * size;
			walk_one(arg, &place);
		}
	}
}

static void walk_all(const struct apb_san_pool *pool,
		     void (*fn)(const struct apb_san_block *block, void *arg),
		     void *arg)
{
	struct apb_track_place place = {.out = true};
	struct walk walk = {fn, arg};
	struct apb_node *node;

	(void)pool;
	if (tool_lends()) {
		apb_lent_walk(fn, arg);
		return;
	}
	apb_arena_for_each(walk_arena, &walk);
	for (node = apb_state.larges.list; node; node = node->next) {
		place.block =
			(char *)apb_entry(node, struct apb_large, node)->addr;
		walk_one(&walk, &place);
	}
}

struct apb_san_pool apb_track_pool = {
	.name = "apb",
	.size = SIZE_MAX,
	.find = find,
	.walk = walk_all,
};

__attribute__((constructor(101))) static void register_pool(void)
{
	apb_san_pool_made(&apb_track_pool);
}

#include "instrumented.h"
