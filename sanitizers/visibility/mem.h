/* SPDX-License-Identifier: MIT */
/*
 * The allocator that the programs use: the system's malloc, or apb with
 * VISIBILITY_APB.  Macros, so that no function of ours is between a program and
 * its allocator in a stack.
 *
 * C has no sized free before C23, C++ has: with the system's malloc it is
 * operator delete that is told the size.
 */
#ifndef VISIBILITY_MEM_H
#define VISIBILITY_MEM_H

#include <stddef.h>
#include <stdlib.h>

#ifdef VISIBILITY_APB

#include "apb/apb.h"

#define MALLOC(size) apb_malloc(size)
#define CALLOC(n, size) apb_calloc(n, size)
#define REALLOC(p, size) apb_realloc(p, size)
#define ALIGNED(align, size) apb_aligned_alloc(align, size)
#define ARRAY(p, n, size) apb_reallocarray(p, n, size)
#define C_ALIGNED(align, size) apb_aligned_alloc(align, size)
#define FREE(p) apb_free(p)
#define SIZED(size) apb_malloc(size)
#define FREE_SIZED(p, size) apb_free_sized(p, size)
#define SIZED_ALIGNED(align, size) apb_aligned_alloc(align, size)
#define FREE_SIZED_ALIGNED(p, align, size) \
	apb_free_aligned_sized(p, align, size)
#define USABLE(p) apb_usable_size(p)
#define TRIM() ((void)apb_trim())
/* All blocks end at once; the system's malloc has to be told of each. */
#define RESET(blocks, n) ((void)(blocks), (void)(n), (void)apb_reset())

size_t apb_san_leak_check(void) __attribute__((weak));

#define LEAK_CHECK() (apb_san_leak_check ? (void)apb_san_leak_check() : (void)0)

#else

#include <malloc.h>
#include <valgrind/memcheck.h>

/* only with _GNU_SOURCE in a header */
void *reallocarray(void *p, size_t n, size_t size);
void *plain_new(size_t size) __asm__("_Znwm");
void *plain_new_aligned(size_t size,
			size_t align) __asm__("_ZnwmSt11align_val_t");
void plain_delete(void *p, size_t size) __asm__("_ZdlPvm");
void plain_delete_aligned(void *p, size_t size,
			  size_t align) __asm__("_ZdlPvmSt11align_val_t");

#define MALLOC(size) malloc(size)
#define CALLOC(n, size) calloc(n, size)
#define REALLOC(p, size) realloc(p, size)
#define ALIGNED(align, size) memalign(align, size)
#define ARRAY(p, n, size) reallocarray(p, n, size)
#define C_ALIGNED(align, size) aligned_alloc(align, size)
#define FREE(p) free(p)
#define SIZED(size) plain_new(size)
#define FREE_SIZED(p, size) plain_delete(p, size)
#define SIZED_ALIGNED(align, size) plain_new_aligned(size, align)
#define FREE_SIZED_ALIGNED(p, align, size) plain_delete_aligned(p, size, align)
#define USABLE(p) malloc_usable_size(p)

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* Each of them does nothing without its tool. */
#define LEAK_CHECK()                                              \
	do {                                                      \
		if (__lsan_do_recoverable_leak_check)             \
			(void)__lsan_do_recoverable_leak_check(); \
		VALGRIND_DO_LEAK_CHECK;                           \
	} while (0)

#define TRIM() ((void)malloc_trim(0))
#define RESET(blocks, n)                         \
	do {                                     \
		for (int i_ = 0; i_ < (n); i_++) \
			free((blocks)[i_]);      \
	} while (0)

#endif

#endif /* VISIBILITY_MEM_H */
