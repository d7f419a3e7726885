/* SPDX-License-Identifier: MIT */
/*
 * A simulated kernel for struct apb_os: a deterministic address space of
 * SIMOS_SPACE bytes at a fixed address, backed by ordinary memory.
 *
 * It hands addresses out in an order that depends on the seed only, says
 * "zero" only of memory that is, scribbles over purged pages and over memory
 * that it hands out as not zero, refuses what a correct caller never does
 * (and keeps the first such violation for the harness), and knows at every
 * moment what is mapped.  Not thread-safe: the allocator's lock covers it.
 */
#ifndef APB_SIMOS_H
#define APB_SIMOS_H

#include <apb/apb.h>

/*
 * 88 TiB: the same under every sanitizer, for it is no shadow memory of any
 * of them, and away from where programs, heaps and libraries are loaded.  It
 * lies in two 4 GiB slices.  To gcc's ThreadSanitizer no address of a program
 * is over 0x568000000000, and it lies in the last but one two below that.
 */
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define SIMOS_BASE ((uintptr_t)0x567ef8000000)
#define SIMOS_BASE_TEXT "0x567ef8" /* and six digits; the end: and seven */
#define SIMOS_END_TEXT "0x567f0"
#define SIMOS_LAST_SLICE_TEXT "22143"
#else
#define SIMOS_BASE ((uintptr_t)0x57fff8000000)
#define SIMOS_BASE_TEXT "0x57fff8"
#define SIMOS_END_TEXT "0x58000"
#define SIMOS_LAST_SLICE_TEXT "22528"
#endif
#define SIMOS_SPACE ((size_t)256 << 20)

/*
 * What is handed out as not zero is scribbled over on the first so many pages
 * (SIMOS_FILL: on all).  Under ASan what is unmapped is poisoned: whole up to
 * so many pages, else that many at each end.
 */
#define SIMOS_SCRIBBLE_PAGES 16u
#define SIMOS_POISON_WHOLE 64u
#define SIMOS_POISON_EDGE 16u

/* With SIMOS_FEW at least so many mappings, and less than twice as many. */
#define SIMOS_FEW_MAPPINGS 16u

enum simos_flags {
	SIMOS_HINTS = 1 << 0, /* honour hints that are free (else: ignore) */
	SIMOS_MISALIGN = 1 << 1, /* prefer addresses not aligned to 1 MiB */
	SIMOS_REUSE = 1 << 2, /* prefer addresses unmapped last */
	SIMOS_NONZERO = 1 << 3, /* never say zero */
	SIMOS_TIGHT = 1 << 4, /* only 8 MiB of address space */
	/*
	 * Scribble over all of every page instead of its first words: slow,
	 * but then all content is a function of the seed and the calls.  For
	 * replay: a fuzzing process that has run long shows the allocator
	 * stale bytes everywhere, a fresh one would show it zeroes.
	 */
	SIMOS_FILL = 1 << 5,
	SIMOS_PURGE_ZEROES = 1
			     << 6, /* what was purged is zero, and it says so */
	SIMOS_NO_CLOCK = 1 << 7, /* it has none */
	/*
	 * Few mappings, as many as the seed says: beyond, a map fails, and so
	 * does what would make two mappings of one.
	 */
	SIMOS_FEW = 1 << 8,
};

struct simos_stats {
	uint64_t calls[APB_OS_NR]; /* since simos_reset() */
	uint64_t failed[APB_OS_NR]; /* of these, by simos_fault() */
	uint64_t refused; /* for want of address space or mappings: ENOMEM */
	size_t mappings; /* maximal contiguous mapped ranges */
	size_t mapped; /* bytes */
	size_t mapped_highwater;
	size_t purged; /* bytes of mapped pages purged since they were mapped;
			  a page that is used again is not known to be */
};

/*
 * Start anew: nothing mapped, everything a function of @seed and @flags.
 * Cheap: proportional to what was mapped, not to the address space.
 * Returns 0, or -1 when the address space cannot be had at SIMOS_BASE.
 */
int simos_reset(uint64_t seed, unsigned int flags);

/* The table to pass to apb_set_os(); simos_reset() may change it. */
const struct apb_os *simos_ops(void);

/* Whether all of [addr, addr + size) is mapped. */
bool simos_is_mapped(const void *addr, size_t size);

/*
 * Fail calls in the simulation itself (beside the allocator's own fault
 * layer): same meaning as apb_fault_set(), errno ENOMEM.  NULL disarms.
 */
void simos_fault(const struct apb_fault *fault);

/* From now on there may be as many mappings as there is space for. */
void simos_lift_limit(void);

void simos_stats(struct simos_stats *stats);

/* Time stands still but for this: so many milliseconds pass. */
void simos_pass(uint64_t ms);

/*
 * The first thing a correct caller never does - an unmap or purge of what is
 * not mapped, an unaligned range, a remap onto nothing, ... - in words, or
 * NULL.  The call itself failed with EINVAL.
 */
const char *simos_violation(void);

#endif /* APB_SIMOS_H */
