/* SPDX-License-Identifier: MIT */
/*
 * The allocator's locks order its own work, not the program's: where a tool
 * looks for races of the program (ThreadSanitizer, tracking builds), it is not
 * to see them.  Elsewhere they are what pthread makes them.
 */
#ifndef APB_HIDE_H
#define APB_HIDE_H

#include "config.h"
#include "os/os.h"

#include <pthread.h>
#include <stdbool.h>

#if APB_TRACK && APB_SAN_THREAD
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreSyncBegin(const char *file, int line);
void AnnotateIgnoreSyncEnd(const char *file, int line);

void __tsan_acquire(void *addr);
void __tsan_release(void *addr);

/* A caller's OS table is called under the lock, and may rely on that. */
static inline void apb_hide_taken(pthread_mutex_t *lock)
{
	if (apb_os_is_own())
		__tsan_acquire(lock);
}

static inline void apb_hide_given(pthread_mutex_t *lock)
{
	if (apb_os_is_own())
		__tsan_release(lock);
}

/* The tool takes the use of a lock for an access to it, too. */
static inline void apb_hide_begin(void)
{
	AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
	AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
}

static inline void apb_hide_end(void)
{
	AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
	AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#else
static inline void apb_hide_taken(pthread_mutex_t *lock)
{
	(void)lock;
}

static inline void apb_hide_given(pthread_mutex_t *lock)
{
	(void)lock;
}

static inline void apb_hide_begin(void)
{
}

static inline void apb_hide_end(void)
{
}
#endif

static inline void apb_mutex_lock(pthread_mutex_t *lock)
{
	apb_hide_begin();
	pthread_mutex_lock(lock);
	apb_hide_end();
	apb_hide_taken(lock);
}

static inline bool apb_mutex_trylock(pthread_mutex_t *lock)
{
	bool taken;

	apb_hide_begin();
	taken = !pthread_mutex_trylock(lock);
	apb_hide_end();
	if (taken)
		apb_hide_taken(lock);
	return taken;
}

static inline void apb_mutex_unlock(pthread_mutex_t *lock)
{
	apb_hide_given(lock);
	apb_hide_begin();
	pthread_mutex_unlock(lock);
	apb_hide_end();
}

#endif /* APB_HIDE_H */
