// SPDX-License-Identifier: MIT
/* Programs without a bug, of one thread: nobody is to say a word. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"

static const size_t sizes[] = {0,    1,	   7,	  8,	 13,   16,
			       24,   100,  504,	  511,	 512,  1000,
			       4096, 5000, 32768, 32769, LARGE};

/* Every byte of each size, and what may be used beyond, is the program's. */
static void all_bytes(const struct scene *s)
{
	for (int i = 0; i < LENGTH(sizes); i++) {
		char *p = s->make(sizes[i]);

		fill(p, sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			read_1(p + k);
		fill(p, USABLE(p));
		give_back(p);
	}
}

static void many_sizes(const struct scene *s)
{
	char *kept[64] = {NULL};

	for (size_t i = 0; i < 3000; i++) {
		char **p = &kept[i * 7 % LENGTH(kept)];

		if (*p)
			give_back(*p);
		*p = s->make(i);
		fill(*p, i);
	}
	for (int i = 0; i < LENGTH(kept); i++)
		give_back(kept[i]);
}

/* Zeroed, also where others had written. */
static void zeroed(const struct scene *s)
{
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < LENGTH(sizes); i++) {
			char *p = s->make(sizes[i]);

			for (size_t k = 0; k < sizes[i]; k++)
				if (p[k] != 0)
					abort();
			fill(p, sizes[i]);
			give_back(p);
		}
}

static void check(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i] != 'x')
			abort();
}

/* In place and moving, up and down: what was there is there. */
static void resized(const struct scene *s)
{
	size_t size = 1;
	char *p = s->make(size);

	fill(p, size);
	for (size_t step = 1; size < 3 * LARGE; step += step / 2 + 1) {
		p = resize(p, size + step);
		check(p, size);
		size += step;
		fill(p, size);
	}
	for (size_t step = 1; size > 2 * step; step += step / 3 + 1) {
		size -= step;
		p = resize(p, size);
		check(p, size);
	}
	give_back(p);
}

static void resized_near(const struct scene *s)
{
	char *p = s->make(s->size);

	for (size_t size = s->size; size < s->size + 40; size++) {
		p = resize(p, size);
		fill(p, size);
	}
	for (size_t size = s->size + 40; size > s->size; size--) {
		p = resize(p, size);
		fill(p, size);
	}
	give_back(p);
}

/* Its addresses come back as the program's own mapping, all of which is its. */
static void unmapped_reused(const struct scene *s)
{
	for (int round = 0; round < 4; round++) {
		char *p = s->make(s->size);
		char *map, *q = p;
		uintptr_t page = ((uintptr_t)p + 4095) & ~4095ul;
		size_t whole = s->size & ~8191ul;

		fill(p, s->size);
		give_back(p);
		TRIM();
		__asm__("" : "+r"(q));
		map = mmap((void *)page, whole, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (size_t k = 0; k < whole; k++)
			if (map[k] != 0)
				abort();
		fill(map, whole);
		munmap(map, whole);
	}
}

static void trimmed(const struct scene *s)
{
	void *kept[500];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < LENGTH(kept); i++) {
			kept[i] = s->make(s->size);
			fill(kept[i], s->size);
		}
		for (int i = 0; i < LENGTH(kept) - 1; i++)
			give_back(kept[i]);
		TRIM();
		check(kept[LENGTH(kept) - 1], s->size);
		give_back(kept[LENGTH(kept) - 1]);
		TRIM();
	}
}

static void reset_often(const struct scene *s)
{
	void *blocks[60];

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < LENGTH(blocks); i++) {
			size_t size = sizes[i % LENGTH(sizes)];

			blocks[i] = s->make(size);
			fill(blocks[i], size);
		}
		RESET(blocks, LENGTH(blocks));
	}
}

struct item {
	struct item *next;
	uint64_t value;
};

static struct item *list;

/* A list whose only pointers are in its blocks; half of it is taken out. */
static void list_in_blocks(const struct scene *s)
{
	struct item **link;

	for (uint64_t i = 0; i < 2000; i++) {
		struct item *item = s->make(sizeof(*item));

		item->next = list;
		item->value = i;
		list = item;
	}
	for (link = &list; *link;) {
		struct item *item = *link;

		if (item->value % 2 == 0) {
			*link = item->next;
			give_back(item);
		} else {
			link = &item->next;
		}
	}
}

static char *volatile middle;

/* All that leads to it is a pointer into it. */
static void inner_pointer(const struct scene *s)
{
	char *p = s->make(s->size);

	fill(p, s->size);
	middle = p + s->at;
}

static void forked(const struct scene *s)
{
	char *p = s->make(s->size);
	int status;
	pid_t pid;

	fill(p, s->size);
	pid = fork();
	if (pid == 0) {
		char *q = s->make(s->size);

		fill(q, s->size);
		check(p, s->size);
		give_back(q);
		give_back(p);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		abort();
	give_back(p);
}

static void strings(const struct scene *s)
{
	for (size_t size = 1; size < 300; size++) {
		char *p = s->make(size), *q = s->make(size);

		memset(p, 'a', size - 1);
		p[size - 1] = 0;
		strcpy(q, p);
		if (strlen(q) != size - 1 || strcmp(p, q) != 0)
			abort();
		give_back(p);
		give_back(q);
	}
}

static void freed_null(const struct scene *s)
{
	char *p = REALLOC(NULL, s->size);

	fill(p, s->size);
	give_back(p);
	give_back(NULL);
}

static void sized(const struct scene *s)
{
	for (int i = 1; i < LENGTH(sizes); i++) {
		void *p = SIZED(sizes[i]);
		void *q = SIZED_ALIGNED(128, sizes[i]);

		FREE_SIZED(p, sizes[i]);
		FREE_SIZED_ALIGNED(q, 128, sizes[i]);
	}
	(void)s;
}

const struct scene correct_scenes[] = {
	{"ok-all-bytes", all_bytes, by_malloc, 0, 0, NULL, 0},
	{"ok-all-bytes-aligned", all_bytes, by_aligned, 0, 0, NULL, 0},
	{"ok-many-sizes", many_sizes, by_malloc, 0, 0, NULL, 0},
	{"ok-zeroed", zeroed, by_calloc, 0, 0, NULL, 0},
	{"ok-resized", resized, by_malloc, 0, 0, NULL, 0},
	{"ok-resized-near", resized_near, by_malloc, 490, 0, NULL, 0},
	{"ok-unmapped-reused", unmapped_reused, by_malloc, 4 << 20, 0, NULL, 0},
	{"ok-trimmed", trimmed, by_malloc, 700, 0, NULL, 0},
	{"ok-trimmed-large", trimmed, by_malloc, 40000, 0, NULL, 0},
	{"ok-reset", reset_often, by_malloc, 0, 0, NULL, 0},
	{"ok-list", list_in_blocks, by_malloc, 0, 0, NULL, 0},
	{"ok-inner-pointer", inner_pointer, by_malloc, LARGE, 60000, NULL, 0},
	{"ok-forked", forked, by_malloc, 300, 0, NULL, 0},
	{"ok-strings", strings, by_malloc, 0, 0, NULL, 0},
	{"ok-null", freed_null, by_malloc, 50, 0, NULL, 0},
	{"ok-sized", sized, NULL, 0, 0, NULL, 0},
	{0},
};
