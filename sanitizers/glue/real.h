/* SPDX-License-Identifier: MIT */
/*
 * malloc() of the tool or of libc.  In a program whose own malloc() is wrapped
 * (wrap/wrap.c) that is apb's, for the objects of apb as well; the linker has a
 * name for the one behind it then, which otherwise is nothing.
 */
#ifndef APB_GLUE_REAL_H
#define APB_GLUE_REAL_H

#include <stdlib.h>

__attribute__((weak)) void *__real_malloc(size_t size);
__attribute__((weak)) void *__real_aligned_alloc(size_t align, size_t size);
__attribute__((weak)) void __real_free(void *ptr);

static inline void *apb_real_malloc(size_t size)
{
	return __real_malloc ? __real_malloc(size) : malloc(size);
}

static inline void *apb_real_aligned_alloc(size_t align, size_t size)
{
	return __real_aligned_alloc ? __real_aligned_alloc(align, size) :
				      aligned_alloc(align, size);
}

static inline void apb_real_free(void *ptr)
{
	if (__real_free)
		__real_free(ptr);
	else
		free(ptr);
}

#endif /* APB_GLUE_REAL_H */
