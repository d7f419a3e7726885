// SPDX-License-Identifier: MIT
/* The lock, and what fork() has to do with it; see lock.h. */
#include "api/lock.h"

pthread_mutex_t apb_state_lock = PTHREAD_MUTEX_INITIALIZER;
bool apb_state_locked;

static void before_fork(void)
{
	pthread_mutex_lock(&apb_state_lock);
}

/* In both processes: the child's one thread is the one that took the lock. */
static void after_fork(void)
{
	pthread_mutex_unlock(&apb_state_lock);
}

/*
 * Before other constructors: prepare handlers run in reverse order, and one
 * that allocates must not find the lock taken.
 */
__attribute__((constructor(101))) static void register_fork_handlers(void)
{
	pthread_atfork(before_fork, after_fork, after_fork);
}
