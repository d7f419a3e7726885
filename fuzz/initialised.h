/* SPDX-License-Identifier: MIT */
/*
 * What MemorySanitizer cannot see for itself: memory that holds something
 * because uninstrumented code wrote it, or holds nothing although something was
 * written.  Without MSan nothing is left of the calls.
 */
#ifndef APB_FUZZ_INITIALISED_H
#define APB_FUZZ_INITIALISED_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define APB_FUZZ_MSAN 1
#endif
#endif

#ifdef APB_FUZZ_MSAN

#include <sanitizer/msan_interface.h>

static inline void initialised(const void *addr, size_t size)
{
	__msan_unpoison(addr, size);
}

static inline void uninitialised(const void *addr, size_t size)
{
	__msan_poison(addr, size);
}

#else

static inline void initialised(const void *addr, size_t size)
{
	(void)addr;
	(void)size;
}

static inline void uninitialised(const void *addr, size_t size)
{
	(void)addr;
	(void)size;
}

#endif
#endif /* APB_FUZZ_INITIALISED_H */
