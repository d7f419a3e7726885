/* SPDX-License-Identifier: MIT */
/*
 * What the blocks hold: a pattern of 8-byte words that is a function of a
 * seed (one for each allocation) and of the offset in the block.
 *
 * Blocks up to CONTENT_WHOLE bytes are written and checked whole, bigger ones
 * at a sample of places that catches what an allocator does to its blocks:
 * both ends, and one word in each page (of up to CONTENT_PAGES pages).
 */
#ifndef APB_FUZZ_CONTENT_H
#define APB_FUZZ_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTENT_WHOLE ((size_t)1024)
#define CONTENT_EDGE ((size_t)32)
#define CONTENT_PAGES 16
#define CONTENT_ZERO_WHOLE ((size_t)4096)
#define CONTENT_FILL ((size_t)8192) /* up to here, all of it on request */
#define CONTENT_OK SIZE_MAX

/* The seed of allocation number @gen of an input, in @slot; never 0. */
uint64_t content_seed(uint32_t slot, uint32_t gen);

#define CONTENT_STEP UINT64_C(0x9e3779b97f4a7c15)

/* Word number @i of the pattern. */
static inline uint64_t content_word(uint64_t seed, size_t i)
{
	return seed + i * CONTENT_STEP;
}

/* Write the pattern into the @len bytes at @p; @whole: all of it. */
void content_write(void *p, size_t len, uint64_t seed, bool whole);

/*
 * Check what content_write() wrote with the same arguments, as far as it lies
 * below @limit.  Returns the offset of the first difference, or CONTENT_OK.
 */
size_t content_check(const void *p, size_t len, uint64_t seed, bool whole,
		     size_t limit);

/* The same for zeroes; whole up to CONTENT_ZERO_WHOLE bytes. */
size_t content_check_zero(const void *p, size_t len);

#endif /* APB_FUZZ_CONTENT_H */
