// SPDX-License-Identifier: MIT
/* Two threads and a block, without a lock. */
#include <string.h>

#include "client.h"

struct pair {
	const struct scene *s;
	struct turn done;
	char *block;
};

static void *write_first(void *arg)
{
	struct pair *pair = arg;

	write_8(pair->block + pair->s->at);
	turn_give(&pair->done, pair->block);
	return NULL;
}

static void *read_first(void *arg)
{
	struct pair *pair = arg;

	read_8(pair->block + pair->s->at);
	turn_give(&pair->done, pair->block);
	return NULL;
}

/* Starts @fn and waits until it has done what it does, as no tool can know. */
static pthread_t start(struct pair *pair, const struct scene *s,
		       void *(*fn)(void *arg))
{
	pthread_t thread;

	pair->s = s;
	turn_init(&pair->done);
	pair->block = s->make(s->size);
	fill(pair->block, s->size);
	if (pthread_create(&thread, NULL, fn, pair) != 0)
		abort();
	turn_wait(&pair->done);
	return thread;
}

static void race_write(const struct scene *s)
{
	struct pair pair;
	pthread_t thread = start(&pair, s, write_first);

	s->touch(pair.block + s->at);
	pthread_join(thread, NULL);
	give_back(pair.block);
	turn_fini(&pair.done);
}

static void race_read(const struct scene *s)
{
	struct pair pair;
	pthread_t thread = start(&pair, s, read_first);

	s->touch(pair.block + s->at);
	pthread_join(thread, NULL);
	give_back(pair.block);
	turn_fini(&pair.done);
}

/* Used by one thread and then freed by another, which cannot know. */
static void race_use_free(const struct scene *s)
{
	struct pair pair;
	pthread_t thread = start(&pair, s, write_first);

	give_back(pair.block);
	pthread_join(thread, NULL);
	turn_fini(&pair.done);
}

static void race_use_realloc(const struct scene *s)
{
	struct pair pair;
	pthread_t thread = start(&pair, s, write_first);
	void *p = resize(pair.block, s->other);

	pthread_join(thread, NULL);
	give_back(p);
	turn_fini(&pair.done);
}

static void *free_first(void *arg)
{
	struct pair *pair = arg;

	give_back(pair->block);
	turn_give(&pair->done, pair->block);
	return NULL;
}

/* Freed by one and then used by another. */
static void race_free_use(const struct scene *s)
{
	struct pair pair;
	pthread_t thread = start(&pair, s, free_first);

	s->touch(pair.block + s->at);
	pthread_join(thread, NULL);
	turn_fini(&pair.done);
}

/* The memory had been used under a lock, as other blocks, before. */
static void race_recycled(const struct scene *s)
{
	for (int i = 0; i < 100; i++) {
		void *p = s->make(s->size);

		fill(p, s->size);
		give_back(p);
	}
	race_write(s);
}

static void *make_and_give(void *arg)
{
	struct pair *pair = arg;
	void *p = pair->s->make(pair->s->size);

	fill(p, pair->s->size);
	turn_give(&pair->done, p);
	return NULL;
}

/* A block handed over without a lock. */
static void race_hand_over(const struct scene *s)
{
	struct pair pair = {.s = s};
	pthread_t thread;
	char *p;

	turn_init(&pair.done);
	if (pthread_create(&thread, NULL, make_and_give, &pair) != 0)
		abort();
	p = turn_wait(&pair.done);
	s->touch(p + s->at);
	pthread_join(thread, NULL);
	give_back(p);
	turn_fini(&pair.done);
}

const struct scene race_scenes[] = {
	{"race-write-write", race_write, by_malloc, 24, 8, write_8, 0},
	{"race-write-read", race_write, by_malloc, 512, 504, read_8, 0},
	{"race-read-write", race_read, by_malloc, 100, 16, write_8, 0},
	{"race-large", race_write, by_malloc, LARGE, 50000, write_8, 0},
	{"race-aligned", race_write, by_aligned, 200, 64, write_8, 0},
	{"race-recycled", race_recycled, by_malloc, 40, 8, write_8, 0},
	{"race-use-free", race_use_free, by_malloc, 24, 0, NULL, 0},
	{"race-use-free-large", race_use_free, by_malloc, LARGE, 800, NULL, 0},
	{"race-use-realloc", race_use_realloc, by_malloc, 24, 0, NULL, 5000},
	{"race-free-use", race_free_use, by_malloc, 24, 0, read_8, 0},
	{"race-free-use-large", race_free_use, by_malloc, LARGE, 800, write_8,
	 0},
	{"race-hand-over", race_hand_over, by_malloc, 64, 8, read_8, 0},
	{0},
};
