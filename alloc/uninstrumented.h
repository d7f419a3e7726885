/* SPDX-License-Identifier: MIT */
/*
 * The allocator's own functions in tracking builds: the tool does not look at
 * them.  What they do to memory that the program may not touch is no error, and
 * their atomics and locks do not order the program's threads: a race on a block
 * is one, even if both threads have been in the allocator in between.
 *
 * Each source file of the allocator includes this first, so that inline
 * functions are meant as well, and instrumented.h last (style.py sees to that).
 * Tests and the harness do not: they are programs.
 *
 * gcc has no such pragma: there the functions that touch what is closed to the
 * program say so one by one, by APB_UNINSTRUMENTED.
 */
#ifndef APB_UNINSTRUMENTED_H
#define APB_UNINSTRUMENTED_H

#include "config.h"

#if defined(__clang__) && APB_TRACK && APB_SAN_MEMORY
/*
 * It must still note that what is written and returned here is initialised:
 * without any instrumentation it would believe what it was told about what was
 * there before.
 */
#define APB_UNINSTRUMENTED __attribute__((no_sanitize("memory")))
#pragma clang attribute push(__attribute__((no_sanitize("memory"))), \
			     apply_to = function)
#elif defined(__clang__) && APB_TRACK
#define APB_UNINSTRUMENTED __attribute__((disable_sanitizer_instrumentation))
#pragma clang attribute push(                               \
	__attribute__((disable_sanitizer_instrumentation)), \
	apply_to = function)
#elif APB_TRACK
#define APB_UNINSTRUMENTED \
	__attribute__((no_sanitize_address, no_sanitize_thread))
#else
#define APB_UNINSTRUMENTED
#endif

#endif /* APB_UNINSTRUMENTED_H */
