// SPDX-License-Identifier: MIT
/* Blocks that are freed twice, or are none. */
#include <sys/mman.h>

#include "client.h"

static char object[256] __attribute__((aligned(64)));

static NOINLINE void give_back_again(void *p)
{
	FREE(hide(p));
	__asm__ volatile("");
}

static void twice(const struct scene *s)
{
	void *p = s->make(s->size);

	give_back(p);
	give_back_again(p);
}

/* Others of its size were made and freed between. */
static void twice_later(const struct scene *s)
{
	void *p = s->make(s->size);
	void *others[50];

	give_back(p);
	for (int i = 0; i < LENGTH(others); i++)
		others[i] = s->make(s->size);
	for (int i = 0; i < LENGTH(others); i++)
		give_back(others[i]);
	give_back_again(p);
}

static void twice_moved(const struct scene *s)
{
	void *p = s->make(s->size);
	void *q = resize(p, s->other);

	give_back_again(p);
	give_back(q);
}

static void *breaker(void *arg)
{
	give_back(arg);
	return NULL;
}

static void *breaker_again(void *arg)
{
	give_back_again(arg);
	return NULL;
}

static void twice_threads(const struct scene *s)
{
	void *p = s->make(s->size);

	in_thread(breaker, p);
	in_thread(breaker_again, p);
}

static void inside(const struct scene *s)
{
	char *p = s->make(s->size);

	give_back(p + s->at);
	give_back(p);
}

static void foreign_static(const struct scene *s)
{
	give_back(object + s->at);
}

static void foreign_stack(const struct scene *s)
{
	char local[64];

	fill(local, sizeof(local));
	give_back(local + s->at);
}

static void foreign_mapped(const struct scene *s)
{
	char *p = mmap(NULL, s->size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	give_back(p + s->at);
	munmap(p, s->size);
}

static void foreign_wild(const struct scene *s)
{
	give_back((void *)(s->size + s->at));
}

static void resize_dead(const struct scene *s)
{
	void *p = s->make(s->size);

	give_back(p);
	p = resize(p, s->other);
	give_back(p);
}

static void resize_inside(const struct scene *s)
{
	char *p = s->make(s->size);

	p = resize(p + s->at, s->other);
	give_back(p);
}

static NOINLINE size_t ask_usable(void *p)
{
	size_t size = USABLE(hide(p));

	__asm__ volatile("" : "+r"(size));
	return size;
}

static void usable_dead(const struct scene *s)
{
	void *p = s->make(s->size);

	give_back(p);
	ask_usable(p);
}

static NOINLINE void give_back_sized(void *p, size_t size)
{
	FREE_SIZED(hide(p), size);
	__asm__ volatile("");
}

static void wrong_size(const struct scene *s)
{
	give_back_sized(s->make(s->size), s->other);
}

static NOINLINE void give_back_aligned(void *p, size_t align, size_t size)
{
	FREE_SIZED_ALIGNED(hide(p), align, size);
	__asm__ volatile("");
}

static void wrong_aligned_size(const struct scene *s)
{
	give_back_aligned(s->make(s->size), 64, s->other);
}

static void wrong_align(const struct scene *s)
{
	give_back_aligned(s->make(s->size), s->other, s->size);
}

const struct scene free_scenes[] = {
	{"twice-24", twice, by_malloc, 24, 0, NULL, 0},
	{"twice-512", twice, by_calloc, 512, 0, NULL, 0},
	{"twice-large", twice, by_malloc, LARGE, 0, NULL, 0},
	{"twice-aligned", twice, by_aligned, 200, 0, NULL, 0},
	{"twice-later", twice_later, by_malloc, 40, 0, NULL, 0},
	{"twice-moved", twice_moved, by_malloc, 40, 0, NULL, 4000},
	{"twice-threads", twice_threads, by_malloc, 24, 0, NULL, 0},
	{"free-inside-100", inside, by_malloc, 100, 16, NULL, 0},
	{"free-inside-odd", inside, by_malloc, 100, 3, NULL, 0},
	{"free-inside-512", inside, by_malloc, 512, 256, NULL, 0},
	{"free-inside-large", inside, by_malloc, LARGE, 4096, NULL, 0},
	{"free-inside-aligned", inside, by_aligned, 200, 64, NULL, 0},
	{"free-static", foreign_static, NULL, 0, 0, NULL, 0},
	{"free-stack", foreign_stack, NULL, 0, 0, NULL, 0},
	{"free-mapped", foreign_mapped, NULL, 1 << 20, 4096, NULL, 0},
	{"free-wild", foreign_wild, NULL, 0x123456780, 0, NULL, 0},
	{"realloc-dead", resize_dead, by_malloc, 24, 0, NULL, 48},
	{"realloc-inside", resize_inside, by_malloc, 64, 16, NULL, 480},
	{"usable-dead", usable_dead, by_malloc, 24, 0, NULL, 0},
	{"sized-32-as-64", wrong_size, by_new, 32, 0, NULL, 64},
	{"sized-100-as-101", wrong_size, by_new, 100, 0, NULL, 101},
	{"sized-large", wrong_size, by_new, LARGE, 0, NULL, LARGE * 2},
	{"sized-aligned", wrong_aligned_size, by_new_aligned, 200, 0, NULL,
	 100},
	{"sized-align", wrong_align, by_new_aligned, 200, 0, NULL, 256},
	{0},
};
