// SPDX-License-Identifier: MIT
/*
 * Operations on blocks, and the oracles that judge what they return: NULL only
 * with a cause and never without one, alignment, usable size, overlap, mapped,
 * zeroed, content kept, errno.
 */
#include "runner.h"

#include "feedback.h"
#include "simos.h"

#include <errno.h>

/* No function sets errno to it. */
#define SENTINEL 4711
/* What blocks are filled with when they are made, in junk mode. */
#define JUNK 0xa5
/* From here on the real kernel may have no memory for us. */
#define BIG_REQUEST ((size_t)1 << 30)

/* A call that allocates: what was wanted, and how things stood before it. */
struct request {
	size_t size; /* bytes in all */
	size_t align;
	unsigned int cls;
	int refuse; /* errno with which it must be refused, or 0 */
	bool zero;
	bool pooled; /* a pooled block is freed by it */
	struct failures before;
};

/* Just before the call. */
static void open_request(struct run *r, struct request *q)
{
	if (!q->refuse && q->size > PTRDIFF_MAX)
		q->refuse = ENOMEM;
	run_failures(r, &q->before);
	errno = SENTINEL;
}

/* Whether OS calls of a kind failed since open_request(). */
static bool call_failed(const struct run *r, const struct request *q,
			enum apb_os_call call)
{
	struct failures now;

	run_failures(r, &now);
	return now.n[call] != q->before.n[call];
}

/*
 * Before it refuses a block the allocator takes back all free ones and uses or
 * gives back what becomes empty thereby.
 */
static void judge_exhausted(struct run *r, const struct request *q)
{
	struct apb_stats before, after;
	size_t unused = 0;

	r->api->stats(&before);
	if (before.recovered != r->recovered)
		run_fail(r, "accounting",
			 "NULL, but counted as recovered (%lu, was %lu)",
			 (unsigned long)before.recovered,
			 (unsigned long)r->recovered);
	for (int i = 0; q->cls && i < APB_NR_POOL_SIZES; i++)
		if (before.unused_pools[i].size ==
		    before.class_[q->cls - 1].pool_size)
			unused += before.unused_pools[i].nr;
	if (unused || (before.spares && !call_failed(r, q, APB_OS_UNMAP)))
		run_fail(r, "null-without-cause",
			 "NULL for %zu bytes, but %zu pools are unused, %zu "
			 "arenas spare",
			 q->size, unused, before.spares);
	if (before.large_cached && !call_failed(r, q, APB_OS_UNMAP))
		run_fail(r, "null-without-cause",
			 "NULL for %zu bytes, but %zu mappings are cached",
			 q->size, before.large_cached);
	r->api->settle();
	r->api->stats(&after);
	if (after.settled != before.settled)
		run_fail(r, "null-without-cause",
			 "NULL for %zu bytes, but %lu blocks were not settled",
			 q->size,
			 (unsigned long)(after.settled - before.settled));
}

static void judge_null(struct run *r, const struct request *q)
{
	int err = errno;

	run_note(r, " = NULL (errno %d)", err);
	feedback_refused(r->op.kind);
	if (q->refuse) {
		if (err != q->refuse)
			run_fail(r, "errno", "errno is %d, not %d", err,
				 q->refuse);
		return;
	}
	if (err != ENOMEM)
		run_fail(r, "errno", "errno is %d, not ENOMEM", err);
	if (q->size < BIG_REQUEST && !call_failed(r, q, APB_OS_MAP) &&
	    !call_failed(r, q, APB_OS_REMAP))
		run_fail(r, "null-without-cause",
			 "NULL for %zu bytes, but no OS call failed", q->size);
	if (q->size < BIG_REQUEST && !r->failed)
		judge_exhausted(r, q);
}

/*
 * A map call failed: then NULL, or settling must have found memory, or giving
 * back what was retained, and counted it.  Where pooled blocks come or go it may
 * also have been a longer list that could not be had, or the thread's heap:
 * nobody has to know of that.
 */
static void judge_success(struct run *r, const struct request *q)
{
	struct apb_stats stats;

	if (q->refuse) {
		run_fail(r, "must-fail",
			 "%zu bytes aligned to %zu were not refused", q->size,
			 q->align);
		return;
	}
	if (!call_failed(r, q, APB_OS_MAP))
		return;
	r->api->stats(&stats);
	if (stats.recovered == r->recovered && q->cls == MODEL_LARGE &&
	    !q->pooled)
		run_fail(r, "fault-unreported",
			 "a map call failed, but the caller got memory");
	r->recovered = stats.recovered;
}

static bool fail_overlap(struct run *r, void *p, size_t usable)
{
	int other = model_find(&r->model, (uintptr_t)p, usable);
	const struct block *b =
		model_block(&r->model, other < 0 ? 0 : (unsigned int)other);

	run_fail(r, "overlap",
		 "%p, %zu bytes overlap the live block in slot %d, %p, %zu "
		 "bytes",
		 p, usable, other, (void *)b->ptr, b->usable);
	return false;
}

/* What can be said of a block at @p without looking into it or at others. */
static bool judge_block(struct run *r, const struct request *q, void *p)
{
	size_t usable = model_usable(q->cls, q->size), got;
	uintptr_t addr = (uintptr_t)p;
	size_t align = q->align < 16 ? 16 : q->align;

	if (addr & (align - 1)) {
		run_fail(r, "align", "%p is not aligned to %zu", p, align);
		return false;
	}
	if (!r->real && !simos_is_mapped(p, usable)) {
		run_fail(r, "unmapped", "%p, %zu bytes are not all mapped", p,
			 usable);
		return false;
	}
	got = r->api->usable_size(p);
	if (got != usable) {
		run_fail(r, "usable", "%p: usable size %zu, not %zu", p, got,
			 usable);
		return false;
	}
	return true;
}

/* In junk mode a new block is filled. */
static void judge_junk(struct run *r, const uint8_t *p, size_t size)
{
	size_t at, step = size > CONTENT_WHOLE ? 512 : 1;

	for (at = 0; at < size; at += step)
		if (p[at] != JUNK)
			run_fail(r, "junk", "%p: byte %zu of %zu is %#x",
				 (const void *)p, at, size, p[at]);
}

/* The result of an allocation for @slot; false if it was refused or wrong. */
static bool take(struct run *r, const struct request *q, unsigned int slot,
		 void *p)
{
	size_t at, usable;

	if (!p) {
		judge_null(r, q);
		return false;
	}
	judge_success(r, q);
	if (r->failed || !judge_block(r, q, p))
		return false;
	/* a live block under it would look like a lack of zeroes */
	usable = model_usable(q->cls, q->size);
	if (q->zero && cover_any(&r->model.cover, (uintptr_t)p, usable))
		return fail_overlap(r, p, usable);
	if (q->zero && q->size) {
		at = content_check_zero(p, q->size);
		if (at != CONTENT_OK) {
			run_fail(r, "zero", "%p: byte %zu of %zu is %#x", p, at,
				 q->size, ((uint8_t *)p)[at]);
			return false;
		}
	}
	if (r->head.junk && !q->zero)
		judge_junk(r, p, q->size);
	if (!model_add(&r->model, slot, p, q->size, q->align, q->cls))
		return fail_overlap(r, p, usable);
	return true;
}

static void note_block(struct run *r, unsigned int slot)
{
	const struct block *b = model_block(&r->model, slot);

	run_note(r, " = %p, slot %u, %zu usable", (void *)b->ptr, slot,
		 b->usable);
}

static void fill_slot(struct run *r, struct request *q,
		      void *(*call)(struct run *r))
{
	int slot = model_slot_to_fill(&r->model, r->op.slot);
	void *p;

	if (slot < 0)
		return;
	open_request(r, q);
	p = call(r);
	if (take(r, q, (unsigned int)slot, p))
		note_block(r, (unsigned int)slot);
}

static void *call_malloc(struct run *r)
{
	return r->api->malloc(r->op.size);
}

void run_malloc(struct run *r)
{
	struct request q = {
		.size = r->op.size,
		.align = 16,
		.cls = model_class(r->op.size),
	};

	fill_slot(r, &q, call_malloc);
}

static void *call_calloc(struct run *r)
{
	return r->api->calloc(r->op.n, r->op.size);
}

/* A request for an array; refused if its size overflows. */
static struct request array_request(const struct run *r)
{
	struct request q = {.align = 16};

	if (__builtin_mul_overflow(r->op.n, r->op.size, &q.size))
		q.refuse = ENOMEM;
	q.cls = model_class(q.size);
	return q;
}

void run_calloc(struct run *r)
{
	struct request q = array_request(r);

	q.zero = true;
	fill_slot(r, &q, call_calloc);
}

static void *call_aligned(struct run *r)
{
	return r->api->aligned_alloc(r->op.align, r->op.size);
}

void run_aligned(struct run *r)
{
	size_t align = r->op.align, size = r->op.size;
	struct request q = {.size = size, .align = align};

	if (!align || (align & (align - 1)))
		q.refuse = EINVAL;
	else if (size > (size_t)PTRDIFF_MAX - align)
		q.refuse = ENOMEM;
	else
		q.cls = model_class_aligned(align, size);
	fill_slot(r, &q, call_aligned);
}

/* For a double free later on. */
static void remember_freed(struct run *r, const struct block *b)
{
	r->freed.ptr = (uintptr_t)b->ptr;
	r->freed.size = b->size;
	r->freed.large = b->cls == MODEL_LARGE;
	r->freed.index = r->index;
	if (b->cls != MODEL_LARGE)
		run_freed_add(r, (uintptr_t)b->ptr, b->usable);
}

/* ---- realloc ---------------------------------------------------------- */

static bool judge_place(struct run *r, const struct block *b, void *p,
			unsigned int cls, size_t size)
{
	bool same = cls == b->cls && model_usable(cls, size) == b->usable;
	bool moved = p != b->ptr;

	/* large blocks may stay when their size changes, or not */
	if (same ? !moved : moved || (cls == MODEL_LARGE && cls == b->cls))
		return true;
	run_fail(r, "realloc-inplace",
		 "%p, usable %zu, to %zu bytes: %s, the size class is %s",
		 (void *)b->ptr, b->usable, size, moved ? "moved" : "in place",
		 same ? "the same" : "another");
	return false;
}

static void resize(struct run *r, struct request *q, unsigned int slot,
		   void *(*call)(struct run *r, void *ptr))
{
	struct block *b = model_block(&r->model, slot);
	size_t limit = b->size < q->size ? b->size : q->size;
	uint8_t *old = b->ptr;
	void *p;

	run_note(r, " of slot %u, %p, %zu bytes", slot, (void *)b->ptr,
		 b->size);
	q->pooled = b->cls != MODEL_LARGE;
	model_before_resize(&r->model, slot, limit);
	open_request(r, q);
	p = call(r, b->ptr);
	if (!p) {
		judge_null(r, q);
		if (!r->failed && r->api->usable_size(b->ptr) != b->usable)
			run_fail(r, "usable", "changed by a failed realloc");
		if (!r->failed)
			run_verify_slot(r, slot, "realloc-content",
					"after a failed realloc");
		return;
	}
	judge_success(r, q);
	if (r->failed || !judge_place(r, b, p, q->cls, q->size) ||
	    !judge_block(r, q, p))
		return;
	if (p != old && model_overlaps_other(&r->model, slot, (uintptr_t)p,
					     model_usable(q->cls, q->size))) {
		fail_overlap(r, p, model_usable(q->cls, q->size));
		return;
	}
	if (model_verify(&r->model, slot, p, limit) != CONTENT_OK) {
		run_fail(r, "realloc-content",
			 "%p -> %p: byte %zu of the first %zu was not kept",
			 (void *)b->ptr, p,
			 model_verify(&r->model, slot, p, limit), limit);
		return;
	}
	if (p != old)
		remember_freed(r, b);
	model_resize(&r->model, slot, p, q->size, q->cls);
	note_block(r, slot);
}

static void *call_realloc(struct run *r, void *ptr)
{
	return r->api->realloc(ptr, r->op.size);
}

static void *call_realloc_null(struct run *r)
{
	return r->api->realloc(NULL, r->op.size);
}

void run_realloc(struct run *r)
{
	int slot = model_slot_to_take(&r->model, r->op.slot);
	struct request q = {
		.size = r->op.size,
		.align = 16,
		.cls = model_class(r->op.size),
	};

	if (slot < 0)
		fill_slot(r, &q, call_realloc_null);
	else
		resize(r, &q, (unsigned int)slot, call_realloc);
}

static void *call_reallocarray(struct run *r, void *ptr)
{
	return r->api->reallocarray(ptr, r->op.n, r->op.size);
}

static void *call_reallocarray_null(struct run *r)
{
	return r->api->reallocarray(NULL, r->op.n, r->op.size);
}

void run_reallocarray(struct run *r)
{
	int slot = model_slot_to_take(&r->model, r->op.slot);
	struct request q = array_request(r);

	if (slot < 0)
		fill_slot(r, &q, call_reallocarray_null);
	else
		resize(r, &q, (unsigned int)slot, call_reallocarray);
}

/* ---- free ------------------------------------------------------------- */

bool run_verify_slot(struct run *r, unsigned int slot, const char *oracle,
		     const char *when)
{
	const struct block *b = model_block(&r->model, slot);
	size_t at = model_verify(&r->model, slot, NULL, SIZE_MAX);

	if (at == CONTENT_OK)
		return true;
	run_fail(r, oracle, "slot %u, %p, %zu bytes: byte %zu is %#x, %s", slot,
		 (void *)b->ptr, b->size, at, b->ptr[at], when);
	return false;
}

void run_free_slot(struct run *r, unsigned int slot, enum op_kind how)
{
	/* a copy: the model reuses its place */
	const struct block b = *model_block(&r->model, slot);

	if (!run_verify_slot(r, slot, "content", "before its free"))
		return;
	remember_freed(r, &b);
	if (b.thread != r->thread)
		feedback_remote(r->thread, b.thread, b.cls);
	model_remove(&r->model, slot);
	errno = SENTINEL;
	/* an aligned block may be of a class that its size alone is not */
	if (how == OP_FREE_SIZED &&
	    (b.cls != model_class(b.size) || b.align > MODEL_PAGE))
		how = OP_FREE_ALIGNED_SIZED;
	if (how == OP_FREE_SIZED)
		r->api->free_sized(b.ptr, b.size);
	else if (how == OP_FREE_ALIGNED_SIZED)
		r->api->free_aligned_sized(b.ptr, b.align, b.size);
	else
		r->api->free(b.ptr);
	if (errno != SENTINEL)
		run_fail(r, "errno", "free of %p changed errno to %d",
			 (void *)b.ptr, errno);
}

void run_free(struct run *r)
{
	int slot = model_slot_to_take(&r->model, r->op.slot);
	const struct block *b;

	if (slot < 0)
		return;
	b = model_block(&r->model, (unsigned int)slot);
	run_note(r, " -> slot %d, %p, %zu bytes", slot, (void *)b->ptr,
		 b->size);
	run_free_slot(r, (unsigned int)slot, r->op.kind);
}

/* ---- many at once, content -------------------------------------------- */

void run_bulk_alloc(struct run *r)
{
	unsigned int from = r->op.slot;
	size_t i;

	for (i = 0; i < r->op.n && !r->failed; i++) {
		int slot = model_next_free(&r->model, from);
		struct request q = {
			.size = r->op.size,
			.align = 16,
			.cls = model_class(r->op.size),
		};

		if (slot < 0)
			break;
		open_request(r, &q);
		if (!take(r, &q, (unsigned int)slot,
			  r->api->malloc(r->op.size)))
			break;
		from = (unsigned int)slot + 1;
	}
	run_note(r, " = %zu blocks", i);
}

void run_bulk_free(struct run *r)
{
	struct model *m = &r->model;
	size_t i, at = m->live ? r->op.slot % m->live : 0;

	for (i = 0; i < r->op.n && m->live && !r->failed; i++) {
		at %= m->live;
		run_free_slot(r, m->blocks[at].slot, OP_FREE);
		at += r->op.stride;
	}
	run_note(r, " = %zu blocks", i);
}

void run_usable(struct run *r)
{
	int slot = model_slot_to_take(&r->model, r->op.slot);
	const struct block *b;
	size_t usable;

	if (slot < 0)
		return;
	b = model_block(&r->model, (unsigned int)slot);
	usable = r->api->usable_size(b->ptr);
	run_note(r, " -> slot %d, %p: %zu", slot, (void *)b->ptr, usable);
	if (usable != b->usable)
		run_fail(r, "usable", "%p: usable size %zu, not %zu",
			 (void *)b->ptr, usable, b->usable);
	else if (run_verify_slot(r, (unsigned int)slot, "content", "now"))
		model_fill(&r->model, (unsigned int)slot);
}

void run_verify(struct run *r)
{
	for (size_t i = 0; i < r->model.live; i++)
		if (!run_verify_slot(r, r->model.blocks[i].slot, "content",
				     "now"))
			break;
}
