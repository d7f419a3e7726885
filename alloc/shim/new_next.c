// SPDX-License-Identifier: MIT
/*
 * The operators new without memory, for libapb-malloc.so: the C++ run-time
 * library's own operator of the same name is asked.  It calls malloc(), the
 * new handler and malloc() again, and throws; its forms that do not throw call
 * those that do, and catch.  See new.h.
 *
 * Neither is the library linked with one nor are its symbols referred to, not
 * even weakly: a C program may load a C++ library late and for itself (Python
 * does), and such a reference would have been resolved to nothing by then.
 */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "shim/new.h"

#include "config.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

typedef void *(*new_fn)(size_t size);
typedef void *(*new_aligned_fn)(size_t size, size_t align);
/* A reference is passed as a pointer; to what is of no importance. */
typedef void *(*new_nothrow_fn)(size_t size, const void *nothrow);
typedef void *(*new_nothrow_aligned_fn)(size_t size, size_t align,
					const void *nothrow);

__attribute__((noreturn)) static void die(void)
{
	static const char text[] =
		"apb: out of memory in operator new, and no C++ library to "
		"throw std::bad_alloc\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		abort(); /* there is nobody to tell */
	abort();
}

/*
 * The C++ library's function @name, or NULL.  By the library's name first:
 * the next in the order of search may be another allocator's.
 */
static void *next(const char *name)
{
	static const char *const libs[] = {
		"libstdc++.so.6",
		"libc++abi.so.1",
		"libc++.so.1",
	};
	unsigned int i;

	for (i = 0; i < sizeof(libs) / sizeof(libs[0]); i++) {
		void *lib = dlopen(libs[i], RTLD_LAZY | RTLD_NOLOAD);
		/* not closed again: an exception is thrown out of it */
		void *fn = lib ? dlsym(lib, name) : NULL;

		if (fn)
			return fn;
	}
	return dlsym(RTLD_NEXT, name);
}

void *apb_new_failed(size_t size)
{
	new_fn fn = (new_fn)next("_Znwm");

	if (!fn)
		die();
	return fn(size);
}

void *apb_new_failed_aligned(size_t size, size_t align)
{
	new_aligned_fn fn = (new_aligned_fn)next("_ZnwmSt11align_val_t");

	if (!fn)
		die();
	return fn(size, align);
}

static void *nothrow(const char *name, size_t size)
{
	new_nothrow_fn fn = (new_nothrow_fn)next(name);

	return fn ? fn(size, "") : NULL;
}

static void *nothrow_aligned(const char *name, size_t size, size_t align)
{
	new_nothrow_aligned_fn fn = (new_nothrow_aligned_fn)next(name);

	return fn ? fn(size, align, "") : NULL;
}

void *apb_new_nothrow(size_t size)
{
	return nothrow("_ZnwmRKSt9nothrow_t", size);
}

void *apb_new_nothrow_array(size_t size)
{
	return nothrow("_ZnamRKSt9nothrow_t", size);
}

void *apb_new_nothrow_aligned(size_t size, size_t align)
{
	return nothrow_aligned("_ZnwmSt11align_val_tRKSt9nothrow_t", size,
			       align);
}

void *apb_new_nothrow_array_aligned(size_t size, size_t align)
{
	return nothrow_aligned("_ZnamSt11align_val_tRKSt9nothrow_t", size,
			       align);
}
