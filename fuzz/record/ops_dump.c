// SPDX-License-Identifier: MIT
/*
 * Print inputs as decoded: a line for the header, a line for each record.
 * For the tests of what writes inputs; people want apb-replay -v.
 *
 * header FILE version real_kernel check_often small_period no_dirty flags seed
 *	threads junk
 * KIND slot size n align stride thread mode calls in_kernel arg val
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

static void dump(const char *path, const uint8_t *data, size_t size)
{
	struct ops_header h;
	struct op op;
	size_t i;

	ops_header(data, size, &h);
	printf("header %s %u %d %d %d %d %u %u %u %d\n", path, h.version,
	       h.real_kernel, h.check_often, h.small_period, h.no_dirty,
	       h.sim_flags, h.seed, h.threads, h.junk);
	for (i = 0; i < ops_count(size); i++) {
		ops_decode(data, size, i, &op);
		for (const char *s = op_names[op.kind]; *s; s++)
			putchar(*s == ' ' ? '_' : *s);
		printf(" %u %zu %zu %zu %u %u %u %u %d %u %u\n", op.slot,
		       op.size, op.n, op.align, op.stride, op.thread, op.mode,
		       op.calls, op.in_kernel, op.arg, op.val);
	}
}

static int fail(const char *path)
{
	fprintf(stderr, "ops-dump: %s: %s\n", path, strerror(errno));
	return 2;
}

int main(int argc, char **argv)
{
	static uint8_t
		data[OPS_HEADER_SIZE + (size_t)OPS_MAX_OPS * OPS_RECORD_SIZE];
	size_t size;
	FILE *f;

	if (argc < 2) {
		fprintf(stderr, "usage: ops-dump FILE...\n");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		f = fopen(argv[i], "rb");
		if (!f)
			return fail(argv[i]);
		size = fread(data, 1, sizeof(data), f);
		if (ferror(f))
			return fail(argv[i]);
		fclose(f);
		dump(argv[i], data, size);
	}
	return 0;
}
