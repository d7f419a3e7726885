/* SPDX-License-Identifier: MIT */
/*
 * What the benchmark programs share: which allocator they call, a clock, a
 * cheap random number generator, and memory that does not come from the
 * allocator that is measured.
 *
 * Each program is compiled twice from the same source.  With BENCH_APB it
 * calls apb_malloc() and its like, otherwise malloc() and its like, which are
 * those of the C library or of a preloaded one.  The code around the calls is
 * the same to the instruction.
 */
#ifndef APB_BENCH_H
#define APB_BENCH_H

#ifndef _GNU_SOURCE
#error "bench.h wants _GNU_SOURCE"
#endif

#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#ifdef BENCH_APB
#include <apb/apb.h>

static inline void *bench_malloc(size_t size)
{
	return apb_malloc(size);
}

static inline void bench_free(void *ptr)
{
	apb_free(ptr);
}

static inline void *bench_malloc_addr(void)
{
	return (void *)apb_malloc;
}

static inline void *bench_free_addr(void)
{
	return (void *)apb_free;
}

static inline void *bench_realloc(void *ptr, size_t size)
{
	return apb_realloc(ptr, size);
}
#else
static inline void *bench_malloc(size_t size)
{
	return malloc(size);
}

static inline void bench_free(void *ptr)
{
	free(ptr);
}

static inline void *bench_malloc_addr(void)
{
	return (void *)malloc;
}

static inline void *bench_free_addr(void)
{
	return (void *)free;
}

static inline void *bench_realloc(void *ptr, size_t size)
{
	return realloc(ptr, size);
}
#endif

/* One line to stderr, exit status 2. */
static inline void __attribute__((noreturn, format(printf, 1, 2)))
bench_die(const char *fmt, ...)
{
	va_list ap;

	fputs("bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/* A number from the command line, 1 up to @max. */
static inline size_t bench_number(const char *what, const char *text,
				  size_t max)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || v < 1 || v > max)
		bench_die("%s is a number from 1 to %zu, not '%s'", what, max,
			  text);
	return v;
}

/* Memory of our own, resident from the start. */
static inline void *bench_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		bench_die("no memory for %zu bytes", size);
	return p;
}

static inline void bench_touch(void *p, size_t v)
{
	*(volatile size_t *)p = v;
}

/* Of a block that may be smaller than a word. */
static inline void bench_touch_byte(void *p, size_t v)
{
	*(volatile char *)p = (char)v;
}

/* CPU time: what else runs on the machine is not counted. */
static inline double bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* Of several threads: what passes on the clock on the wall. */
static inline double bench_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* xorshift64*; the high half of the product is the good one. */
static inline uint32_t bench_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return (x * 0x2545f4914f6cdd1dull) >> 32;
}

/* 0 to @n - 1, without the bias and the cost of a division. */
static inline uint32_t bench_below(uint64_t *state, uint32_t n)
{
	return ((uint64_t)bench_random(state) * n) >> 32;
}

/* A random order of 0 to @n - 1. */
static inline void bench_shuffle(uint64_t *state, uint32_t *order, uint32_t n)
{
	uint32_t i, j, t;

	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n; i > 1; i--) {
		j = bench_below(state, i);
		t = order[i - 1];
		order[i - 1] = order[j];
		order[j] = t;
	}
}

/* The file the measured malloc is in: proof of what was measured. */
static inline const char *bench_origin(void)
{
	Dl_info info;

	if (!dladdr(bench_malloc_addr(), &info) || !info.dli_fname)
		return "?";
	return info.dli_fname;
}

#endif /* APB_BENCH_H */
