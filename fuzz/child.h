/* SPDX-License-Identifier: MIT */
/*
 * Runs an input in a process of its own, so that whatever it does to that
 * process - a signal, a sanitizer's report, a hang - is a finding with a name.
 */
#ifndef APB_FUZZ_CHILD_H
#define APB_FUZZ_CHILD_H

#include "run.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct trace;

struct child_options {
	unsigned int timeout; /* seconds, 0: none */
	FILE *describe; /* as in struct run_options */
	bool quiet; /* do not pass on what the child says on stderr */
	struct trace *trace; /* filled with the calls, or NULL */
};

/*
 * What tells one bug from another: two findings of one signature are taken for
 * the same.
 */
struct signature {
	/* "content", "check pool.bits", "AddressSanitizer: ...", "signal SEGV",
	 * "timeout", ... */
	char oracle[64];
	char op[24]; /* of op_names[], "(begin)" or "(end)" */
	char frames[160]; /* of a process that died; see frames_top() */
};

struct child_result {
	bool finding;
	struct signature signature;
	size_t op_index; /* of the operation that did not end */
	bool has_detail; /* an oracle told: the detail is its */
	struct run_finding detail;
};

/* 0, or -1 with errno set if no process could be had. */
int child_run(const uint8_t *data, size_t size, const struct child_options *o,
	      struct child_result *result);

bool signature_same(const struct signature *a, const struct signature *b);

/* "SIGNATURE: oracle | operation | frames" */
void signature_print(const struct signature *s, FILE *to);

#endif /* APB_FUZZ_CHILD_H */
