/* SPDX-License-Identifier: MIT */
/*
 * The target's calls of the kernel for memory: counted, and made to fail.
 *
 * In objects loaded with the target, the entries of the global offset table
 * that belong to mmap(), munmap(), mremap(), madvise(), mprotect(), sbrk() and
 * syscall() are replaced.  The C library calls its own without such a table: in
 * its copy the functions' first instructions become a jump.  A library that
 * makes system calls by instructions of its own is not seen (target.hooked).
 *
 * The kinds are those of apb's OS layer: map (mmap, sbrk and mprotect that make
 * memory accessible), unmap, purge (madvise that drops pages), remap.  Between
 * hooks_enter() and hooks_leave() only do calls count and fail; only one thread
 * is there at a time.
 */
#ifndef APB_FOREIGN_HOOKS_H
#define APB_FOREIGN_HOOKS_H

#include <apb/apb.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>

struct hook_counts {
	uint64_t all; /* calls */
	uint64_t calls[APB_OS_NR];
	uint64_t failed[APB_OS_NR]; /* of these; for whatever reason */
};

/* Hook an object; returns how many calls of it were. */
unsigned int hooks_object(const struct link_map *map);

/* Hook the copy of the C library that @handle is. */
unsigned int hooks_libc(void *handle);

void hooks_enter(void);
void hooks_leave(void);

void hooks_counts(struct hook_counts *counts);

/* Fail calls; NULL: none. */
void hooks_fault(const struct apb_fault *fault);

/*
 * No more than @slack bytes beyond what the process has mapped now (RLIMIT_AS).
 * SIZE_MAX: no limit.
 */
void hooks_limit(size_t slack);

/* Lift the limit for something of the harness's own; put it back. */
void hooks_lift(bool lift);

#endif /* APB_FOREIGN_HOOKS_H */
