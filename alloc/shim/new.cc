// SPDX-License-Identifier: MIT
/*
 * C++'s operators new and delete, all of the forms that can be replaced.
 *
 * Each form but the plain and the aligned one is defined in terms of another
 * ([new.delete]); a program that replaces operator new(size_t) and operator
 * delete(void *) alone relies on that.  So those calls go by way of the global
 * offset table, where the dynamic linker puts whatever is in force; if that is
 * what stands here it is a jump and no more.  All are weak: in a static link
 * the program's own replace them one by one.
 *
 * Compiled without exceptions, so that no C++ run-time library is needed: see
 * new.h for what throws.  operator new(size_t) is in new_plain.c; the plain and
 * the aligned operator delete are second names of apb_free(), see names.ld.
 */
#include "new.h"

#include "hints.h"

#include <apb/apb.h>

#include <new>

#define OPERATOR __attribute__((weak, visibility("default")))

using std::align_val_t;
using std::nothrow_t;
using std::size_t;

/* ---- new -------------------------------------------------------------- */

OPERATOR void *operator new(size_t size, align_val_t align)
{
	void *p = apb_aligned_alloc((size_t)align, size);

	return likely(p) ? p : apb_new_failed_aligned(size, (size_t)align);
}

OPERATOR void *operator new[](size_t size)
{
	return ::operator new(size);
}

OPERATOR void *operator new[](size_t size, align_val_t align)
{
	return ::operator new(size, align);
}

/* ---- new that returns NULL -------------------------------------------- */

/* The operators that stand here, whatever the program replaced. */
#define OURS(name)                                         \
	__attribute__((malloc, alloc_size(1), alias(name), \
		       visibility("hidden")))
extern "C" {
void *apb_own_new_array(size_t size) OURS("_Znam");
void *apb_own_new_aligned(size_t size, align_val_t align)
	OURS("_ZnwmSt11align_val_t");
void *apb_own_new_array_aligned(size_t size, align_val_t align)
	OURS("_ZnamSt11align_val_t");
}

typedef void *(*new_fn)(size_t size);
typedef void *(*new_aligned_fn)(size_t size, align_val_t align);

static inline bool replaced()
{
	return unlikely((new_fn) & ::operator new != apb_own_new);
}

static inline bool array_replaced()
{
	return replaced() ||
	       unlikely((new_fn) & ::operator new[] != apb_own_new_array);
}

static inline bool aligned_replaced()
{
	return unlikely((new_aligned_fn) &
			::operator new != apb_own_new_aligned);
}

static inline bool array_aligned_replaced()
{
	return aligned_replaced() ||
	       unlikely((new_aligned_fn) &
			::operator new[] != apb_own_new_array_aligned);
}

OPERATOR void *operator new(size_t size, const nothrow_t &) noexcept
{
	void *p = replaced() ? nullptr : apb_malloc(size);

	return likely(p) ? p : apb_new_nothrow(size);
}

OPERATOR void *operator new[](size_t size, const nothrow_t &) noexcept
{
	void *p = array_replaced() ? nullptr : apb_malloc(size);

	return likely(p) ? p : apb_new_nothrow_array(size);
}

OPERATOR void *operator new(size_t size, align_val_t align,
			    const nothrow_t &) noexcept
{
	size_t to = (size_t)align;
	void *p = aligned_replaced() ? nullptr : apb_aligned_alloc(to, size);

	return likely(p) ? p : apb_new_nothrow_aligned(size, to);
}

OPERATOR void *operator new[](size_t size, align_val_t align,
			      const nothrow_t &) noexcept
{
	size_t to = (size_t)align;
	void *p = array_aligned_replaced() ? nullptr :
					     apb_aligned_alloc(to, size);

	return likely(p) ? p : apb_new_nothrow_array_aligned(size, to);
}

/* ---- delete ----------------------------------------------------------- */

/*
 * The size is not checked: apb_free_sized() would report a class deleted by
 * way of a base without a virtual destructor, with which programs get by.
 */
OPERATOR void operator delete(void *p, size_t) noexcept
{
	::operator delete(p);
}

OPERATOR void operator delete(void *p, const nothrow_t &) noexcept
{
	::operator delete(p);
}

OPERATOR void operator delete(void *p, size_t, align_val_t align) noexcept
{
	::operator delete(p, align);
}

OPERATOR void operator delete(void *p, align_val_t align,
			      const nothrow_t &) noexcept
{
	::operator delete(p, align);
}

OPERATOR void operator delete[](void *p) noexcept
{
	::operator delete(p);
}

OPERATOR void operator delete[](void *p, size_t) noexcept
{
	::operator delete[](p);
}

OPERATOR void operator delete[](void *p, const nothrow_t &) noexcept
{
	::operator delete[](p);
}

OPERATOR void operator delete[](void *p, align_val_t align) noexcept
{
	::operator delete(p, align);
}

OPERATOR void operator delete[](void *p, size_t, align_val_t align) noexcept
{
	::operator delete[](p, align);
}

OPERATOR void operator delete[](void *p, align_val_t align,
				const nothrow_t &) noexcept
{
	::operator delete[](p, align);
}
