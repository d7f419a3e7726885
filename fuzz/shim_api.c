// SPDX-License-Identifier: MIT
/*
 * The malloc family of alloc/shim/ as what is tested, in place of apb's own
 * functions where it differs from them: for the targets that are linked with
 * it.  shim_api.h gives its functions other names.
 *
 * What the model wants and glibc does not do goes past it: realloc() to nothing
 * frees there, and alignments that are no powers of two are rounded up.
 */
#include "shim_api.h"

#include "run.h"

#include <errno.h>

#define PAGE ((size_t)4096)

static void *api_realloc(void *ptr, size_t size)
{
	return size ? realloc(ptr, size) : apb_realloc(ptr, size);
}

static void *api_reallocarray(void *ptr, size_t n, size_t size)
{
	return n && size ? reallocarray(ptr, n, size) :
			   apb_reallocarray(ptr, n, size);
}

static void *api_posix_memalign(size_t align, size_t size)
{
	void *p = NULL;
	int saved_errno = errno, err;

	err = posix_memalign(&p, align, size);
	/* it leaves errno alone; the model wants it in there */
	if (err)
		errno = errno == saved_errno ? err : -1;
	return p;
}

/* All that take an alignment, in turn by the size. */
static void *api_aligned_alloc(size_t align, size_t size)
{
	if (!align || (align & (align - 1)))
		return api_posix_memalign(align, size);
	if (align == PAGE && !(size % PAGE) && size)
		return size / PAGE % 2 ? pvalloc(size - 1) : valloc(size);
	switch (size % 3) {
	case 0:
		return aligned_alloc(align, size);
	case 1:
		return memalign(align, size);
	default:
		return api_posix_memalign(
			align < sizeof(void *) ? sizeof(void *) : align, size);
	}
}

static void api_free_aligned_sized(void *ptr, size_t align, size_t size)
{
	if (align && !(align & (align - 1)))
		free_aligned_sized(ptr, align, size);
	else
		apb_free_aligned_sized(ptr, align, size);
}

static struct apb_api shim_api;
const struct apb_api *const target_api = &shim_api;

__attribute__((constructor)) static void make_api(void)
{
	shim_api = apb_api;
	shim_api.realloc = api_realloc;
	shim_api.reallocarray = api_reallocarray;
	shim_api.aligned_alloc = api_aligned_alloc;
	shim_api.free_aligned_sized = api_free_aligned_sized;
}
