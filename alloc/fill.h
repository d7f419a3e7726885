/* SPDX-License-Identifier: MIT */
/*
 * Filling blocks.  Sanitizers look at what memset() writes to, and in tracking
 * builds that is closed at the time.
 */
#ifndef APB_FILL_H
#define APB_FILL_H

#include "config.h"

#include <string.h>

#if APB_TRACK
static inline void *apb_fill(void *p, int byte, size_t size)
{
	void *to = p;

	__asm__ volatile("rep stosb"
			 : "+D"(to), "+c"(size)
			 : "a"(byte)
			 : "memory");
	return p;
}
#else
static inline void *apb_fill(void *p, int byte, size_t size)
{
	return memset(p, byte, size);
}
#endif

#endif /* APB_FILL_H */
