// SPDX-License-Identifier: MIT
/*
 * A library with a lock that its handlers take for fork(), as handlers are for.
 * Its constructor runs before those of the program, and of what is preloaded.
 */
#include <pthread.h>

#include "expect.h"

extern pthread_mutex_t library_lock;

pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;

static void lock(void)
{
	EXPECT(!pthread_mutex_lock(&library_lock));
}

static void unlock(void)
{
	EXPECT(!pthread_mutex_unlock(&library_lock));
}

__attribute__((constructor)) static void register_handlers(void)
{
	EXPECT(!pthread_atfork(lock, unlock, unlock));
}
