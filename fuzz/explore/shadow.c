// SPDX-License-Identifier: MIT
/*
 * Shadow memory; see shadow.h.  Pages of cells, made when they are first
 * needed and kept from run to run, as runs touch the same addresses; found in
 * a hash table.  A cell and a page count only if they are of this run.
 */
#include "shadow.h"

#include "sched.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_SHIFT 12
#define CELLS 512u
#define ACCESSES 8u /* kept of each 8 bytes */
#define SLOTS 16384u /* pages at most; a power of two */

struct cell {
	uint32_t run;
	uint32_t nr;
	struct shadow_access access[ACCESSES];
};

struct page {
	uint32_t run;
	struct cell cell[CELLS];
};

static struct {
	uintptr_t number; /* of the page, + 1; 0: none */
	struct page *page;
} slot[SLOTS];

static uint32_t run;

static struct {
	uintptr_t number;
	struct page *page;
} last;

void shadow_reset(void)
{
	/* no run has number 0, as fresh memory has it */
	if (!++run) {
		fprintf(stderr, "apb-explore: too many runs\n");
		exit(2);
	}
}

static struct page *new_page(void)
{
	void *p = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		sched_fail("limit", "no memory for what the detector knows");
	return p;
}

static struct page *find_page(uintptr_t addr, bool make)
{
	uintptr_t number = (addr >> PAGE_SHIFT) + 1;
	unsigned int i, tries;

	if (last.number == number)
		return last.page;
	i = (unsigned int)(number * UINT64_C(0x9e3779b97f4a7c15) >> 40) % SLOTS;
	for (tries = 0; slot[i].number && slot[i].number != number; tries++) {
		if (tries == SLOTS / 2)
			sched_fail("limit", "too many pages were touched");
		i = (i + 1) % SLOTS;
	}
	if (!slot[i].number) {
		if (!make)
			return NULL;
		slot[i].page = new_page();
		slot[i].number = number;
	}
	last.number = number;
	last.page = slot[i].page;
	return last.page;
}

static bool races(const struct shadow_access *a, const struct shadow_access *b,
		  const uint32_t *clock)
{
	return a->thread != b->thread && a->mask & b->mask &&
	       (a->flags | b->flags) & SHADOW_WRITE &&
	       !(a->flags & b->flags & SHADOW_ATOMIC) &&
	       b->clock > clock[b->thread];
}

/* Whether whatever races with @old will race with @now, which comes after. */
static bool replaces(const struct shadow_access *now,
		     const struct shadow_access *old, const uint32_t *clock)
{
	return old->clock <= clock[old->thread] && !(old->mask & ~now->mask) &&
	       (now->flags & SHADOW_WRITE || !(old->flags & SHADOW_WRITE)) &&
	       (!(now->flags & SHADOW_ATOMIC) || old->flags & SHADOW_ATOMIC);
}

static const struct shadow_access *
note(struct cell *c, const struct shadow_access *now, const uint32_t *clock)
{
	unsigned int i, kept = 0;

	for (i = 0; i < c->nr; i++) {
		if (races(now, &c->access[i], clock))
			return &c->access[i];
		if (!replaces(now, &c->access[i], clock))
			c->access[kept++] = c->access[i];
	}
	/* the oldest has to go: a race with it is missed */
	if (kept == ACCESSES)
		memmove(c->access, c->access + 1,
			--kept * sizeof(c->access[0]));
	c->access[kept++] = *now;
	c->nr = kept;
	return NULL;
}

const struct shadow_access *shadow_note(uintptr_t addr,
					const struct shadow_access *now,
					const uint32_t *clock)
{
	struct page *page = find_page(addr, true);
	struct cell *c = &page->cell[addr / 8 % CELLS];

	page->run = run;
	if (c->run != run) {
		c->run = run;
		c->nr = 0;
	}
	return note(c, now, clock);
}

const struct shadow_access *shadow_range(uintptr_t addr, size_t size,
					 const struct shadow_access *now,
					 const uint32_t *clock, uintptr_t *at)
{
	uintptr_t end = addr + size;
	const struct shadow_access *before;

	for (; addr < end; addr += (uintptr_t)1 << PAGE_SHIFT) {
		struct page *page = find_page(addr, false);

		if (!page || page->run != run)
			continue;
		for (unsigned int i = 0; i < CELLS; i++) {
			if (page->cell[i].run != run)
				continue;
			*at = addr + i * 8;
			before = note(&page->cell[i], now, clock);
			if (before)
				return before;
		}
	}
	return NULL;
}
