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
#ifdef __SANITIZE_THREAD__
#error "gcc: apb's own sources want -fno-sanitize=thread -DAPB_SAN_THREAD=1"
#endif
#define APB_UNINSTRUMENTED \
	__attribute__((no_sanitize_address, no_sanitize_thread))
#else
#define APB_UNINSTRUMENTED
#endif

/*
 * The C library's functions are put before by the tool, whoever calls them: it
 * would find that memory is closed which is the allocator's own, and races that
 * its hidden locks exclude.  MemorySanitizer's are wanted, as they tell that
 * something was initialised.
 */
#if APB_TRACK && (APB_SAN_ADDRESS || APB_SAN_THREAD)
#include <stddef.h>
#include <string.h>

static inline void *apb_raw_memcpy(void *to, const void *from, size_t size)
{
	void *at = to;

	__asm__ volatile("rep movsb"
			 : "+D"(at), "+S"(from), "+c"(size)
			 :
			 : "memory");
	return to;
}

static inline void *apb_raw_memmove(void *to, const void *from, size_t size)
{
	char *at = (char *)to + size - 1;
	const char *last = (const char *)from + size - 1;

	if ((uintptr_t)to - (uintptr_t)from >= size)
		return apb_raw_memcpy(to, from, size);
	__asm__ volatile("std; rep movsb; cld"
			 : "+D"(at), "+S"(last), "+c"(size)
			 :
			 : "memory");
	return to;
}

static inline void *apb_raw_memset(void *to, int byte, size_t size)
{
	void *at = to;

	__asm__ volatile("rep stosb"
			 : "+D"(at), "+c"(size)
			 : "a"(byte)
			 : "memory");
	return to;
}

#define memcpy apb_raw_memcpy
#define memmove apb_raw_memmove
#define memset apb_raw_memset
#endif

#endif /* APB_UNINSTRUMENTED_H */
