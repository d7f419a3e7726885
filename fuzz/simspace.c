// SPDX-License-Identifier: MIT
/* The address space of the simulated kernel; see simspace.h. */
#include "simspace.h"

#include <string.h>

#define MIB_PAGES 256u
#define NOWHERE SIMSPACE_NOWHERE

void simspace_reset(struct simspace *s, uint32_t limit)
{
	s->limit = limit;
	s->nr = 0;
	s->erased = 0;
}

/* Index of the first range that ends behind @page. */
static uint32_t find(const struct simspace *s, uint32_t page)
{
	uint32_t lo = 0, hi = s->nr;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (s->ranges[mid].end > page)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

bool simspace_mapped(const struct simspace *s, struct range r)
{
	uint32_t i = find(s, r.start);

	return i < s->nr && s->ranges[i].start <= r.start &&
	       s->ranges[i].end >= r.end;
}

bool simspace_vacant(const struct simspace *s, struct range r)
{
	uint32_t i = find(s, r.start);

	return r.end <= s->limit && (i == s->nr || s->ranges[i].start >= r.end);
}

static void open_slot(struct simspace *s, uint32_t i)
{
	memmove(&s->ranges[i + 1], &s->ranges[i],
		(s->nr - i) * sizeof(s->ranges[0]));
	s->nr++;
}

static void close_slot(struct simspace *s, uint32_t i)
{
	s->nr--;
	memmove(&s->ranges[i], &s->ranges[i + 1],
		(s->nr - i) * sizeof(s->ranges[0]));
}

void simspace_insert(struct simspace *s, struct range r)
{
	uint32_t i = find(s, r.start);
	bool below = i && s->ranges[i - 1].end == r.start;
	bool above = i < s->nr && s->ranges[i].start == r.end;

	if (below && above) {
		s->ranges[i - 1].end = s->ranges[i].end;
		close_slot(s, i);
	} else if (below) {
		s->ranges[i - 1].end = r.end;
	} else if (above) {
		s->ranges[i].start = r.start;
	} else {
		open_slot(s, i);
		s->ranges[i] = r;
	}
}

void simspace_erase(struct simspace *s, struct range r)
{
	uint32_t i = find(s, r.start);
	struct range old = s->ranges[i];

	if (old.start < r.start && old.end > r.end) {
		open_slot(s, i);
		s->ranges[i].end = r.start;
		s->ranges[i + 1].start = r.end;
	} else if (old.start < r.start) {
		s->ranges[i].end = r.start;
	} else if (old.end > r.end) {
		s->ranges[i].start = r.end;
	} else {
		close_slot(s, i);
	}
	s->recent[s->erased++ % SIMSPACE_RECENT] = r;
}

int simspace_erase_adds(const struct simspace *s, struct range r)
{
	struct range old = s->ranges[find(s, r.start)];

	return (old.start < r.start) + (old.end > r.end) - 1;
}

int simspace_insert_adds(const struct simspace *s, struct range r)
{
	uint32_t i = find(s, r.start);

	return 1 - (i && s->ranges[i - 1].end == r.start) -
	       (i < s->nr && s->ranges[i].start == r.end);
}

/* The hole below range @i, or, for @i == s->nr, above the last. */
static struct range hole(const struct simspace *s, uint32_t i)
{
	struct range r;

	r.start = i ? s->ranges[i - 1].end : 0;
	r.end = i < s->nr ? s->ranges[i].start : s->limit;
	return r;
}

static bool fits(struct range h, uint32_t n)
{
	return range_pages(h) >= n;
}

static uint32_t lowest_hole(const struct simspace *s, uint32_t n)
{
	uint32_t i;

	for (i = 0; i <= s->nr; i++)
		if (fits(hole(s, i), n))
			return i;
	return NOWHERE;
}

static uint32_t highest_hole(const struct simspace *s, uint32_t n)
{
	uint32_t i;

	for (i = s->nr + 1; i-- > 0;)
		if (fits(hole(s, i), n))
			return i;
	return NOWHERE;
}

static uint32_t random_hole(const struct simspace *s, uint32_t n,
			    uint32_t random)
{
	uint32_t i, nr = 0;

	for (i = 0; i <= s->nr; i++)
		nr += fits(hole(s, i), n);
	if (!nr)
		return NOWHERE;
	random %= nr;
	for (i = 0; !fits(hole(s, i), n) || random--; i++)
		;
	return i;
}

/* Move @start, a place for @n pages in @h, off a MiB, if it can be. */
static uint32_t off_mib(uint32_t start, uint32_t n, struct range h,
			uint32_t random)
{
	uint32_t last = h.end - n;
	uint32_t by = 1 + random % (MIB_PAGES - 1);

	if (start % MIB_PAGES)
		return start;
	if (by <= last - start)
		return start + by;
	if (by <= start - h.start)
		return start - by;
	if (start < last)
		return start + 1;
	return start > h.start ? start - 1 : start;
}

/* The same, onto one: arenas then find their alignment at once. */
static uint32_t onto_mib(uint32_t start, uint32_t n, struct range h)
{
	uint32_t down = start - start % MIB_PAGES;
	uint32_t up = down == start ? start : down + MIB_PAGES;

	if (up <= h.end - n)
		return up;
	return down >= h.start ? down : start;
}

uint32_t simspace_place_recent(const struct simspace *s, uint32_t n)
{
	uint32_t i,
		nr = s->erased < SIMSPACE_RECENT ? s->erased : SIMSPACE_RECENT;

	for (i = 1; i <= nr; i++) {
		struct range r = s->recent[(s->erased - i) % SIMSPACE_RECENT];

		if (!fits(r, n))
			continue;
		r.end = r.start + n;
		if (simspace_vacant(s, r))
			return r.start;
	}
	return NOWHERE;
}

/*
 * Low, high, or in the middle of something.  The places in large holes are
 * within some MiB of an end, so that the same memory is used again and again:
 * a fresh page costs more than all the rest.
 */
uint32_t simspace_place(const struct simspace *s, uint32_t n, uint32_t random,
			bool misalign)
{
	uint32_t i, slack, start;
	struct range h;

	switch (random % 8) {
	case 0 ... 3:
		i = lowest_hole(s, n);
		break;
	case 4 ... 5:
		i = highest_hole(s, n);
		break;
	default:
		i = random_hole(s, n, random >> 3);
		break;
	}
	if (i == NOWHERE)
		return NOWHERE;
	h = hole(s, i);
	slack = range_pages(h) - n;
	switch (random % 8) {
	case 0 ... 3:
		start = h.start;
		break;
	case 4 ... 5:
		start = h.end - n;
		break;
	default:
		/* one of 16 MiB, one of its first four pages */
		start = (random >> 8 & 15) * MIB_PAGES + (random >> 12 & 3);
		start = h.start + start % (slack + 1);
		break;
	}
	if (misalign)
		return off_mib(start, n, h, random >> 16);
	return n < MIB_PAGES ? start : onto_mib(start, n, h);
}
