// SPDX-License-Identifier: MIT
/* Misuse reports; see report.h. */
#include "debug/report.h"

#include "api/lock.h"
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

/*
 * Whether @block, which holds a mark, is on @list.  Yes, too, if the list is
 * damaged before: a mark is a matter of 64 secret bits.
 */
static bool on_list(const struct apb_block *list, const struct apb_block *block,
		    uint64_t kind)
{
	uint64_t key = apb_state.heap.key;
	unsigned int n;

	/* a damaged link leads nowhere, or round in a circle */
	for (n = 0; list && n < APB_BIN_MAX; list = list->next, n++) {
		if (list == block ||
		    list->mark != apb_mark(list->next, key, kind))
			return true;
	}
	return list;
}

bool apb_block_is_free(const struct apb_pool *pool,
		       const struct apb_block *block)
{
	const struct apb_bin *bin = (const struct apb_bin *)pool->owner;

	return on_list(pool->free, block, APB_MARK_POOL) ||
	       on_list(bin->head, block, APB_MARK_BIN);
}

/* ---- where a pointer points ------------------------------------------- */

static void say_block(struct apb_misuse *m, const struct apb_pool *pool)
{
	uintptr_t addr = (uintptr_t)m->ptr;
	size_t size = m->class_size;
	ptrdiff_t at = (ptrdiff_t)(addr - pool->base);

	say(m,
	    "apb:   pool: class %u (%zu bytes), %u blocks, %u carved, "
	    "%u in the pool's list\n",
	    pool->cls, size, pool->count, pool->carved, pool->nr_free);
	if (m->block >= 0)
		say(m, "apb:   block: %d of the pool, at %#lx, offset %zu\n",
		    m->block, (unsigned long)(pool->base + m->block * size),
		    (size_t)at % size);
	else
		say(m, "apb:   block: none here, %s\n",
		    at < 0 ? "before the first" : "behind the last");
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
	if ((uint32_t)m->block >= pool->carved)
		return APB_MISUSE_NEVER_ALLOCATED;
	if (apb_looks_free(m->ptr, apb_state.heap.key) &&
	    apb_block_is_free(pool, m->ptr))
		return APB_MISUSE_DOUBLE_FREE;
	return APB_MISUSE_NR;
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
	if (!m->pool)
		return APB_MISUSE_METADATA;
	pool = apb_pool_of(addr, shift);
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
		    pool	 ? "in use" :
		    m->pool == 0 ? "the header" :
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
	return find(m, ptr, NULL, call) != APB_MISUSE_NR;
}

void apb_misuse_sized(struct apb_misuse *m, const void *ptr, const char *call,
		      enum apb_misuse_kind kind, size_t align, size_t size)
{
	find(m, ptr, kind_words[kind], call);
	m->kind = kind;
	say(m, "apb:   freed with: size %zu, alignment %zu\n", size, align);
}

/* ---- telling ---------------------------------------------------------- */

void apb_misuse_tell(const struct apb_misuse *m)
{
	const char *text = m->text;
	size_t left = strlen(text);
	bool locked = apb_enter();
	struct apb_misuse_state handler = apb_state.misuse;
	ssize_t n;

	apb_leave(locked);
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

void apb_report_corrupt(const struct apb_block *block)
{
	static bool seen;
	struct apb_misuse m;

	find(&m, block, kind_words[APB_MISUSE_CORRUPT], "apb");
	m.kind = APB_MISUSE_CORRUPT;
	say(&m, "apb:   it holds: %#lx %#lx\n", (unsigned long)block->next,
	    (unsigned long)block->mark);
	/* a handler that allocates may come here again: then without it */
	if (seen)
		apb_state.misuse.fn = NULL;
	seen = true;
	apb_leave(apb_state_locked);
	apb_misuse_tell(&m);
	abort();
}
