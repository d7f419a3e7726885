/* SPDX-License-Identifier: MIT */
/*
 * Arenas: 1 MiB, aligned to their size, cut into pools of one size.
 *
 *	+----------------- first slots ----------------+- slot -+- slot -+ ...
 *	| header | descriptors | bitmaps | state bytes |  pool  |  pool  |
 *	+----------------------------------------------+--------+--------+ ...
 *
 * The first 48 KiB hold the metadata: three slots of 16 KiB, one of the larger
 * ones (config.h tells what is where); what is not needed of it is never
 * touched.  So no block borders metadata.  Where a descriptor has its owner
 * word, the header has a word that is no bin's address; those of the other
 * first slots have 0.
 *
 * A pool in use belongs to a heap (pool.h).  An unused one is *dirty* while
 * its pages may be resident, *clean* otherwise.  New pools come from the
 * fullest arena that has an unused one, dirty ones first.  An arena without a
 * pool in use is a *spare*; new pools come from one only if no other arena has
 * any, from one that is cut for pools of their size if there is such a one.
 *
 * What is dirty is retained memory (os/retain.h), with a bound.  Beyond it
 * spares are unmapped, those emptied first first; if that does not do, pools
 * are purged, in the order in which their arenas became dirty, until half the
 * bound is left.  What was not needed in an epoch goes in the same way.  If
 * the system refuses to unmap, the spare is purged and stays; epochs, trim and
 * a lack of memory try again.
 *
 * Invariants (checked by apb_check()):
 *   arena.kind     the map's byte is the arena's pool shift
 *   arena.masks    unused has no bit beyond the slots and none for the
 *                  first ones, dirty is a subset of unused
 *   arena.bucket   an arena is in the bucket of its kind and of its number of
 *                  unused pools; if that is all of them, on the spare list
 *   arena.dirty    it is in the dirty ring exactly if dirty is not 0
 *   arenas.counts  the counters of struct apb_arenas are what a walk counts
 *   pool.unused    owner 0 exactly if the pool's bit in unused is set
 * Not checked, as a refused purge breaks it: dirty_bytes <= the bound, whenever
 * no function of this layer runs and purge_later is not set.
 */
#ifndef APB_ARENA_H
#define APB_ARENA_H

#include "arena/pool.h"
#include "heap/class.h"
#include "os/retain.h"

struct apb_ring {
	struct apb_ring *next, *prev;
};

/* In a descriptor's place; 64 bytes. */
struct apb_arena {
	uint64_t guard; /* APB_ARENA_GUARD */
	struct apb_node node; /* in a bucket, or the spare list */
	struct apb_ring ring; /* in the dirty ring, or next is NULL */
	uint64_t unused; /* mask of the pools not in use */
	uint64_t dirty; /* of these, those not purged */
	uint8_t kind; /* index of the pool size */
	uint8_t nr_unused;
	uint8_t colour; /* of the next pool */
};

static_assert(sizeof(struct apb_arena) <= APB_CACHE_LINE,
	      "the arena's header takes a descriptor's place");

struct apb_arenas {
	/* by kind and by number of unused pools; [..][0]: full arenas */
	struct apb_node *bucket[APB_NR_POOL_KINDS][APB_MAX_POOLS];
	uint64_t buckets[APB_NR_POOL_KINDS]; /* mask of those not empty */
	struct apb_node *spares; /* the one emptied last first */
	struct apb_ring dirty; /* oldest is dirty.prev; next NULL: not set up */
	size_t nr;
	size_t nr_spares;
	size_t total; /* ever mapped */
	size_t reclaimed; /* unmapped again */
	size_t highwater;
	size_t used_pool_bytes;
	size_t dirty_bytes;
	size_t purge_floor; /* after a failed purge: do not retry below */
	struct apb_retain retain; /* of the dirty bytes */
	size_t sparse_bytes; /* idle pages of pools in use, see sparse.h */
	struct apb_retain sparse; /* of these */
	uint64_t sweeps; /* times heaps were told to give them back */
	bool purge_later; /* while trim settles: it purges once, at the end */
};

static inline struct apb_arena *apb_arena_of(uintptr_t addr)
{
	return (struct apb_arena *)(addr & ~(APB_ARENA - 1) & APB_ADDR_MASK);
}

static inline unsigned int apb_arena_slots(const struct apb_arena *arena)
{
	return (unsigned int)(APB_ARENA >> apb_kind_shift(arena->kind));
}

/* The first slot of an arena of @kind that is a pool's. */
static inline unsigned int apb_first_slot(unsigned int kind)
{
	return kind ? 1 : APB_META_BYTES >> APB_POOL_SHIFT_SMALL;
}

/* All pool slots of an arena of @kind as a mask: all but the first ones. */
static inline uint64_t apb_slot_mask(unsigned int kind)
{
	return UINT64_MAX >> (64 - (APB_ARENA >> apb_kind_shift(kind))) &
	       UINT64_MAX << apb_first_slot(kind);
}

static inline struct apb_pool *apb_arena_pool(struct apb_arena *arena,
					      unsigned int slot)
{
	return &((union apb_slot *)arena + slot)->pool;
}

/* The pools' bitmaps, and that of a pool. */
static inline uint64_t *apb_arena_bits(const struct apb_arena *arena)
{
	return (uint64_t *)((uintptr_t)arena + (arena->kind ?
							APB_FEW_BITS_OFFSET :
							APB_BITS_OFFSET));
}

static inline uint64_t *apb_pool_bits(const struct apb_pool *pool)
{
	return apb_arena_bits(apb_arena_of((uintptr_t)pool)) +
	       apb_pool_slot(pool) * APB_BITS_WORDS;
}

/*
 * An unused pool of @kind, from the arenas there are or, if @may_map, from a
 * new one.  NULL when there is none.
 */
struct apb_pool *apb_arena_get_pool(unsigned int kind, bool may_map);

/* Take back a pool that has no block in use and is on no list. */
void apb_arena_put_pool(struct apb_pool *pool);

/*
 * Purge the oldest dirty pools until at most @target bytes are left; returns
 * the bytes purged.
 */
size_t apb_arena_purge(size_t target);

/* Unmap all spares, as far as the system lets. */
void apb_arena_unmap_spares(void);

/* The bound on dirty bytes that is in force now. */
size_t apb_arena_dirty_limit(void);

/* See apb_retain_grow(). */
void apb_arena_make_room(void);

/* Apply the bound now. */
void apb_arena_limit_dirty(void);

/*
 * Pages of pools in use that have no block (heap/sparse.h) are retained memory
 * of their own, without a base.  Whether @bytes of a pool may be retained,
 * instead of the @old ones that were so far; if not they are to be given back.
 */
bool apb_arena_sparse_stays(size_t old, size_t bytes);

/* @bytes of those retained are none any more: needed, or (@gave) given back. */
void apb_arena_sparse_del(size_t bytes, bool gave);

/* @bytes that had been given back are needed again. */
void apb_arena_sparse_missed(size_t bytes);

/* Time has passed: it is @now. */
void apb_arena_decay(uint64_t now);

/* Unmap everything. */
void apb_arena_reset(void);

/* Call @fn for each arena, those without a pool in use included. */
void apb_arena_for_each(void (*fn)(struct apb_arena *arena, void *arg),
			void *arg);

#endif /* APB_ARENA_H */
