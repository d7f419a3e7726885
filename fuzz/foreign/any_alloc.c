// SPDX-License-Identifier: MIT
/* Operations on blocks.  A function that is missing has another one's place. */
#include "any.h"

#include "states.h"

#define PAGE ((size_t)4096)

/* ---- new blocks --------------------------------------------------------- */

/* posix_memalign() failed: it leaves what it was to set. */
static void judge_memptr(struct any *r, const struct any_request *q)
{
	if (q->memptr && q->memptr != r)
		any_broken(r, RULE_MEMALIGN_PTR,
			   "posix_memalign returned %d and set *memptr to %p",
			   q->err, q->memptr);
	else if (!q->memptr)
		any_broken(r, RULE_MEMALIGN_SAME,
			   "posix_memalign returned %d and set *memptr to NULL",
			   q->err);
}

void any_fill(struct any *r, struct any_request *q,
	      void *(*call)(struct any *r, struct any_request *q))
{
	int slot = model_slot_to_fill(&r->model, r->op.slot), returned;
	void *p;

	if (slot < 0 || !any_room(r, q->size) ||
	    (q->zero && !any_touch(r, q->size)))
		return;
	any_enter(r);
	q->err = 0;
	p = call(r, q);
	returned = q->err;
	if (!q->err)
		q->err = target_errno;
	any_leave(r, q->size);
	if (returned)
		judge_memptr(r, q);
	any_take(r, q, (unsigned int)slot, p);
}

static void *call_malloc(struct any *r, struct any_request *q)
{
	(void)r;
	return target.malloc(q->size);
}

void any_make(struct any *r, size_t size)
{
	struct any_request q = {.size = size, .enomem = RULE_ENOMEM};

	any_fill(r, &q, call_malloc);
}

void any_malloc(struct any *r)
{
	any_make(r, r->op.size);
}

static void *call_calloc(struct any *r, struct any_request *q)
{
	(void)q;
	return target.calloc(r->op.n, r->op.size);
}

static struct any_request array_request(const struct any *r)
{
	struct any_request q = {.enomem = RULE_ENOMEM};

	q.overflow = __builtin_mul_overflow(r->op.n, r->op.size, &q.size);
	if (q.overflow)
		q.size = 0;
	return q;
}

void any_calloc(struct any *r)
{
	struct any_request q = array_request(r);

	q.zero = true;
	if (target.calloc)
		any_fill(r, &q, call_calloc);
	else if (!q.overflow)
		any_make(r, q.size);
}

/* ---- aligned ------------------------------------------------------------ */

/* By the slot's number: what the format leaves open. */
static const uint8_t entry_of[8] = {
	ALIGNED_ALLOC,	ALIGNED_ALLOC, ALIGNED_ALLOC, POSIX_MEMALIGN,
	POSIX_MEMALIGN, MEMALIGN,      VALLOC,	      PVALLOC,
};

static const char *const entry_names[ENTRY_NR] = {
	"aligned_alloc", "posix_memalign", "memalign", "valloc", "pvalloc"};

static bool has(enum any_entry entry)
{
	switch (entry) {
	case ALIGNED_ALLOC:
		return target.aligned_alloc;
	case POSIX_MEMALIGN:
		return target.posix_memalign;
	case MEMALIGN:
		return target.memalign;
	case VALLOC:
		return target.valloc;
	default:
		return target.pvalloc;
	}
}

/* A function for the record, or the first one after it that there is. */
static int choose_entry(const struct any *r)
{
	unsigned int first = entry_of[r->op.slot % 8];

	for (unsigned int i = 0; i < ENTRY_NR; i++)
		if (has((enum any_entry)((first + i) % ENTRY_NR)))
			return (int)((first + i) % ENTRY_NR);
	return -1;
}

static void *call_posix_memalign(struct any *r, struct any_request *q)
{
	q->memptr = r; /* an address that no block has */
	q->err = target.posix_memalign(&q->memptr, q->align, q->size);
	return q->err ? NULL : q->memptr;
}

static void *call_aligned_alloc(struct any *r, struct any_request *q)
{
	(void)r;
	return target.aligned_alloc(q->align, q->size);
}

static void *call_memalign(struct any *r, struct any_request *q)
{
	(void)r;
	return target.memalign(q->align, q->size);
}

static void *call_valloc(struct any *r, struct any_request *q)
{
	(void)r;
	return target.valloc(q->size);
}

static void *call_pvalloc(struct any *r, struct any_request *q)
{
	(void)r;
	return target.pvalloc(q->size);
}

static void *(*const call_entry[ENTRY_NR])(struct any *r,
					   struct any_request *q) = {
	[ALIGNED_ALLOC] = call_aligned_alloc,
	[POSIX_MEMALIGN] = call_posix_memalign,
	[MEMALIGN] = call_memalign,
	[VALLOC] = call_valloc,
	[PVALLOC] = call_pvalloc,
};

/* What the documents say of an alignment, and what is our own restriction. */
static bool set_alignment(struct any_request *q, enum any_entry entry)
{
	bool power = q->align && !(q->align & (q->align - 1));

	switch (entry) {
	case ALIGNED_ALLOC:
		q->refuse = !power;
		q->why = RULE_ALIGNED_VALID;
		q->refusal = RULE_ALIGNED_EINVAL;
		q->maker = power ? MADE_ALIGNED : MADE_OTHER;
		return true;
	case POSIX_MEMALIGN:
		q->refuse = !power || q->align % sizeof(void *);
		q->why = q->refusal = RULE_MEMALIGN_EINVAL;
		q->enomem = RULE_MEMALIGN_ENOMEM;
		return true;
	case MEMALIGN:
		/* its manual does not define others */
		return power;
	case PVALLOC:
		q->least = (q->size + PAGE - 1) & ~(PAGE - 1);
		/* fall through */
	default:
		q->align = PAGE;
		q->pages = true;
		return true;
	}
}

void any_make_aligned(struct any *r, enum any_entry entry, size_t align,
		      size_t size)
{
	struct any_request q = {.size = size,
				.align = align,
				.maker = MADE_OTHER,
				.enomem = RULE_ALIGNED_ENOMEM};

	if (!has(entry) || !set_alignment(&q, entry))
		return;
	any_note(r, ", %s(%zu, %zu)", entry_names[entry], q.align, size);
	any_fill(r, &q, call_entry[entry]);
}

void any_aligned(struct any *r)
{
	int entry = choose_entry(r);

	if (entry >= 0)
		any_make_aligned(r, (enum any_entry)entry, r->op.align,
				 r->op.size);
}

/* ---- realloc ------------------------------------------------------------ */

void *any_call_realloc(struct any *r, void *ptr)
{
	return target.realloc(ptr, r->op.size);
}

/* The block is gone, by realloc(p, 0). */
static void drop(struct any *r, unsigned int slot)
{
	const struct block *b = model_block(&r->model, slot);

	r->bytes -= b->size;
	states_freed((uintptr_t)b->ptr);
	model_remove(&r->model, slot);
}

static void failed_resize(struct any *r, struct any_request *q,
			  unsigned int slot)
{
	const struct block *b = model_block(&r->model, slot);

	any_judge_null(r, q);
	if (r->failed)
		return;
	if (target.malloc_usable_size &&
	    target.malloc_usable_size(b->ptr) != b->usable &&
	    target.malloc_usable_size(b->ptr) + !b->size != b->usable &&
	    any_broken(r, RULE_REALLOC_FAILED, "%p: usable size %zu, was %zu",
		       (void *)b->ptr, target.malloc_usable_size(b->ptr),
		       b->usable))
		return;
	any_verify_slot(r, slot, RULE_REALLOC_FAILED, "after it failed");
}

/* To a size that is not 0, at least not by intention. */
static void resized(struct any *r, struct any_request *q, unsigned int slot,
		    void *p, size_t limit)
{
	const struct block old = *model_block(&r->model, slot);
	size_t usable, at;

	if (q->size > ANY_IMPOSSIBLE || q->overflow) {
		any_judge_block(r, q, p, 1);
		if (r->failed)
			return;
		/* nobody knows what it is now */
		drop(r, slot);
		target.free(p);
		return;
	}
	usable = any_usable(r, p, q->size);
	if (!any_judge_block(r, q, p, usable))
		return;
	at = model_verify(&r->model, slot, p, limit);
	/* with a live block under it the content is wrong, too */
	if (at != CONTENT_OK && p != old.ptr &&
	    model_overlaps_other(&r->model, slot, (uintptr_t)p, usable)) {
		any_overlap(r, q, p, usable);
		return;
	}
	if (at != CONTENT_OK) {
		any_broken(r, RULE_REALLOC_CONTENT,
			   "%p -> %p: byte %zu of the first %zu was not kept",
			   (void *)old.ptr, p, at, limit);
		return;
	}
	states_resized(p != old.ptr, old.size, q->size);
	if (p != old.ptr) {
		states_freed((uintptr_t)old.ptr);
		states_block((uintptr_t)p, q->size, usable);
	}
	if (!model_resize_usable(&r->model, slot, p, q->size, usable,
				 MADE_PLAIN)) {
		any_overlap(r, q, p, usable);
		return;
	}
	r->bytes += q->size - old.size;
	any_note(r, " = %p, %zu usable", p, usable);
}

void any_resize(struct any *r, unsigned int slot, struct any_request *q,
		void *(*call)(struct any *r, void *ptr))
{
	const struct block *b = model_block(&r->model, slot);
	size_t limit = b->size < q->size ? b->size : q->size;
	bool zero = !q->size && !q->overflow;
	void *p;

	q->enomem = RULE_REALLOC_ENOMEM;
	if (!any_room(r, q->size) || !any_touch(r, limit))
		return;
	any_note(r, " of slot %u, %p, %zu bytes", slot, (void *)b->ptr,
		 b->size);
	model_before_resize(&r->model, slot, limit);
	any_enter(r);
	p = call(r, b->ptr);
	q->err = target_errno;
	any_leave(r, q->size);
	if (p && zero)
		any_broken(r, RULE_REALLOC_ZERO, "realloc(p, 0) returns %p", p);
	if (r->failed)
		return;
	if (p)
		resized(r, q, slot, p, limit);
	else if (zero)
		drop(r, slot); /* in C17 as it likes; its word for it is this */
	else
		failed_resize(r, q, slot);
}

static void *call_realloc_null(struct any *r, struct any_request *q)
{
	(void)r;
	return target.realloc(NULL, q->size);
}

void any_realloc(struct any *r)
{
	int slot = model_slot_to_take(&r->model, r->op.slot);
	struct any_request q = {.size = r->op.size, .enomem = RULE_ENOMEM};

	if (!target.realloc)
		return;
	if (slot < 0)
		any_fill(r, &q, call_realloc_null);
	else
		any_resize(r, (unsigned int)slot, &q, any_call_realloc);
}

static void *call_reallocarray(struct any *r, void *ptr)
{
	return target.reallocarray(ptr, r->op.n, r->op.size);
}

static void *call_reallocarray_null(struct any *r, struct any_request *q)
{
	(void)q;
	return target.reallocarray(NULL, r->op.n, r->op.size);
}

void any_reallocarray(struct any *r)
{
	int slot = model_slot_to_take(&r->model, r->op.slot);
	struct any_request q = array_request(r);

	if (!target.reallocarray) {
		if (q.overflow)
			return;
		r->op.size = q.size;
		any_realloc(r);
	} else if (slot < 0) {
		any_fill(r, &q, call_reallocarray_null);
	} else {
		any_resize(r, (unsigned int)slot, &q, call_reallocarray);
	}
}

/* ---- free --------------------------------------------------------------- */

static void call_free(const struct block *b, enum op_kind how)
{
	if (how == OP_FREE_SIZED && target.free_sized && b->cls == MADE_PLAIN)
		target.free_sized(b->ptr, b->size);
	else if (how == OP_FREE_ALIGNED_SIZED && target.free_aligned_sized &&
		 b->cls == MADE_ALIGNED)
		target.free_aligned_sized(b->ptr, b->align, b->size);
	else
		target.free(b->ptr);
}

void any_free_slot(struct any *r, unsigned int slot, enum op_kind how)
{
	/* a copy: the model reuses its place */
	const struct block b = *model_block(&r->model, slot);
	int err;

	if (!any_verify_slot(r, slot, RULE_CONTENT, "before its free"))
		return;
	if (b.thread != r->model.thread)
		feedback_remote(r->model.thread, b.thread, 0);
	drop(r, slot);
	any_enter(r);
	call_free(&b, how);
	err = target_errno;
	any_leave(r, b.size);
	if (err != ANY_SENTINEL)
		any_broken(r,
			   any_starved(r) ? RULE_FREE_ERRNO_FAULT :
					    RULE_FREE_ERRNO,
			   "free of %p, %zu bytes changed errno to %d",
			   (void *)b.ptr, b.size, err);
}

void any_free(struct any *r)
{
	int slot = model_slot_to_take(&r->model, r->op.slot);
	const struct block *b;

	if (slot < 0)
		return;
	b = model_block(&r->model, (unsigned int)slot);
	any_note(r, " -> slot %d, %p, %zu bytes", slot, (void *)b->ptr,
		 b->size);
	any_free_slot(r, (unsigned int)slot, r->op.kind);
}

/* ---- many at once, content ---------------------------------------------- */

void any_bulk_alloc(struct any *r)
{
	unsigned int from = r->op.slot;
	size_t i;

	for (i = 0; i < r->op.n && !r->failed; i++) {
		int slot = model_next_free(&r->model, from);
		struct any_request q = {.size = r->op.size,
					.enomem = RULE_ENOMEM};
		void *p;

		if (slot < 0 || !any_room(r, q.size))
			break;
		any_enter(r);
		p = target.malloc(q.size);
		q.err = target_errno;
		any_leave(r, q.size);
		if (!any_take(r, &q, (unsigned int)slot, p))
			break;
		from = (unsigned int)slot + 1;
	}
	any_note(r, " = %zu blocks", i);
}

void any_bulk_free(struct any *r)
{
	struct model *m = &r->model;
	size_t i, at = m->live ? r->op.slot % m->live : 0;

	for (i = 0; i < r->op.n && m->live && !r->failed; i++) {
		at %= m->live;
		any_free_slot(r, m->blocks[at].slot, OP_FREE);
		at += r->op.stride;
	}
	any_note(r, " = %zu blocks", i);
}

/* The usable size is what it was; then all of it is written to. */
void any_query(struct any *r)
{
	int slot = model_slot_to_take(&r->model, r->op.slot);
	const struct block *b;
	size_t usable;

	if (slot < 0)
		return;
	b = model_block(&r->model, (unsigned int)slot);
	usable = any_usable(r, b->ptr, b->size);
	any_note(r, " -> slot %d, %p: %zu", slot, (void *)b->ptr, usable);
	if (usable != b->usable)
		any_broken(r, RULE_USABLE_CHANGES,
			   "%p: usable size %zu, was %zu", (void *)b->ptr,
			   usable, b->usable);
	else if (any_verify_slot(r, (unsigned int)slot, RULE_CONTENT, "now"))
		model_fill(&r->model, (unsigned int)slot);
}

void any_verify(struct any *r)
{
	for (size_t i = 0; i < r->model.live; i++)
		if (!any_verify_slot(r, r->model.blocks[i].slot, RULE_CONTENT,
				     "now"))
			break;
}

void any_trim(struct any *r)
{
	int done;

	if (!target.malloc_trim)
		return;
	any_enter(r);
	done = target.malloc_trim(r->op.val % 3 * PAGE);
	any_leave(r, 0);
	any_note(r, " = %d", done);
	if (done != 0 && done != 1)
		any_broken(r, RULE_TRIM, "it returned %d", done);
}
