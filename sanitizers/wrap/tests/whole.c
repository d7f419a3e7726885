// SPDX-License-Identifier: MIT
/*
 * A whole program with its malloc wrapped: each function of the family, blocks
 * that libc made, blocks that libc gets.  Without an argument it checks where
 * every block is from and ends with status 0; with one it has that bug.
 */
#define _GNU_SOURCE
#include "../wrap.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	failed = 1;
	fprintf(stderr, "not so: %s\n", what);
}

#define CHECK(x) check((x), #x)

static bool ours(void *p)
{
	return p && apb_wrap_owns(p);
}

static bool theirs(void *p)
{
	return p && !apb_wrap_owns(p);
}

static bool aligned(void *p, size_t align)
{
	return ours(p) && (uintptr_t)p % align == 0;
}

static void blocks(void)
{
	char *p = malloc(13), *q = calloc(3, 5);
	volatile size_t huge = SIZE_MAX / 2;

	CHECK(ours(p) && ours(q) && !q[0] && !q[14]);
	CHECK(malloc_usable_size(p) >= 13 && !malloc_usable_size(NULL));
	memset(p, 'x', 13);
	p = realloc(p, 100000);
	CHECK(ours(p) && p[0] == 'x' && p[12] == 'x');
	p = reallocarray(p, 10, 10);
	CHECK(ours(p) && p[12] == 'x');
	CHECK(!realloc(p, 0));
	errno = 0;
	CHECK(!reallocarray(NULL, huge, 4) && errno == ENOMEM);
	free(q);
	free(NULL);
	p = realloc(NULL, 7);
	CHECK(ours(p));
	free(p);
}

static void alignment(void)
{
	volatile size_t three = 3, odd = 200;
	void *p = aligned_alloc(256, 512), *q = memalign(odd, 10);
	void *r = NULL;

	CHECK(aligned(p, 256) && aligned(q, 256));
	free(p);
	free(q);
	CHECK(!posix_memalign(&r, 4096, 10) && aligned(r, 4096));
	free(r);
	CHECK(posix_memalign(&r, three, 10) == EINVAL);
	p = valloc(5);
	q = pvalloc(5);
	CHECK(aligned(p, 4096) && aligned(q, 4096));
	free(p);
	free(q);
}

static void strings(void)
{
	char *p = strdup("thirteen char"), *q = strndup("abc", 2);

	CHECK(ours(p) && !strcmp(p, "thirteen char"));
	CHECK(ours(q) && !strcmp(q, "ab"));
	free(p);
	free(q);
}

/* What libc allocates is freed, and resized, by the program. */
static void from_libc(void)
{
	char *p = NULL, *q;
	size_t size;
	FILE *file;

	CHECK(asprintf(&p, "%d", 12345) == 5);
	CHECK(theirs(p) && malloc_usable_size(p) >= 6);
	p = realloc(p, 1000);
	CHECK(p && !strcmp(p, "12345"));
	free(p);
	q = realpath("/", NULL);
	CHECK(theirs(q) && !strcmp(q, "/"));
	free(q);
	file = open_memstream(&p, &size);
	CHECK(file && fputs("text", file) >= 0 && !fclose(file));
	CHECK(theirs(p) && size == 4 && !strcmp(p, "text"));
	free(p);
}

/* What the program allocates is resized by libc. */
static void into_libc(void)
{
	char text[] = "one\na second line that is longer\n\n|end";
	FILE *file = fmemopen(text, sizeof(text) - 1, "r");
	char *line = malloc(2);
	size_t size = 2;

	CHECK(getline(&line, &size, file) == 4 && ours(line));
	CHECK(!strcmp(line, "one\n") && size >= 5);
	CHECK(getline(&line, &size, file) == 29 && ours(line));
	CHECK(line && !strcmp(line, "a second line that is longer\n"));
	CHECK(getdelim(&line, &size, '|', file) == 2 && !strcmp(line, "\n|"));
	free(line);
	line = NULL;
	size = 0;
	CHECK(getline(&line, &size, file) == 3 && ours(line));
	CHECK(getline(&line, &size, file) == -1 && feof(file));
	free(line);
	fclose(file);
}

/* So that a call before it is not the function's last, and it is in stacks. */
#define NOT_LAST() __asm__ volatile("")

static char *__attribute__((noinline)) make_text(void)
{
	char *p = strdup("thirteen char");

	NOT_LAST();
	return p;
}

static void __attribute__((noinline)) drop(char *p)
{
	free(p);
	NOT_LAST();
}

static void __attribute__((noinline)) spoil(char *p)
{
	*(volatile char *)(p + 14) = 1;
}

static void __attribute__((noinline)) ask_for_too_much(const char *how)
{
	volatile size_t huge = SIZE_MAX / 2, odd = 48;
	void *p, *q = NULL;

	if (!strcmp(how, "calloc-refused"))
		p = calloc(huge, 4);
	else if (!strcmp(how, "reallocarray-refused"))
		p = reallocarray(NULL, huge, 4);
	else if (!strcmp(how, "malloc-refused"))
		p = malloc(huge);
	else if (!strcmp(how, "aligned-refused"))
		p = aligned_alloc(odd, 96);
	else if (!strcmp(how, "aligned-size-refused"))
		p = aligned_alloc(64, odd);
	else if (!strcmp(how, "memalign-refused"))
		p = memalign(odd, 100);
	else if (!strcmp(how, "posix-refused"))
		p = posix_memalign(&q, odd, 100) ? NULL : q;
	else if (!strcmp(how, "pvalloc-refused"))
		p = pvalloc(2 * huge);
	else
		exit(2);
	if (p)
		abort();
	NOT_LAST();
}

int main(int argc, char **argv)
{
	char *p;

	if (argc == 1) {
		blocks();
		alignment();
		strings();
		from_libc();
		into_libc();
		return failed;
	}
	p = make_text();
	if (!strcmp(argv[1], "overflow")) {
		spoil(p);
	} else if (!strcmp(argv[1], "use-after-free")) {
		drop(p);
		spoil(p - 14);
	} else if (!strcmp(argv[1], "double-free")) {
		drop(p);
		drop(p);
	} else if (!strcmp(argv[1], "libc-double-free")) {
		drop(p);
		p = realpath("/", NULL);
		drop(p);
		drop(p);
	} else if (strstr(argv[1], "-refused")) {
		drop(p);
		ask_for_too_much(argv[1]);
	} else {
		fprintf(stderr, "no bug '%s'\n", argv[1]);
		return 2;
	}
	return 0;
}
