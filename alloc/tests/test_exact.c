// SPDX-License-Identifier: MIT
/*
 * Unit tests of what is exact: which calls the system gets and how large, what
 * is printed whatever the stack held before, sums over heaps that go, and that
 * nobody looks for misuse while others go on.
 */
#define _GNU_SOURCE
#include "testreport.h"

#include "api/lock.h"
#include "arena/flat.h"
#include "debug/report.h"
#include "heap/sparse.h"
#include "os/os.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- calls to the system ---------------------------------------------- */

static struct {
	size_t size[16];
	unsigned int nr;
	size_t shift; /* of what is mapped, from where it is aligned */
} maps;

/* Room for all that a test maps, which stays. */
static void *shifted_map(void *ctx, void *hint, size_t size, bool *zero)
{
	char *p = mmap(NULL, size + 2 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t up = ((uintptr_t)p + MIB - 1) & ~(MIB - 1);

	(void)ctx;
	(void)hint;
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_in_range(maps.nr, 0, NR_OF(maps.size) - 1);
	maps.size[maps.nr++] = size;
	*zero = true;
	return (void *)(up + maps.shift);
}

static int no_unmap(void *ctx, void *addr, size_t size)
{
	(void)ctx;
	(void)addr;
	(void)size;
	return 0;
}

/* What is not aligned is given back, and so much more asked for as it takes. */
static void test_trimmed(void **ctx)
{
	const struct apb_os os = {
		.map = shifted_map,
		.unmap = no_unmap,
		.purge = no_unmap,
		.remap = test_no_remap,
	};
	static const size_t shifts[] = {0, 4096, MIB / 2, MIB - 4096};
	size_t i, align;
	bool zero;

	(void)ctx;
	for (i = 0; i < NR_OF(shifts); i++) {
		for (align = MIB; align <= 4 * MIB; align *= 2) {
			struct apb_os_state *st = &apb_state.os;
			uintptr_t p;

			fresh_kernel();
			assert_int_equal(apb_set_os(&os), 0);
			maps.shift = shifts[i];
			maps.nr = 0;
			st->mapped_highwater = st->mapped;
			p = (uintptr_t)apb_os_map(0, 3 * MIB, align, &zero);
			assert_int_equal(p & (align - 1), 0);
			assert_int_equal(maps.size[0], 3 * MIB);
			if (maps.nr == 1) {
				assert_int_equal(shifts[i] & (align - 1), 0);
				assert_int_equal(st->mapped, 3 * MIB);
				continue;
			}
			assert_int_equal(maps.nr, 2);
			assert_int_equal(maps.size[1], 3 * MIB + align - 4096);
			assert_int_equal(st->mapped, 3 * MIB);
			assert_int_equal(st->mapped_highwater, maps.size[1]);
		}
	}
	fresh_kernel();
}

static uint64_t purges(void)
{
	struct apb_fault_stats s;

	apb_fault_get(&s);
	return s.calls[APB_OS_PURGE];
}

/* To get zeroes pages are given back only if there are none, and many. */
static void test_purged_for_zeroes(void **ctx)
{
	char *p;

	(void)ctx;
	fresh_kernel();
	apb_state.larges.retain.extra = APB_LARGE_CACHE_DEFAULT;
	p = apb_calloc(1, 6 * MIB);
	memset(p, 1, 6 * MIB);
	apb_free(p);
	assert_int_equal(purges(), 0);
	p = apb_malloc(6 * MIB);
	assert_int_equal(p[0], 1);
	apb_free(p);
	assert_int_equal(purges(), 0);
	p = apb_calloc(1, 6 * MIB);
	assert_true(all_bytes(p, 6 * MIB, 0));
	assert_int_equal(purges(), 1);
	apb_free(p);
	assert_whole();
}

/* What is mapped anew has zeroes: a calloc() does not touch it. */
static void test_zeroes_are_not_written(void **ctx)
{
	unsigned char vec[512];
	size_t i;
	char *p;

	(void)ctx;
	fresh_kernel();
	p = apb_calloc(1, 2 * MIB);
	assert_int_equal(mincore(p, 2 * MIB, vec), 0);
	for (i = 0; i < NR_OF(vec); i++)
		assert_int_equal(vec[i] & 1, 0);
	apb_free(p);
}

static struct {
	uintptr_t hint[8], at;
	unsigned int nr;
} hints;

/* Arenas and large blocks one below the other, as they are hinted to be. */
static void *hinted_map(void *ctx, void *hint, size_t size, bool *zero)
{
	if (size < MIB)
		return apb_os_kernel.map(ctx, NULL, size, zero);
	hints.hint[hints.nr++ % NR_OF(hints.hint)] = (uintptr_t)hint;
	*zero = true;
	hints.at -= MIB;
	return mmap((void *)hints.at, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

/* The system is asked for the place below what there is. */
static void test_hints(void **ctx)
{
	struct apb_os os = apb_os_kernel;
	unsigned int i;

	(void)ctx;
	fresh_kernel();
	os.map = hinted_map;
	assert_int_equal(apb_set_os(&os), 0);
	hints.nr = 0;
	hints.at = FREE_ADDRESSES + 64 * MIB;
	for (i = 0; i < 8 * 28; i++)
		assert_non_null(apb_malloc(32768));
	assert_int_equal(hints.nr, 8);
	for (i = 1; i < NR_OF(hints.hint); i++)
		assert_int_equal(hints.hint[i], hints.at + (7 - i) * MIB);
	assert_int_equal(apb_reset(), 0);
	fresh_kernel();
}

static void *high_map(void *ctx, void *hint, size_t size, bool *zero)
{
	(void)ctx;
	(void)hint;
	*zero = true;
	return (void *)(APB_ADDR_MASK + 1 - size);
}

/* What ends where addresses do is fine. */
static void test_highest_mapping(void **ctx)
{
	const struct apb_os os = {
		.map = high_map,
		.unmap = no_unmap,
		.purge = no_unmap,
		.remap = test_no_remap,
	};
	bool zero;

	(void)ctx;
	fresh_kernel();
	assert_int_equal(apb_set_os(&os), 0);
	assert_int_equal((uintptr_t)apb_os_map(0, MIB, MIB, &zero),
			 APB_ADDR_MASK + 1 - MIB);
	assert_int_equal(apb_os_unmap((void *)(APB_ADDR_MASK + 1 - MIB), MIB),
			 0);
	fresh_kernel();
}

/* What follows other heaps' sweeps are pools that were let be, no others. */
static void test_follows_sweeps(void **ctx)
{
	char *p[64];
	unsigned int i;
	uint64_t was;

	(void)ctx;
	fresh_sim(3, 0);
	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_malloc(4096);
	/* one that fills up is not let be */
	for (i = 0; i < NR_OF(p); i++)
		assert_false(pool_of(p[i])->let_be);
	for (i = 0; i < NR_OF(p); i++)
		if (i % 16)
			apb_free(p[i]);
	apb_settle();
	was = purges();
	apb_state.arenas.sweeps++;
	apb_lock(&apb_tls->lock);
	apb_sparse_follow(apb_tls);
	apb_unlock(&apb_tls->lock);
	assert_int_equal(purges(), was);
	/* a trim sweeps all of them */
	apb_trim();
	assert_true(purges() > was);
	assert_whole();
}

/* What is as large as all that may be cached is cached. */
static void test_cached_at_the_limit(void **ctx)
{
	const size_t limit = 64 * KIB;

	(void)ctx;
	fresh_sim(1, 0);
	assert_int_equal(apb_set_option(APB_OPT_LARGE_CACHE, limit), 0);
	apb_free(apb_malloc(limit));
	assert_int_equal(stats_now().large_cached, 1);
	apb_free(apb_malloc(limit + 4096));
	assert_int_equal(stats_now().large_cached, 1);
	assert_int_equal(apb_set_option(APB_OPT_LARGE_CACHE, limit - 1), 0);
	assert_int_equal(stats_now().large_cached, 0);
	apb_free(apb_malloc(limit));
	assert_int_equal(stats_now().large_cached, 0);
	assert_whole();
}

/* What is mapped has nothing behind it. */
static void *guarded_map(void *ctx, void *hint, size_t size, bool *zero)
{
	char *p = mmap(NULL, size + 2 * MIB, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t up = ((uintptr_t)p + MIB - 1) & ~(MIB - 1);

	(void)ctx;
	(void)hint;
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect((void *)up, size, PROT_READ | PROT_WRITE), 0);
	*zero = true;
	return (void *)up;
}

/* Of a block that grows no more is read than it has. */
static void grow_all(size_t from, size_t to)
{
	char *p[100];
	size_t i;

	for (i = 0; i < NR_OF(p); i++) {
		p[i] = apb_malloc(from);
		fill(p[i], from, i);
	}
	for (i = 0; i < NR_OF(p); i++) {
		p[i] = apb_realloc(p[i], to);
		assert_true(filled(p[i], from, i));
	}
	for (i = 0; i < NR_OF(p); i++)
		apb_free(p[i]);
	assert_whole();
}

static void test_read_on_growth(void **ctx)
{
	static const struct apb_flat_entry none;
	const struct apb_os os = {
		.map = guarded_map,
		.unmap = no_unmap,
		.purge = no_unmap,
		.remap = test_no_remap,
	};
	struct apb_flat saved;
	unsigned int slow;

	(void)ctx;
	for (slow = 0; slow < 2; slow++) {
		fresh_kernel();
		assert_int_equal(apb_set_os(&os), 0);
		saved = apb_flat;
		if (slow) {
			/* without the flat map there is the slow path only */
			apb_flat.tried = true;
			apb_flat.mask = 0;
			apb_flat.table = (const char *)&none;
		}
		grow_all(16384, 20000);
		grow_all(32768, 40000);
		grow_all(8192, 9000);
		apb_reset();
		if (slow)
			apb_flat = saved;
	}
	fresh_kernel();
}

/* ---- what is printed -------------------------------------------------- */

/* What later calls find on the stack. */
static __attribute__((noinline)) void dirty_stack(int value)
{
	volatile char room[32768];
	size_t i;

	for (i = 0; i < sizeof(room); i++)
		room[i] = (char)value;
}

static size_t printed(char text[16384], int value)
{
	int fd = memfd_create("stats", 0);
	ssize_t n;

	dirty_stack(value);
	assert_int_equal(apb_stats_print(fd), 0);
	n = pread(fd, text, 16383, 0);
	close(fd);
	assert_in_range(n, 1, 16382);
	text[n] = '\0';
	return (size_t)n;
}

static void test_print_on_any_stack(void **ctx)
{
	static char one[16384], other[16384];

	(void)ctx;
	fresh_sim(1, 0);
	apb_free(apb_malloc(100));
	assert_int_equal(printed(one, 'x'), printed(other, 0));
	assert_string_equal(one, other);
	printed(other, '7');
	assert_string_equal(one, other);
	/* and byte by byte */
	write_faults.at_most = 1;
	printed(other, 0);
	write_faults.at_most = 0;
	assert_string_equal(one, other);
}

/* After an error nothing more is written, however much there is. */
static void test_print_stops(void **ctx)
{
	static char text[16384];
	unsigned int cls;
	int fd;

	(void)ctx;
	fresh_sim(1, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++)
		apb_free(apb_malloc(test_class_sizes[cls - 1]));
	assert_in_range(printed(text, 0), 2 * 2048, sizeof(text));
	fd = memfd_create("stats", 0);
	write_faults.nothing = 1;
	assert_int_equal(apb_stats_print(fd), -1);
	assert_int_equal(write_faults.nothing, 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	close(fd);
}

static void check_with_buffer(void *arg)
{
	struct apb_violation v;
	char *p = apb_malloc(100);

	(void)arg;
	pool_of(p)->used++;
	dirty_stack('x');
	if (apb_check(&v) != -1)
		abort();
}

/* Who is told does not read it on stderr. */
static void test_check_is_silent(void **ctx)
{
	struct child c;

	(void)ctx;
	fresh_sim(1, 0);
	run_child(&c, check_with_buffer, NULL);
	assert_int_equal(c.status, 0);
	assert_int_equal(c.len, 0);
}

/* ---- heaps that go ---------------------------------------------------- */

static void *use_much(void *arg)
{
	static char *p[3000];
	int i;

	for (i = 0; i < 3000; i++)
		p[i] = apb_malloc(512);
	for (i = 0; i < 3000; i++)
		apb_free(p[i]);
	apb_settle();
	return arg;
}

static void in_thread(void *(*fn)(void *arg), void *arg)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, fn, arg), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_sums_stay(void **ctx)
{
	struct apb_stats s, t;

	(void)ctx;
	fresh_kernel();
	apb_free(apb_malloc(1));
	in_thread(use_much, NULL);
	apb_stats(&s);
	assert_true(s.settles && s.settled >= 3000);
	apb_trim();
	apb_stats(&t);
	assert_int_equal(t.heaps, s.heaps - 1);
	assert_in_range(t.settles, s.settles, s.settles + 100);
	assert_in_range(t.settled, s.settled, s.settled + 100);
	assert_whole();
}

/* ---- misuse is looked for with all others stopped --------------------- */

static struct apb_misuse found;
static void *wrong;
static _Atomic int looked;

static void *find_it(void *arg)
{
	apb_misuse_find(&found, wrong, "apb_free");
	looked = 1;
	return arg;
}

static void *find_sized(void *arg)
{
	apb_misuse_sized(&found, wrong, "apb_free", APB_MISUSE_WRONG_SIZE, 16,
			 1);
	looked = 1;
	return arg;
}

static void *find_corrupt(void *arg)
{
	apb_misuse_corrupt(&found, wrong, 8, 1);
	looked = 1;
	return arg;
}

static void *check_all(void *arg)
{
	apb_check(NULL);
	looked = 1;
	return arg;
}

static void *print_all(void *arg)
{
	struct apb_stats s;

	apb_stats(&s);
	looked = 1;
	return arg;
}

static void test_stopped(void **ctx)
{
	static void *(*const fns[])(void *arg) = {
		find_it, find_sized, find_corrupt, check_all, print_all};
	unsigned int i, j;

	(void)ctx;
	fresh_kernel();
	wrong = apb_malloc(100);
	in_thread(use_much, NULL);
	/* a block is none, whoever asks in that moment */
	assert_false(apb_misuse_find(&found, wrong, "apb_free"));
	for (i = 0; i < NR_OF(fns); i++) {
		for (j = 0; j < 2; j++) {
			pthread_t thread;

			looked = 0;
			if (j)
				apb_lock(&apb_tls->lock);
			else
				apb_lock(&apb_heaps_lock);
			assert_int_equal(
				pthread_create(&thread, NULL, fns[i], NULL), 0);
			usleep(20000);
			assert_int_equal(looked, 0);
			if (j)
				apb_unlock(&apb_tls->lock);
			else
				apb_unlock(&apb_heaps_lock);
			assert_int_equal(pthread_join(thread, NULL), 0);
			assert_int_equal(looked, 1);
		}
	}
	apb_free(wrong);
	assert_whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trimmed),
		cmocka_unit_test(test_purged_for_zeroes),
		cmocka_unit_test(test_zeroes_are_not_written),
		cmocka_unit_test(test_hints),
		cmocka_unit_test(test_highest_mapping),
		cmocka_unit_test(test_follows_sweeps),
		cmocka_unit_test(test_cached_at_the_limit),
		cmocka_unit_test(test_read_on_growth),
		cmocka_unit_test(test_print_on_any_stack),
		cmocka_unit_test(test_print_stops),
		cmocka_unit_test(test_check_is_silent),
		cmocka_unit_test(test_sums_stay),
		cmocka_unit_test(test_stopped),
	};

	return cmocka_run_group_tests_name("exact", tests, NULL, test_teardown);
}
