// SPDX-License-Identifier: MIT
/* What the scenes do to blocks, one thing to a function. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

static __thread volatile unsigned int decided;

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

void *by_malloc(size_t size)
{
	void *p = MALLOC(size);

	return need(p);
}

void *by_calloc(size_t size)
{
	void *p = CALLOC(1, size);

	return need(p);
}

void *by_realloc(size_t size)
{
	void *p = by_malloc(size / 2);

	p = REALLOC(p, size);
	return need(p);
}

void *by_aligned(size_t size)
{
	void *p = ALIGNED(64, size);

	return need(p);
}

void *by_page(size_t size)
{
	void *p = ALIGNED(4096, size);

	return need(p);
}

void *by_new(size_t size)
{
	void *p = SIZED(size);

	return need(p);
}

void *by_new_aligned(size_t size)
{
	void *p = SIZED_ALIGNED(64, size);

	return need(p);
}

void *resize(void *p, size_t size)
{
	void *q = REALLOC(hide(p), size);

	if (!q)
		exit(0);
	return q;
}

void give_back(void *p)
{
	FREE(hide(p));
	decided++;
}

void fill(void *p, size_t size)
{
	memset(hide(p), 'x', size);
}

#define READ(bits, type)                        \
	void read_##bits(void *p)               \
	{                                       \
		volatile type *q = hide(p);     \
                                                \
		if (*q == (type)0x5b5a59585756) \
			decided++;              \
	}

#define WRITE(bits, type)                   \
	void write_##bits(void *p)          \
	{                                   \
		volatile type *q = hide(p); \
                                            \
		*q = (type)0x6162636465;    \
	}

READ(1, uint8_t)
READ(4, uint32_t)
READ(8, uint64_t)
WRITE(1, uint8_t)
WRITE(4, uint32_t)
WRITE(8, uint64_t)

void copy_to(void *p)
{
	char from[24] = "01234567890123456789012";

	memcpy(hide(p), hide(from), sizeof(from));
	decided++;
}

void copy_from(void *p)
{
	char to[24];

	memcpy(hide(to), hide(p), sizeof(to));
	if (to[decided % sizeof(to)] == 'z')
		decided++;
}

void set_100(void *p)
{
	memset(hide(p), 'y', 100);
	decided++;
}
