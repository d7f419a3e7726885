// SPDX-License-Identifier: MIT
/*
 * C++ at its beginning and end: static objects, thread_local objects,
 * exceptions in threads and in flight while memory is allocated, what is
 * freed in destructors after main(), and std::exit() out of the depth.
 */
#include <cstdlib>
#include <exception>
#include <future>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "expect.h"

typedef std::map<std::string, std::vector<std::string>> table;

static table make_table(const std::string &name)
{
	table t;

	for (int i = 0; i < 100; i++)
		t[name + std::to_string(i)].assign(20, std::string(i, 'x'));
	return t;
}

/* Made before main(), used and destroyed after it. */
struct global {
	table t = make_table("global");
	std::string *raw = new std::string(1000, 'g');
	~global()
	{
		t["late"].assign(50, *raw);
		EXPECT(t.size() == 101);
		delete raw;
		t = make_table("again");
	}
};

static global first;

struct local {
	std::string text = std::string(500, 'l');
	std::vector<int> *numbers = new std::vector<int>(1000, 7);
	~local()
	{
		EXPECT((*numbers)[999] == 7 && text.size() == 500);
		delete numbers;
		text.append(5000, 'm');
	}
};

static thread_local local per_thread;

struct guard {
	std::string text;
	~guard()
	{
		text.assign(3000, 'g'); /* while an exception is in flight */
	}
};

static int deep(int n)
{
	guard g;

	g.text = std::to_string(n);
	if (!n)
		throw std::runtime_error(std::string(300, 'e'));
	return deep(n - 1) + 1;
}

static void exceptions()
{
	int caught = 0;

	for (int i = 0; i < 200; i++) {
		try {
			deep(20);
		} catch (const std::exception &e) {
			caught += std::string(e.what()).size() == 300;
		}
	}
	EXPECT(caught == 200);
}

static void threads()
{
	std::vector<std::thread> all;
	std::promise<std::string> promise;
	std::future<std::string> future = promise.get_future();
	std::exception_ptr thrown;

	for (int i = 0; i < 6; i++)
		all.emplace_back([] {
			EXPECT(per_thread.text.size() == 500);
			exceptions();
		});
	/* an exception made in one thread, freed in another */
	all.emplace_back([&promise] {
		try {
			deep(3);
		} catch (...) {
			promise.set_exception(std::current_exception());
		}
	});
	try {
		future.get();
	} catch (...) {
		thrown = std::current_exception();
	}
	for (auto &t : all)
		t.join();
	EXPECT(thrown);
}

static void at_exit()
{
	std::ostringstream out;

	for (int i = 0; i < 1000; i++)
		out << i << ' ';
	EXPECT(out.str().size() == 3890);
}

static void leave()
{
	static table last = make_table("last");
	std::string not_destroyed(100, 't');

	std::exit(last.size() != 100 || per_thread.text.size() != 500);
}

int main()
{
	EXPECT(!std::atexit(at_exit));
	exceptions();
	threads();
	std::cout << "output at exit";
	leave();
}
