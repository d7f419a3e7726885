/* SPDX-License-Identifier: MIT */
/*
 * Inside the layer: what its files, the tools' headers and the leak check have
 * of each other.  The public side is apb/sanitize.h; how it works is told in
 * sanitizers/README.md.
 *
 *   pools.c   which pools there are; the public functions
 *   record.c  blocks of pools that have no find()
 *   stack.c   stacks, threads
 *   report.c  what is added to the tool's reports, and reports of bad frees
 *   leak*.c   the leak check
 *   options.c what the tool was told
 *
 * One lock: the pools lock, over the list of pools.  Nothing else is taken
 * under it, and nothing is called under it but the functions given to
 * apb_glue_pools(), pools' find() and walk().
 */
#ifndef APB_GLUE_H
#define APB_GLUE_H

#include "glue/raw.h"

#include <apb/sanitize.h>

/* ---- pools ------------------------------------------------------------ */

/*
 * Call @fn for all pools, in no order, with the pools lock held; false: it
 * was not to be had within a moment, and nothing was called.
 */
bool apb_glue_pools(void (*fn)(struct apb_san_pool *pool, void *arg),
		    void *arg);

/* The pools lock, to be held over a longer work; false: not to be had. */
bool apb_glue_trylock(void);
void apb_glue_unlock(void);

/* As apb_glue_pools(), for one who holds the lock. */
void apb_glue_pools_locked(void (*fn)(struct apb_san_pool *pool, void *arg),
			   void *arg);

/* The block at or near @addr in one pool, by find() or by the records. */
bool apb_glue_find_in(const struct apb_san_pool *pool, const void *addr,
		      struct apb_san_block *block);

/* Call @fn for all live blocks of a pool, by walk() or by the records. */
void apb_glue_walk(const struct apb_san_pool *pool,
		   void (*fn)(const struct apb_san_block *block, void *arg),
		   void *arg);

/* ---- the tool's options ------------------------------------------------ */

/* A name and a value, neither of which ends with a NUL. */
typedef void apb_glue_take_fn(const char *name, size_t name_len,
			      const char *value, size_t len);

/* Call @take for each name=value in a list as the tools have them, or NULL. */
void apb_glue_options(const char *text, apb_glue_take_fn *take);

/* Whether the @len characters at @name are @what. */
bool apb_glue_is(const char *name, size_t len, const char *what);

/* What the tool's max_allocation_size_mb lets a block have, in bytes. */
size_t apb_glue_largest(void);

/* ---- records: pools without find() ------------------------------------ */

/* NULL: no memory; then blocks of the pool are not known by name. */
void *apb_record_made(const struct apb_san_pool *pool);
void apb_record_gone(void *record);
void apb_record_born(void *record, const void *addr, size_t size,
		     uint32_t stack, uint32_t thread);
/* False: it is no live block of that size, and @wrong is what it is. */
bool apb_record_died(void *record, const void *addr, size_t size,
		     enum apb_san_free *wrong, uint32_t stack, uint32_t thread);
void apb_record_resized(void *record, const void *addr, size_t size);

/*
 * One more live block dies, the first from @place on, which is 0 at first; its
 * address and size; NULL: there is none.
 */
void *apb_record_kill(void *record, size_t *place, size_t *size, uint32_t stack,
		      uint32_t thread);
bool apb_record_find(const void *record, const void *addr,
		     struct apb_san_block *block);
void apb_record_walk(const void *record,
		     void (*fn)(const struct apb_san_block *block, void *arg),
		     void *arg);

/* ---- stacks and threads ----------------------------------------------- */

#define APB_STACK_MAX 30 /* frames that are kept */

/*
 * The stack from the caller of the function whose frame is @frame, by its
 * __builtin_frame_address(0); as called by @fn, unless that is NULL.
 */
uint32_t apb_stack_take(const void *fn, const void *frame);

/* The return addresses of a stack, innermost first; their number. */
unsigned int apb_stack_get(uint32_t stack, const uintptr_t **pcs);

/* For tests: what apb_san_thread() of this thread is from now on. */
void apb_thread_set(uint32_t thread);

/* Bytes that stacks take, and how many there are. */
size_t apb_stack_bytes(size_t *nr);

/* ---- reports ---------------------------------------------------------- */

/* A line to where the tool's reports go; without \n. */
__attribute__((format(printf, 1, 2))) void apb_glue_say(const char *fmt, ...);

/* As the tool prints a stack: "    #0 0x55.. in main prog.c:5:3", then "". */
void apb_glue_print_stack(uint32_t stack);
void apb_glue_print_pcs(const uintptr_t *pcs, unsigned int nr);

/* "in main prog.c:5:3" of the innermost frame of a stack, for a summary. */
void apb_glue_where(uint32_t stack, char *buf, size_t size);

/*
 * The tool reports something about @addr: add what is known of the block.
 * @access: bytes that were read or written, 0 if it is no access; @wild: the
 * tool has said that it knows of nothing there.
 */
void apb_glue_reported(const void *addr, size_t access, bool wild);

/* The same of a block that is known: as the tool would tell it of malloc's. */
void apb_glue_describe(const void *addr, size_t access,
		       const struct apb_san_block *block);

/* A free that is none. */
struct apb_glue_free {
	enum apb_san_free kind;
	const void *addr;
	const struct apb_san_block *block; /* what it may be, or NULL */
	size_t size, align; /* as it was called with, 0: without */
	uint32_t stack; /* where */
};

/* The whole report of it, as TOOL_NAME's; ends as the tool does. */
void apb_glue_report_free(const struct apb_glue_free *bad);

/* A request that no allocator can serve, for a mistake in its numbers. */
enum apb_glue_refusal {
	APB_GLUE_CALLOC, /* @n times @size is too much */
	APB_GLUE_REALLOCARRAY,
	APB_GLUE_SIZE, /* @size is */
	APB_GLUE_MEMORY, /* @size is more than there is */
	APB_GLUE_ALIGN, /* @n is none, or @size is no multiple of it */
	APB_GLUE_MEMALIGN, /* @n is none */
	APB_GLUE_POSIX_MEMALIGN,
	APB_GLUE_PVALLOC, /* @size is too much, when it is rounded up */
};

/*
 * Report it if the tool does so of its malloc, and end as it does, unless it is
 * told that its allocator may return NULL.  Of APB_GLUE_MEMORY it is asked
 * whether the tool has none either.
 */
void apb_glue_refused(enum apb_glue_refusal kind, size_t n, size_t size,
		      uint32_t stack);

/* In a child: who was reporting is not there. */
void apb_glue_report_forked(void);

#endif /* APB_GLUE_H */
