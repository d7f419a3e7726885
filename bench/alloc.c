// SPDX-License-Identifier: MIT
/*
 * Speed of one allocator at one workload of one thread.  bench/run.py starts
 * this program once per allocator, workload and round.
 *
 * An operation of the small workloads is one malloc and one free; the first
 * word of each block is written in between.  Sizes and orders are drawn before
 * the clock starts.  The workload is run in chunks; the time per operation of
 * the fastest and of the median chunk is printed.  A chunk is much longer than
 * any period in an allocator's housekeeping, so the fastest one includes its
 * cost.
 */
#include "alloc.h"

#include <string.h>

#define MAX_CHUNKS 64

static const struct workload workloads[] = {
	{"pair", setup_pair, run_pair, 2000000, 11, 0, 0},
	{"pair-sizes", setup_pair, run_pair_sizes, 2000000, 11, 0, 0},
	{"pair-2nd", setup_pair_threaded, run_pair, 2000000, 11, 0, 0},
	{"batch", setup_batch, run_batch, 2000000, 11, 0, 0},
	{"batch-random", setup_batch, run_batch_random, 2000000, 11, 0, 0},
	{"churn-512", setup_churn, run_churn, 1 << 20, 11, 10000, 9},
	{"churn-512-1M", setup_churn, run_churn, 1 << 20, 3, 1000000, 9},
	{"churn-8K", setup_churn, run_churn, 1 << 19, 7, 10000, 13},
	{"realloc", setup_realloc, run_realloc, 400000, 7, 0, 0},
	{"realloc-big", setup_realloc_big, run_realloc_big, 100, 4, 0, 0},
	{"large", setup_large, run_large, 128, 24, 0, 0},
	{"burst", setup_burst, run_burst, 1200000, 3, 0, 0},
	{"tree", setup_tree, run_tree, 1 << 20, 5, 0, 0},
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static const char usage[] =
	"usage: bench-alloc [--chunks N] [--ops N] WORKLOAD";

int main(int argc, char **argv)
{
	const struct workload *w = NULL;
	struct context ctx = {0};
	double ns[MAX_CHUNKS];
	size_t ops = 0, chunks = 0;
	size_t i;
	int a;

	for (a = 1; a + 1 < argc && argv[a][0] == '-'; a++) {
		if (!strcmp(argv[a], "--chunks"))
			chunks =
				bench_number("--chunks", argv[++a], MAX_CHUNKS);
		else if (!strcmp(argv[a], "--ops"))
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

	w->setup(&ctx, w);
	/* For counting instructions: so many operations, and no clock. */
	if (ops) {
		w->run(&ctx, ops);
		return 0;
	}
	if (!chunks || chunks > w->chunks)
		chunks = w->chunks;
	w->run(&ctx, w->ops / 4);
	for (i = 0; i < chunks; i++) {
		double start = bench_now();

		w->run(&ctx, w->ops);
		ns[i] = (bench_now() - start) / (double)w->ops;
	}
	qsort(ns, chunks, sizeof(ns[0]), compare);
	printf("%.4f %.4f %s\n", ns[0], ns[chunks / 2], bench_origin());
	return 0;
}
