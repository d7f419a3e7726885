// SPDX-License-Identifier: MIT
/* Bytes that decide something though nobody wrote them. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

static void fresh(const struct scene *s)
{
	char *p = s->make(s->size);

	s->touch(p + s->at);
	give_back(p);
}

/* The memory was initialised, as another block. */
static void recycled(const struct scene *s)
{
	void *blocks[64];
	char *p;

	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < LENGTH(blocks); i++) {
			blocks[i] = s->make(s->size);
			fill(blocks[i], s->size);
		}
		for (int i = 0; i < LENGTH(blocks); i++)
			give_back(blocks[i]);
	}
	p = s->make(s->size);
	s->touch(p + s->at);
	give_back(p);
}

/* What realloc() added. */
static void tail(const struct scene *s)
{
	char *p = s->make(s->size);

	fill(p, s->size);
	p = resize(p, s->other);
	s->touch(p + s->at);
	give_back(p);
}

/* What realloc() took away, and gave again. */
static void tail_again(const struct scene *s)
{
	char *p = s->make(s->other);

	fill(p, s->other);
	p = resize(p, s->size);
	p = resize(p, s->other);
	s->touch(p + s->at);
	give_back(p);
}

/* Read through another block, to which it was copied. */
static void copied(const struct scene *s)
{
	char *p = s->make(s->size);
	char *q = s->make(s->size);

	fill(p, (size_t)s->at);
	memcpy(hide(q), hide(p), s->size);
	s->touch(q + s->at);
	give_back(q);
	give_back(p);
}

static NOINLINE void put_out(const void *p, size_t size)
{
	int fd = open("/dev/null", O_WRONLY);

	if (write(fd, p, size) != (ssize_t)size)
		scrub();
	close(fd);
}

static void to_system(const struct scene *s)
{
	char *p = s->make(s->size);

	fill(p, (size_t)s->at);
	put_out(p, s->size);
	give_back(p);
}

const struct scene init_scenes[] = {
	{"uninit-fresh-24", fresh, by_malloc, 24, 0, read_1, 0},
	{"uninit-fresh-512", fresh, by_malloc, 512, 504, read_8, 0},
	{"uninit-fresh-large", fresh, by_malloc, LARGE, 70000, read_4, 0},
	{"uninit-aligned", fresh, by_aligned, 200, 100, read_4, 0},
	{"uninit-recycled-24", recycled, by_malloc, 24, 8, read_1, 0},
	{"uninit-recycled-512", recycled, by_malloc, 512, 100, read_4, 0},
	{"uninit-recycled-large", recycled, by_malloc, LARGE, 0, read_1, 0},
	{"uninit-tail", tail, by_malloc, 24, 24, read_1, 200},
	{"uninit-tail-near", tail, by_malloc, 33, 33, read_1, 34},
	{"uninit-tail-large", tail, by_malloc, LARGE, LARGE, read_1, LARGE * 2},
	{"uninit-tail-again", tail_again, by_malloc, 400, 410, read_1, 416},
	{"uninit-copied", copied, by_malloc, 40, 20, read_1, 0},
	{"uninit-write", to_system, by_malloc, 24, 10, NULL, 0},
	{0},
};
