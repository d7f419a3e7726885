// SPDX-License-Identifier: MIT
/*
 * What the malloc family tells about itself: mallinfo(), mallinfo2(),
 * malloc_stats() (to stderr), malloc_trim(), and malloc_info() to stdout, for
 * the test to parse; also the functions that glibc 2.36 does not have.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <apb/apb.h>

#include "expect.h"

#define NR 20000
#define SIZE 200 /* a block of 208 bytes */
#define LARGE ((size_t)3 << 20)

void free_sized(void *ptr, size_t size);
void free_aligned_sized(void *ptr, size_t align, size_t size);
void cfree(void *ptr);

static void *blocks[NR];

static void info_of_blocks(void)
{
	struct mallinfo2 before = mallinfo2(), with;
	struct mallinfo narrow;
	void *large = malloc(LARGE);
	int i;

	for (i = 0; i < NR; i++)
		blocks[i] = malloc(SIZE);
	with = mallinfo2();
	EXPECT(with.uordblks - before.uordblks == NR * (size_t)208);
	EXPECT(with.hblks == before.hblks + 1);
	EXPECT(with.hblkhd - before.hblkhd == LARGE);
	EXPECT(with.arena >= with.uordblks);
	EXPECT(with.fordblks == with.arena - with.uordblks);
	EXPECT(!with.smblks && !with.usmblks && !with.fsmblks);
	narrow = mallinfo();
	EXPECT((size_t)narrow.uordblks == with.uordblks);
	EXPECT((size_t)narrow.arena == with.arena);
	EXPECT((size_t)narrow.hblkhd == with.hblkhd);
	free(large);
	/* every other block: none of their pools is empty */
	for (i = 0; i < NR; i += 2)
		free(blocks[i]);
	with = mallinfo2();
	EXPECT(with.uordblks - before.uordblks == NR / 2 * (size_t)208);
	EXPECT(with.ordblks >= NR / 2);
	EXPECT(with.hblks == before.hblks);
}

/* What the formats have to say, put together from apb's own statistics. */
static size_t expected(char *text, size_t room, const struct apb_stats *s)
{
	size_t bytes = s->arenas * s->arena_bytes, nr = 0, n = 0;
	int i, all;

	n += (size_t)snprintf(text + n, room - n,
			      "<malloc version=\"1\">\n<heap nr=\"0\">\n"
			      "<sizes>\n");
	for (i = 0; i < APB_NR_CLASSES; i++) {
		size_t size = s->class_[i].size, avail = s->class_[i].avail;

		nr += avail;
		if (avail)
			n += (size_t)snprintf(
				text + n, room - n,
				"  <size from=\"%zu\" to=\"%zu\" total=\"%zu\" "
				"count=\"%zu\"/>\n",
				i ? s->class_[i - 1].size + 1 : 1, size,
				size * avail, avail);
	}
	n += (size_t)snprintf(text + n, room - n, "</sizes>\n");
	for (all = 0; all < 2; all++) {
		n += (size_t)snprintf(
			text + n, room - n,
			"<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
			"<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n",
			nr, s->avail_bytes + s->unused_pool_bytes);
		if (all)
			n += (size_t)snprintf(text + n, room - n,
					      "<total type=\"mmap\" "
					      "count=\"%zu\" size=\"%zu\"/>\n",
					      s->large, s->large_bytes);
		n += (size_t)snprintf(
			text + n, room - n,
			"<system type=\"current\" size=\"%zu\"/>\n"
			"<system type=\"max\" size=\"%zu\"/>\n"
			"<aspace type=\"total\" size=\"%zu\"/>\n"
			"<aspace type=\"mprotect\" size=\"%zu\"/>\n%s",
			bytes, s->arenas_highwater * s->arena_bytes, bytes,
			bytes, all ? "</malloc>\n" : "</heap>\n");
	}
	return n;
}

/* With @every, there are free blocks of every class. */
static void adds_up(int every)
{
	static char text[16384], said[16384], buffer[16384];
	size_t free_blocks = 0, n;
	struct mallinfo2 info;
	struct apb_stats s;
	void *large = malloc(LARGE);
	FILE *fp = fmemopen(said, sizeof(said), "w");
	int i;

	EXPECT(fp && !setvbuf(fp, buffer, _IOFBF, sizeof(buffer)));
	apb_stats(&s);
	for (i = 0; i < APB_NR_CLASSES && every; i++)
		free(malloc(s.class_[i].size));
	apb_stats(&s);
	for (i = 0; i < APB_NR_CLASSES; i++) {
		EXPECT(!every || s.class_[i].avail);
		free_blocks += s.class_[i].avail;
	}
	EXPECT(every || !s.class_[20].avail);
	info = mallinfo2();
	EXPECT(info.arena == s.arenas * s.arena_bytes);
	EXPECT(info.ordblks == free_blocks);
	EXPECT(info.hblks == s.large && info.hblkhd == s.large_bytes);
	EXPECT(info.uordblks == s.used_bytes);
	EXPECT(info.fordblks == info.arena - s.used_bytes);
	EXPECT(info.keepcost == s.unused_pool_bytes);
	n = expected(text, sizeof(text), &s);
	EXPECT(malloc_info(0, fp) == 0);
	fclose(fp);
	EXPECT(n < sizeof(text) && !strcmp(said, text));
	free(large);
}

/* Where there is no stderr. */
static void stats_to_nowhere(void)
{
	int copy = dup(2);

	close(2);
	errno = EILSEQ;
	malloc_stats();
	EXPECT(errno == EILSEQ);
	EXPECT(dup2(copy, 2) == 2);
	close(copy);
}

static size_t live_blocks(void)
{
	struct apb_stats s;
	size_t nr;
	int i;

	apb_stats(&s);
	nr = s.large;
	for (i = 0; i < APB_NR_CLASSES; i++)
		nr += s.class_[i].used;
	return nr;
}

/* A system that refuses what it is asked. */
static void trim_fails(void)
{
	const struct apb_fault fault = {
		.mode = APB_FAULT_FROM,
		.calls = 1u << APB_OS_UNMAP | 1u << APB_OS_PURGE,
		.n = 1,
	};

	free(malloc(LARGE));
	apb_fault_set(&fault);
	errno = EILSEQ;
	malloc_trim(0);
	EXPECT(errno == EILSEQ);
	apb_fault_set(NULL);
	malloc_trim(0);
}

/* realloc() to nothing, and what C23 has, free. */
static void frees(void)
{
	static const volatile size_t nothing = 0;
	size_t before = live_blocks();

	EXPECT(!realloc(malloc(100), nothing));
	EXPECT(!reallocarray(malloc(LARGE), 8, nothing));
	free_sized(malloc(100), 100);
	free_aligned_sized(aligned_alloc(48, 1000), 48, 1000);
	cfree(malloc(100));
	EXPECT(live_blocks() == before);
}

/* Sizes are rounded up to pages, alignments to the next power of two. */
static void rounded(void)
{
	static const struct {
		size_t size, usable;
	} pages[] = {
		{1, 4096},    {2, 4096},    {4095, 4096}, {4096, 4096},
		{4097, 8192}, {5000, 8192}, {8191, 8192}, {8192, 8192},
	};
	static const struct {
		size_t align, up;
	} aligns[] = {
		{1, 16},    {15, 16},	{16, 16},     {17, 32},	     {31, 32},
		{32, 32},   {33, 64},	{63, 64},     {65, 128},     {100, 128},
		{129, 256}, {257, 512}, {4097, 8192}, {8193, 16384},
	};
	size_t i, j;
	void *p[16];

	for (i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		p[0] = pvalloc(pages[i].size);
		EXPECT(malloc_usable_size(p[0]) == pages[i].usable);
		free(p[0]);
	}
	/* several, as one may be aligned by chance */
	for (i = 0; i < sizeof(aligns) / sizeof(aligns[0]); i++) {
		for (j = 0; j < 16; j++) {
			p[j] = aligned_alloc(aligns[i].align, 40);
			EXPECT(p[j] && !((size_t)p[j] % aligns[i].up));
			EXPECT(malloc_usable_size(p[j]) <=
			       (aligns[i].up < 48 ? 64 : aligns[i].up));
		}
		for (j = 0; j < 16; j++)
			free_aligned_sized(p[j], aligns[i].align, 40);
	}
}

static void trim(void)
{
	int i;

	for (i = 1; i < NR; i += 2)
		free(blocks[i]);
	errno = EILSEQ;
	EXPECT(malloc_trim(0) == 1);
	EXPECT(malloc_trim(0) == 0);
	EXPECT(errno == EILSEQ);
	EXPECT(mallinfo2().arena <= (size_t)4 << 20);
}

static void of_c23(void)
{
	void *p = malloc(100);

	errno = EILSEQ;
	free_sized(p, 100);
	free_sized(NULL, 100);
	p = aligned_alloc(64, 100);
	free_aligned_sized(p, 64, 100);
	p = aligned_alloc(48, 100);
	free_aligned_sized(p, 48, 100);
	free_aligned_sized(NULL, 64, 1);
	cfree(malloc(1));
	cfree(NULL);
	/* unlike glibc's */
	EXPECT(posix_memalign(&p, 16, (size_t)1 << 62) == ENOMEM);
	EXPECT(errno == EILSEQ);
}

static size_t dirty_limit(void)
{
	struct apb_stats s;

	apb_stats(&s);
	return s.dirty_limit;
}

/* Parameters are set, and no others. */
static void parameters(void)
{
	const unsigned char *p;
	size_t i;

	errno = EILSEQ;
	EXPECT(mallopt(M_TRIM_THRESHOLD, 12345) == 1);
	EXPECT(dirty_limit() == 12345);
	EXPECT(mallopt(M_TRIM_THRESHOLD, 0) == 1);
	EXPECT(dirty_limit() == 0);
	EXPECT(mallopt(M_TRIM_THRESHOLD, -1) == 1);
	EXPECT(dirty_limit() == SIZE_MAX - 1);
	/* too late for it, as there are blocks */
	EXPECT(mallopt(M_PERTURB, 1) == 1);
	EXPECT(errno == EILSEQ);
	p = malloc(SIZE);
	memset((void *)p, 7, SIZE);
	free((void *)p);
	p = calloc(1, SIZE);
	for (i = 0; i < SIZE; i++)
		EXPECT(!p[i]);
	free((void *)p);
}

/*
 * A limit on what stays is one to apb; without it, it keeps much.  Some blocks
 * are not freed, so that no arena is empty.
 */
static void retained(int threshold, size_t least, size_t most)
{
	struct apb_stats s;
	int i;

	EXPECT(mallopt(M_TRIM_THRESHOLD, threshold) == 1);
	for (i = 0; i < NR; i++)
		memset(blocks[i] = malloc(SIZE), 1, SIZE);
	for (i = 0; i < NR; i++) {
		if (i % 1000)
			free(blocks[i]);
	}
	apb_settle();
	apb_stats(&s);
	EXPECT(s.dirty_bytes >= least && s.dirty_bytes <= most);
	for (i = 0; i < NR; i += 1000)
		free(blocks[i]);
	malloc_trim(0);
}

int main(void)
{
	of_c23();
	info_of_blocks();
	adds_up(0);
	adds_up(1);
	stats_to_nowhere();
	frees();
	trim_fails();
	rounded();
	parameters();
	EXPECT(malloc_info(0, stdout) == 0);
	EXPECT(malloc_info(1, stdout) == EINVAL);
	fflush(stdout);
	malloc_stats();
	trim();
	retained(0, 0, 0);
	retained(-1, (size_t)NR * SIZE / 2, SIZE_MAX);
	retained(256 << 10, 0, 256 << 10);
	EXPECT(apb_check(NULL) == 0);
	return 0;
}
