// SPDX-License-Identifier: MIT
/*
 * Blocks that cost next to nothing, from the start of an array for each input;
 * see target.h.  In front of each is its size, for realloc.
 */
#include "target.h"

#if !TARGET_BUMP
#error "target.h has another malloc"
#endif

#include <string.h>

#define APART __attribute__((disable_sanitizer_instrumentation))
#define ROOM ((size_t)256 << 20)
#define UNIT ((size_t)16)

static char room[ROOM] __attribute__((aligned(16)));
static size_t used;

APART void *plain_malloc(size_t size)
{
	char *p = room + used;
	size_t whole = UNIT + ((size + UNIT - 1) & ~(UNIT - 1));

	if (size > ROOM || whole > ROOM - used)
		return NULL;
	used += whole;
	*(size_t *)p = size;
	return p + UNIT;
}

APART void *plain_realloc(void *ptr, size_t size)
{
	size_t old = ptr ? *(size_t *)((char *)ptr - UNIT) : 0;
	void *p = plain_malloc(size);

	if (p && ptr)
		memcpy(p, ptr, old < size ? old : size);
	return p;
}

APART void plain_reset(void)
{
	used = 0;
}
