/* SPDX-License-Identifier: MIT */
/*
 * What the programs are made of.  A scene is a program with one bug, or with
 * none; `client NAME` runs one.  Each thing that is done to a block is done in
 * a function of its own, whose name is looked for in the reports.
 */
#ifndef VISIBILITY_CLIENT_H
#define VISIBILITY_CLIENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "mem.h"

#define LENGTH(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define NOINLINE __attribute__((noinline))

/* Not of the pool: over 32 KiB, no multiple of 8, none of the page. */
#define LARGE ((size_t)100001)

struct scene {
	const char *name;
	void (*run)(const struct scene *s);
	void *(*make)(size_t size); /* makes the block */
	size_t size; /* its bytes */
	long at; /* the access: bytes from the block's start */
	void (*touch)(void *p); /* the access */
	size_t other; /* another size: of a realloc, a sized free */
};

/* One array for each file, the last entry has no name. */
extern const struct scene bounds_scenes[];
extern const struct scene dead_scenes[];
extern const struct scene free_scenes[];
extern const struct scene init_scenes[];
extern const struct scene refused_scenes[];
extern const struct scene leak_scenes[];
extern const struct scene race_scenes[];
extern const struct scene correct_scenes[];
extern const struct scene correct_thread_scenes[];

/* The compiler is to know nothing about where a pointer came from. */
static inline void *hide(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

/* ---- blocks.c --------------------------------------------------------- */

void *by_malloc(size_t size);
void *by_calloc(size_t size);
void *by_realloc(size_t size); /* grown from half of it */
void *by_aligned(size_t size); /* to 64 */
void *by_page(size_t size); /* to 4096 */
void *by_new(size_t size); /* what may be freed with its size */
void *by_new_aligned(size_t size);

/* Ends the program if it fails, as it does where @p is none and that goes on. */
void *resize(void *p, size_t size);
void give_back(void *p);

/* Initialises it. */
void fill(void *p, size_t size);

/* Each decides something by what it reads. */
void read_1(void *p);
void read_4(void *p);
void read_8(void *p);
void write_1(void *p);
void write_4(void *p);
void write_8(void *p);
void copy_to(void *p); /* 24 bytes, memcpy() */
void copy_from(void *p);
void set_100(void *p); /* memset() */

/* ---- threads.c -------------------------------------------------------- */

/* Run in a thread of its own, to its end. */
void *in_thread(void *(*fn)(void *arg), void *arg);

/*
 * An order in time that no tool knows of: a race stays one, though it is always
 * the same that comes first.
 */
struct turn {
	int fds[2];
};

void turn_init(struct turn *turn);
void turn_give(struct turn *turn, void *p); /* and a pointer goes with it */
void *turn_wait(struct turn *turn);
void turn_fini(struct turn *turn);

/* No stale pointer is left in registers and in the dead part of the stack. */
void scrub(void);

#endif /* VISIBILITY_CLIENT_H */
