/* SPDX-License-Identifier: MIT */
/*
 * Names for the malloc family of alloc/shim/malloc.c when it is linked into a
 * target that has a malloc family of its own.  Given to that source as well
 * (-include), before the C library's headers, whose declarations then are those
 * of the functions with the new names.
 */
#ifndef APB_FUZZ_SHIM_API_H
#define APB_FUZZ_SHIM_API_H

#define realloc shim_realloc
#define reallocarray shim_reallocarray
#define aligned_alloc shim_aligned_alloc
#define memalign shim_memalign
#define posix_memalign shim_posix_memalign
#define valloc shim_valloc
#define pvalloc shim_pvalloc
#define free_aligned_sized shim_free_aligned_sized

#include <malloc.h>
#include <stdlib.h>

void free_aligned_sized(void *ptr, size_t align, size_t size);

#endif /* APB_FUZZ_SHIM_API_H */
