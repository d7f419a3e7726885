// SPDX-License-Identifier: MIT
/* Accesses to blocks that were given back. */
#include "client.h"

static void use_dead(const struct scene *s)
{
	char *p = s->make(s->size);

	fill(p, s->size);
	give_back(p);
	s->touch(p + s->at);
}

static void use_moved(const struct scene *s)
{
	char *p = s->make(s->size);
	char *q;

	fill(p, s->size);
	q = resize(p, s->other);
	s->touch(p + s->at);
	give_back(q);
}

/* Blocks of its size were made since. */
static void use_reused(const struct scene *s)
{
	char *p = s->make(s->size);
	void *others[200];

	fill(p, s->size);
	give_back(p);
	for (int i = 0; i < LENGTH(others); i++)
		others[i] = s->make(s->size);
	s->touch(p + s->at);
	for (int i = 0; i < LENGTH(others); i++)
		give_back(others[i]);
}

/* ... and one of another size, which has more than its place. */
static void use_reused_larger(const struct scene *s)
{
	char *p = s->make(s->size);
	void *others[200];

	fill(p, s->size);
	give_back(p);
	for (int i = 0; i < LENGTH(others); i++)
		others[i] = s->make(s->other);
	s->touch(p + s->at);
	for (int i = 0; i < LENGTH(others); i++)
		give_back(others[i]);
}

static void *maker(void *arg)
{
	const struct scene *s = arg;

	return s->make(s->size);
}

static void *breaker(void *arg)
{
	give_back(arg);
	return NULL;
}

/* Made by one thread, freed by another, used by a third. */
static void use_dead_threads(const struct scene *s)
{
	char *p = in_thread(maker, (void *)s);

	fill(p, s->size);
	in_thread(breaker, p);
	s->touch(p + s->at);
}

static NOINLINE void end_all(void **blocks, int n)
{
	RESET(blocks, n);
}

static void use_after_reset(const struct scene *s)
{
	void *blocks[10];

	for (int i = 0; i < LENGTH(blocks); i++) {
		blocks[i] = s->make(s->size);
		fill(blocks[i], s->size);
	}
	end_all(blocks, LENGTH(blocks));
	s->touch((char *)blocks[4] + s->at);
}

/* Blocks made since are others. */
static void use_after_reset_reused(const struct scene *s)
{
	void *blocks[10], *others[10];

	for (int i = 0; i < LENGTH(blocks); i++) {
		blocks[i] = s->make(s->size);
		fill(blocks[i], s->size);
	}
	end_all(blocks, LENGTH(blocks));
	for (int i = 0; i < LENGTH(others) - 5; i++)
		others[i] = s->make(s->size);
	s->touch((char *)blocks[8] + s->at);
	end_all(others, LENGTH(others) - 5);
}

const struct scene dead_scenes[] = {
	{"dead-read-24", use_dead, by_malloc, 24, 0, read_1, 0},
	{"dead-write-24", use_dead, by_malloc, 24, 8, write_8, 0},
	{"dead-read-13-last", use_dead, by_malloc, 13, 12, read_1, 0},
	{"dead-read-512", use_dead, by_malloc, 512, 100, read_4, 0},
	{"dead-write-512", use_dead, by_malloc, 512, 511, write_1, 0},
	{"dead-read-large", use_dead, by_malloc, LARGE, 0, read_1, 0},
	{"dead-write-large", use_dead, by_malloc, LARGE, 50000, write_8, 0},
	{"dead-read-aligned", use_dead, by_aligned, 200, 64, read_8, 0},
	{"dead-read-calloc", use_dead, by_calloc, 40, 39, read_1, 0},
	{"dead-over-13", use_dead, by_malloc, 13, 13, read_1, 0},
	{"dead-copy-from", use_dead, by_malloc, 64, 8, copy_from, 0},
	{"dead-set", use_dead, by_malloc, 128, 0, set_100, 0},
	{"moved-read-24", use_moved, by_malloc, 24, 0, read_1, 1000},
	{"moved-write-1000", use_moved, by_malloc, 1000, 500, write_1, 24},
	{"moved-write-large", use_moved, by_malloc, LARGE, 9, write_1,
	 LARGE * 3},
	{"reused-read-48", use_reused, by_malloc, 48, 0, read_8, 0},
	{"reused-write-300", use_reused, by_malloc, 300, 299, write_1, 0},
	{"reused-read-larger", use_reused_larger, by_malloc, 32, 4, read_1,
	 640},
	{"dead-threads", use_dead_threads, by_malloc, 24, 0, read_1, 0},
	{"dead-threads-large", use_dead_threads, by_malloc, LARGE, 7, write_1,
	 0},
	{"reset-read-24", use_after_reset, by_malloc, 24, 0, read_1, 0},
	{"reset-write-large", use_after_reset, by_malloc, LARGE, 8, write_8, 0},
	{"reset-reused", use_after_reset_reused, by_malloc, 96, 0, read_8, 0},
	{0},
};
