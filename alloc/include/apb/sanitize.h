/* SPDX-License-Identifier: MIT */
/*
 * apb/sanitize.h - what an allocator tells the tools about its blocks.
 *
 * AddressSanitizer, MemorySanitizer, ThreadSanitizer, LeakSanitizer and
 * valgrind know what malloc hands out.  An allocator that cuts blocks out of
 * memory of its own tells them here, and they see its blocks as well: where
 * each ends, to the byte; that it is dead; that it is not initialised; that
 * nothing points to it.  Reports name the block, its size, and the stacks of
 * its birth and death.
 *
 * This is one header for all tools.  Which tool it is for is found out from the
 * compiler's macros (valgrind, of which the compiler knows nothing: define
 * APB_SAN_VALGRIND).  Without any, all functions are empty and inline.
 *
 * An allocator calls, in this order, with none of its locks held where it can:
 *
 *   apb_san_pool_made()  once for each range that it will cut blocks from
 *   apb_san_born()       before it hands a block out
 *   apb_san_resized()    when a block changes its size in place
 *   apb_san_died()       when a block is given back
 *   apb_san_pool_gone()  before the range is unmapped or used otherwise
 *
 * Blocks begin at multiples of APB_SAN_ALIGN, and between two of them there are
 * at least APB_SAN_GAP bytes which nobody uses: an overflow has to land
 * somewhere.  The last block of a pool has a gap behind it, too, if something else
 * follows in the same APB_SAN_ALIGN bytes.  A dead block should be handed out again
 * as late as possible.
 */
#ifndef APB_SANITIZE_H
#define APB_SANITIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- which tool ------------------------------------------------------- */

#ifdef __has_feature
#define APB_SAN_HAS(x) __has_feature(x)
#else
#define APB_SAN_HAS(x) 0
#endif

/* gcc has no macro for leak: define it with -fsanitize=leak. */
#ifndef APB_SAN_ADDRESS
#if APB_SAN_HAS(address_sanitizer) || defined(__SANITIZE_ADDRESS__)
#define APB_SAN_ADDRESS 1
#else
#define APB_SAN_ADDRESS 0
#endif
#endif
#ifndef APB_SAN_MEMORY
#define APB_SAN_MEMORY APB_SAN_HAS(memory_sanitizer)
#endif
#ifndef APB_SAN_THREAD
#if APB_SAN_HAS(thread_sanitizer) || defined(__SANITIZE_THREAD__)
#define APB_SAN_THREAD 1
#else
#define APB_SAN_THREAD 0
#endif
#endif
#ifndef APB_SAN_LEAK
#define APB_SAN_LEAK APB_SAN_HAS(leak_sanitizer)
#endif
#ifndef APB_SAN_VALGRIND
#define APB_SAN_VALGRIND 0
#endif

/* Any of them. */
#define APB_SAN                                                 \
	(APB_SAN_ADDRESS || APB_SAN_MEMORY || APB_SAN_THREAD || \
	 APB_SAN_LEAK || APB_SAN_VALGRIND)

#define APB_SAN_ALIGN ((size_t)8)
#define APB_SAN_GAP ((size_t)(APB_SAN_ADDRESS || APB_SAN_VALGRIND ? 16 : 0))

/* ---- what is told ----------------------------------------------------- */

enum apb_san_state {
	APB_SAN_NONE, /* no block there, and none known to have been */
	APB_SAN_LIVE,
	APB_SAN_DEAD,
};

/* What is known of a block.  Stacks are numbers, 0 for none. */
struct apb_san_block {
	const void *addr;
	size_t size;
	enum apb_san_state state;
	uint32_t born_stack, died_stack;
	uint32_t born_thread, died_thread; /* 0: the first */
};

/*
 * A range of memory.  The caller provides the structure, zeroed, sets name,
 * addr, size and, if he knows best what his blocks are, the two functions; the
 * rest is the layer's.
 */
struct apb_san_pool {
	const char *name; /* in reports; static */
	void *addr;
	size_t size;
	/*
	 * The block that @addr is in, or the one nearest to it that it may have
	 * been meant for; false if there is none.  Called while a report is
	 * made: no allocation, no lock that is held while blocks are made.
	 * NULL: the layer keeps its own record of each block.
	 */
	bool (*find)(const struct apb_san_pool *pool, const void *addr,
		     struct apb_san_block *block);
	/* With find: calls @fn for all live blocks, with all threads stopped. */
	void (*walk)(const struct apb_san_pool *pool,
		     void (*fn)(const struct apb_san_block *block, void *arg),
		     void *arg);
	struct apb_san_pool *next, *prev;
	void *record;
};

enum apb_san_free {
	APB_SAN_FREE_DOUBLE, /* a block that is dead */
	APB_SAN_FREE_INSIDE, /* not where a block begins */
	APB_SAN_FREE_WILD, /* nothing of the allocator's */
	APB_SAN_FREE_SIZE, /* by a size that is not the block's */
	APB_SAN_FREE_ALIGN, /* by an alignment that is not the block's */
	APB_SAN_FREE_USABLE, /* no free: asked for the size of what is no block */
};

/* For apb_san_born(). */
#define APB_SAN_ZEROED 1u /* the block is initialised: all zeroes */
#define APB_SAN_KEEP 2u /* it is initialised as far as it was before */

#if APB_SAN

#ifndef APB_SAN_API
#define APB_SAN_API __attribute__((visibility("default")))
#endif

/**
 * apb_san_pool_made() - memory that blocks will be cut from
 * @pool: described by its caller, who keeps it until apb_san_pool_gone()
 *
 * All of it becomes inaccessible, but for blocks.
 *
 * Context: thread-safe; takes the layer's lock; not from a signal handler.
 */
APB_SAN_API void apb_san_pool_made(struct apb_san_pool *pool);

/**
 * apb_san_pool_gone() - the pool's memory is ordinary memory again
 * @pool: as passed to apb_san_pool_made()
 *
 * Accessible, initialised, with no blocks and no history: it may be unmapped
 * or used for anything else.
 *
 * Context: as apb_san_pool_made().
 */
APB_SAN_API void apb_san_pool_gone(struct apb_san_pool *pool);

/**
 * apb_san_pool_reset() - all blocks of the pool die at once
 * @pool: as passed to apb_san_pool_made()
 *
 * Context: as apb_san_pool_made().
 */
APB_SAN_API void apb_san_pool_reset(struct apb_san_pool *pool);

/**
 * apb_san_born() - a block is about to be handed out
 * @pool: the pool it is in
 * @addr: its first byte, a multiple of APB_SAN_ALIGN
 * @size: its bytes, as asked for: not rounded up
 * @flags: 0: uninitialised; APB_SAN_ZEROED or APB_SAN_KEEP
 *
 * Accessible from now on, as far as @size.
 *
 * If the pool has no find() the layer keeps a record of the block, with the
 * calling stack.
 *
 * Context: thread-safe, lock-free.
 */
APB_SAN_API void apb_san_born(struct apb_san_pool *pool, void *addr,
			      size_t size, unsigned int flags);

/**
 * apb_san_died() - a block was given back
 * @pool: the pool it is in
 * @addr: as passed to apb_san_born()
 * @size: its bytes, as they were last
 *
 * Inaccessible from now on.  If the pool has no find(), and this is no live
 * block of this size, that is reported as apb_san_bad_free() would.
 *
 * Context: as apb_san_born().
 */
APB_SAN_API void apb_san_died(struct apb_san_pool *pool, void *addr,
			      size_t size);

/**
 * apb_san_resized() - a block has another size, where it is
 * @pool: the pool it is in
 * @addr: as passed to apb_san_born()
 * @old_size: its bytes until now
 * @new_size: its bytes from now on; what is new is uninitialised
 *
 * Context: as apb_san_born().
 */
APB_SAN_API void apb_san_resized(struct apb_san_pool *pool, void *addr,
				 size_t old_size, size_t new_size);

/**
 * apb_san_find() - what is known of an address
 * @addr: any
 * @block: filled
 *
 * Return: the pool that it is in; NULL: in none that has a block there.
 *
 * Context: thread-safe; waits for no lock for longer than a moment, and finds
 * nothing then: it is called while reports are made.
 */
APB_SAN_API const struct apb_san_pool *
apb_san_find(const void *addr, struct apb_san_block *block);

/**
 * apb_san_bad_free() - report a free that is none, as the tool would
 * @kind: what is wrong with it
 * @addr: the pointer that was passed
 *
 * Does what the tool does at an error: if that goes on, it returns.
 *
 * Context: with no lock held.
 */
APB_SAN_API void apb_san_bad_free(enum apb_san_free kind, const void *addr);

/**
 * apb_san_bad_free_sized() - the same, of a free that tells more
 * @kind: as for apb_san_bad_free()
 * @addr: the same
 * @size: the size that was passed, or 0
 * @align: the alignment that was passed, or 0
 *
 * Context: with no lock held.
 */
APB_SAN_API void apb_san_bad_free_sized(enum apb_san_free kind,
					const void *addr, size_t size,
					size_t align);

/**
 * apb_san_stack() - the stack as it is now
 *
 * Return: its number, the same for the same stack; 0 if the tool has no need
 * of it.  For pools with find(), which keep their blocks' stacks themselves.
 *
 * Context: thread-safe, lock-free.
 */
APB_SAN_API uint32_t apb_san_stack(void);

/**
 * apb_san_thread() - the number of the calling thread, 0 for the first one
 */
APB_SAN_API uint32_t apb_san_thread(void);

/**
 * apb_san_leak_check() - look for leaked blocks of all pools now
 *
 * Blocks are live and nothing leads to them: from no global variable, stack,
 * register, from no block that something leads to.  Each is reported with the
 * stack of its birth.  Done at exit, too.  What the tool's own allocator leaks
 * is its own to report.
 *
 * Return: the number of blocks leaked; 0 if the tool does not look for leaks.
 *
 * Context: all other threads are stopped meanwhile; with no lock held.
 */
APB_SAN_API size_t apb_san_leak_check(void);

#else /* !APB_SAN */

static inline void apb_san_pool_made(struct apb_san_pool *pool)
{
	(void)pool;
}

static inline void apb_san_pool_gone(struct apb_san_pool *pool)
{
	(void)pool;
}

static inline void apb_san_pool_reset(struct apb_san_pool *pool)
{
	(void)pool;
}

static inline void apb_san_born(struct apb_san_pool *pool, void *addr,
				size_t size, unsigned int flags)
{
	(void)pool;
	(void)addr;
	(void)size;
	(void)flags;
}

static inline void apb_san_died(struct apb_san_pool *pool, void *addr,
				size_t size)
{
	(void)pool;
	(void)addr;
	(void)size;
}

static inline void apb_san_resized(struct apb_san_pool *pool, void *addr,
				   size_t old_size, size_t new_size)
{
	(void)pool;
	(void)addr;
	(void)old_size;
	(void)new_size;
}

static inline const struct apb_san_pool *
apb_san_find(const void *addr, struct apb_san_block *block)
{
	(void)addr;
	(void)block;
	return NULL;
}

static inline void apb_san_bad_free(enum apb_san_free kind, const void *addr)
{
	(void)kind;
	(void)addr;
}

static inline void apb_san_bad_free_sized(enum apb_san_free kind,
					  const void *addr, size_t size,
					  size_t align)
{
	(void)kind;
	(void)addr;
	(void)size;
	(void)align;
}

static inline uint32_t apb_san_stack(void)
{
	return 0;
}

static inline uint32_t apb_san_thread(void)
{
	return 0;
}

static inline size_t apb_san_leak_check(void)
{
	return 0;
}

#endif /* APB_SAN */

#ifdef __cplusplus
}
#endif

#endif /* APB_SANITIZE_H */
