// SPDX-License-Identifier: MIT
/*
 * A library with operators new of its own, as another allocator has them: they
 * return something that no allocator would.
 */
#include <stddef.h>

#include "othernew.h"

#define OPERATOR(name, ...)           \
	void *name(__VA_ARGS__);      \
	void *name(__VA_ARGS__)       \
	{                             \
		return OTHER_POINTER; \
	}

OPERATOR(_Znwm, size_t size __attribute__((unused)))
OPERATOR(_Znam, size_t size __attribute__((unused)))
OPERATOR(_ZnwmRKSt9nothrow_t, size_t size __attribute__((unused)))
OPERATOR(_ZnamRKSt9nothrow_t, size_t size __attribute__((unused)))
OPERATOR(_ZnwmSt11align_val_t, size_t size __attribute__((unused)))
OPERATOR(_ZnamSt11align_val_t, size_t size __attribute__((unused)))
OPERATOR(_ZnwmSt11align_val_tRKSt9nothrow_t,
	 size_t size __attribute__((unused)))
OPERATOR(_ZnamSt11align_val_tRKSt9nothrow_t,
	 size_t size __attribute__((unused)))
