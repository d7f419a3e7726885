/* SPDX-License-Identifier: MIT */
/*
 * Runs an input in a process of its own, so that whatever it does to that
 * process - a signal, a sanitizer's report, a hang - is a finding with a name.
 */
#ifndef APB_FUZZ_CHILD_H
#define APB_FUZZ_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct child_options {
	unsigned int timeout; /* seconds, 0: none */
	FILE *describe; /* as in struct run_options */
	bool quiet; /* do not pass on what the child says on stderr */
};

struct child_result {
	bool finding;
	/* oracle, "AddressSanitizer: ...", "signal SEGV", "timeout", ... */
	char signature[64];
	bool has_op;
	size_t op_index; /* of the finding, if an oracle told */
};

/* 0, or -1 with errno set if no process could be had. */
int child_run(const uint8_t *data, size_t size, const struct child_options *o,
	      struct child_result *result);

#endif /* APB_FUZZ_CHILD_H */
