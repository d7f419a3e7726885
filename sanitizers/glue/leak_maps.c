/* SPDX-License-Identifier: MIT */
/*
 * leak_maps.c - what is mapped, and what of it is not to be read.
 *
 * Everything that is read is clipped to what is mapped readable at that time.
 * Holes are the memory of pools, which are read block by block, and what the
 * layer itself keeps: both full of addresses of blocks that nobody has any more.
 *
 * /proc/self is empty once the first thread has ended; /proc/thread-self is not.
 */
#include <errno.h>
#include <fcntl.h>

#include "glue/leak.h"
#include "glue/leak_arch.h"

/* ---- /proc/thread-self/maps ------------------------------------------------------ */

struct reader {
	long fd;
	size_t at, len;
	char buf[4096];
};

/* The next character; 0 at the end. */
APB_RAW static char next(struct reader *reader)
{
	long n;

	if (reader->at == reader->len) {
		do
			n = ARCH_CALL(SYS_read, reader->fd, reader->buf,
				      sizeof(reader->buf), 0);
		while (n == -EINTR);
		if (n <= 0)
			return 0;
		reader->at = 0;
		reader->len = (size_t)n;
	}
	return reader->buf[reader->at++];
}

APB_RAW static uintptr_t hex(struct reader *reader)
{
	uintptr_t value = 0;
	char c;

	for (;;) {
		c = next(reader);
		if (c >= '0' && c <= '9')
			value = value << 4 | (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uintptr_t)(c - 'a' + 10);
		else
			return value;
	}
}

/*
 * One line: "start-end rwxp offset major:minor inode   name".  A mapping with
 * a name in brackets other than these is the kernel's.
 */
APB_RAW static bool read_map(struct reader *reader, struct leak_map *map,
			     bool *usable)
{
	char c, first = 0, second = 0, third = 0;
	unsigned int field = 0;

	map->start = hex(reader);
	if (!map->start)
		return false;
	map->end = hex(reader);
	*usable = next(reader) == 'r';
	map->writable = next(reader) == 'w';
	next(reader);
	next(reader);
	next(reader);
	for (c = next(reader); c && c != '\n' && field < 3; c = next(reader))
		field += c == ' ';
	while (c == ' ')
		c = next(reader);
	if (c && c != '\n') {
		first = c;
		second = next(reader);
		third = second == '\n' ? 0 : next(reader);
		c = third ? third : second;
		while (c && c != '\n')
			c = next(reader);
	}
	map->kind = !first ? LEAK_ANON : LEAK_FILE;
	if (first == '[' && second == 's' && third == 't')
		map->kind = LEAK_STACK;
	else if (first == '[' && (second == 'a' || second == 'h'))
		map->kind = LEAK_ANON;
	else if (first == '[')
		*usable = false;
	return true;
}

APB_RAW void leak_read_maps(struct leak_check *check)
{
	struct reader reader = {.at = 0};
	struct leak_map map, *item;
	bool usable;

	reader.fd = ARCH_CALL(SYS_openat, AT_FDCWD, "/proc/thread-self/maps",
			      O_RDONLY | O_CLOEXEC, 0);
	if (reader.fd < 0) {
		check->failed = true;
		return;
	}
	/* without it, everything is read */
	check->pagemap = (int)ARCH_CALL(SYS_openat, AT_FDCWD,
					"/proc/thread-self/pagemap",
					O_RDONLY | O_CLOEXEC, 0);
	while (read_map(&reader, &map, &usable)) {
		if (!usable)
			continue;
		item = leak_array_add(&check->maps, sizeof(*item));
		if (!item) {
			check->failed = true;
			break;
		}
		*item = map;
	}
	ARCH_CALL(SYS_close, reader.fd, 0, 0, 0);
	check->failed |= !check->maps.count;
}

/* The first mapping that ends behind @addr; the count if there is none. */
APB_RAW static size_t map_at(struct leak_check *check, uintptr_t addr)
{
	const struct leak_map *maps = check->maps.items;
	size_t low = 0, high = check->maps.count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (maps[middle].end > addr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

APB_RAW const struct leak_map *leak_map_of(struct leak_check *check,
					   uintptr_t addr)
{
	const struct leak_map *maps = check->maps.items;
	size_t i;

	if (addr - check->last_map.start <
	    check->last_map.end - check->last_map.start)
		return &check->last_map;
	i = map_at(check, addr);
	if (i == check->maps.count || maps[i].start > addr)
		return NULL;
	check->last_map = maps[i];
	return &check->last_map;
}

/* ---- holes ---------------------------------------------------------------- */

APB_RAW void leak_add_hole(struct leak_check *check, uintptr_t start,
			   uintptr_t end, const struct apb_san_pool *pool)
{
	struct leak_range *hole;

	if (start >= end)
		return;
	hole = leak_array_add(&check->holes, sizeof(*hole));
	if (!hole) {
		check->failed = true;
		return;
	}
	*hole = (struct leak_range){start, end, pool};
}

/* There are few of them, and they are almost in order. */
APB_RAW void leak_sort_holes(struct leak_check *check)
{
	struct leak_range *holes = check->holes.items, *all = NULL;
	size_t i, k;

	for (i = 1; i < check->holes.count; i++) {
		struct leak_range hole = holes[i];

		for (k = i; k && holes[k - 1].start > hole.start; k--)
			holes[k] = holes[k - 1];
		holes[k] = hole;
	}
	for (i = 0; i < check->holes.count; i++) {
		if (all && holes[i].start <= all->end) {
			if (holes[i].end > all->end)
				all->end = holes[i].end;
			continue;
		}
		all = leak_array_add(&check->all_holes, sizeof(*all));
		if (!all) {
			check->failed = true;
			return;
		}
		*all = holes[i];
	}
}

typedef void (*read_fn)(struct leak_check *check, uintptr_t start,
			uintptr_t end);

#define PAGE 4096ul
#define PAGES 512
#define FEW_PAGES 16
#define PAGE_THERE (3ull << 62) /* present or swapped out */

/*
 * What was never touched has no pointers, and need not be touched to see that.
 * @from and @to are in one mapping.
 */
APB_RAW static void touched(struct leak_check *check, uintptr_t from,
			    uintptr_t to, read_fn fn)
{
	uint64_t pages[PAGES];
	uintptr_t start;
	long n, i;

	while (to - from > FEW_PAGES * PAGE && check->pagemap > 0 &&
	       !check->failed) {
		start = from & ~(PAGE - 1);
		n = (long)((to - start + PAGE - 1) / PAGE);
		n = ARCH_CALL(SYS_pread64, check->pagemap, pages,
			      (n < PAGES ? n : PAGES) * 8, start / PAGE * 8);
		if (n < 8)
			break;
		for (i = 0; i < n / 8; i++) {
			uintptr_t end = start + PAGE;

			if (pages[i] & PAGE_THERE)
				fn(check, from, end < to ? end : to);
			from = start = end;
		}
		if (from >= to)
			return;
	}
	if (from < to)
		fn(check, from, to);
}

APB_RAW static void mapped(struct leak_check *check, uintptr_t start,
			   uintptr_t end, read_fn fn)
{
	const struct leak_map *maps = check->maps.items;
	size_t i;

	if (start >= check->last_map.start && end <= check->last_map.end) {
		if (start < end)
			touched(check, start, end, fn);
		return;
	}
	for (i = map_at(check, start); i < check->maps.count; i++) {
		uintptr_t from = start, to = end;

		if (maps[i].start >= end)
			break;
		if (from < maps[i].start)
			from = maps[i].start;
		if (to > maps[i].end)
			to = maps[i].end;
		if (from < to)
			touched(check, from, to, fn);
	}
}

/* The first hole that begins at or behind @addr. */
APB_RAW static size_t hole_at(const struct leak_array *array, uintptr_t addr)
{
	const struct leak_range *holes = array->items;
	size_t low = 0, high = array->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (holes[middle].start >= addr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

APB_RAW void leak_readable(struct leak_check *check, uintptr_t start,
			   uintptr_t end, const struct apb_san_pool *pool,
			   read_fn fn)
{
	const struct leak_array *array =
		pool ? &check->holes : &check->all_holes;
	const struct leak_range *holes = array->items;
	size_t i = hole_at(array, start);

	/* merged, only the one before can reach into a root */
	if (!pool && i && holes[i - 1].end > start)
		start = holes[i - 1].end;
	for (; i < array->count && start < end && holes[i].start < end; i++) {
		if (pool && (holes[i].pool == pool || !holes[i].pool ||
			     holes[i].end > end))
			continue;
		if (holes[i].start > start)
			mapped(check, start, holes[i].start, fn);
		if (holes[i].end > start)
			start = holes[i].end;
	}
	if (start < end)
		mapped(check, start, end, fn);
}
