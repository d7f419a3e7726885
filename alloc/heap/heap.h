/* SPDX-License-Identifier: MIT */
/*
 * A heap: what a thread allocates from.  For each size class it has a bin, a
 * LIFO array of free blocks that malloc pops and free pushes, and the pools of
 * the class that have blocks to give.
 *
 * malloc and free count nothing.  A bin that is full is *settled*: the blocks
 * freed last stay (they are warm), the older half returns to its pools, whose
 * counts become exact, so that empty pools are found.  How many a bin may hold
 * adapts: a refill raises it by what it took, as that is about to come back; a
 * bin that was emptied since it was last full is let grow (the program is
 * churning); one that fills twice without is halved (it is giving back).  One
 * whose array has grown may always hold some more than that (apb_bin_step()), so
 * that it is settled seldom; how little it is settled down to is as before.
 *
 * Who may touch what:
 *   - @bin, @out and @batches: only the thread that has the heap (or takes it
 *     over, or has stopped all others).  The fast paths are this.
 *   - all else: under the heap's lock, which its thread takes on slow paths
 *     and others to empty its queue, to count and to check;
 *   - @queue: anybody, atomically; only emptied under the lock.
 *   - the common heap is no thread's: everything of it is under its lock.
 *
 * Invariants (checked by apb_check()):
 *   bin.entries   every entry in a bin is a block of its class and heap that
 *                 is out and not live, and in no list twice
 *   bin.array     base is no entry, base <= top <= limit <= base + room
 *   bin.class0    bin 0 is empty: a request of 0 bytes takes the slow path
 *   heap.partial  every pool on a class's partial list is of that class
 *   heap.queue    the queue has as many batches as its word says, all for bins
 *                 of this heap; the blocks in them are as those in bins
 *   heap.arrived  the same of those that have arrived; each is on the list of
 *                 its class
 *   heap.out      a slot has an owner exactly if it has a batch, which is for
 *                 that bin and not full; blocks as in bins
 */
#ifndef APB_HEAP_H
#define APB_HEAP_H

#include "arena/pool.h"
#include "heap/class.h"

#include <pthread.h>

struct apb_bin {
	struct apb_entry *top; /* the last one; below the first is none */
	struct apb_entry *limit; /* top when the bin is full */
};

static_assert(sizeof(struct apb_bin) == (size_t)1 << APB_BIN_SHIFT,
	      "bins are found by a shift");

/* What only slow paths need to know of a bin. */
struct apb_bin_info {
	struct apb_entry *base; /* below the first */
	uint16_t room; /* entries that fit */
	uint16_t want; /* entries it should be able to hold */
	bool ran_empty; /* since it was full */
	bool was_full; /* since it was empty */
};

/*
 * A batch of blocks on their way to the bin that owns them; one that is to
 * have fewer starts later, so that the last one is always at the end.
 */
struct apb_batch {
	struct apb_batch *next;
	uintptr_t owner; /* the bin */
	uint32_t first;
	uint32_t n; /* when it was posted */
	uintptr_t word[APB_BATCH_MAX]; /* entries, packed */
};

#define APB_BATCH_SIZE ((size_t)1 << APB_META_MIN_SHIFT)

static_assert(sizeof(struct apb_batch) == APB_BATCH_SIZE,
	      "a batch is the smallest piece of metadata, and ends with it");

/* A slot of the cache of batches that are being filled. */
struct apb_out {
	uintptr_t owner; /* 0: there is no batch */
	uintptr_t *next; /* in its batch; or NULL */
};

/* Entries of all bins' first arrays, and one below each. */
#define APB_FIRST_ENTRIES (APB_TRACK ? 654 : 486)

struct apb_heap {
	struct apb_bin bin[APB_NR_BINS + 1];
	struct apb_out out[APB_NR_OUT];
	struct apb_batch *batches; /* empty ones */
	unsigned int nr_batches;
	uint64_t posted; /* batches sent off */
	/* under the lock */
	pthread_mutex_t lock;
	struct apb_bin_info info[APB_NR_BINS + 1];
	struct apb_node *partial[APB_NR_BINS + 1];
	struct apb_batch *arrived[APB_NR_BINS + 1]; /* see remote.h */
	unsigned int nr_arrived;
	uint64_t settles;
	uint64_t settled;
	uint64_t recovered;
	uint64_t trims; /* of the process, that it has seen */
	size_t pools; /* that are its own */
	struct apb_pool *sparse[APB_NR_SPARSE]; /* ring; see sparse.h */
	unsigned int next_sparse;
	uint64_t sweeps; /* that it has followed */
	struct apb_node node; /* in the list of all heaps */
	struct apb_heap *next_idle; /* when no thread has it */
	bool attached; /* a thread has it */
	bool warm; /* idle, and its bins are as the thread left them */
	/* the other threads' end: a batch, and above it how many there are */
	_Alignas(APB_CACHE_LINE) _Atomic uintptr_t queue;
	struct apb_entry first[APB_FIRST_ENTRIES];
};

/* An owner word leads to its heap. */
#define APB_HEAP_ALIGN APB_PAGE
#define APB_HEAP_BYTES ((APB_TRACK ? 4 : 3) * APB_PAGE)

static_assert(sizeof(struct apb_heap) <= APB_HEAP_BYTES,
	      "a heap is three pages, or four");
static_assert(offsetof(struct apb_heap, bin) == 0 &&
		      sizeof(((struct apb_heap *)0)->bin) <= APB_PAGE,
	      "bins are in the heap's first page");

static inline struct apb_heap *apb_heap_of(uintptr_t owner)
{
	return (struct apb_heap *)(owner & ~(APB_HEAP_ALIGN - 1));
}

/* Whether an owner word is the address of one of @heap's bins. */
static inline bool apb_heap_owns(const struct apb_heap *heap, uintptr_t owner)
{
	return __builtin_expect(
		owner - (uintptr_t)heap->bin < sizeof(heap->bin), 1);
}

/* ---- bins: the fast paths --------------------------------------------- */

/* The bin of a request of up to APB_SMALL_MAX bytes. */
static inline struct apb_bin *apb_bin_small(struct apb_heap *heap, size_t size)
{
	/* in size_t: bins are as large as classes are apart, so no shift is left */
	return &heap->bin[(size + 15) >> APB_CLASS_STEP_SHIFT];
}

/* Whether there was an entry. */
static inline bool apb_bin_pop(struct apb_bin *bin, struct apb_entry *entry)
{
	struct apb_entry *top = bin->top;

	*entry = *top;
	if (__builtin_expect(!entry->block, 0))
		return false;
	bin->top = top - 1;
	return true;
}

static inline bool apb_bin_full(const struct apb_bin *bin)
{
	return __builtin_expect(bin->top >= bin->limit, 0);
}

/*
 * Into a bin that is not full; then the block is not live any more.  Its state is
 * written as late as may be: the address is known last, and stores wait for
 * those before them.
 */
static inline void apb_bin_put(struct apb_bin *bin, struct apb_entry entry)
{
	struct apb_entry *top = bin->top;

	top[1] = entry;
	__atomic_signal_fence(__ATOMIC_RELEASE);
	apb_block_died(entry);
	/*
	 * In this order for one that looks on from outside the thread's order
	 * of execution: the child of a fork() by another thread.
	 */
	__atomic_signal_fence(__ATOMIC_RELEASE);
	bin->top = top + 1;
}

/* Whether there was room. */
static inline bool apb_bin_push(struct apb_bin *bin, struct apb_entry entry)
{
	if (apb_bin_full(bin))
		return false;
	apb_bin_put(bin, entry);
	return true;
}

/* ---- slow paths, under the heap's lock -------------------------------- */

/* Set up zeroed memory. */
void apb_heap_init(struct apb_heap *heap);

/* An entry of class @cls when its bin is empty; false: no memory. */
bool apb_heap_refill(struct apb_heap *heap, unsigned int cls,
		     struct apb_entry *entry);

/* Push into a bin that is full. */
void apb_heap_overflow(struct apb_heap *heap, unsigned int cls,
		       struct apb_entry entry);

/*
 * Give @n blocks, of any classes, back to their pools, and emptied pools to
 * their arenas.
 */
void apb_heap_give_back(struct apb_heap *heap, const struct apb_entry *entry,
			size_t n);

/*
 * Settle all bins, down to their first arrays; only for one who may touch the
 * bins.
 */
void apb_heap_settle_all(struct apb_heap *heap);

/* Bytes of the blocks in its bins; for the same. */
size_t apb_heap_held(const struct apb_heap *heap);

/* Settle everything, and before it post all batches and empty the queue. */
void apb_heap_empty(struct apb_heap *heap);

/*
 * There is no memory: settle everything that can be had without waiting, of
 * all heaps.
 */
void apb_heap_reclaim(struct apb_heap *heap);

/* Apply a changed option to all bins. */
void apb_heap_apply_period(struct apb_heap *heap);

/*
 * Put the @n blocks of a batch into a bin that is empty; returns how many it had
 * room for.
 */
unsigned int apb_bin_fill(struct apb_heap *heap, unsigned int cls,
			  const uintptr_t *word, unsigned int n);

/* If there was a trim since the last time, all that its thread can give. */
void apb_heap_follow_trim(struct apb_heap *heap);

/*
 * How many blocks a bin of class @cls holds at first; at least, when its array
 * has grown; and at most.
 */
unsigned int apb_bin_first(unsigned int cls);
unsigned int apb_bin_step(unsigned int cls);
unsigned int apb_bin_most(unsigned int cls);

#endif /* APB_HEAP_H */
