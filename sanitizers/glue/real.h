/* SPDX-License-Identifier: MIT */
/*
 * malloc() of the tool or of libc.  In a program whose own malloc() is wrapped
 * (wrap/wrap.c) that is apb's, for the objects of apb as well; the linker has a
 * name for the one behind it then, which otherwise is nothing.
 */
#ifndef APB_GLUE_REAL_H
#define APB_GLUE_REAL_H

#include <stdlib.h>

#include "glue/glue.h"

__attribute__((weak)) void *__real_malloc(size_t size);
__attribute__((weak)) void *__real_aligned_alloc(size_t align, size_t size);
__attribute__((weak)) void *__real_calloc(size_t n, size_t size);
__attribute__((weak)) void *__real_reallocarray(void *ptr, size_t n,
						size_t size);
__attribute__((weak)) void *__real_memalign(size_t align, size_t size);
__attribute__((weak)) int __real_posix_memalign(void **out, size_t align,
						size_t size);
__attribute__((weak)) void *__real_pvalloc(size_t size);
__attribute__((weak)) void __real_free(void *ptr);

/* None of them in a header for all of C. */
void *memalign(size_t align, size_t size);
void *pvalloc(size_t size);
void *reallocarray(void *ptr, size_t n, size_t size);

APB_RAW static inline void *apb_real_malloc(size_t size)
{
	return __real_malloc ? __real_malloc(size) : malloc(size);
}

APB_RAW static inline void *apb_real_aligned_alloc(size_t align, size_t size)
{
	return __real_aligned_alloc ? __real_aligned_alloc(align, size) :
				      aligned_alloc(align, size);
}

APB_RAW static inline void apb_real_free(void *ptr)
{
	if (__real_free)
		__real_free(ptr);
	else
		free(ptr);
}

/*
 * A request that was refused is made of the tool's malloc, which says of it what
 * it has to say, and ends the process if that is its way.
 */
APB_RAW static inline void apb_real_refuse(enum apb_glue_refusal kind, size_t n,
					   size_t size)
{
	void *p = NULL;

	/* what they are is for the tool to see, not for the compiler */
	__asm__("" : "+r"(n), "+r"(size));
	switch (kind) {
	case APB_GLUE_CALLOC:
		p = __real_calloc ? __real_calloc(n, size) : calloc(n, size);
		break;
	case APB_GLUE_REALLOCARRAY:
		p = __real_reallocarray ? __real_reallocarray(NULL, n, size) :
					  reallocarray(NULL, n, size);
		break;
	case APB_GLUE_ALIGN:
		p = apb_real_aligned_alloc(n, size);
		break;
	case APB_GLUE_MEMALIGN:
		p = __real_memalign ? __real_memalign(n, size) :
				      memalign(n, size);
		break;
	case APB_GLUE_POSIX_MEMALIGN:
		if (__real_posix_memalign ? __real_posix_memalign(&p, n, size) :
					    posix_memalign(&p, n, size))
			p = NULL;
		break;
	case APB_GLUE_PVALLOC:
		p = __real_pvalloc ? __real_pvalloc(size) : pvalloc(size);
		break;
	default:
		p = apb_real_malloc(size);
		break;
	}
	__asm__ volatile("" : "+r"(p));
	apb_real_free(p);
}

#endif /* APB_GLUE_REAL_H */
