// SPDX-License-Identifier: MIT
/* Programs without a bug, of several threads: nobody is to say a word. */
#include "client.h"

#define THREADS 4

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void run(void *(*fn)(void *arg), const struct scene *s)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, fn, (void *)s) != 0)
			abort();
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* Memory goes from thread to thread only through the allocator. */
static void *churn(void *arg)
{
	const struct scene *s = arg;
	char *blocks[20];

	for (int round = 0; round < 30; round++) {
		for (int i = 0; i < LENGTH(blocks); i++) {
			blocks[i] = s->make(s->size);
			fill(blocks[i], s->size);
		}
		for (int i = 0; i < LENGTH(blocks); i++)
			give_back(blocks[i]);
	}
	return NULL;
}

static void recycled(const struct scene *s)
{
	for (int i = 0; i < 3; i++)
		run(churn, s);
}

static char *queue[8];
static int queued;

static void put(char *p)
{
	pthread_mutex_lock(&lock);
	while (queued == LENGTH(queue))
		pthread_cond_wait(&changed, &lock);
	queue[queued++] = p;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static char *get(void)
{
	char *p;

	pthread_mutex_lock(&lock);
	while (queued == 0)
		pthread_cond_wait(&changed, &lock);
	p = queue[--queued];
	queue[queued] = NULL;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return p;
}

#define HANDED 200

static void *produce(void *arg)
{
	const struct scene *s = arg;

	for (int i = 0; i < HANDED; i++) {
		char *p = s->make(s->size);

		fill(p, s->size);
		put(p);
	}
	return NULL;
}

/* Blocks are freed by threads that did not make them. */
static void handed_over(const struct scene *s)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, produce, (void *)s) != 0)
		abort();
	for (int i = 0; i < HANDED; i++) {
		char *p = get();

		for (size_t k = 0; k < s->size; k++)
			read_1(p + k);
		fill(p, s->size);
		give_back(p);
	}
	pthread_join(thread, NULL);
}

static void *resize_some(void *arg)
{
	const struct scene *s = arg;

	for (size_t i = 0; i < 60; i++) {
		char *p = s->make(s->size);

		fill(p, s->size);
		p = resize(p, s->size + i * 100);
		fill(p, s->size + i * 100);
		p = resize(p, 10);
		give_back(p);
	}
	return NULL;
}

static void resized(const struct scene *s)
{
	run(resize_some, s);
}

static void *volatile left[THREADS];

static void *leave_one(void *arg)
{
	const struct scene *s = arg;
	static int n;
	char *p = s->make(s->size);

	fill(p, s->size);
	pthread_mutex_lock(&lock);
	left[n++] = p;
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* What ended threads made is used and freed. */
static void outlived(const struct scene *s)
{
	run(leave_one, s);
	for (int i = 0; i < THREADS; i++) {
		fill(left[i], s->size);
		give_back(left[i]);
		left[i] = NULL;
	}
}

static int *counter;

static void *count(void *arg)
{
	for (int i = 0; i < 500; i++) {
		pthread_mutex_lock(&lock);
		++*counter;
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

/* A block that is shared, as it ought to be. */
static void locked(const struct scene *s)
{
	counter = s->make(sizeof(*counter));
	*counter = 0;
	run(count, s);
	if (*counter != 500 * THREADS)
		abort();
	give_back(counter);
}

const struct scene correct_thread_scenes[] = {
	{"ok-threads-recycled", recycled, by_malloc, 64, 0, NULL, 0},
	{"ok-threads-large", recycled, by_malloc, 50000, 0, NULL, 0},
	{"ok-threads-calloc", recycled, by_calloc, 200, 0, NULL, 0},
	{"ok-threads-handed", handed_over, by_malloc, 120, 0, NULL, 0},
	{"ok-threads-handed-large", handed_over, by_malloc, 40000, 0, NULL, 0},
	{"ok-threads-realloc", resized, by_malloc, 30, 0, NULL, 0},
	{"ok-threads-outlived", outlived, by_malloc, 90, 0, NULL, 0},
	{"ok-threads-locked", locked, by_malloc, 0, 0, NULL, 0},
	{0},
};
