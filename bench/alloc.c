// SPDX-License-Identifier: MIT
/*
 * Speed of one allocator at one workload.  bench/alloc.py starts this program
 * once per allocator, workload and round.
 *
 * An operation is one malloc and one free; the first word of each block is
 * written in between.  Sizes and orders are drawn before the clock starts.
 * The workload is run in chunks; the time per operation of the fastest and of
 * the median chunk is printed.  A chunk is much longer than any period in an
 * allocator's housekeeping, so the fastest one includes its cost.
 */
#include "bench.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define SEED 0x9e3779b97f4a7c15ull
#define PAIR_LIVE 16
#define BATCH 1000
#define BATCH_SIZE 48
#define MAX_CHUNKS 64

struct context {
	void **slots;
	uint32_t *seq; /* churn: slot << shift | size - 1; else: the order */
	size_t seq_len; /* power of two */
	unsigned int shift;
	size_t pos;
};

struct workload {
	const char *name;
	void (*setup)(struct context *ctx, const struct workload *w);
	void (*run)(struct context *ctx, size_t ops);
	size_t ops; /* per chunk; of churn: a power of two */
	unsigned int chunks;
	uint32_t live; /* churn: number of slots */
	unsigned int shift; /* churn: sizes are 1 to 1 << shift */
};

static inline void touch(void *p, size_t v)
{
	*(volatile size_t *)p = v;
}

/*
 * Some blocks of every size stay: in a program the block of a pair is hardly
 * ever the only one of its kind, and an allocator may well do more when a
 * page or a pool becomes empty.
 */
static void setup_pair(struct context *ctx, const struct workload *w)
{
	size_t size, i;

	(void)w;
	ctx->slots = bench_map(32 * PAIR_LIVE * sizeof(void *));
	for (size = 16; size <= 512; size += 16) {
		for (i = 0; i < PAIR_LIVE; i++) {
			void *p = bench_malloc(size);

			touch(p, i);
			ctx->slots[(size / 16 - 1) * PAIR_LIVE + i] = p;
		}
	}
}

static __attribute__((noinline)) void run_pair(struct context *ctx, size_t ops)
{
	size_t i;
	void *p;

	(void)ctx;
	for (i = 0; i < ops; i++) {
		p = bench_malloc(64);
		touch(p, i);
		bench_free(p);
	}
}

static __attribute__((noinline)) void run_pair_sizes(struct context *ctx,
						     size_t ops)
{
	size_t i;
	void *p;

	(void)ctx;
	for (i = 0; i < ops; i++) {
		p = bench_malloc((i & 31) * 16 + 16);
		touch(p, i);
		bench_free(p);
	}
}

static void setup_batch(struct context *ctx, const struct workload *w)
{
	uint64_t rng = SEED;

	(void)w;
	ctx->slots = bench_map(BATCH * sizeof(void *));
	ctx->seq = bench_map(BATCH * sizeof(uint32_t));
	bench_shuffle(&rng, ctx->seq, BATCH);
}

static __attribute__((noinline)) void run_batch(struct context *ctx, size_t ops)
{
	void **slots = ctx->slots;
	size_t i, done;

	for (done = 0; done < ops; done += BATCH) {
		for (i = 0; i < BATCH; i++) {
			slots[i] = bench_malloc(BATCH_SIZE);
			touch(slots[i], i);
		}
		for (i = 0; i < BATCH; i++)
			bench_free(slots[i]);
	}
}

static __attribute__((noinline)) void run_batch_random(struct context *ctx,
						       size_t ops)
{
	const uint32_t *order = ctx->seq;
	void **slots = ctx->slots;
	size_t i, done;

	for (done = 0; done < ops; done += BATCH) {
		for (i = 0; i < BATCH; i++) {
			slots[i] = bench_malloc(BATCH_SIZE);
			touch(slots[i], i);
		}
		for (i = 0; i < BATCH; i++)
			bench_free(slots[order[i]]);
	}
}

static __attribute__((noinline)) void run_churn(struct context *ctx, size_t ops)
{
	const uint32_t *seq = ctx->seq;
	size_t end = ctx->pos + ops, mask = ctx->seq_len - 1, i;
	unsigned int shift = ctx->shift;
	uint32_t sizes = ((uint32_t)1 << shift) - 1;
	void **slots = ctx->slots;

	for (i = ctx->pos; i < end; i++) {
		uint32_t step = seq[i & mask];
		void *p;

		bench_free(slots[step >> shift]);
		p = bench_malloc((step & sizes) + 1);
		touch(p, i);
		slots[step >> shift] = p;
	}
	ctx->pos = end;
}

/* Fill the slots, then churn until each was replaced a few times. */
static void setup_churn(struct context *ctx, const struct workload *w)
{
	uint64_t rng = SEED;
	size_t i;

	ctx->shift = w->shift;
	/* Long enough to replace nearly all, and not to be learned by heart. */
	for (ctx->seq_len = 1 << 17; ctx->seq_len < 4ul * w->live;)
		ctx->seq_len *= 2;
	ctx->seq = bench_map(ctx->seq_len * sizeof(uint32_t));
	for (i = 0; i < ctx->seq_len; i++)
		ctx->seq[i] = bench_below(&rng, w->live) << w->shift |
			      bench_below(&rng, 1u << w->shift);
	ctx->slots = bench_map(w->live * sizeof(void *));
	for (i = 0; i < w->live; i++) {
		ctx->slots[i] =
			bench_malloc(bench_below(&rng, 1u << w->shift) + 1);
		if (!ctx->slots[i])
			bench_die("the allocator has no memory");
		touch(ctx->slots[i], i);
	}
	run_churn(ctx, ctx->seq_len);
}

static const struct workload workloads[] = {
	{"pair", setup_pair, run_pair, 2000000, 11, 0, 0},
	{"pair-sizes", setup_pair, run_pair_sizes, 2000000, 11, 0, 0},
	{"batch", setup_batch, run_batch, 2000000, 11, 0, 0},
	{"batch-random", setup_batch, run_batch_random, 2000000, 11, 0, 0},
	{"churn-512", setup_churn, run_churn, 1 << 20, 11, 10000, 9},
	{"churn-512-1M", setup_churn, run_churn, 1 << 20, 3, 1000000, 9},
	{"churn-8K", setup_churn, run_churn, 1 << 19, 7, 10000, 13},
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void *sleeper(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static const char usage[] =
	"usage: bench-alloc [--second-thread] [--ops N] WORKLOAD";

int main(int argc, char **argv)
{
	const struct workload *w = NULL;
	struct context ctx = {0};
	double ns[MAX_CHUNKS];
	bool second = false;
	unsigned int i;
	pthread_t tid;
	size_t ops = 0;
	int a;

	for (a = 1; a < argc && argv[a][0] == '-'; a++) {
		if (!strcmp(argv[a], "--second-thread"))
			second = true;
		else if (!strcmp(argv[a], "--ops") && a + 1 < argc)
			ops = bench_number("--ops", argv[++a], 1ul << 40);
		else
			bench_die("%s", usage);
	}
	if (a + 1 != argc)
		bench_die("%s", usage);
	for (i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
		if (!strcmp(workloads[i].name, argv[a]))
			w = &workloads[i];
	}
	if (!w)
		bench_die("no workload '%s'", argv[a]);
	if (second && pthread_create(&tid, NULL, sleeper, NULL))
		bench_die("no second thread");

	w->setup(&ctx, w);
	/* For counting instructions: so many operations, and no clock. */
	if (ops) {
		w->run(&ctx, ops);
		return 0;
	}
	w->run(&ctx, w->ops / 4);
	for (i = 0; i < w->chunks; i++) {
		double start = bench_now();

		w->run(&ctx, w->ops);
		ns[i] = (bench_now() - start) / (double)w->ops;
	}
	qsort(ns, w->chunks, sizeof(ns[0]), compare);
	printf("%.4f %.4f %s\n", ns[0], ns[w->chunks / 2], bench_origin());
	return 0;
}
