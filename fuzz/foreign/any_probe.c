// SPDX-License-Identifier: MIT
/*
 * Probes: calls at the edges of what the documents define, which random sizes
 * seldom or never make.  They stand where the format has misuse, which no
 * document defines: `arg % PROBE_NR` is the probe, `val` its operand.
 */
#include "any.h"

#include "states.h"

static size_t val(const struct any *r)
{
	return r->op.val;
}

/* Two blocks of nothing: both NULL, or two places. */
static void zero_malloc(struct any *r)
{
	any_make(r, 0);
	if (!r->failed)
		any_make(r, 0);
}

static void *call_calloc_zero(struct any *r, struct any_request *q)
{
	(void)q;
	return r->op.val & 1 ? target.calloc(0, val(r)) :
			       target.calloc(val(r), 0);
}

static void zero_calloc(struct any *r)
{
	struct any_request q = {.enomem = RULE_ENOMEM};

	if (target.calloc)
		any_fill(r, &q, call_calloc_zero);
}

static void *call_realloc_null(struct any *r, struct any_request *q)
{
	(void)r;
	return target.realloc(NULL, q->size);
}

static void realloc_null(struct any *r)
{
	struct any_request q = {.size = val(r) % 8, .enomem = RULE_ENOMEM};

	if (target.realloc)
		any_fill(r, &q, call_realloc_null);
}

static void resize(struct any *r, size_t size)
{
	struct any_request q = {.size = size, .enomem = RULE_ENOMEM};
	int slot = model_slot_to_take(&r->model, r->op.slot);

	r->op.size = size;
	if (target.realloc && slot >= 0)
		any_resize(r, (unsigned int)slot, &q, any_call_realloc);
}

static void realloc_zero(struct any *r)
{
	resize(r, 0);
}

/* Sizes that no address space holds, at the places where sums overflow. */
static size_t giant(const struct any *r)
{
	size_t low = (val(r) >> 2) % 8192;

	switch (val(r) & 3) {
	case 0:
		return SIZE_MAX - low;
	case 1:
		return (size_t)PTRDIFF_MAX - low;
	case 2:
		return (size_t)PTRDIFF_MAX + 1 + low;
	default:
		return ((size_t)1 << (48 + low % 16)) - low / 16 % 64;
	}
}

static void realloc_giant(struct any *r)
{
	resize(r, giant(r));
}

static void free_null(struct any *r)
{
	int err;

	any_enter(r);
	target.free(NULL);
	err = target_errno;
	any_leave(r, 0);
	if (err != ANY_SENTINEL)
		any_broken(r, RULE_FREE_ERRNO, "free(NULL) changed errno to %d",
			   err);
}

static void usable_null(struct any *r)
{
	size_t usable;

	if (!target.malloc_usable_size)
		return;
	usable = target.malloc_usable_size(NULL);
	if (usable)
		any_broken(r, RULE_USABLE_NULL, "it is %zu", usable);
}

static void posix_memalign_invalid(struct any *r)
{
	static const size_t align[] = {
		0,
		1,
		2,
		4,
		3,
		24,
		4097,
		12,
		SIZE_MAX,
		48,
		8191,
		(size_t)7 << 60,
		SIZE_MAX - 7,
		PTRDIFF_MAX,
		40,
	};

	any_make_aligned(r, POSIX_MEMALIGN,
			 align[val(r) % (sizeof(align) / sizeof(align[0]))],
			 (val(r) >> 8) % 200);
}

static void posix_memalign_giant(struct any *r)
{
	any_make_aligned(r, POSIX_MEMALIGN, (size_t)8 << r->op.slot % 20,
			 giant(r));
}

static void aligned_alloc_giant(struct any *r)
{
	any_make_aligned(r, ALIGNED_ALLOC, (size_t)1 << r->op.slot % 22,
			 giant(r));
}

/* Alignments that no address space has room for, or hardly. */
static void giant_alignment(struct any *r)
{
	any_make_aligned(r, (enum any_entry)(val(r) % 3),
			 (size_t)1 << (23 + (val(r) >> 8) % 41),
			 (val(r) >> 16) % 5000);
}

static void zero_aligned(struct any *r)
{
	any_make_aligned(r, (enum any_entry)(val(r) % ENTRY_NR),
			 (size_t)8 << (val(r) >> 8) % 12, 0);
}

static void pages_giant(struct any *r)
{
	any_make_aligned(r, r->op.slot & 1 ? PVALLOC : VALLOC, 0, giant(r));
}

/* Products that overflow to something small. */
static void set_overflow(struct any *r, struct any_request *q)
{
	unsigned int shift = 1 + val(r) % 63;

	*q = (struct any_request){.enomem = RULE_ENOMEM};
	r->op.n = (size_t)1 << shift;
	r->op.size = ((size_t)1 << (64 - shift)) + (val(r) >> 8) % 64;
	q->overflow = __builtin_mul_overflow(r->op.n, r->op.size, &q->size);
	if (q->overflow)
		q->size = 0;
}

static void *call_calloc(struct any *r, struct any_request *q)
{
	(void)q;
	return target.calloc(r->op.n, r->op.size);
}

static void calloc_overflow(struct any *r)
{
	struct any_request q;

	set_overflow(r, &q);
	q.zero = true;
	if (target.calloc && q.overflow)
		any_fill(r, &q, call_calloc);
}

static void *call_reallocarray(struct any *r, void *ptr)
{
	return target.reallocarray(ptr, r->op.n, r->op.size);
}

static void reallocarray_overflow(struct any *r)
{
	int slot = model_slot_to_take(&r->model, r->op.slot);
	struct any_request q;

	set_overflow(r, &q);
	if (target.reallocarray && slot >= 0 && q.overflow)
		any_resize(r, (unsigned int)slot, &q, call_reallocarray);
}

/* What is at the top when everything above it has been freed. */
static void trim(struct any *r)
{
	any_trim(r);
}

static void (*const probes[])(struct any *r) = {
	zero_malloc,	       zero_calloc,
	realloc_null,	       realloc_zero,
	realloc_giant,	       free_null,
	usable_null,	       posix_memalign_invalid,
	posix_memalign_giant,  aligned_alloc_giant,
	giant_alignment,       zero_aligned,
	pages_giant,	       calloc_overflow,
	reallocarray_overflow, trim,
};

#define PROBE_NR (sizeof(probes) / sizeof(probes[0]))

void any_probe(struct any *r)
{
	static const char *const names[PROBE_NR] = {
		"malloc(0)",
		"calloc of nothing",
		"realloc(NULL)",
		"realloc(p, 0)",
		"realloc(p, giant)",
		"free(NULL)",
		"malloc_usable_size(NULL)",
		"posix_memalign(invalid)",
		"posix_memalign(giant)",
		"aligned_alloc(giant)",
		"giant alignment",
		"aligned, 0 bytes",
		"valloc, pvalloc(giant)",
		"calloc overflow",
		"reallocarray overflow",
		"malloc_trim",
	};
	unsigned int probe = r->op.arg % PROBE_NR;

	any_note(r, " -> probe: %s", names[probe]);
	states_probe(probe, r->model.live > 0);
	probes[probe](r);
}
