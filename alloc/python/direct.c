// SPDX-License-Identifier: MIT
/*
 * PyObject_Malloc() and the like, and PyMem_Malloc() and the like, with apb's
 * fast paths in them.
 *
 * CPython calls the functions of a domain through a table, but for its own
 * allocator: if that is what the table holds, it is inline.  So it is here with
 * apb.  What is not plain goes to CPython's own functions, which have got other
 * names (build.mk), and those ask the table: so debug hooks, tracemalloc and
 * whatever else is put in place later work as ever.
 *
 * The fast paths are those of apb_malloc() and apb_free(), with the same
 * checks; what they cannot do is left to these, from the start.
 */
#include "python/host.h"

#include "arena/flat.h"
#include "heap/thread.h"
#include "hints.h"
#include "state.h"

#include <apb/apb.h>

#pragma GCC visibility push(hidden)

/* CPython's tables, static there. */
extern PyMemAllocatorEx host_table_object, host_table_mem;

/* CPython's functions. */
void *host_object_malloc(size_t size);
void *host_object_calloc(size_t n, size_t size);
void *host_object_realloc(void *ptr, size_t size);
void host_object_free(void *ptr);
void *host_mem_malloc(size_t size);
void *host_mem_calloc(size_t n, size_t size);
void *host_mem_realloc(void *ptr, size_t size);
void host_mem_free(void *ptr);

#pragma GCC visibility pop

static inline void *fast_malloc(size_t size)
{
	struct apb_entry entry;

	if (likely(size <= APB_SMALL_MAX) &&
	    likely(apb_bin_pop(apb_bin_small(apb_tls, size), &entry)))
		return apb_block_born(entry);
	return apb_malloc(size);
}

static inline void fast_free(void *ptr)
{
	const struct apb_flat_entry *at = apb_flat_at((uintptr_t)ptr);
	uintptr_t owner = apb_flat_owner(at);
	struct apb_bin *bin = (struct apb_bin *)owner;
	struct apb_entry entry;

	if (unlikely(!apb_heap_owns(apb_tls, owner)) || apb_bin_full(bin) ||
	    unlikely(!apb_flat_live(at, (uintptr_t)ptr, &entry)))
		apb_free(ptr);
	else
		apb_bin_put(bin, entry);
}

void *PyObject_Malloc(size_t size)
{
	if (unlikely(host_table_object.malloc != host_malloc))
		return host_object_malloc(size);
	return fast_malloc(size);
}

void *PyObject_Calloc(size_t n, size_t size)
{
	if (unlikely(host_table_object.calloc != host_calloc))
		return host_object_calloc(n, size);
	return apb_calloc(n, size);
}

void *PyObject_Realloc(void *ptr, size_t size)
{
	if (unlikely(host_table_object.realloc != host_realloc))
		return host_object_realloc(ptr, size);
	return apb_realloc(ptr, size);
}

void PyObject_Free(void *ptr)
{
	if (unlikely(host_table_object.free != host_free))
		host_object_free(ptr);
	else
		fast_free(ptr);
}

void *PyMem_Malloc(size_t size)
{
	if (unlikely(host_table_mem.malloc != host_malloc))
		return host_mem_malloc(size);
	return fast_malloc(size);
}

void *PyMem_Calloc(size_t n, size_t size)
{
	if (unlikely(host_table_mem.calloc != host_calloc))
		return host_mem_calloc(n, size);
	return apb_calloc(n, size);
}

void *PyMem_Realloc(void *ptr, size_t size)
{
	if (unlikely(host_table_mem.realloc != host_realloc))
		return host_mem_realloc(ptr, size);
	return apb_realloc(ptr, size);
}

void PyMem_Free(void *ptr)
{
	if (unlikely(host_table_mem.free != host_free))
		host_mem_free(ptr);
	else
		fast_free(ptr);
}
