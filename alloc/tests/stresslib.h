/* SPDX-License-Identifier: MIT */
/*
 * What the tests with threads need, on top of testlib.h: how much to do, blocks
 * that know their content, complaints from any thread, threads started and
 * joined together, and what the process keeps of the machine's memory.
 *
 * These tests use the public interface alone.  cmocka's assertions belong into
 * the test's own thread; the others, and children, say expect().
 */
#ifndef APB_STRESSLIB_H
#define APB_STRESSLIB_H

#include "testlib.h"

#include <pthread.h>
#include <stdatomic.h>

/*
 * How often to do something: @quick in `make test`, a tenth of it under a
 * tool, @full in `make test-stress` (APB_TEST_FULL=1 in the environment).
 */
size_t stress_times(size_t quick, size_t full);

/* ---- complaints ------------------------------------------------------- */

/* From any thread; the first is kept, with its place. */
#define expect(cond) \
	((cond) ? (void)0 : stress_complain(__FILE__, __LINE__, #cond))
void stress_complain(const char *file, int line, const char *what);

/* None so far?  They are printed, forgotten, and the test fails. */
#define assert_no_complaint() stress_assert_none(__FILE__, __LINE__)
void stress_assert_none(const char *file, int line);
size_t stress_complaints(void);

/* ---- blocks ----------------------------------------------------------- */

/* What a block begins with; the rest of it is filled from the seed. */
struct label {
	size_t size;
	uint64_t seed;
};

/* Whether it may happen that there is no memory; otherwise it is complained of. */
extern atomic_bool stress_no_memory;

/* 16 to 130,000 bytes: one in 512 is large, one in 16 is up to 32 KiB. */
size_t label_size(uint64_t *r);

/* By malloc, calloc or aligned_alloc; NULL on failure. */
struct label *label_make(size_t size, uint64_t *r);
/* Whether it is as it was made. */
bool label_holds(const struct label *b);
struct label *label_resize(struct label *b, size_t size);
/* See that it holds, free it; NULL is nothing. */
void label_drop(struct label *b);

/* ---- threads ---------------------------------------------------------- */

#define CREW_MAX 16

struct crew {
	size_t nr;
	pthread_t thread[CREW_MAX];
	pthread_barrier_t start;
	void (*fn)(size_t index, void *arg);
	void *arg;
};

/* @nr threads run @fn, all at once. */
void crew_start(struct crew *c, size_t nr, void (*fn)(size_t, void *),
		void *arg);
void crew_join(struct crew *c);
/* Both. */
void crew_run(size_t nr, void (*fn)(size_t, void *), void *arg);

/* ---- memory ----------------------------------------------------------- */

/* Bytes resident now. */
size_t resident_bytes(void);

/*
 * Nothing is in use; and after a trim nothing is mapped but the heap of this
 * thread, the only one.
 */
#define assert_all_given_back() stress_assert_given_back(__FILE__, __LINE__)
void stress_assert_given_back(const char *file, int line);

/* The bytes of the arenas add up. */
bool stats_add_up(const struct apb_stats *s);

#endif /* APB_STRESSLIB_H */
