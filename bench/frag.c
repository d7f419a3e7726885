// SPDX-License-Identifier: MIT
/*
 * Memory given back by one allocator: resident bytes with 2 million small
 * blocks, right after all but a random 0.1 % of them were freed, one second
 * later, and after the allocator was asked to give back what it can.
 *
 * Sizes are uniform from 16 to 128 bytes, 137 MiB in all; every byte is
 * written.  The program's own arrays are resident before the first
 * measurement, and what the process had then is subtracted.
 *
 * In that second the program sleeps, as good as idle: ten times it allocates
 * and frees one small block.  No call for giving back is made before its end.
 */
#include "bench.h"

#include <string.h>
#include <unistd.h>

#include "rss.h"

#define SEED 0x2545f4914f6cdd1dull
#define NR_BLOCKS 2000000u
#define NR_KEPT (NR_BLOCKS / 1000)
#define MIN_SIZE 16u
#define MAX_SIZE 128u
#define STEPS 20u /* samples while blocks are allocated, and as many freed */
#define NAPS 10u
#define NAP_US 100000u

struct sample {
	double ms;
	long bytes;
};

static struct sample samples[2 * STEPS + NAPS + 3];
static unsigned int nr_samples;
static double begin;
static long base;

static long take_sample(void)
{
	struct sample *s = &samples[nr_samples++];

	s->ms = (bench_wall() - begin) * 1e-6;
	s->bytes = rss_now() - base;
	return s->bytes;
}

/* Call what the allocator offers for giving memory back, if we know it. */
static const char *trim(void)
{
	void (*apb_trim)(void);
	void (*mi_collect)(bool);
	void (*tc_release)(void);
	int (*mallctl)(const char *, void *, size_t *, void *, size_t);
	int (*malloc_trim)(size_t);
	Dl_info of_malloc, of_trim;

	*(void **)&apb_trim = dlsym(RTLD_DEFAULT, "apb_trim");
	if (apb_trim) {
		apb_trim();
		return "apb_trim";
	}
	*(void **)&mi_collect = dlsym(RTLD_DEFAULT, "mi_collect");
	if (mi_collect) {
		mi_collect(true);
		return "mi_collect";
	}
	*(void **)&tc_release =
		dlsym(RTLD_DEFAULT, "MallocExtension_ReleaseFreeMemory");
	if (tc_release) {
		tc_release();
		return "ReleaseFreeMemory";
	}
	/* 4096 is MALLCTL_ARENAS_ALL of jemalloc 5. */
	*(void **)&mallctl = dlsym(RTLD_DEFAULT, "mallctl");
	if (mallctl) {
		mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
		if (mallctl("arena.4096.purge", NULL, NULL, NULL, 0))
			return NULL;
		return "arena.purge";
	}
	/* The C library always has one: is it the one that belongs here? */
	*(void **)&malloc_trim = dlsym(RTLD_DEFAULT, "malloc_trim");
	if (malloc_trim && dladdr((void *)malloc, &of_malloc) &&
	    dladdr((void *)malloc_trim, &of_trim) &&
	    of_malloc.dli_fbase == of_trim.dli_fbase) {
		malloc_trim(0);
		return "malloc_trim";
	}
	return NULL;
}

static size_t allocate(void **blocks, uint64_t *rng)
{
	size_t wanted = 0;
	uint32_t i;

	for (i = 0; i < NR_BLOCKS; i++) {
		size_t size =
			MIN_SIZE + bench_below(rng, MAX_SIZE - MIN_SIZE + 1);

		if (i % (NR_BLOCKS / STEPS) == 0)
			take_sample();
		blocks[i] = bench_malloc(size);
		if (!blocks[i])
			bench_die("the allocator has no memory");
		memset(blocks[i], (int)i, size);
		wanted += size;
	}
	return wanted;
}

static void write_samples(const char *path)
{
	FILE *file = fopen(path, "w");
	unsigned int i;

	if (!file)
		bench_die("%s: cannot be written", path);
	for (i = 0; i < nr_samples; i++)
		fprintf(file, "%.2f %ld\n", samples[i].ms, samples[i].bytes);
	if (fclose(file))
		bench_die("%s: cannot be written", path);
}

int main(int argc, char **argv)
{
	long full, freed, later = 0, trimmed;
	uint64_t rng = SEED;
	uint32_t *order, i;
	const char *how;
	size_t wanted;
	bool *kept;
	void **blocks;

	if (argc < 2 || argc > 3 ||
	    (strcmp(argv[1], "in-order") && strcmp(argv[1], "random")))
		bench_die("usage: bench-frag in-order|random [SAMPLES]");
	blocks = bench_map(NR_BLOCKS * sizeof(*blocks));
	order = bench_map(NR_BLOCKS * sizeof(*order));
	kept = bench_map(NR_BLOCKS * sizeof(*kept));
	bench_shuffle(&rng, order, NR_BLOCKS);
	for (i = 0; i < NR_KEPT; i++)
		kept[order[i]] = true;
	if (strcmp(argv[1], "random") == 0) {
		bench_shuffle(&rng, order, NR_BLOCKS);
	} else {
		for (i = 0; i < NR_BLOCKS; i++)
			order[i] = i;
	}
	bench_free(bench_malloc(1));

	base = rss_now();
	begin = bench_wall();
	wanted = allocate(blocks, &rng);
	full = take_sample();
	for (i = 0; i < NR_BLOCKS; i++) {
		if (i && i % (NR_BLOCKS / STEPS) == 0)
			take_sample();
		if (!kept[order[i]])
			bench_free(blocks[order[i]]);
	}
	freed = take_sample();
	for (i = 0; i < NAPS; i++) {
		usleep(NAP_US);
		bench_free(bench_malloc(64));
		later = take_sample();
	}
	how = trim();
	trimmed = take_sample();
	if (argc == 3)
		write_samples(argv[2]);
	printf("%zu %ld %ld %ld %ld %s %s\n", wanted, full, freed, later,
	       trimmed, how ? how : "-", bench_origin());
	return 0;
}
