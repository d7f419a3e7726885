// SPDX-License-Identifier: MIT
/* The locks, and what fork() has to do with them; see lock.h. */
#include "uninstrumented.h"

#include "api/lock.h"

#include "heap/thread.h"
#include "state.h"

pthread_mutex_t apb_heaps_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_mutex_t apb_state_lock = PTHREAD_MUTEX_INITIALIZER;

__thread bool apb_forking;

void apb_stop(void)
{
	struct apb_node *node;

	if (apb_lock_free())
		return;
	apb_mutex_lock(&apb_heaps_lock);
	apb_heaps_sort();
	for (node = apb_state.heaps.all; node; node = node->next)
		apb_mutex_lock(&apb_entry(node, struct apb_heap, node)->lock);
	apb_mutex_lock(&apb_state_lock);
}

/* Let go of all locks; of the heaps' those from @node on. */
static void unlock_all(struct apb_node *node)
{
	apb_mutex_unlock(&apb_state_lock);
	for (; node; node = node->next)
		apb_mutex_unlock(&apb_entry(node, struct apb_heap, node)->lock);
	apb_mutex_unlock(&apb_heaps_lock);
}

void apb_resume(void)
{
	if (!apb_lock_free())
		unlock_all(apb_state.heaps.all);
}

/*
 * Heaps that are made or taken while the thread is inside fork(), by another
 * handler, are not locked; what was locked is remembered by the order of the
 * list: new ones are in front.
 */
static struct apb_node *first_locked;
/* Another handler may make the first other thread, as a sanitizer's does. */
static bool locked;

static void before_fork(void)
{
	bool lock = !apb_lock_free();

	apb_stop();
	locked = lock;
	first_locked = apb_state.heaps.all;
	apb_forking = true;
}

static void after_fork(void)
{
	apb_forking = false;
	if (locked)
		unlock_all(first_locked);
}

/*
 * The child's one thread is the one that took the locks.  The heaps of the
 * others are nobody's there.
 */
static void in_child(void)
{
	if (locked) {
		apb_threads_orphan();
		/* nor is anybody in the midst of apb_trim() */
		apb_state.arenas.purge_later = false;
	}
	after_fork();
}

/*
 * Before other constructors, as prepare handlers run in reverse order; those
 * of libraries that are initialised earlier run with the locks taken, and may
 * not wait for a thread that allocates.  Where all of the process allocates
 * here that must not be: see alloc/shim/first.c.
 */
__attribute__((constructor(101))) void apb_register_fork_handlers(void)
{
	static bool done;

	if (!done)
		pthread_atfork(before_fork, after_fork, in_child);
	done = true;
}

#include "instrumented.h"
