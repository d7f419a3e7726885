// SPDX-License-Identifier: MIT
/*
 * Requests that no allocator can serve, for a mistake in their numbers: the tools
 * end the program, unless they are told that NULL is an answer.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client.h"

#define HUGE_SIZE (SIZE_MAX / 2)
#define GIB ((size_t)1 << 30)

/* Lest what asks be a jump, and not in stacks. */
static void keep(void *p)
{
	FREE(hide(p));
	__asm__ volatile("");
}

static NOINLINE void ask(size_t size)
{
	keep(MALLOC(size));
}

static NOINLINE void ask_zeroed(size_t n, size_t size)
{
	keep(CALLOC(n, size));
}

static NOINLINE void ask_array(size_t n, size_t size)
{
	keep(ARRAY(NULL, n, size));
}

static NOINLINE void ask_again(void *p, size_t size)
{
	void *q = REALLOC(p, size);

	keep(q ? q : p);
}

static NOINLINE void ask_aligned(size_t align, size_t size)
{
	keep(C_ALIGNED(align, size));
}

static void too_large(const struct scene *s)
{
	ask(s->size);
}

static void too_many(const struct scene *s)
{
	ask_zeroed(s->size, s->other);
}

static void too_many_again(const struct scene *s)
{
	ask_array(s->size, s->other);
}

static void too_large_again(const struct scene *s)
{
	ask_again(by_malloc(24), s->size);
}

static void badly_aligned(const struct scene *s)
{
	ask_aligned(s->other, s->size);
}

/* No more memory than a gibibyte, of which the tool's report takes some. */
static void no_memory(const struct scene *s)
{
	struct rlimit limit = {0, RLIM_INFINITY};
	size_t data = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%*u %*u %*u %*u %*u %zu", &data) != 1)
		exit(2);
	fclose(file);
	limit.rlim_cur = data * (size_t)sysconf(_SC_PAGESIZE) + GIB;
	limit.rlim_max = limit.rlim_cur;
	if (setrlimit(RLIMIT_DATA, &limit))
		exit(2);
	ask(s->size);
}

/* Whether this is the program as it was asked for, with @options for the tool. */
static bool with_options(const struct scene *s, const char *options)
{
	static const char *const tools[] = {"ASAN_OPTIONS", "MSAN_OPTIONS",
					    "TSAN_OPTIONS", "LSAN_OPTIONS"};

	if (getenv("VISIBILITY_OPTIONS"))
		return true;
	for (int i = 0; i < LENGTH(tools); i++)
		setenv(tools[i], options, 1);
	setenv("VISIBILITY_OPTIONS", options, 1);
	execl("/proc/self/exe", "client", s->name, NULL);
	exit(2);
}

static void null_is_an_answer(const struct scene *s)
{
	if (!with_options(s, "allocator_may_return_null=1"))
		return;
	if (MALLOC(s->size) || CALLOC(s->size, s->other) ||
	    ARRAY(NULL, s->size, s->other))
		exit(3);
	ask_again(by_malloc(24), s->size);
}

static NOINLINE void drop_as(void *p, size_t size)
{
	FREE_SIZED(hide(p), size);
	__asm__ volatile("");
}

static void sizes_do_not_matter(const struct scene *s)
{
	if (with_options(s, "new_delete_type_mismatch=0"))
		drop_as(by_new(s->size), s->other);
}

const struct scene refused_scenes[] = {
	{"refused-calloc", too_many, NULL, HUGE_SIZE, 0, NULL, 4},
	{"refused-reallocarray", too_many_again, NULL, HUGE_SIZE, 0, NULL, 4},
	{"refused-malloc", too_large, NULL, HUGE_SIZE, 0, NULL, 0},
	{"refused-negative", too_large, NULL, SIZE_MAX - 2, 0, NULL, 0},
	{"refused-realloc", too_large_again, NULL, HUGE_SIZE, 0, NULL, 0},
	{"refused-align", badly_aligned, NULL, 96, 0, NULL, 48},
	{"refused-no-memory", no_memory, NULL, 4 * GIB, 0, NULL, 0},
	{"ok-may-return-null", null_is_an_answer, NULL, HUGE_SIZE, 0, NULL, 4},
	{"ok-sizes-not-compared", sizes_do_not_matter, NULL, 24, 0, NULL, 32},
	{0},
};
