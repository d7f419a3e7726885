/* SPDX-License-Identifier: MIT */
/*
 * What valgrind has to be told about the kernel's calls, in builds for it:
 * what mremap() adds to a mapping is zeroes that the program may use; it takes
 * it for memory that nobody has.
 */
#ifndef APB_TOLD_H
#define APB_TOLD_H

#include "config.h"

#if APB_SAN_VALGRIND
#include <valgrind/memcheck.h>

static inline void apb_tell_remapped(void *addr, size_t old_size,
				     size_t new_size)
{
	if (new_size > old_size)
		VALGRIND_MAKE_MEM_DEFINED((char *)addr + old_size,
					  new_size - old_size);
}
#else
static inline void apb_tell_remapped(void *addr, size_t old_size,
				     size_t new_size)
{
	(void)addr;
	(void)old_size;
	(void)new_size;
}
#endif

#endif /* APB_TOLD_H */
