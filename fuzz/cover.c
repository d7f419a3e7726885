// SPDX-License-Identifier: MIT
/* Which memory is covered by live blocks; see cover.h. */
#include "cover.h"

#include <string.h>
#include <sys/mman.h>

#define REGION ((size_t)1 << COVER_REGION_SHIFT)
#define GRANULE ((size_t)1 << COVER_GRANULE_SHIFT)
#define BIG ((size_t)256 << 20) /* from here on: the list */

enum what {
	TEST,
	SET,
	CLEAR
};

static struct cover_region **bucket_of(struct cover *c, uint64_t id)
{
	size_t i = id * UINT64_C(0x9e3779b97f4a7c15) >> 54;

	while (c->bucket[i] && c->bucket[i]->id != id)
		i = (i + 1) % COVER_BUCKETS;
	return &c->bucket[i];
}

static struct cover_region *find(struct cover *c, uint64_t id)
{
	if (!c->last || c->last->id != id)
		c->last = *bucket_of(c, id);
	return c->last;
}

static struct cover_region *find_or_make(struct cover *c, uint64_t id)
{
	struct cover_region **bucket, *region = find(c, id);

	if (region)
		return region;
	if (c->nr_used == COVER_REGIONS)
		return NULL;
	if (c->nr_used == c->nr_mapped) {
		region = mmap(NULL, sizeof(*region), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			      0);
		if (region == MAP_FAILED)
			return NULL;
		c->pool[c->nr_mapped++] = region;
	}
	bucket = bucket_of(c, id);
	region = c->pool[c->nr_used++];
	region->id = id;
	*bucket = region;
	return region;
}

/* One word of the bitmap; false: TEST found some. */
static inline bool word(uint64_t *bits, uint64_t mask, enum what what)
{
	if (what == TEST)
		return !(*bits & mask);
	if (what == SET)
		*bits |= mask;
	else
		*bits &= ~mask;
	return true;
}

/* Granules @from up to @to of region @r. */
static inline bool within(struct cover_region *r, size_t from, size_t to,
			  enum what what)
{
	size_t w = from / 64, last = (to - 1) / 64;
	uint64_t head = UINT64_MAX << from % 64;
	uint64_t tail = UINT64_MAX >> (63 - (to - 1) % 64);

	if (w == last)
		return word(&r->bits[w], head & tail, what);
	if (!word(&r->bits[w], head, what))
		return false;
	while (++w < last)
		if (!word(&r->bits[w], UINT64_MAX, what))
			return false;
	return word(&r->bits[last], tail, what);
}

/* Regions that are not there cover nothing. */
static inline bool walk(struct cover *c, uintptr_t addr, size_t size,
			enum what what)
{
	uintptr_t end = addr + size;

	while (addr < end) {
		uint64_t id = addr >> COVER_REGION_SHIFT;
		uintptr_t base = id << COVER_REGION_SHIFT;
		size_t left = end - base;
		struct cover_region *r = find(c, id);

		if (left > REGION)
			left = REGION;
		if (r &&
		    !within(r, (addr - base) >> COVER_GRANULE_SHIFT,
			    (left + GRANULE - 1) >> COVER_GRANULE_SHIFT, what))
			return false;
		addr = base + REGION;
	}
	return true;
}

/* Giant ranges: look at the regions there are instead of all there could be. */
static bool big_is_free(struct cover *c, uintptr_t addr, size_t size)
{
	for (size_t i = 0; i < c->nr_used; i++) {
		uintptr_t base = c->pool[i]->id << COVER_REGION_SHIFT;
		uintptr_t from = addr > base ? addr : base;
		uintptr_t to = addr + size < base + REGION ? addr + size :
							     base + REGION;

		if (from < to && !walk(c, from, to - from, TEST))
			return false;
	}
	return true;
}

static bool in_big(const struct cover *c, uintptr_t addr, size_t size)
{
	for (size_t i = 0; i < c->nr_big; i++) {
		const struct cover_big *b = &c->big[i];

		if (addr < b->addr + b->size && b->addr < addr + size)
			return true;
	}
	return false;
}

static bool have_regions(struct cover *c, uintptr_t addr, size_t size)
{
	uint64_t id = addr >> COVER_REGION_SHIFT;
	uint64_t last = (addr + size - 1) >> COVER_REGION_SHIFT;

	if (size >= BIG)
		return false;
	for (; id <= last; id++)
		if (!find_or_make(c, id))
			return false;
	return true;
}

/*
 * The usual case: a small block in the region that was looked up last, so that
 * it takes two words of the bitmap at most.
 */
struct quick {
	uint64_t *bits;
	uint64_t mask[2];
};

static inline bool is_quick(const struct cover *c, uintptr_t addr, size_t size,
			    struct quick *q)
{
	size_t off = addr & (REGION - 1);
	size_t from = off >> COVER_GRANULE_SHIFT;
	size_t last = (off + size - 1) >> COVER_GRANULE_SHIFT;
	uint64_t low, high;

	if (!c->last || c->last->id != addr >> COVER_REGION_SHIFT ||
	    c->nr_big || last - from >= 64 || last / 64 >= COVER_WORDS - 1)
		return false;
	low = UINT64_MAX << from % 64;
	high = UINT64_MAX >> (63 - last % 64);
	q->bits = &c->last->bits[from / 64];
	q->mask[0] = from / 64 == last / 64 ? low & high : low;
	q->mask[1] = from / 64 == last / 64 ? 0 : high;
	return true;
}

static inline bool quick_any(const struct quick *q)
{
	return (q->bits[0] & q->mask[0]) | (q->bits[1] & q->mask[1]);
}

bool cover_any(struct cover *c, uintptr_t addr, size_t size)
{
	struct quick q;

	if (is_quick(c, addr, size, &q))
		return quick_any(&q);
	if (c->nr_big && in_big(c, addr, size))
		return true;
	if (size >= BIG)
		return !big_is_free(c, addr, size);
	return !walk(c, addr, size, TEST);
}

bool cover_add(struct cover *c, uintptr_t addr, size_t size)
{
	struct quick q;

	if (is_quick(c, addr, size, &q)) {
		if (quick_any(&q))
			return false;
		q.bits[0] |= q.mask[0];
		q.bits[1] |= q.mask[1];
		return true;
	}
	if (addr + size < addr || cover_any(c, addr, size))
		return false;
	if (have_regions(c, addr, size))
		return walk(c, addr, size, SET);
	if (c->nr_big == OPS_SLOTS)
		return false;
	c->big[c->nr_big++] = (struct cover_big){addr, size};
	return true;
}

void cover_remove(struct cover *c, uintptr_t addr, size_t size)
{
	struct quick q;

	if (is_quick(c, addr, size, &q)) {
		q.bits[0] &= ~q.mask[0];
		q.bits[1] &= ~q.mask[1];
		return;
	}
	for (size_t i = 0; i < c->nr_big; i++) {
		if (c->big[i].addr != addr)
			continue;
		c->big[i] = c->big[--c->nr_big];
		return;
	}
	walk(c, addr, size, CLEAR);
}

void cover_reset(struct cover *c)
{
	c->nr_big = 0;
	if (c->nr_used < COVER_REGIONS / 2)
		return;
	/* addresses of the real kernel wander: start with new regions */
	memset(c->bucket, 0, sizeof(c->bucket));
	c->nr_used = 0;
	c->last = NULL;
}
