/* SPDX-License-Identifier: MIT */
/*
 * What a tool says of a byte, for tests that run under any of them: whether the
 * program may use it.  AddressSanitizer and memcheck know; of the others nothing
 * is asked, and nothing asserted, but what the layer knows itself is.
 */
#ifndef APB_TEST_MARKS_H
#define APB_TEST_MARKS_H

#include <apb/sanitize.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if APB_SAN_ADDRESS
#include <sanitizer/asan_interface.h>

static inline bool marks_known(void)
{
	return true;
}

static inline bool is_closed(const void *p)
{
	return __asan_address_is_poisoned(p);
}

static inline const char *first_closed(const void *p, size_t n)
{
	return __asan_region_is_poisoned((void *)(uintptr_t)p, n);
}

/* What is written of the eight bytes at @p. */
static inline int marks_value(const void *p)
{
	size_t scale, offset;
	uint8_t *shadow, byte;

	__asan_get_shadow_mapping(&scale, &offset);
	shadow = (uint8_t *)(((uintptr_t)p >> scale) + offset);
	/* its shadow has no shadow */
	__asm__("movb %1, %0" : "=q"(byte) : "m"(*shadow));
	return byte;
}
#elif APB_SAN_VALGRIND
#include <valgrind/memcheck.h>

/* 1: it was told; 3: there is nothing to be told of; 0: not under memcheck. */
static inline unsigned int marks_ask(const void *p)
{
	unsigned char bits;

	return VALGRIND_GET_VBITS(p, &bits, 1);
}

static inline bool marks_known(void)
{
	char byte;

	return marks_ask(&byte) == 1;
}

static inline bool is_closed(const void *p)
{
	return marks_ask(p) == 3;
}

/* It reports an error if there is one. */
static inline const char *first_closed(const void *p, size_t n)
{
	return (const char *)VALGRIND_CHECK_MEM_IS_ADDRESSABLE(p, n);
}

static inline int marks_value(const void *p)
{
	(void)p;
	return -1;
}
#else
static inline bool marks_known(void)
{
	return false;
}

static inline bool is_closed(const void *p)
{
	(void)p;
	return false;
}

static inline const char *first_closed(const void *p, size_t n)
{
	(void)p;
	(void)n;
	return NULL;
}

static inline int marks_value(const void *p)
{
	(void)p;
	return -1;
}
#endif

#define assert_open(p, n) assert_null(first_closed(p, n))
#define assert_closed(p) assert_true(!marks_known() || is_closed(p))

/* Whether the layer keeps stacks; some tools have their own. */
static inline bool has_stacks(void)
{
	return apb_san_stack() != 0;
}

#endif /* APB_TEST_MARKS_H */
