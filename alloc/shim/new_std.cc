// SPDX-License-Identifier: MIT
/*
 * The operators new without memory, for libapb-malloc.a: a program that has
 * them is linked with a C++ run-time library, whose functions do what is to be
 * done.  See new.h.
 */
#include "new.h"

#include <apb/apb.h>

#include <new>

using std::align_val_t;
using std::size_t;

/* Returns if it is worth trying again. */
static void call_handler()
{
	std::new_handler handler = std::get_new_handler();

	if (!handler)
		throw std::bad_alloc();
	handler();
}

void *apb_new_failed(size_t size)
{
	void *p;

	do {
		call_handler();
		p = apb_malloc(size);
	} while (!p);
	return p;
}

void *apb_new_failed_aligned(size_t size, size_t align)
{
	void *p;

	/* no handler can help with that */
	if (!align || (align & (align - 1)))
		throw std::bad_alloc();
	do {
		call_handler();
		p = apb_aligned_alloc(align, size);
	} while (!p);
	return p;
}

void *apb_new_nothrow(size_t size) noexcept
{
	try {
		return ::operator new(size);
	} catch (...) {
		return nullptr;
	}
}

void *apb_new_nothrow_array(size_t size) noexcept
{
	try {
		return ::operator new[](size);
	} catch (...) {
		return nullptr;
	}
}

void *apb_new_nothrow_aligned(size_t size, size_t align) noexcept
{
	try {
		return ::operator new(size, align_val_t(align));
	} catch (...) {
		return nullptr;
	}
}

void *apb_new_nothrow_array_aligned(size_t size, size_t align) noexcept
{
	try {
		return ::operator new[](size, align_val_t(align));
	} catch (...) {
		return nullptr;
	}
}
