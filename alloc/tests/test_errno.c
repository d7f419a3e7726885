// SPDX-License-Identifier: MIT
/*
 * Unit tests of errno, over a system that changes it with every call, whether
 * that fails or not: who does not fail keeps it, or at least does not clear it;
 * who fails says why.
 */
#include "testlib.h"

#include <errno.h>
#include <pthread.h>

static unsigned int refused; /* calls, by enum apb_os_call */

static bool refuse(enum apb_os_call call)
{
	errno = EXDEV;
	return refused >> call & 1;
}

static void *own_map(void *ctx, void *hint, size_t size, bool *zero)
{
	void *p = refuse(APB_OS_MAP) ? NULL :
				       apb_os_kernel.map(ctx, hint, size, zero);

	errno = EXDEV;
	return p;
}

static int own_unmap(void *ctx, void *addr, size_t size)
{
	return refuse(APB_OS_UNMAP) ? -1 : apb_os_kernel.unmap(ctx, addr, size);
}

static int own_purge(void *ctx, void *addr, size_t size)
{
	return refuse(APB_OS_PURGE) ? -1 : apb_os_kernel.purge(ctx, addr, size);
}

static int own_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		     void *new_addr)
{
	return refuse(APB_OS_REMAP) ? -1 :
				      apb_os_kernel.remap(ctx, addr, old_size,
							  new_size, new_addr);
}

static const struct apb_os own = {
	.map = own_map,
	.unmap = own_unmap,
	.purge = own_purge,
	.remap = own_remap,
};

static void fresh_own(void)
{
	fresh_kernel();
	refused = 0;
	assert_int_equal(apb_set_os(&own), 0);
}

/* As the compiler does not know what a free changes. */
static int error(void)
{
	int e = errno;

	errno = EILSEQ;
	return e;
}

static void test_frees(void **ctx)
{
	static const size_t sizes[] = {1, 500, 5000, 32768, 100000, 10 * MIB};
	static const unsigned int masks[] = {0, FAULT_ALL};
	unsigned int i, n, j;
	char *p[100];

	(void)ctx;
	for (i = 0; i < NR_OF(masks); i++) {
		fresh_own();
		apb_set_option(APB_OPT_PURGE_DELAY, 0);
		for (n = 0; n < NR_OF(sizes); n++) {
			refused = 0;
			for (j = 0; j < NR_OF(p); j++)
				p[j] = apb_malloc(sizes[n]);
			refused = masks[i];
			error();
			for (j = 0; j < NR_OF(p); j++) {
				if (j % 3 == 0)
					apb_free(p[j]);
				else if (j % 3 == 1)
					apb_free_sized(p[j], sizes[n]);
				else
					apb_free_aligned_sized(p[j], 16,
							       sizes[n]);
				assert_int_equal(error(), EILSEQ);
			}
		}
		refused = 0;
		apb_reset();
	}
}

#define NR_REMOTE 60000

static char *remote[NR_REMOTE];

static void *free_remote(void *arg)
{
	unsigned int i;

	for (i = 0; i < NR_REMOTE; i++) {
		error();
		apb_free(remote[i]);
		if (error() != EILSEQ)
			return NULL;
	}
	return arg;
}

/* So many that the other thread has to put them away itself. */
static void test_remote_frees(void **ctx)
{
	pthread_t thread;
	unsigned int i;
	void *ok;

	(void)ctx;
	fresh_own();
	apb_set_option(APB_OPT_PURGE_DELAY, 0);
	for (i = 0; i < NR_REMOTE; i++)
		remote[i] = apb_malloc(500);
	assert_int_equal(pthread_create(&thread, NULL, free_remote, remote), 0);
	assert_int_equal(pthread_join(thread, &ok), 0);
	assert_ptr_equal(ok, remote);
	assert_whole();
	apb_reset();
}

/* Without memory for a batch it puts each of them away by itself. */
static void test_remote_without_memory(void **ctx)
{
	struct apb_heap *mine;
	char *p[64], *q[64];
	unsigned int i;

	(void)ctx;
	fresh_own();
	apb_set_option(APB_OPT_PURGE_DELAY, 0);
	for (i = 0; i < NR_OF(p); i++) {
		p[i] = apb_malloc(32768);
		q[i] = apb_malloc(500);
	}
	apb_trim();
	assert_int_equal(apb_state.meta.nr_chunks, 0);
	mine = apb_thread_swap(NULL);
	apb_free(apb_malloc(1));
	refused = FAULT_ALL;
	for (i = 0; i < NR_OF(p); i++) {
		error();
		apb_free(p[i]);
		assert_int_equal(error(), EILSEQ);
		apb_free(q[i]);
		assert_int_equal(error(), EILSEQ);
	}
	refused = 0;
	assert_int_equal(apb_state.meta.nr_chunks, 0);
	assert_whole();
	apb_thread_end();
	apb_thread_swap(mine);
	apb_reset();
}

static void assert_no_memory(const void *p)
{
	assert_null(p);
	assert_int_equal(error(), ENOMEM);
}

static void test_no_memory(void **ctx)
{
	char *p, *q;

	(void)ctx;
	fresh_own();
	p = apb_malloc(100000);
	q = apb_malloc(10);
	/* something that can be given back, but is not */
	apb_free(apb_malloc(100000));
	refused = FAULT_ALL;
	error();
	assert_no_memory(apb_malloc(200000));
	assert_no_memory(apb_calloc(2, 200000));
	assert_no_memory(apb_aligned_alloc(MIB * 4, 1));
	assert_no_memory(apb_realloc(p, 5 * MIB));
	assert_no_memory(apb_realloc(q, 5 * MIB));
	assert_no_memory(apb_reallocarray(p, 5, MIB));
	while (apb_malloc(30000))
		error();
	assert_no_memory(apb_malloc(30000));
	assert_no_memory(apb_calloc(1, 30000));
	assert_no_memory(apb_aligned_alloc(4096, 30000));
	refused = 0;
	assert_whole();
	apb_reset();
}

/* That what could be given back was not enough is no news to the caller. */
static void test_no_memory_after_all(void **ctx)
{
	void *p, *live;

	(void)ctx;
	fresh_own();
	apb_set_option(APB_OPT_PURGE_DELAY, 0);
	live = apb_malloc(1000);
	p = apb_malloc(100);
	apb_free(p);
	refused = FAULT_ALL;
	error();
	/* the pool of the others is emptied, but its arena is not */
	assert_no_memory(apb_malloc(30000));
	assert_int_equal(pool_of(p)->owner, 0);
	refused = 0;
	apb_free(live);
	assert_whole();
	apb_reset();
}

static unsigned int moved;

/* In place it fails, and does not say why. */
static int move_only(void *ctx, void *addr, size_t old_size, size_t new_size,
		     void *new_addr)
{
	if (!new_addr)
		return -1;
	moved++;
	return apb_os_kernel.remap(ctx, addr, old_size, new_size, new_addr);
}

/* What the caller had in it means nothing. */
static void test_of_the_caller(void **ctx)
{
	struct apb_os os = own;
	char *p;

	(void)ctx;
	fresh_kernel();
	refused = 0;
	os.remap = move_only;
	assert_int_equal(apb_set_os(&os), 0);
	p = apb_malloc(100000);
	fill(p, 100000, 1);
	moved = 0;
	errno = EFAULT;
	p = apb_realloc(p, 6 * MIB);
	assert_true(filled(p, 100000, 1));
	assert_int_equal(moved, 1);
	apb_free(p);
	assert_whole();
	apb_reset();
}

/* Nor does a block that is copied to where it has room to grow. */
static void test_room_to_grow(void **ctx)
{
	char *p, *q;

	(void)ctx;
	fresh_own();
	p = apb_malloc(100000);
	q = apb_malloc(300000);
	apb_free(q);
	error();
	p = apb_realloc(p, 250000);
	assert_ptr_equal(p, q);
	assert_int_equal(error(), EILSEQ);
	/* in place */
	p = apb_realloc(p, 260000);
	assert_ptr_equal(p, q);
	assert_int_equal(error(), EILSEQ);
	apb_free(p);
	assert_whole();
	apb_reset();
}

/* No function clears it, whatever else it may make of it. */
static void test_not_cleared(void **ctx)
{
	static const struct {
		enum apb_option opt;
		size_t value;
	} options[] = {
		{APB_OPT_SETTLE_PERIOD, 100},
		{APB_OPT_DIRTY_LIMIT, 5000},
		{APB_OPT_PURGE_DELAY, 7},
		{APB_OPT_LARGE_CACHE, MIB},
		{APB_OPT_THP, 0},
		{APB_OPT_JUNK, 0},
	};
	struct apb_stats s;
	unsigned int i;

	(void)ctx;
	fresh_kernel();
	for (i = 0; i < NR_OF(options); i++) {
		error();
		assert_int_equal(
			apb_set_option(options[i].opt, options[i].value), 0);
		assert_int_equal(error(), EILSEQ);
	}
	assert_int_equal(apb_set_os(NULL), 0);
	assert_int_equal(error(), EILSEQ);
	assert_int_equal(apb_reset(), 0);
	assert_int_equal(error(), EILSEQ);
	apb_free(apb_malloc(100));
	error();
	apb_stats(&s);
	assert_int_equal(apb_check(NULL), 0);
	assert_int_equal(error(), EILSEQ);
	/* a value that is none, a table that is none */
	assert_int_equal(apb_set_option(APB_OPT_THP, 99), -1);
	assert_int_equal(error(), EINVAL);
	assert_int_equal(apb_set_option(APB_OPT_JUNK, 2), -1);
	assert_int_equal(error(), EINVAL);
	assert_int_equal(apb_set_option(APB_OPT_JUNK, 1), -1);
	assert_int_equal(error(), EBUSY);
	assert_int_equal(apb_set_os(&(struct apb_os){0}), -1);
	assert_int_equal(error(), EINVAL);
	assert_int_equal(apb_set_os(&own), -1);
	assert_int_equal(error(), EBUSY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frees),
		cmocka_unit_test(test_remote_frees),
		cmocka_unit_test(test_remote_without_memory),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_no_memory_after_all),
		cmocka_unit_test(test_of_the_caller),
		cmocka_unit_test(test_room_to_grow),
		cmocka_unit_test(test_not_cleared),
	};

	return cmocka_run_group_tests_name("errno", tests, NULL, test_teardown);
}
