// SPDX-License-Identifier: MIT
/*
 * C++'s operators new and delete for a whole program in a build with a tool.
 *
 * They are not wrapped as malloc() is but replaced, as C++ lets a program do:
 * so they are those of libstdc++.so, too, and what the program makes and that
 * library deletes, or the other way round, is of one kind.  All forms are here,
 * as the tools' own library has all of them.
 */
#include <apb/apb.h>

#include <new>

using std::align_val_t;
using std::nothrow_t;
using std::size_t;

extern "C" void __wrap_free(void *ptr);
extern "C" void apb_wrap_delete(void *ptr, size_t align, size_t size);

/* @align 0: that of every block.  Returns NULL when there is no memory. */
static inline void *once(size_t size, size_t align)
{
	return align ? apb_aligned_alloc(align, size) : apb_malloc(size);
}

static void *again(size_t size, size_t align)
{
	void *p;

	do {
		std::new_handler handler = std::get_new_handler();

		if (!handler)
			throw std::bad_alloc();
		handler();
		p = once(size, align);
	} while (!p);
	return p;
}

static inline void *make(size_t size, size_t align)
{
	void *p = once(size, align);

	return __builtin_expect(p != nullptr, 1) ? p : again(size, align);
}

static inline void *make_or_null(size_t size, size_t align) noexcept
{
	try {
		return make(size, align);
	} catch (...) {
		return nullptr;
	}
}

/* ---- new -------------------------------------------------------------- */

void *operator new(size_t size)
{
	return make(size, 0);
}

void *operator new[](size_t size)
{
	return make(size, 0);
}

void *operator new(size_t size, align_val_t align)
{
	return make(size, (size_t)align);
}

void *operator new[](size_t size, align_val_t align)
{
	return make(size, (size_t)align);
}

void *operator new(size_t size, const nothrow_t &) noexcept
{
	return make_or_null(size, 0);
}

void *operator new[](size_t size, const nothrow_t &) noexcept
{
	return make_or_null(size, 0);
}

void *operator new(size_t size, align_val_t align, const nothrow_t &) noexcept
{
	return make_or_null(size, (size_t)align);
}

void *operator new[](size_t size, align_val_t align, const nothrow_t &) noexcept
{
	return make_or_null(size, (size_t)align);
}

/* ---- delete ----------------------------------------------------------- */

void operator delete(void *p) noexcept
{
	__wrap_free(p);
}

void operator delete[](void *p) noexcept
{
	__wrap_free(p);
}

void operator delete(void *p, size_t size) noexcept
{
	apb_wrap_delete(p, 1, size);
}

void operator delete[](void *p, size_t size) noexcept
{
	apb_wrap_delete(p, 1, size);
}

void operator delete(void *p, const nothrow_t &) noexcept
{
	__wrap_free(p);
}

void operator delete[](void *p, const nothrow_t &) noexcept
{
	__wrap_free(p);
}

void operator delete(void *p, align_val_t) noexcept
{
	__wrap_free(p);
}

void operator delete[](void *p, align_val_t) noexcept
{
	__wrap_free(p);
}

void operator delete(void *p, size_t size, align_val_t align) noexcept
{
	apb_wrap_delete(p, (size_t)align, size);
}

void operator delete[](void *p, size_t size, align_val_t align) noexcept
{
	apb_wrap_delete(p, (size_t)align, size);
}

void operator delete(void *p, align_val_t, const nothrow_t &) noexcept
{
	__wrap_free(p);
}

void operator delete[](void *p, align_val_t, const nothrow_t &) noexcept
{
	__wrap_free(p);
}
