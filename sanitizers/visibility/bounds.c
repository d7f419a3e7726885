// SPDX-License-Identifier: MIT
/* Accesses before and behind a block. */
#include "client.h"

static void beside(const struct scene *s)
{
	char *p = s->make(s->size);

	s->touch(p + s->at);
	give_back(p);
}

/* After it was made smaller, which may be done in place. */
static void beside_shrunk(const struct scene *s)
{
	char *p = s->make(s->other);

	fill(p, s->other);
	p = resize(p, s->size);
	s->touch(p + s->at);
	give_back(p);
}

/* With a block of the same size on either side. */
static void far(const struct scene *s)
{
	char *blocks[16];

	for (int i = 0; i < LENGTH(blocks); i++)
		blocks[i] = s->make(s->size);
	s->touch(blocks[7] + s->at);
	for (int i = 0; i < LENGTH(blocks); i++)
		give_back(blocks[i]);
}

/* Into a live block: no tool can know. */
static void into_neighbour(const struct scene *s)
{
	char *p = s->make(s->size);
	char *q = s->make(s->size);

	s->touch((char *)hide(p) + (q - p));
	give_back(q);
	give_back(p);
}

const struct scene bounds_scenes[] = {
	/* behind it, by 1 */
	{"over-write-1", beside, by_malloc, 1, 1, write_1, 0},
	{"over-write-8", beside, by_malloc, 8, 8, write_1, 0},
	{"over-write-13", beside, by_malloc, 13, 13, write_1, 0},
	{"over-read-13", beside, by_malloc, 13, 13, read_1, 0},
	{"over-write-16", beside, by_malloc, 16, 16, write_1, 0},
	{"over-read-24", beside, by_malloc, 24, 24, read_1, 0},
	{"over-write-100", beside, by_malloc, 100, 100, write_1, 0},
	{"over-write-511", beside, by_malloc, 511, 511, write_1, 0},
	{"over-write-512", beside, by_malloc, 512, 512, write_1, 0},
	{"over-read-5000", beside, by_malloc, 5000, 5000, read_1, 0},
	{"over-write-large", beside, by_malloc, LARGE, LARGE, write_1, 0},
	{"over-read-large", beside, by_malloc, LARGE, LARGE, read_1, 0},
	{"over-write-pages", beside, by_malloc, 131072, 131072, write_1, 0},
	{"over-write-calloc", beside, by_calloc, 30, 30, write_1, 0},
	{"over-write-realloc", beside, by_realloc, 90, 90, write_1, 0},
	{"over-write-aligned", beside, by_aligned, 200, 200, write_1, 0},
	{"over-write-aligned-large", beside, by_page, LARGE, LARGE, write_1, 0},
	{"over-shrunk", beside_shrunk, by_malloc, 500, 500, write_1, 512},
	{"over-shrunk-large", beside_shrunk, by_malloc, LARGE, LARGE, write_1,
	 LARGE + 50},
	/* partly, and by more than a word */
	{"over-write-4-of-13", beside, by_malloc, 13, 12, write_4, 0},
	{"over-read-8-of-20", beside, by_calloc, 20, 16, read_8, 0},
	{"over-copy-to-16", beside, by_malloc, 16, 0, copy_to, 0},
	{"over-copy-from-16", beside, by_calloc, 16, 0, copy_from, 0},
	{"over-set-99", beside, by_malloc, 99, 0, set_100, 0},
	/* nothing of a block without bytes may be used */
	{"zero-size-write", beside, by_malloc, 0, 0, write_1, 0},
	{"zero-size-read", beside, by_calloc, 0, 0, read_1, 0},
	/* before it */
	{"under-write-16", far, by_malloc, 16, -1, write_1, 0},
	{"under-read-24", far, by_malloc, 24, -1, read_1, 0},
	{"under-read-512", far, by_malloc, 512, -8, read_8, 0},
	{"under-write-large", far, by_malloc, LARGE, -1, write_1, 0},
	{"under-write-aligned", far, by_aligned, 200, -1, write_1, 0},
	/* far */
	{"far-write-32", far, by_malloc, 32, 40, write_1, 0},
	{"far-write-512", far, by_malloc, 512, 512 + 40, write_1, 0},
	{"far-write-large", far, by_malloc, LARGE, LARGE + 1000, write_1, 0},
	{"far-into-neighbour", into_neighbour, by_malloc, 32, 0, write_1, 0},
	{0},
};
