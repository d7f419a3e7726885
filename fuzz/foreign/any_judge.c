// SPDX-License-Identifier: MIT
/* The oracles for what a call that makes or resizes a block returns. */
#include "any.h"

#include "states.h"

/* Every block's: what the cover can tell apart, and pointers need. */
#define LEAST_ALIGN 8
#define MALLOC_ALIGN 16

size_t any_usable(struct any *r, void *p, size_t size)
{
	size_t usable = size;

	if (target.malloc_usable_size) {
		usable = target.malloc_usable_size(p);
		if (usable < size &&
		    any_broken(r, RULE_USABLE, "%p: usable size %zu of %zu", p,
			       usable, size))
			return 0;
		if (usable < size)
			usable = size;
	}
	/* even a block of nothing is at a place of its own */
	return usable ? usable : 1;
}

/* ---- refusals ----------------------------------------------------------- */

void any_judge_null(struct any *r, const struct any_request *q)
{
	any_note(r, " = NULL (error %d)", q->err);
	feedback_refused(r->op.kind);
	if (r->failed)
		return;
	if (q->refuse) {
		/* of two reasons either will do */
		if (q->err != EINVAL &&
		    (q->err != ENOMEM ||
		     (q->size < ANY_BIG && !any_starved(r))))
			any_broken(r, q->refusal, "the error is %d, not EINVAL",
				   q->err);
		return;
	}
	if (q->align > ANY_ALIGN) {
		if (q->err != EINVAL && q->err != ENOMEM)
			any_broken(r, q->enomem, "the error is %d, not ENOMEM",
				   q->err);
		return;
	}
	if (!q->size && !q->overflow) {
		if (!any_starved(r))
			any_broken(r, RULE_ZERO_SIZE, "NULL for 0 bytes");
		return;
	}
	/* Scudo, as C11 had it, which left this undefined */
	if (q->maker == MADE_ALIGNED && q->size % q->align &&
	    q->err == EINVAL) {
		any_broken(r, RULE_ALIGNED_SIZE,
			   "%zu bytes aligned to %zu are refused: EINVAL",
			   q->size, q->align);
		return;
	}
	if (q->size < ANY_BIG && !q->overflow && !any_starved(r) &&
	    any_broken(r, RULE_NULL,
		       "NULL for %zu bytes, but no call of the kernel failed",
		       q->size))
		return;
	if (q->err != ENOMEM)
		any_broken(r, q->overflow ? RULE_OVERFLOW_ENOMEM : q->enomem,
			   "the error is %d, not ENOMEM", q->err);
}

/* It was served: whether that is a breach. */
static bool judge_success(struct any *r, const struct any_request *q, void *p)
{
	if (q->overflow)
		return any_broken(r, RULE_OVERFLOW,
				  "a product that overflows is served: %p", p);
	if (q->refuse)
		return any_broken(r, q->why,
				  "%zu bytes aligned to %zu are served: %p",
				  q->size, q->align, p);
	if (q->size > ANY_IMPOSSIBLE)
		return any_broken(r, RULE_MUST_FAIL, "%zu bytes are served: %p",
				  q->size, p);
	return false;
}

/* ---- blocks --------------------------------------------------------------*/

/* What every object of @size bytes at most is aligned to. */
static size_t natural(size_t size)
{
	size_t align = LEAST_ALIGN;

	while (align < MALLOC_ALIGN && align * 2 <= size)
		align *= 2;
	return align;
}

static bool judge_align(struct any *r, const struct any_request *q,
			uintptr_t addr)
{
	bool valid = q->align && !(q->align & (q->align - 1));
	size_t align = valid ? q->align : natural(q->size);

	if (addr & (LEAST_ALIGN - 1)) {
		/* beyond what can be told apart: no going on with it */
		any_broken(r, RULE_ALIGN, "%#zx: not aligned to 8",
			   (size_t)addr);
		return false;
	}
	if (addr & (align - 1) &&
	    any_broken(r,
		       !valid	? RULE_ALIGN :
		       !q->size ? RULE_ALIGN_ZERO :
		       q->pages ? RULE_PAGE_ALIGN :
				  RULE_ALIGN_ASKED,
		       "%#zx, %zu bytes: not aligned to %zu", (size_t)addr,
		       q->size, align))
		return false;
	if (!q->align && addr & (MALLOC_ALIGN - 1) &&
	    any_broken(r, RULE_ALIGN_16, "%#zx, %zu bytes: not aligned to 16",
		       (size_t)addr, q->size))
		return false;
	return true;
}

bool any_overlap(struct any *r, const struct any_request *q, void *p,
		 size_t usable)
{
	int other = model_find(&r->model, (uintptr_t)p, usable);
	uintptr_t addr = (uintptr_t)p;
	const struct block *b;
	enum rule rule;

	/* the cover is coarser than a byte, and it is exact about blocks */
	if (other < 0)
		return false;
	b = model_block(&r->model, (unsigned int)other);
	rule = addr < (uintptr_t)b->ptr + b->size + !b->size &&
			       (uintptr_t)b->ptr < addr + q->size + !q->size ?
		       RULE_OVERLAP :
		       RULE_USABLE_OVERLAP;
	any_broken(r, rule,
		   "%p, %zu bytes, %zu usable, overlap the live block in slot "
		   "%d, %p, %zu bytes, %zu usable",
		   p, q->size, usable, other, (void *)b->ptr, b->size,
		   b->usable);
	return false;
}

/* What can be said of a block without looking into it or at others. */
bool any_judge_block(struct any *r, const struct any_request *q, void *p,
		     size_t usable)
{
	uintptr_t addr = (uintptr_t)p;

	if (r->failed || judge_success(r, q, p))
		return false;
	if (addr + usable < addr || addr + usable > ANY_IMPOSSIBLE) {
		any_broken(r, RULE_USABLE, "%p: %zu usable bytes", p, usable);
		return false;
	}
	if (usable < q->least &&
	    any_broken(r, RULE_PVALLOC_SIZE, "%p: %zu usable bytes of %zu", p,
		       usable, q->least))
		return false;
	return judge_align(r, q, addr);
}

/* A live block under it would look like a lack of zeroes. */
static bool judge_zero(struct any *r, const struct any_request *q, void *p,
		       size_t usable)
{
	size_t at = q->size ? content_check_zero(p, q->size) : CONTENT_OK;

	if (at == CONTENT_OK)
		return true;
	if (cover_any(&r->model.cover, (uintptr_t)p, usable))
		return any_overlap(r, q, p, usable);
	any_broken(r, RULE_ZERO, "%p: byte %zu of %zu is %#x", p, at, q->size,
		   ((uint8_t *)p)[at]);
	return false;
}

/* A block that is not kept: given back, unless nothing is to be trusted. */
static bool refuse_block(struct any *r, void *p)
{
	if (!r->failed)
		target.free(p);
	return false;
}

bool any_take(struct any *r, const struct any_request *q, unsigned int slot,
	      void *p)
{
	size_t usable;

	if (!p) {
		any_judge_null(r, q);
		return false;
	}
	if (q->size > ANY_IMPOSSIBLE || q->overflow) {
		judge_success(r, q, p);
		return refuse_block(r, p);
	}
	usable = any_usable(r, p, q->size);
	if (!any_judge_block(r, q, p, usable))
		return refuse_block(r, p);
	if (q->zero && !judge_zero(r, q, p, usable))
		return refuse_block(r, p);
	if (!model_add_usable(&r->model, slot, p, q->size, usable, q->align,
			      q->maker))
		return any_overlap(r, q, p, usable);
	r->bytes += q->size;
	states_block((uintptr_t)p, q->size, usable);
	any_note(r, " = %p, slot %u, %zu usable", p, slot, usable);
	return true;
}

bool any_verify_slot(struct any *r, unsigned int slot, enum rule rule,
		     const char *when)
{
	const struct block *b = model_block(&r->model, slot);
	size_t at = model_verify(&r->model, slot, NULL, SIZE_MAX);

	if (at == CONTENT_OK)
		return true;
	any_broken(r, rule, "slot %u, %p, %zu bytes: byte %zu is %#x, %s", slot,
		   (void *)b->ptr, b->size, at, b->ptr[at], when);
	return false;
}
