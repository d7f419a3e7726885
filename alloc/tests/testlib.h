/* SPDX-License-Identifier: MIT */
/*
 * What several unit tests need: a fresh allocator over either kernel, a check
 * of everything, random numbers, content that can be recognised, and calls
 * that end the process made in a child.
 */
#ifndef APB_TESTLIB_H
#define APB_TESTLIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "heap/thread.h"
#include "simos.h"
#include "state.h"

/* Of a function that a tool's run time calls before it is ready for that. */
#ifdef __clang__
#define UNINSTRUMENTED __attribute__((disable_sanitizer_instrumentation))
#else
#define UNINSTRUMENTED __attribute__((no_sanitize("thread")))
#endif

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define NR_OF(a) (sizeof(a) / sizeof((a)[0]))

/* The size classes as they are documented: [0] is class 1. */
extern const size_t test_class_sizes[APB_NR_CLASSES];

/* Bytes of a pool of class @cls, from the same documentation. */
size_t test_pool_bytes(unsigned int cls);

/* Blocks in @bytes of a pool of class @cls: no pool has more than 512. */
size_t test_pool_blocks(unsigned int cls, size_t bytes);

/*
 * Whether the program runs under a sanitizer or valgrind: these take their
 * time, and memory, addresses and mappings of their own, so that what the
 * process has of them is not ours alone.
 */
bool test_has_tool(void);

/* Whether it is valgrind: it has its own idea of files, time and signals, too. */
bool test_on_valgrind(void);

/*
 * 400 GiB of addresses where nothing is, and where the tools let a program map
 * what it wants.
 */
#define FREE_ADDRESSES ((uintptr_t)0x7e8800000000)

/*
 * What is damaged makes a check read what was never written: from now on all
 * memory of arenas is initialised as far as MemorySanitizer knows.
 */
void test_initialised(void);

/* Bytes of address space that the process has. */
size_t test_address_space(void);

/* Of an OS table that cannot resize: -1, ENOMEM. */
int test_no_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		  void *new_addr);

/* As memcmp() says it, of memory that need not be initialised. */
bool same_bytes(const void *a, const void *b, size_t size);

/*
 * The state before the first call, default options, no handler, no faults,
 * over the simulated or the real kernel.
 */
void fresh_sim(uint64_t seed, unsigned int flags);
void fresh_kernel(void);

/* Fails the test unless every invariant holds, here and in the simulation. */
#define assert_whole() test_whole(__FILE__, __LINE__)
void test_whole(const char *file, int line);

/* As a group's teardown: gives everything back. */
int test_teardown(void **ctx);

/* apb_stats() by value. */
struct apb_stats stats_now(void);

/* The first pool that @ptr is in: its descriptor. */
struct apb_pool *pool_of(const void *ptr);

/* The address of the MiB that @ptr is in: of the arena, if it is in one. */
static inline uintptr_t arena_at(const void *ptr)
{
	return (uintptr_t)ptr & ~(MIB - 1);
}

/* Length of the calling thread's bin of @cls. */
size_t bin_length(unsigned int cls);

/* splitmix64; any start value will do. */
uint64_t rnd(uint64_t *state);

/* Content that depends on @seed: write it, see whether it is there. */
void fill(void *p, size_t size, uint64_t seed);
bool filled(const void *p, size_t size, uint64_t seed);
bool all_bytes(const void *p, size_t size, unsigned char value);

static inline bool is_aligned(const void *p, size_t align)
{
	return !((uintptr_t)p & (align - 1));
}

/* @n, of which the compiler knows nothing: sizes it would warn about. */
static inline size_t opaque(size_t n)
{
	__asm__("" : "+r"(n));
	return n;
}

/*
 * write() as the programs here see it can be made to behave: to take no more
 * than so many bytes at a time, and then to fail this often with EINTR or EIO or
 * to write nothing.
 */
extern struct write_faults {
	size_t at_most; /* 0: all of them */
	unsigned int interrupted;
	unsigned int refused;
	unsigned int nothing;
} write_faults;

/* Arm the allocator's fault layer. */
void fault_arm(enum apb_fault_mode mode, unsigned int calls, uint64_t n);
#define FAULT_MASK(call) (1u << (call))
#define FAULT_ALL (FAULT_MASK(APB_OS_NR) - 1)

/* What a child wrote to stderr, and how it ended (as of waitpid()). */
struct child {
	int status;
	size_t len;
	char err[4096];
};

/*
 * Run @fn in a forked child; it ends with status 0 if @fn returns.  A child
 * that hangs is killed.
 */
void run_child(struct child *c, void (*fn)(void *arg), void *arg);
bool died_of(const struct child *c, int sig);

#endif /* APB_TESTLIB_H */
