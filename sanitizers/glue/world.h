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
	uint32_t beat; /* changes while the caller gets on */
	int error;
	void *stack;
	uint64_t mask;
	long dumpable;
};

/**
 * world_stop() - stop all other threads of this process
 * @world: filled
 *
 * The caller keeps running and has to let @world->beat change at least every
 * WORLD_PATIENCE_MS; if it does not, it may be waiting for a lock that a stopped
 * thread holds, and the world goes on.
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

#define WORLD_PATIENCE_MS 500

APB_RAW static inline void world_beat(struct world *world)
{
	__atomic_store_n(&world->beat, world->beat + 1, __ATOMIC_RELAXED);
}

#endif
