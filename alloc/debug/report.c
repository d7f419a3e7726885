// SPDX-License-Identifier: MIT
/* Misuse reports; see report.h. */
#include "uninstrumented.h"

#include "debug/report.h"

#include "api/lock.h"
#include "debug/junk.h"
#include "state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const kind_words[APB_MISUSE_NR] = {
	[APB_MISUSE_DOUBLE_FREE] = "double free",
	[APB_MISUSE_INTERIOR] = "pointer that is not the start of a block",
	[APB_MISUSE_NEVER_ALLOCATED] = "block that was never allocated",
	[APB_MISUSE_UNUSED_POOL] = "pointer into an unused pool",
	[APB_MISUSE_METADATA] = "pointer into an arena's header",
	[APB_MISUSE_FOREIGN] = "pointer to no memory of this allocator",
	[APB_MISUSE_WRONG_SIZE] = "wrong size",
	[APB_MISUSE_WRONG_ALIGN] = "wrong alignment",
	[APB_MISUSE_CORRUPT] = "free block was written to",
};

__attribute__((format(printf, 2, 3))) static void say(struct apb_misuse *m,
						      const char *fmt, ...)
{
	size_t used = strlen(m->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->text + used, sizeof(m->text) - used, fmt, ap);
	va_end(ap);
}

/* ---- where a pointer points ------------------------------------------- */

static void say_block(struct apb_misuse *m, const struct apb_pool *pool)
{
	uintptr_t addr = (uintptr_t)m->ptr;
	size_t size = m->class_size;
	ptrdiff_t at = (ptrdiff_t)(addr - pool->base);

	say(m, "apb:   pool: class %u (%zu bytes), %u blocks, %u of them out\n",
	    pool->cls, size, pool->count, pool->used);
	if (m->block >= 0)
		say(m, "apb:   block: %d of the pool, at %#lx, offset %zu\n",
		    m->block, (unsigned long)(pool->base + m->block * size),
		    (size_t)at % size);
	else
		say(m, "apb:   block: none here, %s\n",
		    at < 0 ? "before the first" : "behind the last");
}

/* What a free of the block with number @i is. */
static enum apb_misuse_kind block_kind(const struct apb_pool *pool,
				       unsigned int i)
{
	switch (apb_state_get(apb_pool_state(pool, i))) {
	case APB_STATE_LIVE:
		return APB_MISUSE_NR;
	case APB_STATE_FREED:
		return APB_MISUSE_DOUBLE_FREE;
	default:
		return APB_MISUSE_NEVER_ALLOCATED;
	}
}

static enum apb_misuse_kind find_block(struct apb_misuse *m,
				       const struct apb_pool *pool)
{
	uintptr_t addr = (uintptr_t)m->ptr;
	size_t size = apb_class_size(pool->cls);
	size_t at = addr - pool->base;

	m->class_size = size;
	if (at >= pool->count * size)
		return APB_MISUSE_INTERIOR;
	m->block = (int)(at / size);
	if (at % size)
		return APB_MISUSE_INTERIOR;
	return block_kind(pool, (unsigned int)m->block);
}

static enum apb_misuse_kind find_place(struct apb_misuse *m,
				       const struct apb_pool **in)
{
	uintptr_t addr = (uintptr_t)m->ptr;
	const struct apb_large *large = apb_large_around(addr);
	const struct apb_pool *pool;
	unsigned int shift;

	if (large) {
		m->arena = large->addr;
		m->class_size = large->size;
		return large->addr == addr ? APB_MISUSE_NR :
					     APB_MISUSE_INTERIOR;
	}
	shift = apb_map_kind(&apb_state.map, addr);
	if (addr >> APB_ADDR_BITS || shift < APB_KIND_ARENA)
		return APB_MISUSE_FOREIGN;
	m->arena = (uintptr_t)apb_arena_of(addr);
	m->pool = (int)((addr & (APB_ARENA - 1)) >> shift);
	pool = apb_pool_of(addr, shift);
	if ((unsigned int)m->pool < apb_first_slot(apb_arena_of(addr)->kind))
		return APB_MISUSE_METADATA;
	if (!pool->owner)
		return APB_MISUSE_UNUSED_POOL;
	*in = pool;
	return find_block(m, pool);
}

/* Everything but the first line; the kind found. */
static enum apb_misuse_kind find(struct apb_misuse *m, const void *ptr,
				 const char *what, const char *call)
{
	const struct apb_pool *pool = NULL;
	enum apb_misuse_kind kind;

	memset(m, 0, sizeof(*m));
	m->ptr = ptr;
	m->pool = -1;
	m->block = -1;
	kind = find_place(m, &pool);
	if (!what && kind == APB_MISUSE_NR)
		return kind;
	m->kind = kind;
	say(m, "apb: %s: %p, in %s()\n", what ? what : kind_words[kind], ptr,
	    call);
	if (m->pool >= 0)
		say(m, "apb:   arena: %#lx, pool %d, %s\n",
		    (unsigned long)m->arena, m->pool,
		    pool			? "in use" :
		    kind == APB_MISUSE_METADATA ? "the header" :
						  "unused");
	else if (m->arena)
		say(m, "apb:   large block: %#lx, %zu bytes, offset %zu\n",
		    (unsigned long)m->arena, m->class_size,
		    (size_t)((uintptr_t)ptr - m->arena));
	if (pool)
		say_block(m, pool);
	return kind;
}

bool apb_misuse_find(struct apb_misuse *m, const void *ptr, const char *call)
{
	enum apb_misuse_kind kind;

	apb_stop();
	kind = find(m, ptr, NULL, call);
	apb_resume();
	return kind != APB_MISUSE_NR;
}

void apb_misuse_sized(struct apb_misuse *m, const void *ptr, const char *call,
		      enum apb_misuse_kind kind, size_t align, size_t size)
{
	apb_stop();
	find(m, ptr, kind_words[kind], call);
	apb_resume();
	m->kind = kind;
	say(m, "apb:   freed with: size %zu, alignment %zu\n", size, align);
}

void apb_misuse_corrupt(struct apb_misuse *m, const void *ptr, size_t at,
			unsigned int got)
{
	apb_stop();
	find(m, ptr, kind_words[APB_MISUSE_CORRUPT], "apb_malloc");
	apb_resume();
	m->kind = APB_MISUSE_CORRUPT;
	say(m, "apb:   at offset %zu: %#x, not %#x\n", at, got, APB_JUNK_DIED);
}

/* ---- telling ---------------------------------------------------------- */

void apb_misuse_tell(const struct apb_misuse *m)
{
	const char *text = m->text;
	size_t left = strlen(text);
	struct apb_misuse_state handler;
	ssize_t n;

	apb_enter();
	handler = apb_state.misuse;
	apb_leave();
	if (handler.fn) {
		handler.fn(m, handler.arg);
		return;
	}
	while (left) {
		n = write(STDERR_FILENO, text, left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		text += n;
		left -= (size_t)n;
	}
	abort();
}

#include "instrumented.h"
