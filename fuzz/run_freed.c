// SPDX-License-Identifier: MIT
/*
 * Writes to freed blocks.  The allocator keeps its books elsewhere: whatever a
 * program writes into a block that it has freed, the allocator must go on as if
 * nothing had happened.  So it is done: over pooled blocks freed lately, where
 * no live block is by now, as long as the arena stayed mapped.
 */
#include "runner.h"

#include "simos.h"

#include <string.h>

/* How many are remembered. */
static size_t remembered(const struct run *r)
{
	return r->ring.nr < FREED_BLOCKS ? r->ring.nr : FREED_BLOCKS;
}

void run_freed_reset(struct run *r)
{
	r->ring.nr = 0;
}

void run_freed_add(struct run *r, uintptr_t ptr, size_t usable)
{
	r->ring.block[r->ring.nr++ % FREED_BLOCKS] =
		(struct freed_block){.ptr = ptr, .usable = usable};
}

/* Of the watch: another mapping there may hold what is not to be touched. */
void run_freed_unmapped(void *run, uintptr_t addr, size_t size)
{
	struct run *r = run;
	size_t n = remembered(r);

	for (size_t i = 0; i < n; i++) {
		struct freed_block *f = &r->ring.block[i];

		if (f->ptr < addr + size && addr < f->ptr + f->usable)
			f->ptr = 0;
	}
}

/* What a program might leave there, by @how. */
static bool scribble(struct run *r, const struct freed_block *f,
		     unsigned int how, uint32_t val)
{
	const struct run_observer *o = r->opt->observer;
	void *p = (void *)f->ptr;

	/*
	 * Of the real kernel nobody tells us what is unmapped; and junk is
	 * looked for.
	 */
	if (!f->ptr || r->real || r->head.junk ||
	    !simos_is_mapped(p, f->usable) ||
	    cover_any(&r->model.cover, f->ptr, f->usable))
		return false;
	if (o)
		o->write(p, f->usable, how % 4, val, o->arg);
	switch (how % 4) {
	case 0:
		memset(p, (int)(val & 0xff), f->usable);
		break;
	case 1: /* a free list's link to itself, or to a block beside it */
		for (size_t i = 0; i < f->usable / sizeof(uintptr_t); i++)
			((uintptr_t *)p)[i] = f->ptr + val % 2 * f->usable;
		break;
	default:
		content_write(p, f->usable, content_seed(val, r->model.gen),
			      how & 1);
		break;
	}
	return true;
}

void run_scribble(struct run *r)
{
	const struct freed_block *f;

	if (!r->ring.nr)
		return;
	f = &r->ring.block[(r->ring.nr - 1 - r->op.slot % remembered(r)) %
			   FREED_BLOCKS];
	if (scribble(r, f, r->op.arg, r->op.val))
		run_note(r, " -> %p, %zu bytes", (void *)f->ptr, f->usable);
}

void run_scribble_all(struct run *r)
{
	for (size_t i = 0; i < remembered(r); i++)
		scribble(r, &r->ring.block[i], (unsigned int)i, r->head.seed);
}
