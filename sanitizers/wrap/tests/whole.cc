// SPDX-License-Identifier: MIT
/*
 * The same in C++: what the program and libstdc++.so make and delete for each
 * other.  Without an argument: status 0 if every block is where it belongs;
 * with "delete-size": a delete of another size; with any other one: an overflow
 * of an array of 13 chars.
 */
#include <apb/apb.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <sstream>
#include <string>
#include <vector>

struct alignas(128) Wide {
	char bytes[128];
};

static int failed;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	failed = 1;
	std::fprintf(stderr, "not so: %s\n", what);
}

#define CHECK(x) check((x), #x)

/* The compiler may leave out a pair of new and delete that it sees through. */
template <typename T> static T *seen(T *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

/* Blocks of a size class are counted by apb. */
static size_t live_blocks()
{
	struct apb_stats stats;
	size_t n = 0;

	apb_stats(&stats);
	for (const auto &c : stats.class_)
		n += c.used;
	return n + stats.large;
}

template <typename T> static void pair(T make)
{
	size_t before = live_blocks();
	auto *p = seen(make());

	CHECK(live_blocks() == before + 1);
	operator delete(p);
}

static void operators()
{
	size_t before = live_blocks();
	Wide *wide = seen(new Wide);
	Wide *wides = seen(new Wide[3]);

	CHECK(live_blocks() == before + 2);
	CHECK((size_t)wide % 128 == 0 && (size_t)wides % 128 == 0);
	delete wide;
	delete[] wides;
	pair([] { return operator new(10); });
	pair([] { return operator new(10, std::nothrow); });
	pair([] { return operator new[](10); });
	pair([] { return operator new[](10, std::nothrow); });
	try {
		volatile size_t huge = SIZE_MAX / 2;

		CHECK(!seen(operator new(huge, std::nothrow)));
		operator delete(seen(operator new(huge)));
		CHECK(!"thrown");
	} catch (const std::bad_alloc &) {
	}
}

static void library()
{
	std::string text(1000, 'x');
	std::ostringstream out;
	std::vector<std::string> words;

	for (int i = 0; i < 1000; i++) {
		out << "word " << i << '\n';
		words.push_back(out.str().substr(0, 100));
	}
	std::istringstream in(out.str());
	while (std::getline(in, text))
		words.emplace_back(std::move(text));
	CHECK(words.size() == 2000);
	std::ifstream file("/proc/self/cmdline");
	CHECK(!!std::getline(file, text, '\0'));
}

static void __attribute__((noinline)) spoil(char *p)
{
	*(volatile char *)(p + 13) = 1;
}

static char *__attribute__((noinline)) make_array(size_t n)
{
	char *p = new char[n];

	/* the call is not the last, so that this function is in stacks */
	__asm__ volatile("");
	return p;
}

static void __attribute__((noinline)) delete_as(char *p, size_t size)
{
	::operator delete(p, size);
	__asm__ volatile("");
}

int main(int argc, char **argv)
{
	if (argc > 1 && !std::strcmp(argv[1], "delete-size")) {
		delete_as(static_cast<char *>(::operator new(16)), 24);
		return 0;
	}
	if (argc > 1) {
		char *p = make_array(13);

		spoil(p);
		delete[] p;
		return 0;
	}
	operators();
	library();
	return failed;
}
