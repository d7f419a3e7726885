/* SPDX-License-Identifier: MIT */
/*
 * leak_mem.c - arrays that grow, mapped.
 *
 * Each is its user's to lock; the list of them needs no lock.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "glue/leak_arch.h"
#include "glue/leak_mem.h"

#define FIRST_BYTES ((size_t)64 << 10)

static struct leak_array *list;

APB_RAW static bool grow(struct leak_array *array)
{
	size_t bytes = array->bytes ? array->bytes * 2 : FIRST_BYTES;
	long ret;

	if (array->items)
		ret = ARCH_CALL(SYS_mremap, array->items, array->bytes, bytes,
				MREMAP_MAYMOVE);
	else
		ret = arch_call(
			SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ret < 0 && ret > -4096)
		return false;
	array->items = (void *)ret;
	array->bytes = bytes;
	if (!array->listed) {
		array->listed = true;
		array->next = __atomic_load_n(&list, __ATOMIC_RELAXED);
		while (!__atomic_compare_exchange_n(&list, &array->next, array,
						    false, __ATOMIC_RELEASE,
						    __ATOMIC_RELAXED))
			;
	}
	return true;
}

APB_RAW void *leak_array_add(struct leak_array *array, size_t size)
{
	if ((array->count + 1) * size > array->bytes && !grow(array))
		return NULL;
	return (char *)array->items + size * array->count++;
}

APB_RAW void leak_array_free(struct leak_array *array)
{
	if (array->items)
		ARCH_CALL(SYS_munmap, array->items, array->bytes, 0, 0);
	array->items = NULL;
	array->count = array->bytes = 0;
}

APB_RAW void leak_arrays(void (*fn)(uintptr_t start, uintptr_t end, void *arg),
			 void *arg)
{
	struct leak_array *array;

	for (array = __atomic_load_n(&list, __ATOMIC_ACQUIRE); array;
	     array = array->next) {
		uintptr_t start = (uintptr_t)array->items;

		if (array->bytes)
			fn(start, start + array->bytes, arg);
	}
}
