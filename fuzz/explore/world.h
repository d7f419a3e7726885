/* SPDX-License-Identifier: MIT */
/*
 * The allocator as scenarios see it: a fresh one on the simulated kernel, some
 * numbered blocks with known content, and, at the end, everything that has to
 * hold: blocks are distinct and keep what was written, invariants, statistics,
 * and nothing is mapped when all is freed and trimmed.
 *
 * A block's number may be used by one thread at a time.  Nothing here is
 * instrumented; what it reads and writes of blocks it tells the race detector.
 */
#ifndef APB_EXPLORE_WORLD_H
#define APB_EXPLORE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLD_BLOCKS 2048

/*
 * Once, before anything else and not in a child: what the allocator does only
 * the first time is done then, so that all runs are alike.
 */
void world_warm_up(void);

/* The allocator starts anew. */
void world_begin(void);

/* All blocks are freed, by the @nr threads in turn; then all threads end. */
void world_end(unsigned int nr);

/* A number that was not used, or WORLD_BLOCKS. */
unsigned int world_new(void);

/* malloc() into number @i, which has none. */
void world_make(unsigned int i, size_t size);

/* The same, but it may be refused; returns whether it was not. */
bool world_try(unsigned int i, size_t size);

/* free() and realloc() of number @i; of none: nothing happens. */
void world_free(unsigned int i);
void world_resize(unsigned int i, size_t size);

/* The content of number @i is as it was left. */
void world_verify(unsigned int i);

/* From now on the system refuses to map, or not. */
void world_refuse_maps(bool on);

/* What a correct call must not lead to is a finding. */
void world_expect(bool ok, const char *oracle, const char *what);

/* What the block is called. */
void world_name(uintptr_t addr, char *buf, size_t len);

#endif /* APB_EXPLORE_WORLD_H */
