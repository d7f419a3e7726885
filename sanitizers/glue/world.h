/* SPDX-License-Identifier: MIT */
/*
 * world.h - stop all threads but one, and read their registers.
 */
#ifndef APB_WORLD_H
#define APB_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "glue/raw.h"

/* General and vector registers, in words; what has more is cut off. */
#define WORLD_REGS 640

struct world_thread {
	int tid;
	int signal; /* that was about to be delivered */
	uintptr_t sp, tp;
	size_t nregs;
	uintptr_t regs[WORLD_REGS];
};

struct world {
	int pid, caller, tracer;
	struct world_thread *threads; /* all but the caller */
	size_t count, bytes;
	uint32_t state; /* futex */
	uint32_t beat; /* of the calls that may have to wait */
	uint32_t inside; /* enum world_inside */
	int error;
	void *stack;
	uint64_t mask;
	long dumpable;
};

/**
 * world_stop() - stop all other threads of this process
 * @world: filled
 *
 * The caller keeps running.  What may have to wait for a lock that a stopped
 * thread holds is to be between world_enter() and world_leave(); if it takes
 * longer than WORLD_PATIENCE_MS, the world goes on, and world_leave() tells.
 *
 * Return: 0; a negative errno: nothing is stopped.
 */
int world_stop(struct world *world);

/**
 * world_resume() - let all threads go on
 *
 * Return: true: they were stopped all the time.
 */
bool world_resume(struct world *world);

/* The number of threads of this process, or a negative errno. */
long world_threads(void);

#define WORLD_PATIENCE_MS 60

enum world_inside {
	WORLD_OUTSIDE,
	WORLD_INSIDE,
	WORLD_GOES_ON, /* the caller was inside for too long */
};

/* Inside, but not waiting. */
APB_RAW static inline void world_beat(struct world *world)
{
	__atomic_store_n(&world->beat, world->beat + 1, __ATOMIC_RELAXED);
}

APB_RAW static inline void world_enter(struct world *world)
{
	if (!world->count)
		return;
	world_beat(world);
	__atomic_store_n(&world->inside, WORLD_INSIDE, __ATOMIC_RELEASE);
}

APB_RAW static inline bool world_leave(struct world *world)
{
	return !world->count ||
	       __atomic_exchange_n(&world->inside, WORLD_OUTSIDE,
				   __ATOMIC_ACQ_REL) == WORLD_INSIDE;
}

#endif
