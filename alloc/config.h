/* SPDX-License-Identifier: MIT */
/*
 * Compile-time constants of the allocator, with assertions on their ranges.
 * This and the public header are the only places where a number that two
 * files must agree on is written down.
 */
#ifndef APB_CONFIG_H
#define APB_CONFIG_H

#include <apb/apb.h>
#include <apb/sanitize.h>

#include <assert.h>

/*
 * In builds for a sanitizer or valgrind: track each block, so that the tool
 * sees it (track/track.h).  0: the allocator as it is shipped is what the tool
 * looks at.
 */
#ifndef APB_TRACK
#define APB_TRACK APB_SAN
#endif

#define APB_PAGE_SHIFT 12
#define APB_PAGE ((size_t)1 << APB_PAGE_SHIFT)

/* Arenas are 1 MiB, aligned to their size: the map has a byte per MiB. */
#define APB_ARENA_SHIFT 20
#define APB_ARENA ((size_t)1 << APB_ARENA_SHIFT)

/* x86-64 user space; the OS layer refuses addresses beyond. */
#define APB_ADDR_BITS 47
#define APB_ADDR_MASK (((uintptr_t)1 << APB_ADDR_BITS) - 1)

/* Pools of three sizes; an arena has pools of one size. */
#define APB_POOL_SHIFT_SMALL 14
#define APB_POOL_SHIFT_MEDIUM 16
#define APB_POOL_SHIFT_BIG 17
#define APB_NR_POOL_KINDS APB_NR_POOL_SIZES

/* The largest block size of each pool size. */
#define APB_POOL_SMALL_MAX ((size_t)1024)
#define APB_POOL_MEDIUM_MAX ((size_t)8192)

/*
 * The misuse checks of the fast paths: a double free and a pointer that is not
 * a block's start are seen at once.  0 is for measuring what they cost.
 */
#ifndef APB_CHECKS
#define APB_CHECKS 1
#endif

/*
 * The first slots of an arena hold metadata, never blocks: the header and the
 * descriptors; the pools' bitmaps; and groups of lines for the state bytes, one
 * for each pool there can be.  An arena of larger pools has few, of few blocks
 * each: there it is a line for the state bytes of each pool, and all of it is
 * on the first page.
 */
#define APB_MAX_POOLS (APB_ARENA >> APB_POOL_SHIFT_SMALL)
#define APB_META_BYTES ((size_t)48 << 10)
#define APB_SLOT_SHIFT 6
#define APB_BITS_OFFSET APB_PAGE
#define APB_BITS_WORDS 8
#define APB_STATES_OFFSET (2 * APB_PAGE)
#define APB_GROUP_LINES 8
#define APB_FEW_POOLS (APB_ARENA >> APB_POOL_SHIFT_MEDIUM)
#define APB_FEW_BLOCKS APB_CACHE_LINE
#define APB_FEW_BITS_OFFSET (APB_FEW_POOLS << APB_SLOT_SHIFT)
#define APB_FEW_STATES_OFFSET (2 * APB_FEW_BITS_OFFSET)
/* So no pool has more blocks: those of 16 bytes leave half their pool alone. */
#define APB_MAX_BLOCKS (APB_GROUP_LINES * APB_CACHE_LINE)

/*
 * The flat map's table: 32 bytes for each of the smallest pools.  The largest
 * covers 64 GiB, the smallest that is tried if there is no room 4 GiB.  No more
 * than that, as a shell may lower its limit on address space after the fact.
 * Made writable in chunks, each for 32 MiB.
 */
#define APB_FLAT_ENTRY_SHIFT 5
#define APB_FLAT_BYTES_MAX ((size_t)128 << 20)
#define APB_FLAT_BYTES_MIN ((size_t)8 << 20)
#define APB_FLAT_CHUNK ((size_t)64 << 10)

/*
 * Classes 1..32 in steps of 16, then four to a doubling.  In tracking builds it
 * is eight: with red zones most blocks are of such classes, and what a class has
 * beyond a block is memory, and distance to the next block.
 */
#define APB_CLASS_STEP_SHIFT 4
#define APB_NR_SMALL_CLASSES 32
#define APB_SMALL_MAX ((size_t)512)
#define APB_SMALL_MAX_SHIFT 9
#define APB_DOUBLINGS 6
#define APB_DOUBLING_SHIFT (APB_TRACK ? 3 : 2)
#define APB_NR_BINS \
	(APB_NR_SMALL_CLASSES + (APB_DOUBLINGS << APB_DOUBLING_SHIFT))

/* Largest alignment served from pools: their bases are page-aligned. */
#define APB_MAX_POOL_ALIGN APB_PAGE

#define APB_CACHE_LINE 64
/* Colours of an arena's pools follow each other at this distance. */
#define APB_COLOUR_STEP 37u

/* A bin has 16 bytes; bins are in a heap's first page, that of class 0 first. */
#define APB_BIN_SHIFT 4

/* A refill takes so many bytes of blocks at most, but a few blocks at least. */
#define APB_REFILL_BYTES APB_PAGE
#define APB_REFILL_MIN 4
/* The first refill of a bin takes so many blocks, later ones more. */
#define APB_REFILL_FIRST 6

/*
 * How many blocks a bin may hold: at first, and at most, in bytes and number;
 * and how many it may always hold when it has a bigger array.  Its array is in
 * the heap at first; bigger ones are powers of two less one.
 */
#define APB_BIN_FIRST_BYTES ((size_t)1024)
#define APB_BIN_FIRST_MIN 6
#define APB_BIN_FIRST_MAX 32
#define APB_BIN_MAX_BYTES ((size_t)512 * 1024)
#define APB_BIN_LEARNT_MAX 1023
#define APB_BIN_MAX 4095 /* by option */
#define APB_BIN_STEP_BYTES ((size_t)16 * 1024)
#define APB_BIN_STEP_MAX 127
#define APB_BIN_GROWN 127 /* the first that is not in the heap */

/* Sparse pools that a heap remembers before it gives back their pages. */
#define APB_NR_SPARSE 32
#define APB_SPARSE_MAX 4 /* blocks out of such a pool */

/*
 * Heaps of threads that have ended which keep what is in their bins, and how
 * much that may be of each.
 */
#define APB_WARM_HEAPS 4
#define APB_WARM_BYTES ((size_t)128 << 10)

/* Empty batches that a heap keeps. */
#define APB_BATCHES_KEPT 4

/*
 * Blocks freed by another thread than their owner's travel in batches of so
 * many bytes, at most APB_BATCH_MAX blocks.  An owner whose queue holds more
 * than APB_QUEUE_MAX batches has it emptied by those who fill it; with four
 * times as many they wait for it.
 */
#define APB_BATCH_BYTES ((size_t)16 * 1024)
#define APB_BATCH_MAX 125
#ifndef APB_QUEUE_MAX /* small: where all schedules are gone through */
#define APB_QUEUE_MAX 256
#endif
#define APB_NR_OUT 32u
/* Batches that wait for their bins to be empty; beyond, blocks go to pools. */
#define APB_ARRIVED_MAX 128

/* Memory for arrays and batches: powers of two, carved from chunks. */
#define APB_META_MIN_SHIFT 10
#define APB_META_MAX_SHIFT 16
#define APB_META_CHUNK ((size_t)128 << 10)

/*
 * What may be retained without having been learnt, and the cap of what is: so
 * much, and a share of the bytes in use.  64 MiB is more than a program moves
 * in and out within an epoch for which the page faults would matter (a page
 * fault costs 0.1 to 0.5 us per KiB), and is gone after two; a quarter is less
 * than what fragmentation costs elsewhere.
 */
#define APB_DIRTY_BASE ((size_t)1 << 20)
#define APB_DIRTY_SHARE_SHIFT 7
#define APB_DIRTY_CAP ((size_t)64 << 20)
#define APB_DIRTY_CAP_SHIFT 2

/* Epochs of retained memory: milliseconds; without a clock, bytes moved. */
#define APB_PURGE_DELAY_DEFAULT 500
/* How many bytes more are retained for each that was missed. */
#define APB_RETAIN_LESSON 8
#define APB_EPOCH_BYTES ((size_t)64 << 20)
#define APB_EPOCH_BOUNDS 8

/* The cache of large mappings. */
/* In tracking builds what is freed is in quarantine, and then long unused. */
#define APB_LARGE_CACHE_DEFAULT (APB_TRACK ? 0 : (size_t)64 << 20)
#define APB_LARGE_CACHE_NR 256
/*
 * A zeroed block of more than this is purged rather than cleared: what has been
 * asked for zeroed may be used here and there only.
 */
#define APB_LARGE_CLEAR_MAX ((size_t)4 << 20)
/*
 * A block of up to this that grows is copied into a cached mapping with room
 * for it to double, as that saves page faults later; so is a larger one, up to
 * the second bound, if it has grown so many times before.
 */
#define APB_LARGE_COPY_MAX ((size_t)512 << 10)
#define APB_LARGE_COPY_GROWN ((size_t)12 << 20)
#define APB_LARGE_GROWN 3

static_assert(sizeof(void *) == 8, "apb is for 64-bit address spaces");
static_assert(APB_ARENA >> APB_POOL_SHIFT_SMALL == 64,
	      "an arena's pools must fit into a 64-bit mask");
static_assert(APB_POOL_SHIFT_SMALL > APB_PAGE_SHIFT &&
		      APB_POOL_SHIFT_SMALL < APB_POOL_SHIFT_MEDIUM &&
		      APB_POOL_SHIFT_MEDIUM < APB_POOL_SHIFT_BIG &&
		      APB_POOL_SHIFT_BIG < APB_ARENA_SHIFT,
	      "pools are pages, arenas are pools");
static_assert(APB_SMALL_MAX == (size_t)APB_NR_SMALL_CLASSES
				       << APB_CLASS_STEP_SHIFT,
	      "small classes end at APB_SMALL_MAX");
static_assert(APB_SMALL_MAX == (size_t)1 << APB_SMALL_MAX_SHIFT,
	      "geometric classes start at a power of two");
static_assert(APB_SMALL_MAX << APB_DOUBLINGS == APB_MAX_POOLED,
	      "geometric classes end at APB_MAX_POOLED");
static_assert(APB_NR_SMALL_CLASSES + 4 * APB_DOUBLINGS == APB_NR_CLASSES,
	      "number of classes");
static_assert((size_t)1 << APB_POOL_SHIFT_BIG >= 4 * APB_MAX_POOLED,
	      "a pool holds some blocks of its largest class");
static_assert(APB_MIN_ALIGN == (size_t)1 << APB_CLASS_STEP_SHIFT,
	      "the first class has the least alignment");
static_assert(APB_META_BYTES % ((size_t)1 << APB_POOL_SHIFT_SMALL) == 0 &&
		      APB_META_BYTES <= (size_t)1 << APB_POOL_SHIFT_MEDIUM,
	      "metadata fills whole slots of the smallest pools");
static_assert((APB_MAX_POOLS << APB_SLOT_SHIFT) <= APB_BITS_OFFSET &&
		      APB_BITS_OFFSET + APB_MAX_POOLS * APB_BITS_WORDS * 8 <=
			      APB_STATES_OFFSET &&
		      APB_STATES_OFFSET + APB_MAX_POOLS * APB_MAX_BLOCKS <=
			      APB_META_BYTES,
	      "metadata does not overlap");
static_assert(APB_BITS_WORDS * 8 <= 1 << APB_SLOT_SHIFT &&
		      APB_FEW_STATES_OFFSET + APB_FEW_POOLS * APB_FEW_BLOCKS <=
			      APB_PAGE,
	      "nor does that of larger pools");
static_assert((size_t)1 << APB_POOL_SHIFT_MEDIUM <=
			      APB_FEW_BLOCKS * APB_POOL_SMALL_MAX &&
		      (size_t)1 << APB_POOL_SHIFT_BIG <=
			      APB_FEW_BLOCKS * APB_POOL_MEDIUM_MAX,
	      "a line of state bytes does for a larger pool");
static_assert((APB_FLAT_CHUNK >> APB_FLAT_ENTRY_SHIFT << APB_POOL_SHIFT_SMALL) %
				      APB_ARENA ==
			      0 &&
		      APB_FLAT_BYTES_MIN % (APB_FLAT_CHUNK * 64) == 0,
	      "chunks of the flat map are of whole arenas");
static_assert(
	APB_MAX_BLOCKS * APB_MAX_POOLED + ((size_t)1 << APB_POOL_SHIFT_BIG) <=
		APB_FLAT_BYTES_MIN >>
		APB_FLAT_ENTRY_SHIFT << APB_POOL_SHIFT_SMALL,
	"what shares an entry with a pool is further away than its blocks");
static_assert(APB_MAX_POOLED <= (size_t)1 << 16,
	      "a number of a block, below 2^32, by a reciprocal is exact");
static_assert(APB_RETAIN_LESSON >= 1 && APB_RETAIN_LESSON <= 64,
	      "what is missed is learnt, and by and by");
static_assert(APB_MAX_BLOCKS <= APB_BITS_WORDS * 64,
	      "a bitmap has a bit for each block");
static_assert(APB_POOL_SMALL_MAX * APB_BIN_FIRST_MIN > APB_BIN_FIRST_BYTES &&
		      APB_REFILL_FIRST <= APB_BIN_FIRST_MIN,
	      "a first refill fits into a bin's first array");
static_assert((APB_BIN_MAX & (APB_BIN_MAX + 1)) == 0 &&
		      (size_t)(APB_BIN_MAX + 1) * (16 >> !APB_CHECKS) <=
			      (size_t)1 << APB_META_MAX_SHIFT,
	      "the largest array is a piece of metadata");

#endif /* APB_CONFIG_H */
