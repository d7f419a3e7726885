/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share: target.c calls target_run() for each input, and
 * the program under test allocates through its own hooks from here.  With
 * TARGET_APB from apb, which is reset after each input, without from the tool's
 * own malloc.  With TARGET_BUMP from an array, where a block costs an addition,
 * its end nothing, and the tool sees neither: what then is left of an execution
 * is what no allocator can make less.
 */
#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef TARGET_APB
#define TARGET_APB 0
#endif
#ifndef TARGET_BUMP
#define TARGET_BUMP 0
#endif

#if TARGET_APB
#include <apb/apb.h>

static inline void *plain_realloc(void *ptr, size_t size)
{
	return apb_realloc(ptr, size);
}

static inline void *plain_malloc(size_t size)
{
	return apb_malloc(size);
}

static inline void plain_free(void *ptr)
{
	apb_free(ptr);
}

static inline void plain_reset(void)
{
	apb_reset();
}
#elif TARGET_BUMP
void *plain_malloc(size_t size);
void *plain_realloc(void *ptr, size_t size);
void plain_reset(void);

static inline void plain_free(void *ptr)
{
	(void)ptr;
}
#else
static inline void *plain_realloc(void *ptr, size_t size)
{
	return realloc(ptr, size);
}

static inline void *plain_malloc(size_t size)
{
	return malloc(size);
}

static inline void plain_free(void *ptr)
{
	free(ptr);
}

static inline void plain_reset(void)
{
}
#endif

/* Of this input so far. */
struct target_counts {
	uint64_t blocks; /* made, by malloc or realloc */
	uint64_t hash; /* of their addresses and sizes */
};

extern struct target_counts target_now;

/* Whether what is made has to be deleted: not if a reset follows. */
extern bool target_deletes;

/* Whether the target does more than parse, if it can. */
extern bool target_more;

static inline void *target_note(void *ptr, size_t size)
{
	target_now.blocks++;
	target_now.hash = (target_now.hash ^ (uintptr_t)ptr ^ size << 48) *
			  UINT64_C(0x9e3779b97f4a7c15);
	return ptr;
}

static inline void *target_malloc(size_t size)
{
	return target_note(plain_malloc(size), size);
}

static inline void *target_realloc(void *ptr, size_t size)
{
	return target_note(plain_realloc(ptr, size), size);
}

static inline void target_free(void *ptr)
{
	plain_free(ptr);
}

/* The program under test, once. */
void target_run(const char *data, size_t size);

#endif /* TARGET_H */
