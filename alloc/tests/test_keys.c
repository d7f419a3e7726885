// SPDX-License-Identifier: MIT
/*
 * Unit tests of a process that has no key for thread-specific data left when it
 * comes to the allocator, or no memory for the data: the end of a thread cannot
 * be seen, so none gets a heap that would be lost.
 */
#include "testlib.h"

#include <limits.h>
#include <pthread.h>

static pthread_key_t keys[PTHREAD_KEYS_MAX];
static size_t nr_keys;

/* Refused to what a thread does itself: sanitizers have data of their own. */
static bool no_memory;
static __thread bool refused;

/* glibc's under its other name, as these call it before all else works. */
extern __typeof__(pthread_setspecific) glibc_setspecific;
__asm__(".symver glibc_setspecific, __pthread_setspecific@GLIBC_2.2.5");

/* It has to allocate for keys beyond the first 32. */
UNINSTRUMENTED int pthread_setspecific(pthread_key_t key, const void *value)
{
	return refused ? ENOMEM : glibc_setspecific(key, value);
}

/* A thread that allocates; whether it has a heap. */
static void *allocates(void *arg)
{
	void *p[100];
	size_t i;

	refused = no_memory;
	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_malloc(1 + i * 10);
	for (i = 0; i < NR_OF(p); i++)
		apb_free(p[i]);
	*(bool *)arg = apb_tls != &apb_empty_heap;
	refused = false;
	return NULL;
}

static bool thread_has_heap(void)
{
	bool has = false;
	pthread_t id;

	assert_int_equal(pthread_create(&id, NULL, allocates, &has), 0);
	assert_int_equal(pthread_join(id, NULL), 0);
	return has;
}

static void test_no_key_left(void **ctx)
{
	unsigned int i;

	(void)ctx;
	fresh_kernel();
	while (nr_keys < NR_OF(keys) &&
	       !pthread_key_create(&keys[nr_keys], NULL))
		nr_keys++;
	assert_true(nr_keys > 0);
	/* as long as there is one thread it has to be the last one, too */
	apb_free(apb_malloc(1));
	assert_ptr_not_equal(apb_tls, &apb_empty_heap);
	for (i = 0; i < 5; i++)
		assert_false(thread_has_heap());
	/* the main thread's, and that of all who have none */
	assert_int_equal(apb_state.heaps.nr, 2);
	assert_int_equal(stats_now().used_bytes, 0);
	assert_whole();
	/* there is one again */
	pthread_key_delete(keys[--nr_keys]);
	for (i = 0; i < 5; i++)
		assert_true(thread_has_heap());
	assert_int_equal(apb_state.heaps.nr, 3);
	assert_whole();
	while (nr_keys)
		pthread_key_delete(keys[--nr_keys]);
}

static void test_no_memory_for_the_data(void **ctx)
{
	unsigned int i;

	(void)ctx;
	fresh_kernel();
	no_memory = true;
	for (i = 0; i < 5; i++)
		assert_false(thread_has_heap());
	/* one that was given up, and that of all who have none */
	assert_int_equal(apb_state.heaps.nr, 2);
	assert_int_equal(stats_now().used_bytes, 0);
	assert_whole();
	no_memory = false;
	for (i = 0; i < 5; i++)
		assert_true(thread_has_heap());
	assert_int_equal(apb_state.heaps.nr, 2);
	assert_whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_key_left),
		cmocka_unit_test(test_no_memory_for_the_data),
	};

	return cmocka_run_group_tests_name("keys", tests, NULL, test_teardown);
}
