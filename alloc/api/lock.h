/* SPDX-License-Identifier: MIT */
/*
 * The one lock.  As long as the process has a single thread nobody takes it:
 * glibc's __libc_single_threaded is true only while pthread_create() has made
 * no other thread, and only the running thread could make one, which it does
 * not do inside the allocator (an OS table's operation must not either).
 */
#ifndef APB_LOCK_H
#define APB_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/single_threaded.h>

extern pthread_mutex_t apb_state_lock;
/* Whether the lock is held; written with it held. */
extern bool apb_state_locked;

static inline bool apb_single_threaded(void)
{
	return __builtin_expect(__libc_single_threaded != 0, 1);
}

/* Returns whether the lock was taken, for apb_leave(). */
static inline bool apb_enter(void)
{
	if (apb_single_threaded())
		return false;
	pthread_mutex_lock(&apb_state_lock);
	apb_state_locked = true;
	return true;
}

static inline void apb_leave(bool locked)
{
	if (!locked)
		return;
	apb_state_locked = false;
	pthread_mutex_unlock(&apb_state_lock);
}

#endif /* APB_LOCK_H */
