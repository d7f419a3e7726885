// SPDX-License-Identifier: MIT
/*
 * Unit tests of the oracles for several threads, and for writes to freed
 * blocks.
 */
#include "oraclelib.h"

#include <string.h>

#include "heap/thread.h"

/* ---- inputs ----------------------------------------------------------- */

static const struct ops_header four = {.threads = 4, .seed = 1};

static void by(struct input *in, unsigned int thread)
{
	ops_set_thread(in->data + in->size - OPS_RECORD_SIZE, thread);
}

/* Thread 1 frees what thread 0 made. */
static void in_remote_free(struct input *in)
{
	begin(in, &four);
	for (uint16_t slot = 0; slot < 20; slot++)
		put_size(in, OP_MALLOC, slot, 48);
	for (uint16_t slot = 0; slot < 20; slot += 2) {
		put(in, OP_FREE, 0, slot, 0);
		by(in, 1);
	}
	put(in, OP_CHECK, 0, 0, 0);
}

/* A thread ends, and leaves blocks; others go on. */
static void in_end(struct input *in)
{
	begin(in, &four);
	for (uint16_t slot = 0; slot < 20; slot++) {
		put_size(in, OP_MALLOC, slot, 48);
		by(in, 1 + slot % 3);
	}
	put(in, OP_THREAD_END, 0, 0, 0);
	by(in, 1);
	put(in, OP_CHECK, 0, 0, 0);
	put(in, OP_FREE, 0, 0, 0);
	put(in, OP_THREAD_END, 0, 0, 0);
	put_size(in, OP_MALLOC, 30, 48);
	by(in, 1);
	put(in, OP_CHECK, 0, 0, 0);
}

/* A freed block is written to, and used again. */
static void in_scribble(struct input *in)
{
	begin(in, NULL);
	for (uint16_t slot = 0; slot < 3; slot++)
		put_size(in, OP_MALLOC, slot, 48);
	put(in, OP_FREE, 0, 0, 0);
	put(in, OP_FREE, 0, 1, 0);
	put(in, OP_SCRIBBLE, 1, 0, 0);
	for (uint16_t slot = 3; slot < 6; slot++)
		put_size(in, OP_MALLOC, slot, 48);
}

/* ---- faulty functions ------------------------------------------------- */

static struct apb_heap *noting_swap(struct apb_heap *heap)
{
	faulty_calls++;
	return apb_thread_swap(heap);
}

/* What is freed after the first switch is lost. */
static void losing_free(void *ptr)
{
	if (!faulty_calls)
		apb_free(ptr);
}

static void idle_end(void)
{
}

/* Free blocks are linked through themselves. */
static void linking_free(void *ptr)
{
	memcpy(ptr, &faulty_last, sizeof(faulty_last));
	faulty_last = ptr;
}

static void *linking_malloc(size_t size)
{
	void *p = faulty_last;

	if (!p)
		return apb_malloc(size);
	memcpy(&faulty_last, p, sizeof(faulty_last));
	return p;
}

/* ---- the table -------------------------------------------------------- */

static const struct faulty faulties[] = {
	{"free: those of others are lost",
	 "accounting",
	 in_remote_free,
	 {.free = losing_free, .thread_swap = noting_swap}},
	{"thread end: does nothing",
	 "thread-end",
	 in_end,
	 {.thread_end = idle_end}},
	{"free: links in free blocks",
	 "overlap",
	 in_scribble,
	 {.free = linking_free, .malloc = linking_malloc}},
};

static void test_faulty_functions_are_found(void **ctx)
{
	(void)ctx;
	find_all(faulties, sizeof(faulties) / sizeof(faulties[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faulty_functions_are_found),
	};

	return cmocka_run_group_tests_name("oracles-threads", tests, NULL,
					   NULL);
}
