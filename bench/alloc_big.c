// SPDX-License-Identifier: MIT
/*
 * Workloads of growing, large and many blocks.  What is new in a block is
 * written, a word per page where it is large, as a program would.
 */
#include "alloc.h"

#define PAGE 4096ul
#define SEQ 4096u /* power of two */

/* realloc: strings that grow bit by bit. */
#define NR_STRINGS 64u
#define STRING_MIN 16ul
#define STRING_MAX 4096ul
#define STRING_STEP 64u

/* realloc-big: arrays that grow by a quarter. */
#define NR_ARRAYS 4u
#define ARRAY_MIN (64ul << 10)
#define ARRAY_MAX (16ul << 20)

/* large: sizes from 64 KiB to 8 MiB, as many of 64 to 128 as of 4 to 8. */
#define NR_LARGE 4u
#define LARGE_MIN (64u << 10)
#define LARGE_DOUBLINGS 7

/* burst: 1/15 of a chunk is 80,000 blocks of 16 to 256 bytes, 10 MiB. */
#define BURST_MIN 16u
#define BURST_MAX 256u
#define BURST_PARTS 15u

static void write_pages(char *p, size_t from, size_t to)
{
	for (; from < to; from += PAGE)
		bench_touch(p + from, from);
}

static void *grow(void *p, size_t size)
{
	p = bench_realloc(p, size);
	if (!p)
		bench_die("the allocator has no memory");
	return p;
}

void setup_realloc(struct context *ctx, const struct workload *w)
{
	uint64_t rng = SEED;
	uint32_t i;

	(void)w;
	ctx->seq_len = SEQ;
	ctx->seq = bench_map(SEQ * sizeof(*ctx->seq));
	for (i = 0; i < SEQ; i++)
		ctx->seq[i] = bench_below(&rng, NR_STRINGS) << 16 |
			      (bench_below(&rng, STRING_STEP) + 1);
	ctx->slots = bench_map(NR_STRINGS * 2 * sizeof(void *));
}

/* slots[]: the strings; behind them their lengths. */
void run_realloc(struct context *ctx, size_t ops)
{
	size_t *len = (size_t *)(ctx->slots + NR_STRINGS);
	size_t end = ctx->pos + ops, i;

	for (i = ctx->pos; i < end; i++) {
		uint32_t step = ctx->seq[i & (SEQ - 1)], s = step >> 16;
		size_t size = len[s] + (step & 0xffff);

		if (size > STRING_MAX) {
			bench_free(ctx->slots[s]);
			ctx->slots[s] = NULL;
			size = STRING_MIN;
		}
		ctx->slots[s] = grow(ctx->slots[s], size);
		((volatile char *)ctx->slots[s])[size - 1] = (char)i;
		len[s] = size;
	}
	ctx->pos = end;
}

void setup_realloc_big(struct context *ctx, const struct workload *w)
{
	(void)w;
	ctx->slots = bench_map(NR_ARRAYS * 2 * sizeof(void *));
}

void run_realloc_big(struct context *ctx, size_t ops)
{
	size_t *len = (size_t *)(ctx->slots + NR_ARRAYS);
	size_t end = ctx->pos + ops, i;

	for (i = ctx->pos; i < end; i++) {
		size_t s = i % NR_ARRAYS, old = len[s], size = old + old / 4;

		if (size > ARRAY_MAX) {
			bench_free(ctx->slots[s]);
			ctx->slots[s] = NULL;
			old = size = 0;
		}
		if (!size)
			size = ARRAY_MIN;
		ctx->slots[s] = grow(ctx->slots[s], size & ~(PAGE - 1));
		write_pages(ctx->slots[s], old, size & ~(PAGE - 1));
		len[s] = size & ~(PAGE - 1);
	}
	ctx->pos = end;
}

void setup_large(struct context *ctx, const struct workload *w)
{
	uint64_t rng = SEED;
	uint32_t i;

	(void)w;
	ctx->seq = bench_map(SEQ * sizeof(*ctx->seq));
	for (i = 0; i < SEQ; i++) {
		uint32_t low = LARGE_MIN << bench_below(&rng, LARGE_DOUBLINGS);

		ctx->seq[i] = low + bench_below(&rng, low);
	}
	ctx->slots = bench_map(NR_LARGE * sizeof(void *));
}

void run_large(struct context *ctx, size_t ops)
{
	size_t end = ctx->pos + ops, i;

	for (i = ctx->pos; i < end; i++) {
		size_t size = ctx->seq[i & (SEQ - 1)];
		void **slot = &ctx->slots[size / 16 % NR_LARGE];

		bench_free(*slot);
		*slot = bench_malloc(size);
		if (!*slot)
			bench_die("the allocator has no memory");
		write_pages(*slot, 0, size - sizeof(size_t));
	}
	ctx->pos = end;
}

void setup_burst(struct context *ctx, const struct workload *w)
{
	uint64_t rng = SEED;
	uint32_t i;

	ctx->seq = bench_map(SEQ * sizeof(*ctx->seq));
	for (i = 0; i < SEQ; i++)
		ctx->seq[i] = BURST_MIN +
			      bench_below(&rng, BURST_MAX - BURST_MIN + 1);
	ctx->slots = bench_map(w->ops / 3 * sizeof(void *));
}

/* Build 10 to 50 MiB of small blocks, free them all, and again. */
void run_burst(struct context *ctx, size_t ops)
{
	static const unsigned int parts[] = {1, 3, 5, 2, 4};
	void **slots = ctx->slots;
	size_t b, i, n;

	for (b = 0; b < sizeof(parts) / sizeof(parts[0]); b++) {
		n = ops / BURST_PARTS * parts[b];
		for (i = 0; i < n; i++) {
			slots[i] = bench_malloc(ctx->seq[i & (SEQ - 1)]);
			if (!slots[i])
				bench_die("the allocator has no memory");
			bench_touch(slots[i], i);
		}
		/* as often from the front as from the back */
		for (i = 0; i < n; i++)
			bench_free(slots[b & 1 ? n - 1 - i : i]);
	}
}
