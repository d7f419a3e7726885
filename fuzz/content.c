// SPDX-License-Identifier: MIT
/* What the blocks hold; see content.h. */
#include "content.h"

#include <string.h>

#define PAGE ((size_t)4096)

/* A run of the sample: from a multiple of 8 on. */
struct run {
	size_t from, to;
};

uint64_t content_seed(uint32_t slot, uint32_t gen)
{
	uint64_t x = (uint64_t)gen << 32 | slot;

	/* the finaliser of splitmix64, Steele et al. 2014 */
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (x ^ x >> 31) | 1;
}

static void write_run(uint8_t *p, struct run run, uint64_t seed)
{
	uint64_t *word = (uint64_t *)__builtin_assume_aligned(p, 8);
	size_t i, end = run.to / 8;
	uint64_t now = content_word(seed, run.from / 8);

	for (i = run.from / 8; i < end; i++, now += CONTENT_STEP)
		word[i] = now;
	if (run.to % 8)
		memcpy(word + end, &now, run.to % 8);
}

/* Where in the run the first difference is; only called if there is one. */
static size_t locate(const uint8_t *p, struct run run, uint64_t seed, bool zero)
{
	size_t at;

	for (at = run.from; at < run.to; at++) {
		uint64_t word = zero ? 0 : content_word(seed, at / 8);

		if (p[at] != (uint8_t)(word >> at % 8 * 8))
			break;
	}
	return at;
}

static size_t check_run(const uint8_t *p, struct run run, uint64_t seed)
{
	const uint64_t *word = (const uint64_t *)__builtin_assume_aligned(p, 8);
	size_t i, end = run.to / 8;
	uint64_t now = content_word(seed, run.from / 8), diff = 0;

	for (i = run.from / 8; i < end; i++, now += CONTENT_STEP)
		diff |= word[i] ^ now;
	if (run.to % 8) {
		uint64_t last = 0;

		memcpy(&last, word + end, run.to % 8);
		diff |= (last ^ now) << (64 - run.to % 8 * 8);
	}
	return diff ? locate(p, run, seed, false) : CONTENT_OK;
}

static size_t zero_run(const uint8_t *p, struct run run)
{
	const uint64_t *word = (const uint64_t *)__builtin_assume_aligned(p, 8);
	size_t i, end = run.to / 8;
	uint64_t diff = 0;

	for (i = run.from / 8; i < end; i++)
		diff |= word[i];
	for (i = end * 8; i < run.to; i++)
		diff |= p[i];
	return diff ? locate(p, run, 0, true) : CONTENT_OK;
}

/* Every so many pages a word is looked at. */
static size_t page_step(size_t len)
{
	return ((len - 1) / PAGE / CONTENT_PAGES + 1) * PAGE;
}

/* The last CONTENT_EDGE bytes or so, of a block bigger than CONTENT_WHOLE. */
static struct run tail_of(size_t len)
{
	return (struct run){(len - CONTENT_EDGE) & ~(size_t)7, len};
}

void content_write(void *p, size_t len, uint64_t seed, bool whole)
{
	struct run run = {0, len};
	size_t at, step = page_step(len);

	if (whole || len <= CONTENT_WHOLE) {
		write_run(p, run, seed);
		return;
	}
	run.to = CONTENT_EDGE;
	write_run(p, run, seed);
	for (at = step; at + 8 <= len; at += step)
		*(uint64_t *)((uint8_t *)p + at) = content_word(seed, at / 8);
	write_run(p, tail_of(len), seed);
}

/* As far as it is below @limit; nothing of it may be. */
static size_t check_below(const uint8_t *p, struct run run, uint64_t seed,
			  size_t limit)
{
	if (run.to > limit)
		run.to = limit;
	return run.from < run.to ? check_run(p, run, seed) : CONTENT_OK;
}

size_t content_check(const void *p, size_t len, uint64_t seed, bool whole,
		     size_t limit)
{
	const uint8_t *bytes = p;
	struct run run = {0, len};
	size_t at, bad, step = page_step(len);

	if (whole || len <= CONTENT_WHOLE)
		return check_below(p, run, seed, limit);
	run.to = CONTENT_EDGE;
	bad = check_below(p, run, seed, limit);
	if (bad != CONTENT_OK)
		return bad;
	if (limit > len)
		limit = len;
	for (at = step; at + 8 <= limit; at += step) {
		run = (struct run){at, at + 8};
		if (*(const uint64_t *)(bytes + at) !=
		    content_word(seed, at / 8))
			return locate(p, run, seed, false);
	}
	return check_below(p, tail_of(len), seed, limit);
}

size_t content_check_zero(const void *p, size_t len)
{
	const uint8_t *bytes = p;
	struct run run = {0, len};
	size_t at, bad, step = page_step(len);

	if (len <= CONTENT_ZERO_WHOLE)
		return zero_run(p, run);
	run.to = CONTENT_EDGE;
	bad = zero_run(p, run);
	if (bad != CONTENT_OK)
		return bad;
	for (at = step; at + 8 <= len; at += step) {
		run = (struct run){at, at + 8};
		if (*(const uint64_t *)(bytes + at))
			return locate(p, run, 0, true);
	}
	return zero_run(p, tail_of(len));
}
