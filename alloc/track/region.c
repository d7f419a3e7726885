// SPDX-License-Identifier: MIT
/* One range of addresses for everything; see region.h. */
#define _GNU_SOURCE /* MAP_NORESERVE */
#include "uninstrumented.h"

#include "track/region.h"

#include "config.h"
#include "glue/tool.h"
#include "hints.h"
#include "os/os.h"
#include "track/track.h"

#include <errno.h>
#include <sys/mman.h>

/* Bits of a word are pages. */
#define WORD_PAGES 64u
#define ARENA_PAGES (APB_ARENA >> APB_PAGE_SHIFT)

struct apb_region_range apb_region;

static struct {
	uint64_t *used; /* mapped, a bit for each page */
	uint64_t *touched; /* may be resident and other than zero */
	size_t pages;
	size_t low; /* no page below is unused */
	size_t high; /* none from here on was ever used */
	size_t kept; /* pages that are touched and not used */
	size_t keep; /* so many of them may be so */
} region;

static_assert(ARENA_PAGES % WORD_PAGES == 0, "an arena is whole words");

/* ---- bitmaps ---------------------------------------------------------- */

/* The bits of word number @word that are pages @from up to @to. */
static uint64_t word_mask(size_t word, size_t from, size_t to)
{
	size_t first = word * WORD_PAGES;
	uint64_t mask = UINT64_MAX;

	if (from > first)
		mask &= UINT64_MAX << (from - first);
	if (to < first + WORD_PAGES)
		mask &= UINT64_MAX >> (first + WORD_PAGES - to);
	return mask;
}

static void set_bits(uint64_t *bits, size_t from, size_t to)
{
	size_t word;

	for (word = from / WORD_PAGES; word * WORD_PAGES < to; word++)
		bits[word] |= word_mask(word, from, to);
}

static void clear_bits(uint64_t *bits, size_t from, size_t to)
{
	size_t word;

	for (word = from / WORD_PAGES; word * WORD_PAGES < to; word++)
		bits[word] &= ~word_mask(word, from, to);
}

static size_t count_bits(const uint64_t *bits, size_t from, size_t to)
{
	size_t word, n = 0;

	for (word = from / WORD_PAGES; word * WORD_PAGES < to; word++)
		n += (size_t)__builtin_popcountll(bits[word] &
						  word_mask(word, from, to));
	return n;
}

/* The page behind the last one from @from up to @to that is used; 0: none. */
static size_t last_used(size_t from, size_t to)
{
	size_t word = (to - 1) / WORD_PAGES + 1;

	while (word-- > from / WORD_PAGES) {
		uint64_t some = region.used[word] & word_mask(word, from, to);

		if (some)
			return word * WORD_PAGES + WORD_PAGES -
			       (size_t)__builtin_clzll(some);
	}
	return 0;
}

/* ---- the range -------------------------------------------------------- */

static bool reserve(size_t size)
{
	size_t bitmap = size / APB_PAGE / 8;
	char *raw = mmap(NULL, size + APB_ARENA, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t start;

	if (raw == MAP_FAILED)
		return false;
	region.used = (uint64_t *)raw;
	region.touched = (uint64_t *)(raw + bitmap);
	start = ((uintptr_t)raw + 2 * bitmap + APB_ARENA - 1) &
		~(APB_ARENA - 1);
	size = (uintptr_t)raw + size + APB_ARENA - start;
	region.pages = size >> APB_PAGE_SHIFT;
	apb_region.start = start;
	apb_region.size = size & ~(APB_ARENA - 1);
	region.pages = apb_region.size >> APB_PAGE_SHIFT;
	return true;
}

static bool have_region(void)
{
	size_t size = APB_REGION_MAX;

	if (likely(region.pages))
		return true;
	while (!reserve(size)) {
		size /= 4;
		if (size < APB_REGION_MIN)
			return false;
	}
	tool_heap((void *)apb_region.start, apb_region.size);
	return true;
}

static void *page_addr(size_t page)
{
	return (char *)apb_region.start + (page << APB_PAGE_SHIFT);
}

static size_t page_of(const void *addr)
{
	return ((uintptr_t)addr - apb_region.start) >> APB_PAGE_SHIFT;
}

/* The first @n pages together that are not used, at a multiple of @align. */
static size_t find_gap(size_t n, size_t align)
{
	size_t at = (region.low + align - 1) & ~(align - 1), used;

	while (n <= region.pages && at <= region.pages - n) {
		used = last_used(at, at + n);
		if (!used)
			return at;
		at = (used + align - 1) & ~(align - 1);
	}
	return SIZE_MAX;
}

static bool drop_pages(size_t from, size_t to)
{
	if (madvise(page_addr(from), (to - from) << APB_PAGE_SHIFT,
		    MADV_DONTNEED))
		return false;
	clear_bits(region.touched, from, to);
	return true;
}

/* ---- the table -------------------------------------------------------- */

size_t apb_region_align(size_t size)
{
	size_t align = (size_t)1 << (63 - __builtin_clzl(size));

	return align < APB_ARENA ? align : APB_ARENA;
}

static void *region_map(void *ctx, void *hint, size_t size, bool *zero)
{
	size_t n = size >> APB_PAGE_SHIFT, at, dirty;

	(void)ctx;
	if (!have_region())
		return NULL;
	at = find_gap(n, (hint ? APB_ARENA : apb_region_align(size)) >>
				 APB_PAGE_SHIFT);
	if (at == SIZE_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	dirty = count_bits(region.touched, at, at + n);
	region.kept -= dirty;
	/* to clear so much is worth a call */
	if (dirty && size > APB_LARGE_CLEAR_MAX && drop_pages(at, at + n))
		dirty = 0;
	if (n < ARENA_PAGES)
		apb_track_open(page_addr(at), size);
	set_bits(region.used, at, at + n);
	set_bits(region.touched, at, at + n);
	if (at <= region.low)
		region.low = at + n;
	if (at + n > region.high)
		region.high = at + n;
	*zero = !dirty;
	return page_addr(at);
}

static int region_unmap(void *ctx, void *addr, size_t size)
{
	size_t n = size >> APB_PAGE_SHIFT, at = page_of(addr);

	(void)ctx;
	clear_bits(region.used, at, at + n);
	if (at < region.low)
		region.low = at;
	if (region.kept + n > region.keep && drop_pages(at, at + n))
		return 0;
	region.kept += n;
	return 0;
}

int apb_region_purge(void *ctx, void *addr, size_t size)
{
	(void)ctx;
	return madvise(addr, size, MADV_DONTNEED);
}

int apb_region_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		     void *new_addr)
{
	(void)ctx;
	(void)addr;
	(void)old_size;
	(void)new_size;
	(void)new_addr;
	errno = ENOMEM;
	return -1;
}

/* No clock: what time it is must not have a say in addresses. */
const struct apb_os apb_os_region = {
	.map = region_map,
	.unmap = region_unmap,
	.purge = apb_region_purge,
	.remap = apb_region_remap,
	.purge_zeroes = true,
};

void apb_region_keep(size_t bytes)
{
	region.keep = bytes >> APB_PAGE_SHIFT;
}

size_t apb_region_trim(void)
{
	size_t from, to, bytes = 0;

	for (from = 0; region.kept && from < region.high; from = to) {
		uint64_t mask = word_mask(from / WORD_PAGES, from, SIZE_MAX);
		uint64_t some = region.touched[from / WORD_PAGES] &
				~region.used[from / WORD_PAGES] & mask;

		to = (from / WORD_PAGES + 1) * WORD_PAGES;
		if (!some)
			continue;
		from += (size_t)__builtin_ctzll(some) - from % WORD_PAGES;
		to = from + 1;
		if (!drop_pages(from, to))
			break;
		region.kept--;
		bytes += APB_PAGE;
	}
	return bytes;
}

#include "instrumented.h"
