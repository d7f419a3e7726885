// SPDX-License-Identifier: MIT
/*
 * Replay a trace (trace.h): the malloc, free and realloc calls of a real
 * program, in their order, with their sizes.  The first word of each block is
 * written, and a word in each page of larger ones.
 *
 * The trace is replayed several times; what is printed is the CPU time per
 * step, the first pass with its page faults included, and the peak of resident
 * memory above what the process had before.
 */
#include "bench.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rss.h"
#include "trace.h"

#define PAGE 4096u
#define MIN_STEPS 3000000u

static const struct trace_header *load(const char *path)
{
	const struct trace_header *trace;
	struct stat st;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		bench_die("%s: cannot be read", path);
	if ((size_t)st.st_size < sizeof(*trace))
		bench_die("%s: not a trace", path);
	trace = mmap(NULL, (size_t)st.st_size, PROT_READ,
		     MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (trace == MAP_FAILED)
		bench_die("%s: cannot be mapped", path);
	close(fd);
	if (trace->magic != TRACE_MAGIC ||
	    (size_t)st.st_size !=
		    sizeof(*trace) + trace->steps * sizeof(struct trace_step))
		bench_die("%s: not a trace", path);
	return trace;
}

static inline void use(void **slot, void *p, uint32_t size)
{
	uint32_t at;

	if (__builtin_expect(!p, 0))
		bench_die("the allocator has no memory for %u bytes", size);
	*slot = p;
	if (size >= sizeof(size_t))
		bench_touch(p, size);
	for (at = PAGE; at + sizeof(size_t) <= size; at += PAGE)
		bench_touch((char *)p + at, size);
}

static void replay(const struct trace_header *trace, void **slots)
{
	const struct trace_step *s = (const struct trace_step *)(trace + 1);
	const struct trace_step *end = s + trace->steps;

	for (; s != end; s++) {
		void **slot = &slots[s->what & ((1u << TRACE_SLOT_BITS) - 1)];
		size_t align = (size_t)1 << (s->what >> TRACE_SLOT_BITS & 255);
		void *p;

		switch ((enum trace_kind)(s->what >> 28)) {
		case TRACE_MALLOC:
			use(slot, malloc(s->size), s->size);
			break;
		case TRACE_CALLOC:
			use(slot, calloc(1, s->size), s->size);
			break;
		case TRACE_ALIGNED:
			if (align < sizeof(void *))
				align = sizeof(void *);
			if (posix_memalign(&p, align, s->size))
				p = NULL;
			use(slot, p, s->size);
			break;
		case TRACE_REALLOC:
			use(slot, realloc(*slot, s->size), s->size);
			break;
		case TRACE_FREE:
			free(*slot);
			break;
		}
	}
}

int main(int argc, char **argv)
{
	const struct trace_header *trace;
	unsigned int passes, i;
	size_t min = MIN_STEPS;
	double start, took;
	void **slots;
	long base;

	if (argc == 4 && !strcmp(argv[1], "--steps")) {
		min = bench_number("--steps", argv[2], 1ul << 32);
		argv += 2;
		argc -= 2;
	}
	if (argc != 2)
		bench_die("usage: bench-replay [--steps N] TRACE");
	trace = load(argv[1]);
	slots = bench_map(trace->slots * sizeof(*slots));
	passes = (unsigned int)(min / trace->steps) + 1;
	free(malloc(1));
	base = rss_now();
	start = bench_now();
	for (i = 0; i < passes; i++)
		replay(trace, slots);
	took = bench_now() - start;
	printf("%.4f %ld %s\n", took / ((double)passes * (double)trace->steps),
	       rss_peak() - base, bench_origin());
	return 0;
}
