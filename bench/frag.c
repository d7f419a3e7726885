// SPDX-License-Identifier: MIT
/*
 * Memory given back by one allocator: resident bytes with 2 million small
 * blocks, after all but a random 0.1 % of them were freed, after a pause, and
 * after the allocator was asked to give back what it can.
 *
 * Sizes are uniform from 16 to 128 bytes, 137 MiB in all; every byte is
 * written.  The program's own arrays are resident before the first
 * measurement, and what the process had then is subtracted.
 */
#include "bench.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SEED 0x2545f4914f6cdd1dull
#define NR_BLOCKS 2000000u
#define NR_KEPT (NR_BLOCKS / 1000)
#define MIN_SIZE 16u
#define MAX_SIZE 128u

/* Without stdio: reading must not allocate from what is measured. */
static long resident(void)
{
	static char buf[4096];
	const char *line;
	ssize_t n;
	int fd;

	fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		bench_die("cannot read /proc/self/smaps_rollup");
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		bench_die("cannot read /proc/self/smaps_rollup");
	buf[n] = '\0';
	line = strstr(buf, "\nRss:");
	if (!line)
		bench_die("no Rss in /proc/self/smaps_rollup");
	return strtol(line + 5, NULL, 10) * 1024;
}

int main(int argc, char **argv)
{
	long base, full, freed, waited, trimmed;
	uint64_t rng = SEED;
	uint32_t *order, i;
	size_t wanted = 0;
	const char *how;
	bool *kept;
	void **blocks;

	if (argc < 2 || argc > 3 ||
	    (strcmp(argv[1], "in-order") && strcmp(argv[1], "random")))
		bench_die("usage: bench-frag in-order|random [SECONDS]");
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

	base = resident();
	for (i = 0; i < NR_BLOCKS; i++) {
		size_t size =
			MIN_SIZE + bench_below(&rng, MAX_SIZE - MIN_SIZE + 1);

		blocks[i] = bench_malloc(size);
		if (!blocks[i])
			bench_die("the allocator has no memory");
		memset(blocks[i], (int)i, size);
		wanted += size;
	}
	full = resident() - base;
	for (i = 0; i < NR_BLOCKS; i++) {
		if (!kept[order[i]])
			bench_free(blocks[order[i]]);
	}
	freed = resident() - base;
	/* Some give back after a delay, when they are called again. */
	if (argc == 3) {
		sleep((unsigned int)bench_number("SECONDS", argv[2], 3600));
		bench_free(bench_malloc(64));
	}
	waited = resident() - base;
	how = bench_trim();
	trimmed = resident() - base;
	printf("%zu %ld %ld %ld %ld %s %s\n", wanted, full, freed, waited,
	       trimmed, how ? how : "-", bench_origin());
	return 0;
}
