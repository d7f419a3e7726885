/* SPDX-License-Identifier: MIT */
/*
 * The workloads of bench-alloc: what they share.  alloc.c has main(),
 * alloc_small.c,
 * alloc_big.c and alloc_tree.c the loops.
 */
#ifndef APB_BENCH_ALLOC_H
#define APB_BENCH_ALLOC_H

#include "bench.h"

#define SEED 0x9e3779b97f4a7c15ull

struct context {
	void **slots;
	uint32_t *
		seq; /* sizes, orders, or both; drawn before the clock starts */
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

/* alloc_small.c */
void setup_pair(struct context *ctx, const struct workload *w);
void setup_pair_threaded(struct context *ctx, const struct workload *w);
void run_pair(struct context *ctx, size_t ops);
void run_pair_sizes(struct context *ctx, size_t ops);
void setup_batch(struct context *ctx, const struct workload *w);
void run_batch(struct context *ctx, size_t ops);
void run_batch_random(struct context *ctx, size_t ops);
void setup_churn(struct context *ctx, const struct workload *w);
void run_churn(struct context *ctx, size_t ops);

/* alloc_big.c */
void setup_realloc(struct context *ctx, const struct workload *w);
void run_realloc(struct context *ctx, size_t ops);
void setup_realloc_big(struct context *ctx, const struct workload *w);
void run_realloc_big(struct context *ctx, size_t ops);
void setup_large(struct context *ctx, const struct workload *w);
void run_large(struct context *ctx, size_t ops);
void setup_burst(struct context *ctx, const struct workload *w);
void run_burst(struct context *ctx, size_t ops);

/* alloc_tree.c */
void setup_tree(struct context *ctx, const struct workload *w);
void run_tree(struct context *ctx, size_t ops);

#endif /* APB_BENCH_ALLOC_H */
