/* SPDX-License-Identifier: MIT */
/*
 * Locks, in the order in which they are taken:
 *
 *   heaps lock  which heaps there are, and which of them no thread has
 *   heap->lock  of one heap: pools, bins' arrays, emptying its queue; nobody
 *               waits for a second one, but he who holds the heaps lock, and
 *               then in the order of their addresses: there need not be one,
 *               but tools that look at locks know of none that guards an order
 *   state lock  everything that heaps share: arenas, map, large blocks,
 *               metadata, the OS layer, options
 *
 * The fast paths take none.  As long as the process has a single thread
 * nobody takes any: glibc's __libc_single_threaded is true only while
 * pthread_create() has made no other thread, and only the running thread could
 * make one, which it does not do inside the allocator (an OS table's operation
 * must not either).
 */
#ifndef APB_LOCK_H
#define APB_LOCK_H

#include "api/hide.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/single_threaded.h>

extern pthread_mutex_t apb_heaps_lock;
extern pthread_mutex_t apb_state_lock;

static inline bool apb_single_threaded(void)
{
	return __builtin_expect(__libc_single_threaded != 0, 1);
}

/*
 * The thread is inside fork(), and holds all locks: other handlers of fork
 * that run meanwhile may allocate.
 */
extern __thread bool apb_forking __attribute__((tls_model("initial-exec")));

static inline bool apb_lock_free(void)
{
	return apb_single_threaded() || apb_forking;
}

static inline void apb_lock(pthread_mutex_t *lock)
{
	if (!apb_lock_free())
		apb_mutex_lock(lock);
}

static inline bool apb_trylock(pthread_mutex_t *lock)
{
	return apb_lock_free() || apb_mutex_trylock(lock);
}

static inline void apb_unlock(pthread_mutex_t *lock)
{
	if (!apb_lock_free())
		apb_mutex_unlock(lock);
}

static inline void apb_enter(void)
{
	apb_lock(&apb_state_lock);
}

static inline void apb_leave(void)
{
	apb_unlock(&apb_state_lock);
}

/*
 * Take all of them, so that no thread is on a slow path: then everything
 * stands still but the bins and batches of other threads.
 */
void apb_stop(void);
void apb_resume(void);

/* A constructor; who has an earlier one may call it from there. */
void apb_register_fork_handlers(void);

#endif /* APB_LOCK_H */
