/* SPDX-License-Identifier: MIT */
/*
 * A trace as a C program: straight lines of calls and assertions, which fails
 * where the input was found to fail, without the harness.
 */
#ifndef APB_FUZZ_EMIT_H
#define APB_FUZZ_EMIT_H

#include "trace.h"

#include <stdbool.h>
#include <stdio.h>

enum emit_kernel {
	/* What the simulated kernel refused is refused by apb_fault_set(). */
	EMIT_KERNEL_REAL,
	/* The kernel's answers are part of the program. */
	EMIT_KERNEL_SCRIPTED,
};

struct emit_options {
	/* The standard functions, of any malloc: no apb_... in the program. */
	bool plain;
	enum emit_kernel kernel; /* of no meaning if plain */
	/* What it is about: lines for the comment at its top; NULL: none. */
	const char *about;
	/*
	 * What was found, at the end of the trace; NULL: nothing, or the
	 * process died.  The oracle and the detail choose the last assertions.
	 */
	const struct run_finding *finding;
	bool hangs; /* found because it did not end */
};

/*
 * Print the program.  0, or -1 with errno: EFBIG, the trace is not whole;
 * ENOMEM.
 */
int emit_program(FILE *to, const struct trace *t, const struct emit_options *o);

#endif /* APB_FUZZ_EMIT_H */
