// SPDX-License-Identifier: MIT
/*
 * Blocks of pools that have no find().
 *
 * For each place in a pool where a block can begin there is an entry and a bit:
 * the bit says whether one does, or did.  Both are in memory of their own that
 * is reserved, not used: what is touched is what there are blocks for.  A block
 * is known until another is born on top of it.
 *
 * No lock: no two threads have the same block, and bits are set and cleared
 * atomically.
 */
#include "glue/glue.h"
#include "glue/os.h"

/* Of a place where a block begins. */
struct entry {
	size_t size;
	uint32_t born_stack, died_stack;
	uint32_t born_thread, died_thread;
	uint32_t state; /* enum apb_san_state */
};

struct record {
	uintptr_t base;
	size_t places;
	size_t bytes; /* of all of this */
	size_t top; /* end of the highest block that ever was, in places */
	struct entry *entries;
	uint64_t *bits;
};

#define BITS 64

/* ---- places ----------------------------------------------------------- */

APB_RAW static size_t place(const struct record *r, const void *addr)
{
	return ((uintptr_t)addr - r->base) / APB_SAN_ALIGN;
}

APB_RAW static bool begins(const struct record *r, size_t i)
{
	return i < r->places &&
	       (__atomic_load_n(&r->bits[i / BITS], __ATOMIC_RELAXED) >>
			(i % BITS) &
		1);
}

/* The last place up to @i where a block begins; r->places: none. */
APB_RAW static size_t at_or_before(const struct record *r, size_t i)
{
	size_t word = i / BITS;
	uint64_t bits = r->bits[word] & (UINT64_MAX >> (BITS - 1 - i % BITS));

	while (!bits && word)
		bits = r->bits[--word];
	return bits ? word * BITS + (BITS - 1) - (size_t)__builtin_clzll(bits) :
		      r->places;
}

/* The first place from @i on where a block begins; r->places: none. */
APB_RAW static size_t at_or_after(const struct record *r, size_t i)
{
	size_t word = i / BITS;
	size_t end = (r->top + BITS - 1) / BITS;
	uint64_t bits;

	if (i >= r->top)
		return r->places;
	bits = r->bits[word] & (UINT64_MAX << i % BITS);
	while (!bits && ++word < end)
		bits = r->bits[word];
	return bits ? word * BITS + (size_t)__builtin_ctzll(bits) : r->places;
}

/* No block begins in these places any more. */
APB_RAW static void clear(struct record *r, size_t from, size_t to)
{
	while (from < to) {
		uint64_t *word = &r->bits[from / BITS];
		uint64_t mask = UINT64_MAX << from % BITS;
		size_t next = (from / BITS + 1) * BITS;

		if (next > to)
			mask &= UINT64_MAX >> (next - to);
		if (*word & mask)
			__atomic_and_fetch(word, ~mask, __ATOMIC_RELAXED);
		from = next;
	}
}

APB_RAW static void raise_top(struct record *r, size_t end)
{
	size_t top = __atomic_load_n(&r->top, __ATOMIC_RELAXED);

	if (end > r->places)
		end = r->places;
	while (top < end &&
	       !__atomic_compare_exchange_n(&r->top, &top, end, true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* ---- pools ------------------------------------------------------------ */

APB_RAW void *apb_record_made(const struct apb_san_pool *pool)
{
	uintptr_t base = (uintptr_t)pool->addr & ~(APB_SAN_ALIGN - 1);
	size_t places =
		((uintptr_t)pool->addr + pool->size - base) / APB_SAN_ALIGN + 1;
	size_t words = (places + BITS - 1) / BITS;
	size_t bytes = sizeof(struct record) + places * sizeof(struct entry) +
		       words * sizeof(uint64_t);
	struct record *r = apb_glue_map(bytes);

	if (!r)
		return NULL;
	r->base = base;
	r->places = places;
	r->bytes = bytes;
	r->bits = (uint64_t *)(r + 1);
	r->entries = (struct entry *)(r->bits + words);
	return r;
}

APB_RAW void apb_record_gone(void *record)
{
	struct record *r = record;

	if (r)
		apb_glue_unmap(r, r->bytes);
}

APB_RAW void *apb_record_kill(void *record, size_t *place, size_t *size,
			      uint32_t stack, uint32_t thread)
{
	struct record *r = record;
	size_t i = at_or_after(r, *place);
	struct entry *e;

	while (i < r->places && r->entries[i].state != APB_SAN_LIVE)
		i = at_or_after(r, i + 1);
	*place = i + 1;
	if (i >= r->places)
		return NULL;
	e = &r->entries[i];
	e->died_stack = stack;
	e->died_thread = thread;
	e->state = APB_SAN_DEAD;
	*size = e->size;
	return (void *)(r->base + i * APB_SAN_ALIGN);
}

/* ---- blocks ----------------------------------------------------------- */

APB_RAW void apb_record_born(void *record, const void *addr, size_t size,
			     uint32_t stack, uint32_t thread)
{
	struct record *r = record;
	size_t i = place(r, addr);
	size_t end = i + (size + APB_SAN_ALIGN - 1) / APB_SAN_ALIGN;
	struct entry *e;

	if (i >= r->places)
		return;
	e = &r->entries[i];
	e->size = size;
	e->born_stack = stack;
	e->born_thread = thread;
	e->died_stack = 0;
	e->state = APB_SAN_LIVE;
	__atomic_or_fetch(&r->bits[i / BITS], (uint64_t)1 << i % BITS,
			  __ATOMIC_RELEASE);
	if (end > r->places)
		end = r->places;
	clear(r, i + 1, end);
	raise_top(r, end > i ? end : i + 1);
}

APB_RAW bool apb_record_died(void *record, const void *addr, size_t size,
			     enum apb_san_free *wrong, uint32_t stack,
			     uint32_t thread)
{
	struct record *r = record;
	size_t i = place(r, addr);
	struct entry *e;

	*wrong = i < r->places ? APB_SAN_FREE_INSIDE : APB_SAN_FREE_WILD;
	if (!begins(r, i) || (uintptr_t)addr % APB_SAN_ALIGN)
		return false;
	e = &r->entries[i];
	*wrong = e->state == APB_SAN_LIVE ? APB_SAN_FREE_SIZE :
					    APB_SAN_FREE_DOUBLE;
	if (e->state != APB_SAN_LIVE || e->size != size)
		return false;
	e->died_stack = stack;
	e->died_thread = thread;
	e->state = APB_SAN_DEAD;
	return true;
}

APB_RAW void apb_record_resized(void *record, const void *addr, size_t size)
{
	struct record *r = record;
	size_t i = place(r, addr);
	size_t end = i + (size + APB_SAN_ALIGN - 1) / APB_SAN_ALIGN;

	if (!begins(r, i))
		return;
	r->entries[i].size = size;
	if (end > r->places)
		end = r->places;
	clear(r, i + 1, end);
	raise_top(r, end);
}

/* ---- asking ----------------------------------------------------------- */

APB_RAW static void tell(const struct record *r, size_t i,
			 struct apb_san_block *block)
{
	const struct entry *e = &r->entries[i];

	block->addr = (const void *)(r->base + i * APB_SAN_ALIGN);
	block->size = e->size;
	block->state = (enum apb_san_state)e->state;
	block->born_stack = e->born_stack;
	block->died_stack = e->died_stack;
	block->born_thread = e->born_thread;
	block->died_thread = e->died_thread;
}

/*
 * Between two blocks it is the live one that is meant, and of two that are
 * alike the nearer: as the tool chooses between blocks of malloc.
 */
APB_RAW static bool left_is_meant(const void *addr,
				  const struct apb_san_block *left,
				  const struct apb_san_block *right)
{
	uintptr_t at = (uintptr_t)addr;

	if (left->state != right->state)
		return left->state == APB_SAN_LIVE;
	return at - ((uintptr_t)left->addr + left->size) <
	       (uintptr_t)right->addr - at;
}

APB_RAW bool apb_record_find(const void *record, const void *addr,
			     struct apb_san_block *block)
{
	const struct record *r = record;
	struct apb_san_block right;
	size_t i, before, after;

	if (!r)
		return false;
	i = place(r, addr);
	if (i >= r->places)
		return false;
	before = at_or_before(r, i);
	after = at_or_after(r, i + 1);
	if (before < r->places) {
		tell(r, before, block);
		if ((uintptr_t)addr - (uintptr_t)block->addr < block->size)
			return true;
	}
	if (after < r->places) {
		tell(r, after, &right);
		if (before == r->places || !left_is_meant(addr, block, &right))
			*block = right;
	}
	return before < r->places || after < r->places;
}

APB_RAW void apb_record_walk(const void *record,
			     void (*fn)(const struct apb_san_block *block,
					void *arg),
			     void *arg)
{
	const struct record *r = record;
	struct apb_san_block block;
	size_t i;

	if (!r)
		return;
	for (i = at_or_after(r, 0); i < r->places; i = at_or_after(r, i + 1)) {
		tell(r, i, &block);
		if (block.state == APB_SAN_LIVE)
			fn(&block, arg);
	}
}
