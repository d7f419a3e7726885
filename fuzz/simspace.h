/* SPDX-License-Identifier: MIT */
/*
 * The address space of the simulated kernel: which pages are mapped, and where
 * the next mapping goes.  Page numbers only; nothing here touches memory that
 * is simulated, and nothing here is random: what is drawn is passed in.
 */
#ifndef APB_SIMSPACE_H
#define APB_SIMSPACE_H

#include <stdbool.h>
#include <stdint.h>

#define SIMSPACE_PAGES 65536u
#define SIMSPACE_RANGES (SIMSPACE_PAGES / 2)
#define SIMSPACE_RECENT 8u
#define SIMSPACE_NOWHERE UINT32_MAX

/* The pages from @start to before @end; never empty but for a hole. */
struct range {
	uint32_t start, end;
};

static inline uint32_t range_pages(struct range r)
{
	return r.end - r.start;
}

/*
 * Invariant: ranges are sorted, not empty, and neither overlap nor touch.
 * Everything is linear in their number.
 */
struct simspace {
	uint32_t limit; /* pages from here on are never handed out */
	uint32_t nr;
	uint32_t erased; /* ranges ever put into recent[] */
	struct range recent[SIMSPACE_RECENT];
	struct range ranges[SIMSPACE_RANGES];
};

void simspace_reset(struct simspace *s, uint32_t limit);

/* Whether every page of @r is mapped. */
bool simspace_mapped(const struct simspace *s, struct range r);

/* Whether no page of @r is mapped and all of them may be. */
bool simspace_vacant(const struct simspace *s, struct range r);

/* Map @r, which is vacant. */
void simspace_insert(struct simspace *s, struct range r);

/* Unmap @r, which is mapped. */
void simspace_erase(struct simspace *s, struct range r);

/* By how many more ranges there are after an erase or an insert: -1, 0, 1. */
int simspace_erase_adds(const struct simspace *s, struct range r);
int simspace_insert_adds(const struct simspace *s, struct range r);

/* Start of the last unmapped range that holds @n pages and is still free. */
uint32_t simspace_place_recent(const struct simspace *s, uint32_t n);

/*
 * A place for @n pages, by @random low, high, or somewhere else.  With
 * @misalign rather off a MiB; else @n of a MiB and more rather on one.
 */
uint32_t simspace_place(const struct simspace *s, uint32_t n, uint32_t random,
			bool misalign);

#endif /* APB_SIMSPACE_H */
