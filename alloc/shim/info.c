// SPDX-License-Identifier: MIT
/*
 * What glibc's malloc tells about itself, and can be told: the same functions
 * and formats, filled from apb's statistics.
 *
 * In glibc's words: "arena" is memory for blocks in pools, "mmap" that of large
 * blocks; "free" is what pools hold that the program does not.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

/* glibc: the largest request of its fast bins, 80 * sizeof(size_t) / 4. */
#define MXFAST_MAX 160

static size_t free_blocks(const struct apb_stats *s)
{
	size_t nr = 0;
	unsigned int i;

	for (i = 0; i < APB_NR_CLASSES; i++)
		nr += s->class_[i].avail;
	return nr;
}

static struct mallinfo2 get_info(void)
{
	struct apb_stats s;

	apb_stats(&s);
	return (struct mallinfo2){
		.arena = s.arenas * s.arena_bytes,
		.ordblks = free_blocks(&s),
		.hblks = s.large,
		.hblkhd = s.large_bytes,
		.uordblks = s.used_bytes,
		.fordblks = s.arenas * s.arena_bytes - s.used_bytes,
		.keepcost = s.unused_pool_bytes,
	};
}

APB_API struct mallinfo2 mallinfo2(void)
{
	return get_info();
}

/* Wraps around beyond 4 GiB, as glibc's does: that is why there is another. */
APB_API struct mallinfo mallinfo(void)
{
	struct mallinfo2 i = get_info();

	return (struct mallinfo){
		.arena = (int)i.arena,
		.ordblks = (int)i.ordblks,
		.hblks = (int)i.hblks,
		.hblkhd = (int)i.hblkhd,
		.uordblks = (int)i.uordblks,
		.fordblks = (int)i.fordblks,
		.keepcost = (int)i.keepcost,
	};
}

APB_API void malloc_stats(void)
{
	int saved_errno = errno;

	apb_stats_print(STDERR_FILENO);
	errno = saved_errno;
}

/* ---- malloc_info ------------------------------------------------------ */

/* The free blocks by size; as in glibc, only what there is. */
static void print_sizes(FILE *fp, const struct apb_stats *s)
{
	size_t from = 1;
	unsigned int i;

	fputs("<sizes>\n", fp);
	for (i = 0; i < APB_NR_CLASSES; i++) {
		const struct apb_class_stats *c = &s->class_[i];

		if (c->avail)
			fprintf(fp,
				"  <size from=\"%zu\" to=\"%zu\" "
				"total=\"%zu\" count=\"%zu\"/>\n",
				from, c->size, c->avail * c->size, c->avail);
		from = c->size + 1;
	}
	fputs("</sizes>\n", fp);
}

static void print_totals(FILE *fp, const struct apb_stats *s, bool all)
{
	size_t bytes = s->arenas * s->arena_bytes;

	fprintf(fp,
		"<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
		"<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n",
		free_blocks(s), s->avail_bytes + s->unused_pool_bytes);
	if (all)
		fprintf(fp,
			"<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n",
			s->large, s->large_bytes);
	fprintf(fp,
		"<system type=\"current\" size=\"%zu\"/>\n"
		"<system type=\"max\" size=\"%zu\"/>\n"
		"<aspace type=\"total\" size=\"%zu\"/>\n"
		"<aspace type=\"mprotect\" size=\"%zu\"/>\n",
		bytes, s->arenas_highwater * s->arena_bytes, bytes, bytes);
}

APB_API int malloc_info(int options, FILE *fp)
{
	struct apb_stats s;

	if (options)
		return EINVAL;
	/* before the first output: that may allocate a buffer */
	apb_stats(&s);
	fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n", fp);
	print_sizes(fp, &s);
	print_totals(fp, &s, false);
	fputs("</heap>\n", fp);
	print_totals(fp, &s, true);
	fputs("</malloc>\n", fp);
	return 0;
}

/* ---- what can be told ------------------------------------------------- */

/* What is to stay (@pad) is for apb's limits to say. */
APB_API int malloc_trim(size_t pad)
{
	int saved_errno = errno;
	size_t bytes;

	(void)pad;
	bytes = apb_trim();
	errno = saved_errno;
	return bytes != 0;
}

/*
 * As glibc 2.36: whatever is not known is accepted; only a size of fast bins
 * that is out of range is not.
 */
APB_API int mallopt(int param, int value)
{
	int saved_errno = errno;

	switch (param) {
	case M_MXFAST:
		return value >= 0 && value <= MXFAST_MAX;
	case M_TRIM_THRESHOLD:
		/* below 0: never; but SIZE_MAX would mean the default */
		apb_set_option(APB_OPT_DIRTY_LIMIT,
			       value < 0 ? SIZE_MAX - 1 : (size_t)value);
		break;
	case M_PERTURB:
		apb_set_option(APB_OPT_JUNK, value != 0);
		break;
	}
	errno = saved_errno;
	return 1;
}
