// SPDX-License-Identifier: MIT
/* The allocator's own memory; see meta.h. */
#include "uninstrumented.h"

#include "meta/meta.h"

#include "state.h"

#include <string.h>

static struct apb_meta *meta(void)
{
	return &apb_state.meta;
}

static unsigned int order_of(size_t size)
{
	return (unsigned int)__builtin_ctzl(size) - APB_META_MIN_SHIFT;
}

static size_t order_size(unsigned int order)
{
	return (size_t)1 << (APB_META_MIN_SHIFT + order);
}

static void keep(void *piece, unsigned int order)
{
	struct apb_piece *p = piece;

	p->next = meta()->free[order];
	meta()->free[order] = p;
}

static struct apb_chunk *chunk_of(void *piece)
{
	return (struct apb_chunk *)((uintptr_t)piece & ~(APB_META_CHUNK - 1));
}

/* Behind a chunk's header stands one piece of each size. */
static bool new_chunk(void)
{
	struct apb_chunk *chunk;
	unsigned int order;
	bool zero;

	chunk = apb_os_map(0, APB_META_CHUNK, APB_META_CHUNK, &zero);
	if (!chunk)
		return false;
	chunk->used = 0;
	chunk->next = meta()->chunks;
	meta()->chunks = chunk;
	meta()->nr_chunks++;
	for (order = 0; order < APB_META_ORDERS; order++)
		keep((char *)chunk + order_size(order), order);
	return true;
}

/* A piece of @order, split from a larger one if need be, or NULL. */
static struct apb_piece *take(unsigned int order)
{
	struct apb_piece *p = NULL;
	unsigned int from = order;

	while (from < APB_META_ORDERS && !meta()->free[from])
		from++;
	if (from == APB_META_ORDERS)
		return NULL;
	p = meta()->free[from];
	meta()->free[from] = p->next;
	while (from-- > order)
		keep((char *)p + order_size(from), from);
	return p;
}

void *apb_meta_alloc(size_t size)
{
	unsigned int order = order_of(size);
	struct apb_piece *p = take(order);

	if (!p && new_chunk())
		p = take(order);
	if (!p)
		return NULL;
	chunk_of(p)->used += size;
	meta()->used += size;
	return p;
}

void apb_meta_free(void *piece, size_t size)
{
	keep(piece, order_of(size));
	chunk_of(piece)->used -= size;
	meta()->used -= size;
}

void apb_meta_reset(void)
{
	struct apb_chunk *chunk = meta()->chunks, *next;

	for (; chunk; chunk = next) {
		next = chunk->next;
		apb_os_release(chunk, APB_META_CHUNK);
	}
	memset(meta(), 0, sizeof(*meta()));
}

/* Take the pieces of unused chunks off the lists. */
static void drop_pieces(void)
{
	struct apb_piece **link;
	unsigned int order;

	for (order = 0; order < APB_META_ORDERS; order++) {
		link = &meta()->free[order];
		while (*link) {
			if (chunk_of(*link)->used)
				link = &(*link)->next;
			else
				*link = (*link)->next;
		}
	}
}

void apb_meta_trim(void)
{
	struct apb_chunk **link = &meta()->chunks, *chunk;

	drop_pieces();
	while ((chunk = *link)) {
		if (chunk->used) {
			link = &chunk->next;
			continue;
		}
		*link = chunk->next;
		meta()->nr_chunks--;
		apb_os_release(chunk, APB_META_CHUNK);
	}
}

#include "instrumented.h"
