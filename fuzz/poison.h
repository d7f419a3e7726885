/* SPDX-License-Identifier: MIT */
/*
 * Poisoning of memory that is not mapped in the simulation, for programs that
 * AddressSanitizer is linked into.
 *
 * The file that includes this is built without the sanitizer in the fuzzing
 * flavours, so the compiler cannot always tell: the build passes
 * -DSIMOS_POISON=1 where the runtime is linked in.  Without it nothing is left
 * of the calls.
 */
#ifndef APB_FUZZ_POISON_H
#define APB_FUZZ_POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(SIMOS_POISON)
#define SIMOS_POISON 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(SIMOS_POISON)
#define SIMOS_POISON 1
#endif

#ifdef SIMOS_POISON

#include <sanitizer/asan_interface.h>

enum {
	POISON_ACTIVE = 1
};

static inline void poison(const void *addr, size_t size)
{
	__asan_poison_memory_region(addr, size);
}

static inline void unpoison(const void *addr, size_t size)
{
	__asan_unpoison_memory_region(addr, size);
}

/* Whether any byte is poisoned; for tests. */
static inline bool is_poisoned(const void *addr, size_t size)
{
	return __asan_region_is_poisoned((void *)(uintptr_t)addr, size);
}

#else

enum {
	POISON_ACTIVE = 0
};

static inline void poison(const void *addr, size_t size)
{
	(void)addr;
	(void)size;
}

static inline void unpoison(const void *addr, size_t size)
{
	(void)addr;
	(void)size;
}

static inline bool is_poisoned(const void *addr, size_t size)
{
	(void)addr;
	(void)size;
	return false;
}

#endif
#endif /* APB_FUZZ_POISON_H */
