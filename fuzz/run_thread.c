// SPDX-License-Identifier: MIT
/*
 * Played threads.  To the allocator a thread is a heap that is the calling
 * thread's: to let another one run is to put its heap in the place of the one
 * that ran.  So every schedule is the input's, and deterministic; that threads
 * really run beside each other is what apb-threads is for.
 *
 * A thread begins with its first operation.  When it has ended its number may
 * be used again, by a thread that has just begun.
 */
#include "runner.h"

#include "feedback.h"
#include "heap/thread.h"

#include <string.h>

void run_threads_begin(struct run *r)
{
	r->thread = 0;
	r->model.thread = 0;
	memset(r->heap, 0, sizeof(r->heap));
}

void run_switch(struct run *r, unsigned int thread)
{
	struct apb_heap *heap;

	if (thread == r->thread)
		return;
	heap = r->heap[thread];
	r->heap[thread] = NULL;
	r->heap[r->thread] = r->api->thread_swap(heap);
	r->thread = thread;
	r->model.thread = (uint8_t)thread;
}

bool run_alone(const struct run *r)
{
	for (unsigned int i = 0; i < OPS_THREADS; i++)
		if (r->heap[i])
			return false;
	return true;
}

/* Of the thread that runs. */
void run_thread_end(struct run *r)
{
	struct apb_heap *heap;

	feedback_thread_end(!run_alone(r), r->model.live);
	r->api->thread_end();
	heap = r->api->thread_swap(NULL);
	if (!heap)
		return;
	r->api->thread_swap(heap);
	run_fail(r, "thread-end", "the thread still has a heap");
}

/* In the order of their numbers, or the other way round. */
void run_end_others(struct run *r)
{
	unsigned int me = r->thread;

	for (unsigned int i = 0; i < OPS_THREADS && !r->failed; i++) {
		unsigned int t = r->head.seed & 4 ? i : OPS_THREADS - 1 - i;

		if (!r->heap[t])
			continue;
		run_switch(r, t);
		run_thread_end(r);
	}
	run_switch(r, me);
}

void run_threads_abandon(struct run *r)
{
	for (unsigned int i = 0; i < OPS_THREADS; i++) {
		struct apb_heap *mine;

		if (!r->heap[i])
			continue;
		mine = apb_thread_swap(r->heap[i]);
		apb_thread_end();
		apb_thread_swap(mine);
	}
	run_threads_begin(r);
}
