/* SPDX-License-Identifier: MIT */
/*
 * Data races: two accesses of different threads to the same byte, one of which
 * at least writes and one of which at least is not atomic, with no happens-
 * before between them.  Happens-before is C11's: by the orders that the
 * atomic operations name (release, acquire, release sequences, fences) and by
 * locks, whatever the interleaving was.  So a release that is missing is found
 * in a schedule in which all goes well.
 *
 * Vector clocks; for every 8 bytes that were touched the last accesses.  What
 * begin() did happened before all threads.
 */
#ifndef APB_EXPLORE_RACE_H
#define APB_EXPLORE_RACE_H

#include "sched.h"

struct clock {
	uint32_t at[SCHED_THREADS];
};

/* A run begins with @nr threads. */
void race_begin(unsigned int nr);

/* Plain accesses of the thread that runs. */
void race_read(uintptr_t addr, size_t size, uintptr_t pc);
void race_write(uintptr_t addr, size_t size, uintptr_t pc);

/* An atomic one, in its turn; @stores: it changed the value. */
void race_atomic(const struct access *a, bool stores);

/* A fence of the thread that runs. */
void race_fence(unsigned int order);

/* An operation on a lock, in its turn: its memory is used. */
void race_mutex(const struct access *a);

/* The thread that runs has the lock @id now, or is about to let go of it. */
void race_locked(unsigned int id);
void race_unlocking(unsigned int id);

/*
 * Memory that is mapped, for what lies in a range that is watched: any access
 * to what is not is a finding.  Unmapping and purging count as writing to all
 * that was touched.
 */
void race_watch(uintptr_t base, size_t size);
void race_mapped(uintptr_t addr, size_t size);
void race_unmapped(uintptr_t addr, size_t size);
void race_purged(uintptr_t addr, size_t size);

#endif /* APB_EXPLORE_RACE_H */
