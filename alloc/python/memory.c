// SPDX-License-Identifier: MIT
/* apb as CPython's allocator of the mem and object domains; see host.h. */
#include "python/host.h"

#include <apb/apb.h>

#include <stdlib.h>
#include <string.h>

static enum host_allocator installed = HOST_OTHER;

void *host_malloc(void *ctx, size_t size)
{
	(void)ctx;
	return apb_malloc(size);
}

void *host_calloc(void *ctx, size_t n, size_t size)
{
	(void)ctx;
	return apb_calloc(n, size);
}

void *host_realloc(void *ctx, void *ptr, size_t size)
{
	(void)ctx;
	return apb_realloc(ptr, size);
}

void host_free(void *ctx, void *ptr)
{
	(void)ctx;
	apb_free(ptr);
}

/* Whether PYTHONMALLOC is heeded (no -E, no -I) and names an allocator. */
static bool user_chose(void)
{
	const char *name = getenv("PYTHONMALLOC");

	return name && *name && !Py_IgnoreEnvironmentFlag &&
	       strcmp(name, "default") != 0 && strcmp(name, "debug") != 0;
}

enum host_allocator host_install(void)
{
	static PyMemAllocatorEx apb = {
		.malloc = host_malloc,
		.calloc = host_calloc,
		.realloc = host_realloc,
		.free = host_free,
	};
	const char *name = _PyMem_GetCurrentAllocatorName();
	bool debug = name && strstr(name, "_debug");

	if (user_chose())
		return installed;
	/* over the debug hooks of these two, if there are; the raw one stays */
	PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &apb);
	PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &apb);
	if (debug)
		PyMem_SetupDebugHooks();
	installed = debug ? HOST_APB_DEBUG : HOST_APB;
	return installed;
}

enum host_allocator host_allocator(void)
{
	return installed;
}
