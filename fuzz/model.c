// SPDX-License-Identifier: MIT
/* The reference model; see model.h. */
#include "model.h"

#include <string.h>

/* ---- size classes ----------------------------------------------------- */

static size_t page_up(size_t size)
{
	return (size + MODEL_PAGE - 1) & ~(MODEL_PAGE - 1);
}

unsigned int model_class(size_t size)
{
	unsigned int cls;

	if (size <= 512)
		return size ? (unsigned int)(size + 15) / 16 : 1;
	if (size > MODEL_MAX_POOLED)
		return MODEL_LARGE;
	/* skip whole doublings, four classes each, then look */
	for (cls = 33; size > (size_t)1024 << (cls - 33) / 4; cls += 4)
		;
	while (size > ops_class_size(cls))
		cls++;
	return cls;
}

unsigned int model_class_aligned(size_t align, size_t size)
{
	unsigned int cls = model_class(size < align ? align : size);

	if (align > MODEL_MAX_POOL_ALIGN || size > MODEL_MAX_POOLED)
		return MODEL_LARGE;
	/* beyond a cache line pools have colours: only powers of two do */
	while (ops_class_size(cls) % align ||
	       (align > 64 && ops_class_size(cls) & (ops_class_size(cls) - 1)))
		cls++;
	return cls;
}

size_t model_usable(unsigned int cls, size_t size)
{
	return cls == MODEL_LARGE ? page_up(size ? size : 1) :
				    ops_class_size(cls);
}

/* ---- slots ------------------------------------------------------------ */

void model_reset(struct model *m)
{
	for (size_t i = 0; i < m->live; i++) {
		const struct block *b = &m->blocks[i];

		cover_remove(&m->cover, (uintptr_t)b->ptr, b->usable);
	}
	cover_reset(&m->cover);
	m->live = 0;
	memset(m->class_used, 0, sizeof(m->class_used));
	m->used_bytes = 0;
	m->large = 0;
	m->large_bytes = 0;
	m->gen = 0;
	m->freed = MODEL_NONE;
	m->lowest = 0;
	memset(m->live_bits, 0, sizeof(m->live_bits));
	memset(m->used_bits, 0, sizeof(m->used_bits));
}

static bool bit(const uint64_t *bits, unsigned int i)
{
	return bits[i / 64] >> i % 64 & 1;
}

int model_slot_to_fill(struct model *m, uint16_t slot)
{
	slot %= OPS_SLOTS;
	if (!bit(m->live_bits, slot))
		return slot;
	if (m->freed != MODEL_NONE)
		return m->freed;
	while (m->lowest < OPS_SLOTS && bit(m->used_bits, m->lowest))
		m->lowest++;
	return m->lowest < OPS_SLOTS ? m->lowest : -1;
}

int model_next_free(struct model *m, unsigned int from)
{
	unsigned int words = OPS_SLOTS / 64, first = from % OPS_SLOTS / 64;
	uint64_t mask = UINT64_MAX << from % 64;

	/* the first word twice: its upper part, and at last its lower part */
	for (unsigned int i = 0; i <= words; i++) {
		unsigned int w = (first + i) % words;
		uint64_t free = ~m->live_bits[w] & mask;

		if (free)
			return (int)(w * 64) + __builtin_ctzll(free);
		mask = UINT64_MAX;
	}
	return -1;
}

int model_slot_to_take(struct model *m, uint16_t slot)
{
	if (!m->live)
		return -1;
	if (bit(m->live_bits, slot % OPS_SLOTS))
		return slot % OPS_SLOTS;
	return m->blocks[slot % m->live].slot;
}

static void unlink_freed(struct model *m, unsigned int slot)
{
	uint16_t next = m->next[slot], prev = m->prev[slot];

	if (prev == MODEL_NONE)
		m->freed = next;
	else
		m->next[prev] = next;
	if (next != MODEL_NONE)
		m->prev[next] = prev;
}

static void push_freed(struct model *m, unsigned int slot)
{
	m->prev[slot] = MODEL_NONE;
	m->next[slot] = m->freed;
	if (m->freed != MODEL_NONE)
		m->prev[m->freed] = (uint16_t)slot;
	m->freed = (uint16_t)slot;
}

/* ---- blocks ----------------------------------------------------------- */

static void count(struct model *m, const struct block *b, int sign)
{
	if (b->cls == MODEL_LARGE) {
		m->large += (size_t)sign;
		m->large_bytes += (size_t)sign * b->usable;
	} else {
		m->class_used[b->cls] += (size_t)sign;
		m->used_bytes += (size_t)sign * b->usable;
	}
}

static void settle_in(struct model *m, struct block *b, void *ptr, size_t size,
		      size_t usable, unsigned int cls)
{
	b->ptr = ptr;
	b->size = size;
	b->filled = size;
	b->usable = usable;
	b->cls = (uint8_t)cls;
	b->whole = false;
	b->thread = m->thread;
	b->seed = content_seed(b->slot, ++m->gen);
	if (size)
		content_write(ptr, size, b->seed, false);
	count(m, b, 1);
}

bool model_add_usable(struct model *m, unsigned int slot, void *ptr,
		      size_t size, size_t usable, size_t align,
		      unsigned int cls)
{
	struct block *b = &m->blocks[m->live];

	if (!cover_add(&m->cover, (uintptr_t)ptr, usable))
		return false;
	if (bit(m->used_bits, slot))
		unlink_freed(m, slot);
	m->place[slot] = (uint16_t)m->live++;
	m->live_bits[slot / 64] |= UINT64_C(1) << slot % 64;
	m->used_bits[slot / 64] |= UINT64_C(1) << slot % 64;
	b->slot = (uint16_t)slot;
	b->align = align;
	settle_in(m, b, ptr, size, usable, cls);
	return true;
}

bool model_add(struct model *m, unsigned int slot, void *ptr, size_t size,
	       size_t align, unsigned int cls)
{
	return model_add_usable(m, slot, ptr, size, model_usable(cls, size),
				align, cls);
}

void model_remove(struct model *m, unsigned int slot)
{
	struct block *b = model_block(m, slot);
	const struct block *last = &m->blocks[--m->live];

	cover_remove(&m->cover, (uintptr_t)b->ptr, b->usable);
	count(m, b, -1);
	m->place[last->slot] = m->place[slot];
	*b = *last;
	m->live_bits[slot / 64] &= ~(UINT64_C(1) << slot % 64);
	push_freed(m, slot);
}

bool model_resize_usable(struct model *m, unsigned int slot, void *ptr,
			 size_t size, size_t usable, unsigned int cls)
{
	struct block *b = model_block(m, slot);

	cover_remove(&m->cover, (uintptr_t)b->ptr, b->usable);
	if (!cover_add(&m->cover, (uintptr_t)ptr, usable)) {
		cover_add(&m->cover, (uintptr_t)b->ptr, b->usable);
		return false;
	}
	count(m, b, -1);
	if (b->ptr != ptr)
		b->align = 16;
	settle_in(m, b, ptr, size, usable, cls);
	return true;
}

bool model_resize(struct model *m, unsigned int slot, void *ptr, size_t size,
		  unsigned int cls)
{
	return model_resize_usable(m, slot, ptr, size, model_usable(cls, size),
				   cls);
}

/* ---- content ---------------------------------------------------------- */

void model_before_resize(struct model *m, unsigned int slot, size_t limit)
{
	const struct block *b = model_block(m, slot);

	if (!limit || limit >= b->filled || b->filled <= CONTENT_WHOLE)
		return;
	content_write(b->ptr, limit, b->seed, false);
}

void model_fill(struct model *m, unsigned int slot)
{
	struct block *b = model_block(m, slot);

	b->filled = b->usable;
	b->whole = b->usable <= CONTENT_FILL;
	content_write(b->ptr, b->filled, b->seed, b->whole);
}

static size_t verify(const struct block *b, uint8_t *p, size_t limit)
{
	size_t at = content_check(p, b->filled, b->seed, b->whole, limit);

	/* of a block that shrank, what would be checked in its new size */
	if (at == CONTENT_OK && limit && limit < b->filled && !b->whole)
		at = content_check(p, limit, b->seed, false, limit);
	return at;
}

size_t model_verify(struct model *m, unsigned int slot, void *p, size_t limit)
{
	const struct block *b = model_block(m, slot);

	if (!p)
		p = b->ptr;
	if (limit > b->filled)
		limit = b->filled;
	return limit ? verify(b, p, limit) : CONTENT_OK;
}

bool model_overlaps_other(struct model *m, unsigned int slot, uintptr_t addr,
			  size_t size)
{
	const struct block *b = model_block(m, slot);
	bool any;

	cover_remove(&m->cover, (uintptr_t)b->ptr, b->usable);
	any = cover_any(&m->cover, addr, size);
	cover_add(&m->cover, (uintptr_t)b->ptr, b->usable);
	return any;
}

int model_find(struct model *m, uintptr_t addr, size_t size)
{
	for (size_t i = 0; i < m->live; i++) {
		const struct block *b = &m->blocks[i];

		if (addr < (uintptr_t)b->ptr + b->usable &&
		    (uintptr_t)b->ptr < addr + size)
			return b->slot;
	}
	return -1;
}
