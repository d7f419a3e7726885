// SPDX-License-Identifier: MIT
/* Locks; see locks.h. */
#include "locks.h"

#include "objects.h"
#include "race.h"
#include "report.h"
#include "sched.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define FREE 0
/* begin() and end() have locks, too */
#define ALONE (SCHED_NOBODY + 1)

/* By the object's number: holder + 1, or FREE. */
static uint8_t held[OBJECTS_MAX];

void locks_reset(void)
{
	memset(held, FREE, objects_nr());
}

unsigned int locks_holder(unsigned int id)
{
	return held[id] == FREE ? SCHED_NOBODY : held[id] - 1u;
}

static void expect_free(uintptr_t addr, size_t size, const char *when)
{
	char name[REPORT_NAME] = "a lock";
	unsigned int id;

	for (id = 0; id < objects_nr(); id++) {
		if (held[id] == FREE || objects_addr(id) - addr >= size)
			continue;
		if (sched_name)
			sched_name(objects_addr(id), name, sizeof(name));
		sched_fail("lock", "%s is %s while thread %u has it", name,
			   when, held[id] - 1u);
	}
}

void locks_expect_free(void)
{
	expect_free(0, SIZE_MAX, "left behind");
}

void locks_expect_free_in(uintptr_t addr, size_t size)
{
	expect_free(addr, size, "unmapped");
}

/* ---- in place of the real ones ---------------------------------------- */

static struct access turn(enum access_kind kind, const char *what,
			  pthread_mutex_t *lock, uintptr_t pc)
{
	struct access a = {
		.kind = kind,
		.what = what,
		.addr = (uintptr_t)lock,
		.pc = pc,
	};

	sched_point(&a);
	race_mutex(&a);
	return a;
}

static uint8_t mine(void)
{
	return sched_running() ? (uint8_t)(sched_self() + 1) : ALONE;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
	struct access a = turn(ACCESS_LOCK, "lock", lock,
			       (uintptr_t)__builtin_return_address(0));

	if (held[a.id] != FREE)
		sched_fail("deadlock", "nobody lets go of a lock");
	held[a.id] = mine();
	race_locked(a.id);
	return 0;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *lock)
{
	struct access a = turn(ACCESS_TRYLOCK, "trylock", lock,
			       (uintptr_t)__builtin_return_address(0));

	if (held[a.id] != FREE)
		return EBUSY;
	held[a.id] = mine();
	race_locked(a.id);
	return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock)
{
	struct access a = turn(ACCESS_UNLOCK, "unlock", lock,
			       (uintptr_t)__builtin_return_address(0));

	if (held[a.id] != mine())
		sched_fail("lock",
			   "thread %u lets go of a lock that it does "
			   "not have",
			   sched_self());
	race_unlocking(a.id);
	held[a.id] = FREE;
	return 0;
}

/* A thread's end is called by the program; the key is of no use. */
int __wrap_pthread_key_create(pthread_key_t *key, void (*fn)(void *));
int __wrap_pthread_key_create(pthread_key_t *key, void (*fn)(void *))
{
	(void)fn;
	*key = 0;
	return 0;
}

int __wrap_pthread_setspecific(pthread_key_t key, const void *value);
int __wrap_pthread_setspecific(pthread_key_t key, const void *value)
{
	(void)key;
	(void)value;
	return 0;
}
