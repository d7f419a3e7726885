// SPDX-License-Identifier: MIT
/*
 * What the malloc family does with odd arguments, as text.  The output has to
 * be the same with glibc's malloc and with apb's.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_OF(a) (sizeof(a) / sizeof((a)[0]))

/* Sizes that no compiler may know. */
static const volatile size_t zero, huge = (size_t)PTRDIFF_MAX + 1,
				   all = SIZE_MAX, half = SIZE_MAX / 2 + 1;

/* The name of errno, which is set to 0 again. */
static const char *err(void)
{
	int e = errno;

	errno = 0;
	return e ? strerrorname_np(e) : "-";
}

static size_t next_power(size_t n)
{
	size_t p = 16;

	while (p < n)
		p *= 2;
	return p;
}

/* Whether all of the usable size can be written, and @n bytes are usable. */
static const char *fill(void *p, size_t n)
{
	if (!p)
		return "NULL";
	if (malloc_usable_size(p) < n)
		return "too small";
	memset(p, 0xa5, malloc_usable_size(p));
	return (uintptr_t)p % 16 ? "unaligned" : "ok";
}

static int all_are(const unsigned char *p, size_t n, int c)
{
	while (n--) {
		if (*p++ != c)
			return 0;
	}
	return 1;
}

static void plain(void)
{
	void *a = malloc(zero), *b = malloc(zero);

	printf("malloc(0): %s, %s, %s\n", fill(a, 0), fill(b, 0),
	       a == b ? "equal" : "distinct");
	free(a);
	free(b);
	free(NULL);
	printf("usable of NULL: %zu\n", malloc_usable_size(NULL));
	errno = 0;
	a = malloc(huge);
	printf("malloc(PTRDIFF_MAX + 1): %p %s\n", a, err());
	a = malloc(all);
	printf("malloc(SIZE_MAX): %p %s\n", a, err());
	a = calloc(huge, 2);
	printf("calloc(overflow): %p %s\n", a, err());
	a = calloc(all, all);
	printf("calloc(SIZE_MAX, SIZE_MAX): %p %s\n", a, err());
	a = calloc(zero, 8);
	b = calloc(8, zero);
	printf("calloc(0): %s, %s\n", fill(a, 0), fill(b, 0));
	free(a);
	free(b);
}

static void zeroed(void)
{
	static const size_t sizes[] = {1,     16,    17,     500,
				       512,   1000,  4096,   9000,
				       32768, 32769, 200000, 3000000};
	unsigned int i, bad = 0;

	for (i = 0; i < NR_OF(sizes); i++) {
		unsigned char *p = malloc(sizes[i]);

		fill(p, sizes[i]);
		free(p);
		p = calloc(1, sizes[i]);
		bad += !p || !all_are(p, sizes[i], 0);
		free(p);
	}
	printf("calloc() of used memory: %u are not zero\n", bad);
}

static void resized(void)
{
	static const size_t sizes[] = {100,   5,      3000,  40000,
				       39000, 200000, 10000, 3 << 20,
				       100,   600,    601,   24};
	unsigned char *p = malloc(8), *q;
	size_t old = 8, same;
	unsigned int i, bad = 0;

	memset(p, 7, old);
	for (i = 0; i < NR_OF(sizes); i++) {
		p = realloc(p, sizes[i]);
		same = old < sizes[i] ? old : sizes[i];
		bad += !p || !all_are(p, same, 7);
		memset(p, 7, sizes[i]);
		old = sizes[i];
	}
	printf("realloc(): %u of %zu lost content\n", bad, NR_OF(sizes));
	errno = 0;
	q = realloc(p, huge);
	printf("realloc(PTRDIFF_MAX + 1): %p %s\n", (void *)q, err());
	q = reallocarray(p, huge, 2);
	printf("reallocarray(overflow): %p %s\n", (void *)q, err());
	printf("and the block: %s\n", all_are(p, old, 7) ? "kept" : "changed");
	q = realloc(p, zero);
	printf("realloc(p, 0): %p\n", (void *)q);
	q = realloc(NULL, zero);
	printf("realloc(NULL, 0): %s\n", fill(q, 0));
	q = reallocarray(q, zero, 8);
	printf("reallocarray(p, 0, 8): %p\n", (void *)q);
	q = reallocarray(q, 8, 8);
	printf("reallocarray(NULL, 8, 8): %s\n", fill(q, 64));
	q = reallocarray(q, 8, zero);
	printf("reallocarray(p, 8, 0): %p\n", (void *)q);
}

static void aligned(const char *name, void *(*fn)(size_t, size_t))
{
	const size_t aligns[] = {0,    1,     2,       3,    8,	       16,
				 17,   24,    32,      48,   100,      4096,
				 5000, 65536, 3 << 20, half, half + 1, all};
	const size_t sizes[] = {0, 1, 100, 5000, 100000, huge, all};
	unsigned int i, j;

	for (i = 0; i < NR_OF(aligns); i++) {
		printf("%s(%zu):", name, aligns[i]);
		for (j = 0; j < NR_OF(sizes); j++) {
			void *p;

			errno = 0;
			p = fn(aligns[i], sizes[j]);
			if (!p)
				printf(" %s", err());
			else if ((uintptr_t)p % next_power(aligns[i]))
				printf(" unaligned");
			else
				printf(" %s", fill(p, sizes[j]));
			free(p);
		}
		printf("\n");
	}
}

static void posix(void)
{
	const size_t aligns[] = {0,  1,	   2,	  4,	   8,	 12, 16,
				 24, 4096, 65536, 3 << 20, half, all};
	unsigned int i;

	for (i = 0; i < NR_OF(aligns); i++) {
		void *p = &p;
		int e = posix_memalign(&p, aligns[i], 100);

		printf("posix_memalign(%zu): %s", aligns[i],
		       e ? strerrorname_np(e) : fill(p, 100));
		if (p == &p) {
			printf(", pointer untouched\n");
			continue;
		}
		printf("%s\n", (uintptr_t)p % aligns[i] ? ", unaligned" : "");
		free(p);
	}
}

static void pages(void)
{
	const size_t sizes[] = {0, 1, 4096, 5000, 100000, huge, all};
	unsigned int i;

	for (i = 0; i < NR_OF(sizes); i++) {
		size_t up = sizes[i] && sizes[i] < huge ?
				    (sizes[i] + 4095) & ~(size_t)4095 :
				    0;
		void *p, *q;

		errno = 0;
		p = valloc(sizes[i]);
		printf("valloc(%zu): %s %s; ", sizes[i], fill(p, 0), err());
		q = pvalloc(sizes[i]);
		printf("pvalloc: %s %s, %s\n", fill(q, up), err(),
		       ((uintptr_t)p | (uintptr_t)q) % 4096 ? "unaligned" :
							      "aligned");
		free(p);
		free(q);
	}
}

static void errno_kept(void)
{
	static const size_t sizes[] = {1, 500, 5000, 100000, 10 << 20};
	unsigned int i;

	printf("errno after free:");
	for (i = 0; i < NR_OF(sizes); i++) {
		void *p = malloc(sizes[i]);

		errno = EILSEQ;
		free(p);
		printf(" %s", err());
	}
	printf("\n");
}

static void settings(void)
{
	static const int params[] = {M_MXFAST,	  M_TRIM_THRESHOLD,
				     M_TOP_PAD,	  M_MMAP_THRESHOLD,
				     M_MMAP_MAX,  M_CHECK_ACTION,
				     M_PERTURB,	  M_ARENA_TEST,
				     M_ARENA_MAX, 0,
				     2,		  99,
				     -99};
	static const int values[] = {-1, 160, 161, 1 << 20, 0};
	unsigned int i, j;

	for (i = 0; i < NR_OF(params); i++) {
		printf("mallopt(%d):", params[i]);
		for (j = 0; j < NR_OF(values); j++)
			printf(" %d", mallopt(params[i], values[j]));
		printf("\n");
	}
	errno = 0;
	printf("malloc_info(1): %d", malloc_info(1, stdout));
	printf(" %s\n", err());
}

/* Blocks that libc allocates and the program frees. */
static void of_libc(void)
{
	static char text[] = "one\nand a longer line\n";
	FILE *in = fmemopen(text, sizeof(text) - 1, "r"), *out;
	char *line = NULL, *s, *path;
	struct dirent **names;
	size_t size = 0;
	int i, n;

	while (getline(&line, &size, in) > 0)
		printf("line: %s", line);
	free(line);
	fclose(in);
	out = open_memstream(&s, &size);
	for (i = 0; i < 1000; i++)
		fprintf(out, "%d ", i);
	fclose(out);
	printf("memstream: %zu\n", strlen(s));
	free(s);
	s = strdup("dup");
	printf("%s", s);
	free(s);
	s = strndup("ndup", 2);
	printf(" %s", s);
	free(s);
	if (asprintf(&s, "%*d", 500, 1) > 0)
		printf(" %zu", strlen(s));
	free(s);
	path = realpath("/usr/../usr", NULL);
	printf(" %s", path);
	free(path);
	path = canonicalize_file_name("/");
	printf(" %s\n", path);
	free(path);
	n = scandir("/proc/self/task/..", &names, NULL, alphasort);
	printf("scandir: %s\n", n > 10 ? "ok" : "too few");
	for (i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

int main(void)
{
	plain();
	zeroed();
	resized();
	aligned("memalign", memalign);
	aligned("aligned_alloc", aligned_alloc);
	posix();
	pages();
	errno_kept();
	of_libc();
	settings();
	return 0;
}
