// SPDX-License-Identifier: MIT
/*
 * A C++ library that a C program loads for itself (RTLD_LOCAL), so that the
 * C++ run-time library is not among the program's: operators without memory
 * all the same.  Allocates when it is loaded, frees when it is unloaded.
 */
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "expect.h"

static std::vector<std::string> strings(1000, std::string(100, 's'));
static char *const block = new char[100000];
static volatile std::size_t too_much = (std::size_t)PTRDIFF_MAX + 1;
static int handled;
static void *volatile unused;

static void handler()
{
	if (++handled == 2)
		throw std::bad_alloc();
}

struct at_unload {
	~at_unload()
	{
		delete[] block;
	}
};

static at_unload unload;

/* Returns a block that the program frees. */
extern "C" void *plugin_run(void)
{
	bool thrown = false;

	EXPECT(strings.size() == 1000 && strings[999].size() == 100);
	try {
		unused = ::operator new(too_much);
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	EXPECT(thrown);
	EXPECT(!::operator new(too_much, std::nothrow));
	handled = 0;
	std::set_new_handler(handler);
	EXPECT(!::operator new[](too_much, std::align_val_t(64), std::nothrow));
	EXPECT(handled == 2);
	std::set_new_handler(nullptr);
	return ::operator new(500);
}
