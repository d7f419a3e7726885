// SPDX-License-Identifier: MIT
/*
 * What the malloc family tells about itself: mallinfo(), mallinfo2(),
 * malloc_stats() (to stderr), malloc_trim(), and malloc_info() to stdout, for
 * the test to parse; also the functions that glibc 2.36 does not have.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
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
