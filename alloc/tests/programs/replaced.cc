// SPDX-License-Identifier: MIT
/*
 * A program that replaces operator new(size_t), operator delete(void *) and
 * the aligned ones alone, with operators that put a header before each block:
 * all other forms must come down to them.
 */
#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "expect.h"

using std::align_val_t;
using std::nothrow;
using std::size_t;

static const size_t magic = 0x6d61676963;
static const size_t header = 64;
static const align_val_t aligned = align_val_t(64);
static volatile size_t some = 100;
static volatile size_t too_much = (size_t)PTRDIFF_MAX + 1;
static long live, calls;

static void *give(void *p)
{
	if (!p)
		throw std::bad_alloc();
	*(size_t *)p = magic;
	live++;
	calls++;
	return (char *)p + header;
}

static void take(void *p)
{
	size_t *start = (size_t *)((char *)p - header);

	if (!p)
		return;
	EXPECT(*start == magic);
	*start = 0;
	live--;
	free(start);
}

static size_t with_header(size_t size)
{
	return size > PTRDIFF_MAX ? size : size + header;
}

void *operator new(size_t size)
{
	return give(malloc(with_header(size)));
}

void operator delete(void *p) noexcept
{
	take(p);
}

void *operator new(size_t size, align_val_t align)
{
	return give(aligned_alloc((size_t)align, with_header(size)));
}

void operator delete(void *p, align_val_t) noexcept
{
	take(p);
}

struct object {
	~object()
	{
	}
	char text[100];
};

static void every_form()
{
	operator delete[](operator new[](some));
	operator delete(operator new(some), some);
	operator delete[](operator new[](some), some);
	operator delete(operator new(some, nothrow), nothrow);
	operator delete[](operator new[](some, nothrow), nothrow);
	operator delete[](operator new[](some, aligned), aligned);
	operator delete(operator new(some, aligned), some, aligned);
	operator delete[](operator new[](some, aligned), some, aligned);
	operator delete(operator new(some, aligned, nothrow), aligned, nothrow);
	operator delete[](operator new[](some, aligned, nothrow), aligned,
			  nothrow);
	delete new object;
	delete[] new object[7];
}

int main()
{
	const long before = live, had = calls;

	every_form();
	EXPECT(calls == had + 12 && live == before);
	EXPECT(!operator new(too_much, nothrow));
	EXPECT(!operator new[](too_much, aligned, nothrow));
	{
		std::vector<std::string> strings(100, std::string(200, 's'));

		EXPECT(live == before + 101);
	}
	EXPECT(live == before);
	return 0;
}
