// SPDX-License-Identifier: MIT
/*
 * From a recorded input of the harness (libapb-record.so) to a trace for
 * bench-replay: decoded, and made whole where the recording begins or ends in
 * the middle of a block's life.
 */
#include "trace.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

#define SIZE_LIMIT (1ul << 31)

static struct trace_step *steps;
static size_t nr_steps;
static uint64_t nr_slots;
static bool live[OPS_SLOTS];

static void __attribute__((noreturn)) die(const char *path, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", path, why);
	exit(2);
}

static uint8_t *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	long end;

	if (!file || fseek(file, 0, SEEK_END) || (end = ftell(file)) < 0)
		die(path, strerror(errno));
	rewind(file);
	data = malloc((size_t)end + 1);
	if (!data || fread(data, 1, (size_t)end, file) != (size_t)end)
		die(path, "cannot be read");
	fclose(file);
	*size = (size_t)end;
	return data;
}

static void add(enum trace_kind kind, unsigned int shift, uint32_t slot,
		size_t size)
{
	steps[nr_steps].what = trace_what(kind, shift, slot);
	steps[nr_steps].size = (uint32_t)size;
	nr_steps++;
	live[slot] = kind != TRACE_FREE;
	if (slot >= nr_slots)
		nr_slots = slot + 1;
}

static void add_new(enum trace_kind kind, unsigned int shift, uint32_t slot,
		    size_t size)
{
	if (live[slot])
		add(TRACE_FREE, 0, slot, 0);
	add(kind, shift, slot, size);
}

/* What failed in the recording is left out: it says nothing about speed. */
static void convert(const struct op *op)
{
	uint32_t slot = op->slot % OPS_SLOTS;
	size_t size = op->size;
	size_t n = op->kind == OP_CALLOC || op->kind == OP_REALLOCARRAY ?
			   op->n :
			   1;

	if (__builtin_mul_overflow(size, n, &size) || size >= SIZE_LIMIT)
		return;
	switch (op->kind) {
	case OP_MALLOC:
		add_new(TRACE_MALLOC, 0, slot, size);
		break;
	case OP_CALLOC:
		add_new(TRACE_CALLOC, 0, slot, size);
		break;
	case OP_ALIGNED:
		if (op->align && !(op->align & (op->align - 1)))
			add_new(TRACE_ALIGNED,
				(unsigned int)__builtin_ctzl(op->align), slot,
				size);
		break;
	case OP_REALLOC:
	case OP_REALLOCARRAY:
		if (live[slot] && size)
			add(TRACE_REALLOC, 0, slot, size);
		else
			add_new(TRACE_MALLOC, 0, slot, size);
		break;
	case OP_FREE:
	case OP_FREE_SIZED:
	case OP_FREE_ALIGNED_SIZED:
		if (live[slot])
			add(TRACE_FREE, 0, slot, 0);
		break;
	default:
		break;
	}
}

int main(int argc, char **argv)
{
	struct trace_header header = {.magic = TRACE_MAGIC};
	uint8_t *data;
	size_t size, i;
	struct op op;
	FILE *out;

	if (argc != 3) {
		fputs("bench: usage: bench-trace RECORDING TRACE\n", stderr);
		return 2;
	}
	data = read_file(argv[1], &size);
	/* two for each, and the blocks that are live at the end */
	steps = calloc(2 * ops_count(size) + OPS_SLOTS, sizeof(*steps));
	if (!steps)
		die(argv[1], "no memory for its steps");
	for (i = 0; i < ops_count(size); i++) {
		ops_decode(data, size, i, &op);
		convert(&op);
	}
	if (!nr_steps)
		die(argv[1], "nothing in it");
	for (i = 0; i < OPS_SLOTS; i++) {
		if (live[i])
			add(TRACE_FREE, 0, (uint32_t)i, 0);
	}
	header.steps = nr_steps;
	header.slots = nr_slots;
	out = fopen(argv[2], "wb");
	if (!out)
		die(argv[2], strerror(errno));
	if (fwrite(&header, sizeof(header), 1, out) != 1 ||
	    fwrite(steps, sizeof(*steps), nr_steps, out) != nr_steps ||
	    fclose(out))
		die(argv[2], "cannot be written");
	printf("%zu %lu\n", nr_steps, (unsigned long)nr_slots);
	return 0;
}
