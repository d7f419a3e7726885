// SPDX-License-Identifier: MIT
/*
 * A library that registers handlers for fork() in its constructor, which runs
 * before all others (-z initfirst), the allocator's too: in fork() they run when
 * that has prepared itself, and allocate, and give back.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "expect.h"

#define NR 3000

int handlers_called(void);

static int called;

static void handler(void)
{
	static void *blocks[NR];
	size_t i;

	for (i = 0; i < NR; i++) {
		blocks[i] = malloc(1 + i * 7 % 2000);
		EXPECT(blocks[i]);
		memset(blocks[i], 1, 1 + i * 7 % 2000);
	}
	for (i = 0; i < NR; i++)
		free(blocks[i]);
	free(malloc(100000));
	malloc_trim(0);
	called++;
}

__attribute__((constructor)) static void register_handlers(void)
{
	EXPECT(!pthread_atfork(handler, handler, handler));
}

int handlers_called(void)
{
	return called;
}
