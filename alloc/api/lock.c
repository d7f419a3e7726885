// SPDX-License-Identifier: MIT
/* The locks, and what fork() has to do with them; see lock.h. */
#include "api/lock.h"

#include "heap/thread.h"
#include "state.h"

pthread_mutex_t apb_heaps_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_mutex_t apb_state_lock = PTHREAD_MUTEX_INITIALIZER;

void apb_stop(void)
{
	struct apb_node *node;

	if (apb_single_threaded())
		return;
	pthread_mutex_lock(&apb_heaps_lock);
	for (node = apb_state.heaps.all; node; node = node->next)
		pthread_mutex_lock(
			&apb_entry(node, struct apb_heap, node)->lock);
	pthread_mutex_lock(&apb_state_lock);
}

void apb_resume(void)
{
	struct apb_node *node;

	if (apb_single_threaded())
		return;
	pthread_mutex_unlock(&apb_state_lock);
	for (node = apb_state.heaps.all; node; node = node->next)
		pthread_mutex_unlock(
			&apb_entry(node, struct apb_heap, node)->lock);
	pthread_mutex_unlock(&apb_heaps_lock);
}

/*
 * The child's one thread is the one that took the locks.  The heaps of the
 * others are nobody's there.
 */
static void in_child(void)
{
	if (!apb_single_threaded())
		apb_threads_orphan();
	apb_resume();
}

/*
 * Before other constructors: prepare handlers run in reverse order, and one
 * that allocates must not find the locks taken.
 */
__attribute__((constructor(101))) static void register_fork_handlers(void)
{
	pthread_atfork(apb_stop, apb_resume, in_child);
}
