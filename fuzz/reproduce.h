/* SPDX-License-Identifier: MIT */
/*
 * From a failing input to a small one, and to a C program: what apb-replay does
 * for --minimize and --emit-c.
 */
#ifndef APB_FUZZ_REPRODUCE_H
#define APB_FUZZ_REPRODUCE_H

#include "emit.h"

/* @timeout: seconds after which an input hangs. */

/*
 * Shrink @in for @seconds at most into @out, which holds a failing input from
 * the start, whenever this ends.  An exit status: 0; 2 if @in does not fail.
 */
int reproduce_minimize(const char *in, const char *out, unsigned int seconds,
		       unsigned int timeout);

/*
 * Write what @in does as a C program to @out.  An exit status: 0; 2 if it
 * cannot be one.
 */
int reproduce_emit(const char *in, const char *out,
		   const struct emit_options *options, unsigned int timeout);

#endif /* APB_FUZZ_REPRODUCE_H */
