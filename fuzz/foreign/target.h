/* SPDX-License-Identifier: MIT */
/*
 * The allocator under test when it is not apb: a shared library in a namespace
 * of its own, in this process.
 *
 * It is chosen before main(), by the options --target, --rules and --history
 * of any program that this is linked to, or by APB_TARGET, APB_RULES and
 * APB_HISTORY in the environment.  The options are taken out of the arguments:
 * the program executes itself anew, as it has to anyway, for static TLS that is
 * large enough for libraries opened late and for addresses that are the same
 * in every process (no ASLR): so a finding can be repeated.
 *
 * A library is opened by dlopen(RTLD_LOCAL | RTLD_DEEPBIND); the C library by
 * dlmopen(), a copy beside the one that the harness uses.  A function counts as
 * the target's if it is in an object that was loaded with it: what it does not
 * have itself is missing, and operations use another function or are left out.
 */
#ifndef APB_FOREIGN_TARGET_H
#define APB_FOREIGN_TARGET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct target {
	const char *name; /* as given */
	const char *path; /* of the library; of its first object */

	void *(*malloc)(size_t size);
	void *(*calloc)(size_t n, size_t size);
	void *(*realloc)(void *ptr, size_t size);
	void *(*reallocarray)(void *ptr, size_t n, size_t size);
	void *(*aligned_alloc)(size_t align, size_t size);
	void *(*memalign)(size_t align, size_t size);
	int (*posix_memalign)(void **ptr, size_t align, size_t size);
	void *(*valloc)(size_t size);
	void *(*pvalloc)(size_t size);
	size_t (*malloc_usable_size)(void *ptr);
	void (*free)(void *ptr);
	void (*free_sized)(void *ptr, size_t size);
	void (*free_aligned_sized)(void *ptr, size_t align, size_t size);
	int (*malloc_trim)(size_t pad);

	/* of the C library that it uses */
	int *(*errno_location)(void);
	int (*thread_create)(pthread_t *thread, const pthread_attr_t *attr,
			     void *(*fn)(void *arg), void *arg);
	int (*thread_join)(pthread_t thread, void **result);

	bool hooked; /* its calls of the kernel for memory are seen: hooks.h */
};

extern struct target target;

/* Its errno. */
#define target_errno (*target.errno_location())

/* The file that keeps the inputs run, or NULL. */
extern const char *target_history;

/* Whether the target's name or the name of its file has @word in it. */
bool target_is(const char *word);

#endif /* APB_FOREIGN_TARGET_H */
