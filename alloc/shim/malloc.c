// SPDX-License-Identifier: MIT
/*
 * The malloc family where it differs from apb's own functions: what glibc 2.36
 * does with sizes of 0, odd alignments and errno.  Those that do not differ
 * are second names, see names.ld.
 */
#include "config.h"
#include "hints.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

/* glibc's headers of Debian 12 do not know these yet. */
APB_API void free_aligned_sized(void *ptr, size_t align, size_t size);

/* ---- realloc ---------------------------------------------------------- */

/* realloc() to nothing frees, which apb_realloc() does not. */
static inline void *realloc_or_free(void *ptr, size_t size)
{
	if (unlikely(!size && ptr)) {
		apb_free(ptr);
		return NULL;
	}
	return apb_realloc(ptr, size);
}

APB_API void *realloc(void *ptr, size_t size)
{
	return realloc_or_free(ptr, size);
}

APB_API void *reallocarray(void *ptr, size_t n, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc_or_free(ptr, bytes);
}

/* ---- alignment -------------------------------------------------------- */

/*
 * The alignment that glibc gives when asked for @align: the next power of two.
 * 0 if there is none.
 */
static size_t round_align(size_t align)
{
	if (align <= APB_MIN_ALIGN)
		return APB_MIN_ALIGN;
	if (unlikely(align > SIZE_MAX / 2 + 1))
		return 0;
	return (size_t)1 << (64 - __builtin_clzl(align - 1));
}

static void *alloc_aligned(size_t align, size_t size)
{
	/* an alignment of 0 is refused with EINVAL, as one too large has to be */
	return apb_aligned_alloc(round_align(align), size);
}

APB_API void *aligned_alloc(size_t align, size_t size)
{
	return alloc_aligned(align, size);
}

APB_API void *memalign(size_t align, size_t size)
{
	return alloc_aligned(align, size);
}

APB_API void *valloc(size_t size)
{
	return apb_aligned_alloc(APB_PAGE, size);
}

APB_API void *pvalloc(size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_add_overflow(size, APB_PAGE - 1, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return apb_aligned_alloc(APB_PAGE, bytes & ~(APB_PAGE - 1));
}

/* Tells by its result; errno stays as it is. */
APB_API int posix_memalign(void **out, size_t align, size_t size)
{
	int saved_errno = errno;
	int err = 0;
	void *p;

	if (!align || align % sizeof(void *) || (align & (align - 1)))
		return EINVAL;
	p = apb_aligned_alloc(align, size);
	if (likely(p))
		*out = p;
	else
		err = ENOMEM;
	errno = saved_errno;
	return err;
}

APB_API void free_aligned_sized(void *ptr, size_t align, size_t size)
{
	apb_free_aligned_sized(ptr, round_align(align), size);
}
