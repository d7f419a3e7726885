/* SPDX-License-Identifier: MIT */
/*
 * apb - an arena-pool-block memory allocator: the public interface.
 *
 * Everything a program may call is declared here.  Sizes are in bytes.
 * Unless a comment says otherwise a function
 *   - is thread-safe,
 *   - may sleep (its slow path makes system calls, and takes mutexes once the
 *     process has had a second thread made by pthread_create()),
 *   - is not async-signal-safe,
 *   - never calls malloc() or anything that does.
 */
#ifndef APB_APB_H
#define APB_APB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define APB_API __attribute__((visibility("default")))

/* The largest request that is served from a pool; beyond it: a mapping. */
#define APB_MAX_POOLED ((size_t)32768)
/* Every block is aligned to this at least. */
#define APB_MIN_ALIGN ((size_t)16)

/* ---- allocation ------------------------------------------------------- */

/**
 * apb_malloc() - allocate a block
 * @size: bytes wanted; 0 is served as 1
 *
 * The block is aligned to 16 bytes; its content is indeterminate.
 *
 * Return: the block, or NULL with errno ENOMEM when the system has no memory
 * or @size is over PTRDIFF_MAX.
 */
APB_API void *apb_malloc(size_t size) __attribute__((malloc, alloc_size(1)));

/**
 * apb_calloc() - allocate a zeroed array
 * @n: number of elements
 * @size: bytes of each
 *
 * Return: @n * @size bytes of zeroes, or NULL with errno ENOMEM when the
 * product overflows or there is no memory.
 */
APB_API void *apb_calloc(size_t n, size_t size)
	__attribute__((malloc, alloc_size(1, 2)));

/**
 * apb_realloc() - change the size of a block
 * @ptr: a block, or NULL (then it is apb_malloc())
 * @size: new size; 0 is served as 1, so NULL always means failure
 *
 * The content is kept up to the smaller of both sizes.  The block stays where
 * it is exactly if its size class does not change; a large one that stays large
 * moves only to grow: if its mapping cannot be resized where it stands, or if
 * one that is kept for reuse has room for it.  A block from apb_aligned_alloc()
 * that has to move is moved to one with the alignment of apb_malloc().
 *
 * Return: the block, or NULL with errno ENOMEM; @ptr is then left alone.  A
 * @ptr that is no live block is reported as misuse (see apb_set_misuse());
 * if the handler returns, so does apb_realloc(), with NULL and errno EINVAL.
 */
APB_API void *apb_realloc(void *ptr, size_t size)
	__attribute__((alloc_size(2)));

/**
 * apb_reallocarray() - apb_realloc() to @n elements of @size bytes
 * @ptr: a block, or NULL
 * @n: number of elements
 * @size: bytes of each
 *
 * Return: as apb_realloc(); NULL with errno ENOMEM when the product overflows,
 * @ptr is then left alone.
 */
APB_API void *apb_reallocarray(void *ptr, size_t n, size_t size)
	__attribute__((alloc_size(2, 3)));

/**
 * apb_aligned_alloc() - allocate a block with a given alignment
 * @align: a power of two, from 1 up
 * @size: bytes wanted, not necessarily a multiple of @align; 0 is served as 1
 *
 * Return: the block, or NULL with errno EINVAL when @align is not a power of
 * two, or ENOMEM when there is no memory or @size + @align is over
 * PTRDIFF_MAX.
 */
APB_API void *apb_aligned_alloc(size_t align, size_t size)
	__attribute__((malloc, alloc_align(1), alloc_size(2)));

/**
 * apb_free() - give a block back
 * @ptr: a live block, or NULL (nothing happens)
 *
 * Keeps errno.  Any thread may free any block.  A @ptr that is not the start
 * of a live block is always reported as misuse (see apb_set_misuse()), in
 * release builds too, whichever thread freed it first and whatever was written
 * to it since; but for two threads that free the same block at the very same
 * time, which may go unseen.
 */
APB_API void apb_free(void *ptr);

/**
 * apb_free_sized() - apb_free() with a check of the size (C23)
 * @ptr: a block of apb_malloc(), apb_calloc() or apb_realloc(), or NULL
 * @size: the size it was asked for with
 *
 * A @size that belongs to another size class (for large blocks: to another
 * number of pages) is reported as misuse.  Keeps errno.
 */
APB_API void apb_free_sized(void *ptr, size_t size);

/**
 * apb_free_aligned_sized() - apb_free() with a check of both (C23)
 * @ptr: a block of apb_aligned_alloc(), or NULL
 * @align: the alignment it was asked for with
 * @size: the size it was asked for with
 *
 * As apb_free_sized(); an @align that @ptr does not have is reported too.
 */
APB_API void apb_free_aligned_sized(void *ptr, size_t align, size_t size);

/**
 * apb_usable_size() - how many bytes of a block may be used
 * @ptr: a live block, or NULL
 *
 * All of the usable size may be read and written (but a compiler that checks
 * object sizes, _FORTIFY_SOURCE=3, knows only the size that was asked for).
 * For pooled blocks it is the size of the class, for large ones the size that
 * was asked for, in whole pages.
 *
 * Return: the usable size; 0 for NULL, and after a reported misuse.
 */
APB_API size_t apb_usable_size(const void *ptr);

/* ---- memory given back ------------------------------------------------ */

/**
 * apb_settle() - take every free block back to its pool
 *
 * Blocks are freed to the heap's lists, from which they are reused first; now
 * and then the surplus is settled: returned to the pools, whose counts become
 * exact, so that empty pools and empty arenas are found.  This call settles
 * all of it at once, but for what is in the lists of other running threads;
 * empty memory then goes back by the usual rules (APB_OPT_DIRTY_LIMIT,
 * APB_OPT_PURGE_DELAY).
 */
APB_API void apb_settle(void);

/**
 * apb_trim() - give back to the system all that can be given back
 *
 * Settles, unmaps every empty arena and every large mapping kept for reuse,
 * purges the pages of empty pools, and those of pools in use on which there is
 * no block.  What is in the lists of other running threads follows when these
 * threads next take their slow path.
 *
 * Return: the bytes by which the mapped memory shrank, and those that were
 * purged of what is still mapped.
 */
APB_API size_t apb_trim(void);

/**
 * apb_reset() - back to the state before the first call
 *
 * Every block is gone, every mapping is returned, statistics start anew,
 * faults are disarmed.  The OS table, options and the misuse handler stay.
 * Takes microseconds when little was used.
 *
 * Context: no other thread may be inside apb or hold a block.
 *
 * Return: 0, or -1 with errno ENOMEM when some mapping could not be returned
 * (it is forgotten: the state is fresh all the same).
 */
APB_API int apb_reset(void);

/* ---- the OS layer ----------------------------------------------------- */

/**
 * struct apb_os - the table of OS operations
 * @ctx: passed to each of them
 * @map: map @size bytes, a multiple of the page size (4096), readable and
 *	writable, at @hint if it is not NULL and the range is free, anywhere
 *	(page-aligned) otherwise.  Sets *@zero: whether all of it is known to
 *	be zeroes.  Returns NULL and sets errno on failure.
 * @unmap: unmap a range: part of a mapping, all of one, or several that are
 *	adjacent.  0, or -1 with errno (nothing is unmapped then).
 * @purge: give the pages of a mapped range back; it stays mapped and usable,
 *	its content is indeterminate from then on.  0, or -1 with errno (pages
 *	may then be gone or not).
 * @remap: resize a mapping, a part of one, or several that are adjacent; a
 *	system that cannot do the latter fails with EFAULT.  With @new_addr NULL
 *	it is done in place.  Else the pages move to @new_addr, which is a
 *	mapped range of @new_size bytes and is replaced; the old range is
 *	unmapped.  Added pages are zero.  0, or -1 with errno (nothing changed,
 *	but that after ENXIO the range at @new_addr is unmapped).
 * @now: milliseconds since any moment, never less than before, at the price
 *	of a few instructions.  NULL: no clock; see APB_OPT_PURGE_DELAY.
 * @advise: recommend (@huge) or rule out huge pages for a mapped range; may
 *	do nothing.  NULL: APB_OPT_THP has no effect.
 * @purge_zeroes: what @purge gives back reads as zeroes afterwards.
 */
struct apb_os {
	void *ctx;
	void *(*map)(void *ctx, void *hint, size_t size, bool *zero);
	int (*unmap)(void *ctx, void *addr, size_t size);
	int (*purge)(void *ctx, void *addr, size_t size);
	int (*remap)(void *ctx, void *addr, size_t old_size, size_t new_size,
		     void *new_addr);
	uint64_t (*now)(void *ctx);
	void (*advise)(void *ctx, void *addr, size_t size, bool huge);
	bool purge_zeroes;
};

/**
 * apb_set_os() - replace the OS operations
 * @os: copied; NULL puts the real kernel back
 *
 * The operations are called with apb's lock held: they must not call apb.
 *
 * Return: 0, or -1 with errno EBUSY while anything is mapped (apb_reset()
 * first), EINVAL when an operation is missing.
 */
APB_API int apb_set_os(const struct apb_os *os);

/* Calls of the OS table, as indices and (1u << index) as masks. */
enum apb_os_call {
	APB_OS_MAP,
	APB_OS_UNMAP,
	APB_OS_PURGE,
	APB_OS_REMAP,
	APB_OS_NR
};

/* Which of the calls named by a fault's mask fail. */
enum apb_fault_mode {
	APB_FAULT_OFF,
	APB_FAULT_ONCE, /* the @n-th counted from arming, 1 is the next */
	APB_FAULT_FROM, /* the @n-th and all after it */
	APB_FAULT_RANDOM /* each with probability 1 / @n, seeded by @seed */
};

/**
 * struct apb_fault - a fault to be injected into the OS calls
 * @mode: which of the calls fail
 * @calls: mask of 1u << enum apb_os_call
 * @n: see @mode; 0 is taken as 1
 * @seed: of APB_FAULT_RANDOM
 */
struct apb_fault {
	enum apb_fault_mode mode;
	unsigned int calls;
	uint64_t n;
	uint64_t seed;
};

/* What happened since the last apb_fault_set() or apb_reset(). */
struct apb_fault_stats {
	uint64_t calls[APB_OS_NR]; /* calls made, those failed included */
	uint64_t failed[APB_OS_NR]; /* of these, made to fail: errno ENOMEM */
};

/**
 * apb_fault_set() - arm a fault; the counters start at 0
 * @fault: copied; NULL disarms
 */
APB_API void apb_fault_set(const struct apb_fault *fault);

/**
 * apb_fault_get() - read the counters of calls and injected failures
 * @stats: filled
 */
APB_API void apb_fault_get(struct apb_fault_stats *stats);

/* ---- options ---------------------------------------------------------- */

/*
 * The environment variable APB_OPTIONS sets them as well, before the first
 * block is made: "dirty_limit=4m,thp=never".  alloc/shim/README.md has the list.
 */
enum apb_option {
	/*
	 * Blocks that a thread's list of free blocks of one size holds before
	 * it is settled, 1 to 4095; 0 (default): by block size, adapted to what
	 * the program does.
	 */
	APB_OPT_SETTLE_PERIOD,
	/*
	 * Bytes of empty pools that may stay resident; when there are more,
	 * empty arenas are unmapped, and if there are more still, pools purged
	 * down to half of it.  0: all at once.  APB_DIRTY_AUTO (default): 1 MiB
	 * and 1/128 of the bytes in pools in use, and eight times what the
	 * program has shown to need again soon after it was given back, up to
	 * 64 MiB and 1/4 of the bytes in use.
	 */
	APB_OPT_DIRTY_LIMIT,
	/*
	 * Milliseconds after which memory that is retained for reuse, but was
	 * not needed, is given back: empty pools, empty arenas, mappings of
	 * freed large blocks.  Looked at whenever a pool or a large block comes
	 * or goes, so it is up to twice as long.  0: nothing is retained, all
	 * is given back at once.  Default: 500.  Without a clock (see struct
	 * apb_os) 64 MiB and eight times the bound, moved in and out, count
	 * for it.
	 */
	APB_OPT_PURGE_DELAY,
	/*
	 * Bytes of mappings of freed large blocks that are kept for reuse at
	 * most; 0: none.  Default: 64 MiB.  How many are kept in fact follows
	 * what the program needs again.
	 */
	APB_OPT_LARGE_CACHE,
	/*
	 * 1: fill blocks with 0xa5 when they are made and 0x5a when they are
	 * freed, and see that these are still there when they are handed out
	 * again; large blocks are only filled when they are made.  Slow.  Only
	 * before the first allocation.
	 */
	APB_OPT_JUNK,
	/* Transparent huge pages, for what is mapped from now on. */
	APB_OPT_THP,
	/*
	 * Tracking builds only (ENOTSUP elsewhere): bytes of freed blocks, 8
	 * more counted for each, that are held back from reuse, in the order in
	 * which they were freed.  A use of such a block is reported as what it
	 * is.  Default: 256 MiB with AddressSanitizer, 20 MiB under valgrind,
	 * else 0.
	 */
	APB_OPT_QUARANTINE,
	APB_OPT_NR
};
/* Values of APB_OPT_THP. */
enum apb_thp {
	APB_THP_SYSTEM, /* as the system has it; the default */
	APB_THP_NEVER, /* MADV_NOHUGEPAGE on every mapping of 1 MiB and more */
	APB_THP_ALWAYS, /* MADV_HUGEPAGE */
	APB_THP_NR
};
#define APB_DIRTY_AUTO SIZE_MAX

/**
 * apb_set_option() - set an option
 * @opt: which
 * @value: to what
 *
 * Return: 0, or -1 with errno EINVAL for an unknown option or a value out of
 * range, EBUSY for APB_OPT_JUNK once a thread has allocated, ENOTSUP for
 * APB_OPT_QUARANTINE in other than tracking builds.
 */
APB_API int apb_set_option(enum apb_option opt, size_t value);

/* ---- misuse ----------------------------------------------------------- */

enum apb_misuse_kind {
	APB_MISUSE_DOUBLE_FREE, /* block was freed, and not handed out again */
	APB_MISUSE_INTERIOR, /* not the start of a block */
	APB_MISUSE_NEVER_ALLOCATED, /* block was not handed out yet */
	APB_MISUSE_UNUSED_POOL, /* pool is empty: it has no blocks now */
	APB_MISUSE_METADATA, /* the arena's header */
	APB_MISUSE_FOREIGN, /* no mapping of ours, or one of a freed large block */
	APB_MISUSE_WRONG_SIZE, /* sized free, size of another class */
	APB_MISUSE_WRONG_ALIGN, /* sized free, alignment it does not have */
	APB_MISUSE_CORRUPT, /* free block was written to (APB_OPT_JUNK) */
	APB_MISUSE_NR
};

/**
 * struct apb_misuse - a report
 * @kind: what was found
 * @ptr: the pointer that was passed (for APB_MISUSE_CORRUPT the free block)
 * @arena: the arena or large mapping it points into, or 0
 * @pool: index of the pool in the arena, or -1
 * @block: index of the block in the pool, or -1
 * @class_size: bytes of each block of the pool, or 0; of a large block: its
 *	usable size
 * @text: the whole report, several lines, as it goes to stderr
 */
struct apb_misuse {
	enum apb_misuse_kind kind;
	const void *ptr;
	uintptr_t arena;
	int pool;
	int block;
	size_t class_size;
	char text[768];
};

typedef void (*apb_misuse_fn)(const struct apb_misuse *m, void *arg);

/**
 * apb_set_misuse() - replace what happens on misuse
 * @fn: called with the report, with no lock held; NULL: the default, which
 *	writes the text to stderr and aborts
 * @arg: passed to @fn
 *
 * If @fn returns, the offending call has had no effect; one that was to hand
 * out a block found to be APB_MISUSE_CORRUPT does so.
 */
APB_API void apb_set_misuse(apb_misuse_fn fn, void *arg);

/* ---- auditing --------------------------------------------------------- */

/**
 * struct apb_violation - the first invariant that does not hold
 * @invariant: its name, a constant string such as "pool.conservation"
 * @addr: the arena, pool or block where
 * @text: one line
 */
struct apb_violation {
	const char *invariant;
	uintptr_t addr;
	char text[256];
};

/**
 * apb_check() - walk everything, verify every invariant
 * @v: filled on the first violation; may be NULL, then it goes to stderr
 *
 * Changes nothing.  Time is linear in pools and free blocks.
 *
 * Return: 0, or -1 with errno EUCLEAN.
 */
APB_API int apb_check(struct apb_violation *v);

/* Number of size classes, and one more as class 0 does not exist. */
#define APB_NR_CLASSES 56
/* Pools come in so many sizes. */
#define APB_NR_POOL_SIZES 3

struct apb_class_stats {
	size_t size; /* bytes of a block */
	size_t pool_size; /* bytes of a pool */
	size_t pools; /* in use by the class */
	size_t used; /* blocks the program holds */
	size_t avail; /* blocks free or not yet handed out */
};

/**
 * struct apb_stats - where the memory is
 *
 * used_bytes + avail_bytes + unused_pool_bytes + header_bytes + quant_bytes +
 * align_bytes is exactly arenas * arena size.
 */
struct apb_stats {
	struct apb_class_stats class_[APB_NR_CLASSES];
	size_t arenas_total; /* arenas ever mapped */
	size_t arenas_reclaimed; /* arenas unmapped again */
	size_t arenas_highwater;
	size_t arenas; /* mapped now */
	size_t spares; /* of these, without a pool in use */
	size_t arena_bytes;
	size_t used_bytes; /* in blocks the program holds */
	size_t avail_bytes; /* in blocks free or not yet handed out */
	struct {
		size_t size; /* bytes of a pool */
		size_t nr;
	} unused_pools[APB_NR_POOL_SIZES];
	size_t unused_pool_bytes;
	size_t header_bytes; /* descriptors and their padding */
	size_t quant_bytes; /* remainders behind the last block */
	size_t align_bytes; /* colour offsets before the first block */
	size_t large; /* large blocks */
	size_t large_bytes; /* their usable bytes */
	size_t large_slack_bytes; /* mapped behind them */
	size_t large_cached; /* mappings of freed ones, kept for reuse */
	size_t large_cached_bytes;
	size_t map_bytes; /* the address map */
	size_t heaps; /* of threads, and those waiting for one */
	size_t heap_bytes; /* mapped for heaps, their lists and batches */
	size_t slop_bytes; /* not in use, but the system refused to unmap */
	size_t mapped_bytes; /* all that is mapped */
	size_t mapped_highwater;
	size_t dirty_bytes; /* empty pools not purged */
	size_t dirty_limit; /* the bound on that, now */
	uint64_t purges; /* purge calls that succeeded */
	uint64_t settles; /* times a list was settled */
	uint64_t settled; /* blocks taken back to their pools */
	uint64_t recovered; /* out of memory, but settling found some */
	uint64_t unmap_failures; /* the OS refused, memory was kept */
};

/**
 * apb_stats() - read the statistics
 * @stats: filled; exact at the moment of the call
 */
APB_API void apb_stats(struct apb_stats *stats);

/**
 * apb_stats_print() - print the statistics in the layout of CPython's
 * sys._debugmallocstats()
 * @fd: file descriptor
 *
 * Return: 0, or -1 with errno set by write().
 */
APB_API int apb_stats_print(int fd);

#ifdef __cplusplus
}
#endif
#endif /* APB_APB_H */
