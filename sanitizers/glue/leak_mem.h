/* SPDX-License-Identifier: MIT */
/*
 * leak_mem.h - memory of the leak check: arrays that grow, mapped.
 *
 * While the world is stopped, no allocator may be called.  All of these arrays
 * are on one list, so that what they hold is not taken for pointers.
 */
#ifndef APB_LEAK_MEM_H
#define APB_LEAK_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An array of items of one size; the structure must stay where it is. */
struct leak_array {
	void *items;
	size_t count;
	size_t bytes; /* mapped */
	struct leak_array *next;
	bool listed;
};

/* Room for one more item of @size bytes, at the end; NULL: no memory. */
void *leak_array_add(struct leak_array *array, size_t size);

/* Gives all memory back. */
void leak_array_free(struct leak_array *array);

/* Calls @fn for what is mapped for arrays. */
void leak_arrays(void (*fn)(uintptr_t start, uintptr_t end, void *arg),
		 void *arg);

#endif
