// SPDX-License-Identifier: MIT
/*
 * The operators new and delete, every form: alignment, what happens when there
 * is no memory (the new handler, std::bad_alloc, NULL), and containers.
 */
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "expect.h"

using std::align_val_t;
using std::nothrow;
using std::size_t;

/* Known to no compiler. */
static volatile size_t too_much = (size_t)PTRDIFF_MAX + 1;
static volatile size_t some = 100;
static const align_val_t aligned = align_val_t(256);

static int handled;
/* A call of operator new whose result is not used may be left out. */
static void *volatile unused;

struct other_exception {
};

static bool is_aligned(void *p, size_t align)
{
	return p && (uintptr_t)p % align == 0;
}

/* ---- with memory ------------------------------------------------------ */

static void every_form()
{
	void *p[8] = {
		operator new(some),
		operator new[](some),
		operator new(some, nothrow),
		operator new[](some, nothrow),
		operator new(some, aligned),
		operator new[](some, aligned),
		operator new(some, aligned, nothrow),
		operator new[](some, aligned, nothrow),
	};

	for (int i = 0; i < 8; i++) {
		EXPECT(is_aligned(p[i], i < 4 ? 16 : 256));
		memset(p[i], i, some);
	}
	operator delete(p[0]);
	operator delete[](p[1]);
	operator delete(p[2], nothrow);
	operator delete[](p[3], nothrow);
	operator delete(p[4], aligned);
	operator delete[](p[5], aligned);
	operator delete(p[6], aligned, nothrow);
	operator delete[](p[7], aligned, nothrow);
	operator delete(operator new(some), some);
	operator delete[](operator new[](some), some);
	operator delete(operator new(some, aligned), some, aligned);
	operator delete[](operator new[](some, aligned), some, aligned);
	operator delete(nullptr);
	operator delete[](nullptr);
	operator delete(nullptr, some);
	operator delete(nullptr, aligned);
}

struct alignas(4096) page {
	char text[5000];
};

struct base {
	virtual ~base() = default;
	char text[40];
};

struct derived : base {
	char more[500];
};

static void expressions()
{
	page *one = new page, *many = new page[3];
	base *object = new derived;
	std::string *strings = new std::string[5];
	void *a = ::operator new(0), *b = ::operator new(0);

	EXPECT(is_aligned(one, 4096) && is_aligned(many, 4096));
	EXPECT(a && b && a != b);
	::operator delete(a);
	::operator delete(b);
	strings[4].assign(10000, 'x');
	delete one;
	delete[] many;
	delete object;
	delete[] strings;
}

static void containers()
{
	std::map<int, std::string> map;
	std::vector<std::shared_ptr<page>> pages;

	for (int i = 0; i < 2000; i++)
		map[i * 7919 % 2000].assign(i % 300, 'a');
	for (int i = 0; i < 20; i++)
		pages.push_back(std::make_shared<page>());
	EXPECT(map.size() == 2000 && map[7919 % 2000].size() == 1);
	for (auto &p : pages)
		EXPECT(is_aligned(p.get(), 4096));
}

/* ---- without ---------------------------------------------------------- */

/* Whether @fn throws @exception. */
template <class exception, class function> static bool throws(function fn)
{
	try {
		fn();
	} catch (const exception &) {
		return true;
	}
	return false;
}

template <class exception> static void all_throw()
{
	EXPECT(throws<exception>([] { unused = operator new(too_much); }));
	EXPECT(throws<exception>([] { unused = operator new[](too_much); }));
	EXPECT(throws<exception>(
		[] { unused = operator new(too_much, aligned); }));
	EXPECT(throws<exception>(
		[] { unused = operator new[](too_much, aligned); }));
}

static void all_return_null()
{
	EXPECT(!operator new(too_much, nothrow));
	EXPECT(!operator new[](too_much, nothrow));
	EXPECT(!operator new(too_much, aligned, nothrow));
	EXPECT(!operator new[](too_much, aligned, nothrow));
}

static void without_handler()
{
	all_throw<std::bad_alloc>();
	all_return_null();
	EXPECT(throws<std::bad_array_new_length>(
		[] { unused = new int[too_much]; }));
	EXPECT(throws<std::length_error>(
		[] { std::string().reserve(too_much); }));
}

/* Three calls do not help, then it gives up. */
static void third_time()
{
	if (++handled % 3 == 0)
		std::set_new_handler(nullptr);
}

/* The handler is called until it gives up, in all forms. */
template <class function> static void expect_handled(function fn)
{
	handled = 0;
	std::set_new_handler(third_time);
	fn();
	EXPECT(handled == 3);
	EXPECT(!std::get_new_handler());
}

static void with_handler()
{
	expect_handled([] {
		EXPECT(throws<std::bad_alloc>(
			[] { unused = operator new(too_much); }));
	});
	expect_handled([] {
		EXPECT(throws<std::bad_alloc>(
			[] { unused = operator new[](too_much, aligned); }));
	});
	expect_handled([] { EXPECT(!operator new(too_much, nothrow)); });
	expect_handled(
		[] { EXPECT(!operator new[](too_much, aligned, nothrow)); });
}

static void throw_other()
{
	handled++;
	throw other_exception();
}

static void throw_bad_alloc()
{
	handled++;
	throw std::bad_alloc();
}

static void with_throwing_handler()
{
	handled = 0;
	std::set_new_handler(throw_other);
	all_throw<other_exception>();
	EXPECT(handled == 4);
	all_return_null();
	EXPECT(handled == 8);
	std::set_new_handler(throw_bad_alloc);
	all_throw<std::bad_alloc>();
	all_return_null();
	EXPECT(handled == 16);
	std::set_new_handler(nullptr);
}

/* An alignment that there is not: the handler is not asked. */
static void odd_alignment()
{
	const align_val_t odd = align_val_t(48);

	handled = 0;
	std::set_new_handler(throw_other);
	EXPECT(throws<std::bad_alloc>(
		[=] { unused = operator new(some, odd); }));
	EXPECT(throws<std::bad_alloc>(
		[=] { unused = operator new[](some, odd); }));
	EXPECT(!operator new(some, odd, nothrow));
	EXPECT(!operator new[](some, odd, nothrow));
	EXPECT(handled == 0);
	std::set_new_handler(nullptr);
}

int main()
{
	for (int i = 0; i < 3; i++) {
		every_form();
		expressions();
		containers();
		without_handler();
		with_handler();
		with_throwing_handler();
		odd_alignment();
	}
	return 0;
}
