// SPDX-License-Identifier: MIT
/*
 * Workloads of small blocks: pairs, batches, random churn.
 */
#include "alloc.h"

#include <pthread.h>
#include <unistd.h>

#define PAIR_LIVE 16
#define BATCH 1000
#define BATCH_SIZE 48

/*
 * Some blocks of every size stay: in a program the block of a pair is hardly
 * ever the only one of its kind, and an allocator may well do more when a
 * page or a pool becomes empty.
 */
void setup_pair(struct context *ctx, const struct workload *w)
{
	size_t size, i;

	(void)w;
	ctx->slots = bench_map(32 * PAIR_LIVE * sizeof(void *));
	for (size = 16; size <= 512; size += 16) {
		for (i = 0; i < PAIR_LIVE; i++) {
			void *p = bench_malloc(size);

			bench_touch(p, i);
			ctx->slots[(size / 16 - 1) * PAIR_LIVE + i] = p;
		}
	}
}

static void *sleeper(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

/* Allocators may take locks and atomics only in a process of several threads. */
void setup_pair_threaded(struct context *ctx, const struct workload *w)
{
	pthread_t tid;

	if (pthread_create(&tid, NULL, sleeper, NULL))
		bench_die("no second thread");
	setup_pair(ctx, w);
}

void run_pair(struct context *ctx, size_t ops)
{
	size_t i;
	void *p;

	(void)ctx;
	for (i = 0; i < ops; i++) {
		p = bench_malloc(64);
		bench_touch(p, i);
		bench_free(p);
	}
}

void run_pair_sizes(struct context *ctx, size_t ops)
{
	size_t i;
	void *p;

	(void)ctx;
	for (i = 0; i < ops; i++) {
		p = bench_malloc((i & 31) * 16 + 16);
		bench_touch(p, i);
		bench_free(p);
	}
}

void setup_batch(struct context *ctx, const struct workload *w)
{
	uint64_t rng = SEED;

	(void)w;
	ctx->slots = bench_map(BATCH * sizeof(void *));
	ctx->seq = bench_map(BATCH * sizeof(uint32_t));
	bench_shuffle(&rng, ctx->seq, BATCH);
}

void run_batch(struct context *ctx, size_t ops)
{
	void **slots = ctx->slots;
	size_t i, done;

	for (done = 0; done < ops; done += BATCH) {
		for (i = 0; i < BATCH; i++) {
			slots[i] = bench_malloc(BATCH_SIZE);
			bench_touch(slots[i], i);
		}
		for (i = 0; i < BATCH; i++)
			bench_free(slots[i]);
	}
}

void run_batch_random(struct context *ctx, size_t ops)
{
	const uint32_t *order = ctx->seq;
	void **slots = ctx->slots;
	size_t i, done;

	for (done = 0; done < ops; done += BATCH) {
		for (i = 0; i < BATCH; i++) {
			slots[i] = bench_malloc(BATCH_SIZE);
			bench_touch(slots[i], i);
		}
		for (i = 0; i < BATCH; i++)
			bench_free(slots[order[i]]);
	}
}

void run_churn(struct context *ctx, size_t ops)
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
		bench_touch_byte(p, i);
		slots[step >> shift] = p;
	}
	ctx->pos = end;
}

/* Fill the slots, then churn until each was replaced a few times. */
void setup_churn(struct context *ctx, const struct workload *w)
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
		bench_touch_byte(ctx->slots[i], i);
	}
	run_churn(ctx, ctx->seq_len);
}
