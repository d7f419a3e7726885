// SPDX-License-Identifier: MIT
/*
 * The OS table of builds for valgrind: memory is had from malloc, which under
 * valgrind is its client heap.  What is mapped otherwise memcheck takes for a
 * root when it looks for leaks, all of it: nothing that a block points to would
 * be found to leak, and no cycle of blocks.
 *
 * A range may be given back in parts; it goes back to malloc with the last one.
 *
 * Under the state lock, as all tables.
 */
#include "uninstrumented.h"

#include "glue/real.h"
#include "glue/tool.h"
#include "os/os.h"
#include "track/region.h"

#include <errno.h>
#include <stdlib.h>

struct chunk {
	struct chunk *next;
	char *addr;
	size_t size;
	size_t left; /* not given back */
};

static struct chunk *chunks;

static void *client_map(void *ctx, void *hint, size_t size, bool *zero)
{
	struct chunk *chunk = apb_real_malloc(sizeof(*chunk));

	(void)ctx;
	if (!chunk)
		return NULL;
	chunk->addr = apb_real_aligned_alloc(
		hint ? APB_ARENA : apb_region_align(size), size);
	if (!chunk->addr) {
		apb_real_free(chunk);
		errno = ENOMEM;
		return NULL;
	}
	chunk->size = chunk->left = size;
	chunk->next = chunks;
	chunks = chunk;
	tool_borrowed(chunk->addr, size);
	*zero = false;
	return chunk->addr;
}

static int client_unmap(void *ctx, void *addr, size_t size)
{
	struct chunk **at, *chunk;

	(void)ctx;
	for (at = &chunks; (chunk = *at); at = &chunk->next)
		if ((size_t)((char *)addr - chunk->addr) < chunk->size)
			break;
	if (!chunk) {
		errno = EINVAL;
		return -1;
	}
	chunk->left -= size;
	if (chunk->left)
		return 0;
	*at = chunk->next;
	apb_real_free(chunk->addr);
	apb_real_free(chunk);
	return 0;
}

const struct apb_os apb_os_client = {
	.map = client_map,
	.unmap = client_unmap,
	.purge = apb_region_purge,
	.remap = apb_region_remap,
	.purge_zeroes = true,
};

#include "instrumented.h"
