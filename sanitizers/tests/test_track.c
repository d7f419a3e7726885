// SPDX-License-Identifier: MIT
/*
 * The tracking layer (alloc/track/) under each tool: what is accessible is what was asked for, to the byte, whatever the size and alignment; what is
 * known of a block; the quarantine; reset; and that addresses depend on nothing
 * but the calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "glue/glue.h"
#include "glue/tool.h"
#include "marks.h"
#include "tracked/nulls.h"
#include "track/region.h"
#include "track/track.h"

#include <apb/sanitize.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sizes around all that is a border, up to some large ones. */
static size_t next_size(size_t size)
{
	return size < 1100 ? size + 1 : size + size / 13;
}

/* What the tool is told to let a block have, in MiB. */
#define LARGEST_MB "300"
#define LARGEST ((size_t)300 << 20)

#define SIZE_MAX_TESTED ((size_t)3 << 20)

static struct apb_san_block found(const void *addr)
{
	struct apb_san_block block;

	assert_ptr_equal(apb_san_find(addr, &block), &apb_track_pool);
	return block;
}

/* What an empty block is known as: valgrind wants to be told of no bytes. */
static size_t known(size_t size)
{
	return size || APB_SAN_VALGRIND ? size : 1;
}

/* Exactly @size bytes at @p are open, and known as a block. */
static void check_open(char *p, size_t size)
{
	size_t real = known(size);
	struct apb_san_block block = found(p);

	assert_open(p, real);
	assert_closed(p - 1);
	assert_closed(p - 16);
	assert_closed(p + real);
	assert_closed(p + real + 15);
	assert_ptr_equal(block.addr, p);
	assert_int_equal(block.size, real);
	assert_int_equal(block.state, APB_SAN_LIVE);
	assert_true(!block.born_stack == !has_stacks());
	assert_int_equal(apb_usable_size(p), real);
	/* an access next to it was meant for it: nothing else is there */
	assert_ptr_equal(found(p + real).addr, p);
	assert_ptr_equal(found(p - 1).addr, p);
}

static void check_closed(char *p, size_t size)
{
	struct apb_san_block block = found(p);

	assert_closed(p);
	assert_closed(p + (size ? size - 1 : 0));
	assert_ptr_equal(block.addr, p);
	assert_int_equal(block.size, size);
	assert_int_equal(block.state, APB_SAN_DEAD);
	assert_true(!block.died_stack == !has_stacks());
}

static void test_sizes(void **state)
{
	size_t size;

	(void)state;
	for (size = 0; size < SIZE_MAX_TESTED; size = next_size(size)) {
		char *p = apb_malloc(size);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % APB_MIN_ALIGN, 0);
		check_open(p, size);
		memset(p, 0x11, size);
		apb_free(p);
		check_closed(p, known(size));
		apb_reset();
	}
}

static void check_aligned(size_t align, size_t size)
{
	char *p = apb_aligned_alloc(align, size);

	assert_non_null(p);
	assert_int_equal((uintptr_t)p % align, 0);
	check_open(p, size);
	apb_free_aligned_sized(p, align, size);
	check_closed(p, known(size));
	apb_reset();
}

static void test_aligned(void **state)
{
	size_t align, size;

	(void)state;
	for (align = 1; align <= (size_t)4 << 20; align *= 2) {
		for (size = 0; size < SIZE_MAX_TESTED; size = size * 3 + 1)
			check_aligned(align, size);
		/* what is behind it begins with a page, or an arena */
		check_aligned(align, align);
	}
	assert_null(apb_aligned_alloc(align - 24, 1));
	assert_int_equal(errno, EINVAL);
}

static void check_zeroed(size_t size)
{
	unsigned char *p = apb_malloc(size);
	size_t i;

	memset(p, 0xff, size);
	apb_free(p);
	apb_set_option(APB_OPT_QUARANTINE, 0);
	p = apb_calloc(1, size);
	for (i = 0; i < size; i++)
		assert_int_equal(p[i], 0);
	check_open((char *)p, size);
	apb_set_option(APB_OPT_QUARANTINE, (size_t)1 << 20);
	apb_free(p);
}

static void test_zeroed(void **state)
{
	volatile size_t huge = SIZE_MAX / 2; /* the compiler would know */
	size_t size;

	(void)state;
	for (size = 1; size < SIZE_MAX_TESTED; size = size * 2 + 3)
		check_zeroed(size);
	/* where the last class ends, whatever the red zone */
	for (size = APB_MAX_POOLED; size > APB_MAX_POOLED - 1024; size -= 16)
		check_zeroed(size);
	assert_null(apb_calloc(huge, 3));
	assert_int_equal(errno, ENOMEM);
	apb_reset();
}

static void test_moved(void **state)
{
	static const size_t sizes[] = {1,    13,    16,	   17,	  500,	 513,
				       9000, 32000, 33000, 70000, 66000, 40};
	unsigned char *p = apb_realloc(NULL, 5), *q;
	size_t i, j, size = 5;

	(void)state;
	memset(p, 7, 5);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		q = apb_realloc(p, sizes[i]);
		assert_ptr_not_equal(q, p);
		check_closed((char *)p, size);
		check_open((char *)q, sizes[i]);
		for (j = 0; j < size && j < sizes[i]; j++)
			assert_int_equal(q[j], 7);
		memset(q, 7, sizes[i]);
		p = q;
		size = sizes[i];
	}
	assert_null(apb_realloc(p, PTRDIFF_MAX));
	assert_int_equal(errno, ENOMEM);
	check_open((char *)p, size);
	apb_reset();
}

/*
 * A freed block does not come back before nine tenths of so many bytes were
 * freed after it.
 */
static void test_quarantine(void **state)
{
	size_t limit = (size_t)256 << 10, freed = 0;
	char *first, *p;

	(void)state;
	assert_int_equal(apb_set_option(APB_OPT_QUARANTINE, limit), 0);
	first = apb_malloc(1000);
	apb_free(first);
	for (;;) {
		p = apb_malloc(1000);
		if (p == first)
			break;
		apb_free(p);
		freed += 1000;
		assert_true(freed < 64 * limit);
	}
	assert_true(freed >= limit - limit / 10);
	check_open(p, 1000);
	apb_free(p);
	/* none held: the next one is the last one */
	assert_int_equal(apb_set_option(APB_OPT_QUARANTINE, 0), 0);
	p = apb_malloc(1000);
	apb_free(p);
	check_closed(p, 1000);
	assert_ptr_equal(apb_malloc(1000), p);
	apb_set_option(APB_OPT_QUARANTINE, limit);
	apb_reset();
}

/* Of what may be held a sixteenth stays free, but for a thread's own chain. */
static void test_quarantine_most(void **state)
{
	size_t limit = (size_t)8 << 20, each, held, most = 0, i;
	struct apb_stats stats;
	void *p;

	(void)state;
	assert_int_equal(apb_set_option(APB_OPT_QUARANTINE, limit), 0);
	p = apb_malloc(1000);
	apb_stats(&stats);
	each = stats.used_bytes;
	apb_free(p);
	for (i = 0; i < 20000; i++) {
		apb_free(apb_malloc(1000));
		if (i % 64)
			continue;
		apb_stats(&stats);
		held = stats.used_bytes / each * (1000 + APB_QUARANTINE_EACH);
		most = held > most ? held : most;
	}
	assert_in_range(most, limit - limit / 10, limit - limit / 32);
	apb_reset();
}

/*
 * More chains than the queue has places for: blocks too large to be joined with
 * others.  All are held, and all come back.
 */
static void test_quarantine_chains(void **state)
{
	static char *p[1100];
	size_t size = (size_t)300 << 10, n = sizeof(p) / sizeof(p[0]), i;
	struct apb_stats stats;

	(void)state;
	assert_int_equal(apb_set_option(APB_OPT_QUARANTINE, n * size * 2), 0);
	for (i = 0; i < n; i++)
		p[i] = apb_malloc(size);
	for (i = 0; i < n; i++)
		apb_free(p[i]);
	for (i = 0; i < n; i++)
		check_closed(p[i], size);
	apb_stats(&stats);
	assert_int_equal(stats.large, n);
	apb_trim();
	apb_stats(&stats);
	assert_int_equal(stats.large, 0);
	assert_int_equal(stats.used_bytes, 0);
	apb_reset();
}

static size_t resident(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*u %lu", &pages), 1);
	fclose(file);
	return pages * APB_PAGE;
}

/* A large block that is not touched costs nothing, and no shadow either. */
static void test_large_shadow(void **state)
{
	size_t size = (size_t)256 << 20, before;
	char *p;

	(void)state;
	if (!APB_SAN_ADDRESS)
		skip();
	apb_set_option(APB_OPT_QUARANTINE, size * 2);
	for (int i = 0; i < 2; i++) {
		before = resident();
		p = apb_malloc(size);
		assert_in_range(resident(), 0, before + size / 64);
		check_open(p, size);
		assert_open(p + size / 2, 4096);
		apb_free(p);
		check_closed(p, size);
	}
	apb_reset();
}

/* A block freed in a thread that ends is still held, and later recycled. */
static void *free_it(void *arg)
{
	apb_free(arg);
	return NULL;
}

/* Threads have numbers beyond 16 bits. */
static void *make_far(void *arg)
{
	apb_thread_set(70000);
	*(char **)arg = apb_malloc(24);
	return NULL;
}

static void *free_far(void *arg)
{
	apb_thread_set((1u << 24) - 1);
	apb_free(arg);
	return NULL;
}

static void *reset_far(void *arg)
{
	(void)arg;
	apb_thread_set(70001);
	apb_reset();
	return NULL;
}

static void test_thread_numbers(void **state)
{
	struct apb_san_block block;
	pthread_t thread;
	char *p;

	(void)state;
	apb_set_option(APB_OPT_QUARANTINE, (size_t)1 << 20);
	pthread_create(&thread, NULL, make_far, &p);
	pthread_join(thread, NULL);
	block = found(p);
	assert_int_equal(block.born_thread, 70000);
	pthread_create(&thread, NULL, free_far, p);
	pthread_join(thread, NULL);
	block = found(p);
	assert_int_equal(block.state, APB_SAN_DEAD);
	assert_int_equal(block.born_thread, 70000);
	assert_int_equal(block.died_thread, (1u << 24) - 1);
	apb_reset();
	/* there arenas are malloc's, and go with a reset */
	if (APB_SAN_VALGRIND)
		return;
	p = apb_malloc(24);
	pthread_create(&thread, NULL, reset_far, NULL);
	pthread_join(thread, NULL);
	block = found(p);
	assert_int_equal(block.state, APB_SAN_DEAD);
	assert_int_equal(block.died_thread, 70001);
	apb_reset();
}

static void test_quarantine_threads(void **state)
{
	struct apb_san_block block;
	pthread_t thread;
	char *p;
	int i;

	(void)state;
	apb_set_option(APB_OPT_QUARANTINE, (size_t)1 << 20);
	for (i = 0; i < 100; i++) {
		p = apb_malloc(2000);
		pthread_create(&thread, NULL, free_it, p);
		pthread_join(thread, NULL);
		check_closed(p, 2000);
		block = found(p);
		assert_int_not_equal(block.died_thread, block.born_thread);
	}
	apb_trim();
	assert_int_equal(apb_check(NULL), 0);
	apb_reset();
}

/*
 * Neither what a thread frees that allocates nothing is lost with the thread,
 * nor what its destructors free when apb's has run.
 */
static pthread_key_t late;

static void *free_late(void *arg)
{
	apb_free(apb_malloc(1));
	pthread_setspecific(late, arg);
	return NULL;
}

static void test_quarantine_ended(void **state)
{
	void *(*const ways[])(void *arg) = {free_it, free_late};
	struct apb_stats stats;
	pthread_t thread;
	size_t i;

	(void)state;
	apb_set_option(APB_OPT_QUARANTINE, (size_t)64 << 20);
	assert_int_equal(pthread_key_create(&late, apb_free), 0);
	for (i = 0; i < 2; i++) {
		pthread_create(&thread, NULL, ways[i], apb_malloc(2000));
		pthread_join(thread, NULL);
		apb_trim();
		apb_stats(&stats);
		assert_int_equal(stats.used_bytes, 0);
		assert_int_equal(stats.arenas, 0);
	}
	pthread_key_delete(late);
	apb_reset();
}

/*
 * What a thread has in quarantine when others reset is nobody's: it is not given
 * back in the place of what is there since.
 */
static pthread_barrier_t met;

static void *free_before_reset(void *arg)
{
	char *p[20];
	size_t i;

	(void)arg;
	for (i = 0; i < 20; i++)
		p[i] = apb_malloc(100);
	for (i = 0; i < 20; i++)
		apb_free(p[i]);
	pthread_barrier_wait(&met);
	/* here is a reset */
	pthread_barrier_wait(&met);
	apb_free(apb_malloc(100));
	return NULL;
}

static void test_quarantine_before_reset(void **state)
{
	char *p[60];
	pthread_t thread;
	size_t i;

	(void)state;
	apb_set_option(APB_OPT_QUARANTINE, (size_t)1 << 20);
	pthread_barrier_init(&met, NULL, 2);
	pthread_create(&thread, NULL, free_before_reset, NULL);
	pthread_barrier_wait(&met);
	apb_reset();
	for (i = 0; i < 60; i++)
		p[i] = apb_malloc(100);
	pthread_barrier_wait(&met);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&met);
	apb_trim();
	for (i = 0; i < 60; i++)
		check_open(p[i], 100);
	assert_int_equal(apb_check(NULL), 0);
	apb_reset();
}

/* A large block that was given back at once is known as long as nothing else is
 * there, to its last byte. */
static void test_stale(void **state)
{
	size_t size = (size_t)700 << 10;
	struct apb_san_block block;
	char *p;

	(void)state;
	/* there it is malloc's, and gone */
	if (APB_SAN_VALGRIND)
		skip();
	apb_set_option(APB_OPT_QUARANTINE, 0);
	p = apb_malloc(size);
	apb_free(p);
	check_closed(p, size);
	block = found(p + size - 1);
	assert_ptr_equal(block.addr, p);
	assert_int_equal(block.state, APB_SAN_DEAD);
	apb_reset();
}

/* Whatever the system refuses meanwhile. */
static void test_errno(void **state)
{
	const struct apb_fault fault = {
		.mode = APB_FAULT_FROM,
		.calls = 1u << APB_OS_UNMAP | 1u << APB_OS_PURGE,
		.n = 1,
	};
	void *p[4];
	size_t i;

	(void)state;
	apb_set_option(APB_OPT_QUARANTINE, 0);
	apb_set_option(APB_OPT_LARGE_CACHE, 0);
	for (i = 0; i < 4; i++)
		p[i] = apb_aligned_alloc(16, 50000);
	apb_fault_set(&fault);
	errno = 4711;
	apb_free(p[0]);
	apb_free_sized(p[1], 50000);
	apb_free_aligned_sized(p[2], 16, 50000);
	apb_free(NULL);
	assert_int_equal(apb_usable_size(p[3]), 50000);
	assert_int_equal(errno, 4711);
	apb_fault_set(NULL);
	apb_set_option(APB_OPT_LARGE_CACHE, (size_t)64 << 20);
	apb_reset();
}

/* Who called apb is in the stack, wherever that is: a signal handler, too. */
static char *made_on_signal;

static void on_signal(int nr)
{
	(void)nr;
	made_on_signal = apb_malloc(10);
}

static void test_other_stack(void **state)
{
	size_t size = 64 << 10;
	stack_t other = {.ss_sp = malloc(size), .ss_size = size};
	struct sigaction action = {.sa_handler = on_signal,
				   .sa_flags = SA_ONSTACK};
	const uintptr_t *pcs;

	(void)state;
	if (!has_stacks()) {
		free(other.ss_sp);
		skip();
	}
	sigaltstack(&other, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	assert_true(apb_stack_get(found(made_on_signal).born_stack, &pcs) > 1);
	assert_true(pcs[0] - (uintptr_t)apb_malloc < 4096);
	assert_true(pcs[1] - (uintptr_t)on_signal < 4096);
	signal(SIGUSR1, SIG_DFL);
	other.ss_flags = SS_DISABLE;
	sigaltstack(&other, NULL);
	free(other.ss_sp);
	apb_reset();
}

static void count(const struct apb_san_block *block, void *arg)
{
	struct apb_san_block *sum = arg;

	sum->born_stack++;
	sum->size += block->size;
}

static void test_walk(void **state)
{
	struct apb_san_block sum = {0};
	size_t bytes = 0, i, n = 0;
	char *p, *kept[500];

	(void)state;
	for (i = 0; i < 500; i++) {
		p = kept[i] = apb_malloc(i * i + 1);
		if (i % 3) {
			n++;
			bytes += i * i + 1;
		}
	}
	for (i = 0; i < 500; i += 3)
		apb_free(kept[i]);
	apb_glue_walk(&apb_track_pool, count, &sum);
	assert_int_equal(sum.born_stack, n);
	assert_int_equal(sum.size, bytes);
	(void)p;
	apb_reset();
	memset(&sum, 0, sizeof(sum));
	apb_glue_walk(&apb_track_pool, count, &sum);
	assert_int_equal(sum.born_stack, 0);
}

/* After a reset all blocks are dead, and the next run finds the same addresses,
 * whatever there was before. */
#define NR_RUN 300

static void run(char **at, unsigned int seed)
{
	size_t i;

	srand(seed);
	memset(at, 0, NR_RUN * sizeof(*at));
	for (i = 0; i < 4 * NR_RUN; i++) {
		size_t k = (size_t)rand() % NR_RUN;
		size_t size = (size_t)rand() % (rand() % 20 ? 600 : 200000);

		if (rand() % 3) {
			apb_free(at[k]);
			at[k] = apb_malloc(size);
		} else {
			at[k] = apb_realloc(at[k], size);
		}
	}
}

static void test_reset(void **state)
{
	char *first[NR_RUN], *again[NR_RUN];
	unsigned int seed;
	size_t i;

	(void)state;
	/* there arenas are blocks of malloc: it is them that come anew */
	if (APB_SAN_VALGRIND)
		skip();
	run(first, 1);
	apb_reset();
	for (i = 0; i < NR_RUN; i++) {
		if (!first[i])
			continue;
		assert_closed(first[i]);
		assert_ptr_equal(found(first[i]).addr, first[i]);
		assert_int_equal(found(first[i]).state, APB_SAN_DEAD);
	}
	for (seed = 2; seed < 6; seed++) {
		run(again, seed);
		apb_reset();
		run(again, 1);
		assert_memory_equal(again, first, sizeof(first));
		assert_int_equal(apb_check(NULL), 0);
		apb_reset();
	}
}

/* To their last byte, wherever in a pool of whatever size they are. */
static void test_reset_closes(void **state)
{
	static const size_t sizes[] = {16, 600, 5000, 20000, 100000};
	char *p[40];
	size_t i, k;

	(void)state;
	if (APB_SAN_VALGRIND) /* as above */
		skip();
	for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		for (i = 0; i < sizeof(p) / sizeof(p[0]); i++)
			p[i] = apb_malloc(sizes[k]);
		apb_reset();
		for (i = 0; i < sizeof(p) / sizeof(p[0]); i++)
			check_closed(p[i], sizes[k]);
	}
}

static bool is_found(const void *addr, struct apb_san_block *block)
{
	return apb_san_find(addr, block) == &apb_track_pool;
}

/* What is not a block is none, and what is told of it is bounded. */
static void test_strangers(void **state)
{
	struct apb_san_block block;
	char *p = apb_malloc(100);
	uintptr_t at;

	(void)state;
	assert_false(is_found(NULL, &block));
	assert_false(is_found(&block, &block));
	assert_false(is_found((void *)-16, &block));
	/* every address of the region, coarsely, and all near the block */
	for (at = apb_region.start; at < apb_region.start + ((size_t)1 << 30);
	     at += 4999)
		is_found((void *)at, &block);
	for (at = (uintptr_t)p - 5000; at < (uintptr_t)p + 5000; at++)
		if (is_found((void *)at, &block) && block.state == APB_SAN_LIVE)
			assert_ptr_equal(block.addr, p);
	apb_reset();
}

/*
 * Classes are closer together than in other builds, and statistics have those of
 * the others: two are told as one, by the larger of them, but bytes are exact.
 */
static void test_classes(void **state)
{
	static struct apb_stats s;
	struct apb_track_place place;
	size_t i, whole, used = 0;
	char *p;

	(void)state;
	apb_reset();
	for (i = 513; i < 1000; i += 7) {
		p = apb_malloc(i);
		assert_non_null(p);
		/* reads notes, which nobody may but who says so */
		tool_enter();
		assert_true(apb_track_locate(p, &place));
		tool_leave();
		whole = i + (size_t)(p - place.block);
		assert_in_range(place.end - place.block, whole,
				whole + (whole > 1024 ? 127 : 63));
		used += (size_t)(place.end - place.block);
	}
	apb_stats(&s);
	assert_int_equal(s.used_bytes, used);
	for (i = used = 0; i < APB_NR_CLASSES; i++)
		used += s.class_[i].used * s.class_[i].size;
	assert_in_range(used, s.used_bytes + 1, s.used_bytes * 9 / 8);
	assert_int_equal(s.class_[APB_NR_CLASSES - 1].size, APB_MAX_POOLED);
	apb_reset();
}

/* As large as the tool lets a block be, and no larger. */
static void test_largest(void **state)
{
	const size_t size = LARGEST - 3;
	char *p;

	(void)state;
	apb_set_option(APB_OPT_QUARANTINE, 0);
	for (int again = 0; again < 2; again++) {
		p = apb_malloc(size);
		assert_non_null(p);
		assert_open(p, size);
		assert_closed(p - 1);
		assert_closed(p + size);
		apb_free(p);
		for (size_t i = 0; i < size; i += 4000)
			assert_closed(p + i);
	}
	apb_set_option(APB_OPT_QUARANTINE, (size_t)64 << 20);
	errno = 0;
	assert_null(apb_malloc(LARGEST + 1));
	assert_int_equal(errno, ENOMEM);
	assert_null(apb_calloc(LARGEST / 16, 17));
	assert_null(apb_aligned_alloc(32, LARGEST + 1));
	assert_null(apb_aligned_alloc((size_t)512 << 20, 1));
	p = apb_malloc(5);
	assert_null(apb_realloc(p, LARGEST + 1));
	check_open(p, 5);
	apb_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_aligned),
		cmocka_unit_test(test_zeroed),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_quarantine),
		cmocka_unit_test(test_quarantine_most),
		cmocka_unit_test(test_large_shadow),
		cmocka_unit_test(test_quarantine_threads),
		cmocka_unit_test(test_thread_numbers),
		cmocka_unit_test(test_quarantine_ended),
		cmocka_unit_test(test_quarantine_before_reset),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_errno),
		cmocka_unit_test(test_other_stack),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_reset_closes),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_quarantine_chains),
	};

	/* quoted, and with others, as users may write it */
	setenv(TOOL_OPTIONS, "a=1:max_allocation_size_mb='" LARGEST_MB "',b=2",
	       1);
	apb_set_option(APB_OPT_QUARANTINE, (size_t)64 << 20);
	return cmocka_run_group_tests_name("track", tests, NULL, NULL);
}
