/* SPDX-License-Identifier: MIT */
/*
 * The parts of the operators new that are C.
 *
 * What they do when there is no memory: call the new handler, try again, throw
 * std::bad_alloc or return NULL.  That is for a C++ run-time
 * library to do, and there are two ways to it: new_std.cc for programs that
 * are linked with libapb-malloc.a, and new_next.c for libapb-malloc.so, which
 * must load into programs that have none.
 */
#ifndef APB_NEW_H
#define APB_NEW_H

#include <stddef.h>

#ifdef __cplusplus
#define APB_NOEXCEPT noexcept
extern "C" {
#else
#define APB_NOEXCEPT
#endif

/* operator new(size_t) as it stands here, whatever the program replaced. */
void *apb_own_new(size_t size);

/* The slow paths of the forms that throw; @align as it was asked for. */
void *apb_new_failed(size_t size) __attribute__((cold));
void *apb_new_failed_aligned(size_t size, size_t align) __attribute__((cold));

/*
 * All of the forms that do not: try the form that throws, which the program
 * may have replaced, and return NULL if it throws.
 */
void *apb_new_nothrow(size_t size) APB_NOEXCEPT __attribute__((cold));
void *apb_new_nothrow_array(size_t size) APB_NOEXCEPT __attribute__((cold));
void *apb_new_nothrow_aligned(size_t size, size_t align) APB_NOEXCEPT
	__attribute__((cold));
void *apb_new_nothrow_array_aligned(size_t size, size_t align) APB_NOEXCEPT
	__attribute__((cold));

#ifdef __cplusplus
}
#endif
#endif /* APB_NEW_H */
