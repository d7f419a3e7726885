/* SPDX-License-Identifier: MIT */
/*
 * leak.h - the leak check: what its files have of each other, and what other
 * files call.
 *
 *   leak.c          the public functions, the check at exit, the tool's own
 *   leak_mark.c     the blocks there are, and which are reached
 *   leak_roots.c    where that begins: variables, stacks, registers
 *   leak_maps.c     what is mapped, and what is not to be read
 *   leak_report.c   the report, suppressions
 *   leak_options.c  the tool's options, as far as they matter here
 *   world.c         stopping all threads
 *
 * All of it runs under the check's lock, most of it while all other threads are
 * stopped: no allocation, no lock, no libc that has either.  The tool's
 * functions are called all the same; see world.c.
 */
#ifndef APB_LEAK_H
#define APB_LEAK_H

#include "glue/leak_mem.h"
#include "glue/raw.h"
#include "glue/world.h"

#include <apb/sanitize.h>

/**
 * apb_leak_memory_made() - memory that blocks will be cut from
 * @addr: its start
 * @size: its bytes
 *
 * Until the check at exit, which knows better, the tool's own check takes all of
 * it for pointers: malloc's blocks that are kept in a pool's are no leaks.
 */
void apb_leak_memory_made(const void *addr, size_t size);

/* It is ordinary memory again. */
void apb_leak_memory_gone(const void *addr, size_t size);

/*
 * The range that apb cuts all of its blocks from, mostly unused: the tool takes
 * it for pointers as far as it was used.
 */
struct apb_leak_heap {
	uintptr_t start, size;
	uintptr_t top; /* as far as the tool has been told */
};

extern struct apb_leak_heap apb_leak_heap;

void apb_leak_heap_made(const void *addr, size_t size);
void apb_leak_heap_grow(uintptr_t end);

APB_RAW static inline void apb_leak_heap_used(const void *addr, size_t size)
{
	uintptr_t start = (uintptr_t)addr;

	if (start + size > apb_leak_heap.top &&
	    start - apb_leak_heap.start < apb_leak_heap.size)
		apb_leak_heap_grow(start + size);
}

/* ---- inside the leak check ---------------------------------------------- */

struct leak_options {
	bool detect, at_exit, report_objects, print_suppressions;
	/* not the leak check's: see tool_refuse() and tool_compares_sizes() */
	bool may_return_null, new_delete_mismatch;
	int exitcode;
	size_t max_leaks;
	char suppressions[4096]; /* file name */
};

/* As they were when the program started. */
const struct leak_options *apb_leak_options(void);
void apb_leak_read_options(void);

struct leak_block {
	uintptr_t addr;
	size_t size;
	const struct apb_san_pool *pool;
	uint32_t stack;
	uint32_t parent; /* the block it is in, + 1; 0: none */
	bool reached, indirect;
};

struct leak_range {
	uintptr_t start, end;
	const struct apb_san_pool *pool; /* that it is the memory of, or NULL */
};

enum leak_kind {
	LEAK_FILE,
	LEAK_ANON,
	LEAK_STACK, /* the first thread's */
};

struct leak_map {
	uintptr_t start, end;
	enum leak_kind kind;
	bool writable;
};

/* Numbers that were seen. */
struct leak_set {
	struct leak_array slots[2];
	unsigned int now;
	size_t count;
};

struct leak_check {
	struct world world;
	struct leak_array blocks; /* by address, outer before inner */
	struct leak_array maps; /* readable, by address */
	struct leak_array holes; /* not to be read, by address, may nest */
	struct leak_array all_holes; /* the same, merged */
	struct leak_array work; /* ranges to be read */
	struct leak_array keep; /* malloc's blocks that pools' blocks hold */
	struct leak_set seen; /* malloc's blocks and threads' structures */
	uintptr_t low, span; /* where blocks are */
	size_t unreached;
	uintptr_t sp; /* of the caller: his registers are on the stack, too */
	struct leak_map last_map;
	uintptr_t chunk, chunk_size; /* malloc's block seen last */
	uintptr_t fake; /* ASan's second stack of the thread being read */
	int pagemap; /* of this process, if it may be read; else not above 0 */
	bool whole; /* go on when all blocks are reached */
	bool failed; /* no memory, or the world goes on */
};

APB_RAW static inline struct leak_block *leak_blocks(struct leak_check *check)
{
	return check->blocks.items;
}

/* leak.c: whether it is in memory of a pool that is not malloc's. */
bool leak_is_pools(uintptr_t addr);

/* leak_maps.c */
void leak_read_maps(struct leak_check *check);
const struct leak_map *leak_map_of(struct leak_check *check, uintptr_t addr);
void leak_add_hole(struct leak_check *check, uintptr_t start, uintptr_t end,
		   const struct apb_san_pool *pool);
void leak_sort_holes(struct leak_check *check);

/*
 * Calls @fn for what may be read of a range: of a root (@pool NULL) nothing that
 * is a hole, of a block of @pool no other pool's memory.
 */
void leak_readable(struct leak_check *check, uintptr_t start, uintptr_t end,
		   const struct apb_san_pool *pool,
		   void (*fn)(struct leak_check *check, uintptr_t start,
			      uintptr_t end));

/* leak_mark.c */
void leak_collect(struct leak_check *check, const struct apb_san_pool *pool);
void leak_sort_blocks(struct leak_check *check);
size_t leak_find(struct leak_check *check, uintptr_t addr);
void leak_root(struct leak_check *check, uintptr_t start, uintptr_t end);
bool leak_word(struct leak_check *check, uintptr_t word);
void leak_mark(struct leak_check *check);
void leak_mark_indirect(struct leak_check *check);
void leak_free(struct leak_check *check);

/* leak_tool.c: what is asked of the tool. */
const char *leak_tool_name(void);
bool leak_tool_exact(void);
bool leak_tool_chunk(uintptr_t addr, uintptr_t *start, size_t *size);
uintptr_t leak_tool_fake_stack(void);
bool leak_tool_fake_frame(uintptr_t stack, uintptr_t addr, uintptr_t *start,
			  uintptr_t *end);

/*
 * Around each of these calls while the world is stopped: the tool may wait for
 * a lock that a stopped thread has.
 */
APB_RAW static inline void leak_tool_enter(struct leak_check *check)
{
	world_enter(&check->world);
}

/* False: the world goes on, and nothing may be read any more. */
APB_RAW static inline bool leak_tool_leave(struct leak_check *check)
{
	check->failed |= !world_leave(&check->world);
	return !check->failed;
}

/* leak_roots.c */
void leak_roots(struct leak_check *check);

/* leak_report.c */
size_t leak_report(struct leak_check *check);

#endif
