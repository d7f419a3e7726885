/* SPDX-License-Identifier: MIT */
/*
 * Runs inputs against a library that is not apb: another implementation of
 * run.h, with the same input format, model and content, but oracles that know
 * nothing of the allocator's insides.  Private to its parts:
 *
 *   any.c         the loop; findings; faults; the end of an input
 *   any_alloc.c   operations on blocks
 *   any_judge.c   what they return: the oracles
 *   any_probe.c   calls whose results the documents define and no other record
 *                 makes, in the place of misuse
 *   any_thread.c  played threads: real ones that pass a baton
 *   any_history.c the inputs that ran before
 *
 * A library cannot be reset: what it learnt from an input is there in the next.
 */
#ifndef APB_FOREIGN_ANY_H
#define APB_FOREIGN_ANY_H

#include "hooks.h"
#include "model.h"
#include "rules.h"
#include "run.h"
#include "target.h"

#include <errno.h>

/* No function sets errno to it. */
#define ANY_SENTINEL 4711
/* Less is not refused without a cause. */
#define ANY_BIG ((size_t)1 << 30)
/* An alignment beyond need not be supported. */
#define ANY_ALIGN ((size_t)4 << 20)
/* More does no address space hold. */
#define ANY_IMPOSSIBLE ((size_t)1 << 47)
/* Live bytes of an input, but for single blocks beyond. */
#define ANY_LIVE ((size_t)192 << 20)

/* Bytes of an input that calloc() and realloc() are made to write, at most. */
#define ANY_TOUCH ((size_t)32 << 20)

/* Whose block it is: the class of the model's blocks. */
enum any_maker {
	MADE_PLAIN, /* malloc, calloc, realloc: for free_sized() */
	MADE_ALIGNED, /* aligned_alloc: for free_aligned_sized() */
	MADE_OTHER, /* others: for free() alone */
};

struct any {
	const struct run_options *opt;
	struct ops_header head;
	bool ready, failed;
	const char *phase; /* beside the operations, or NULL */
	const uint8_t *data; /* the input */
	size_t size, nr; /* bytes, operations */
	struct op op;
	size_t index;
	unsigned int left, limit_left; /* operations until a fault ends */
	unsigned int armed; /* calls that may be made to fail; a mask */
	bool limited; /* by RLIMIT_AS */
	size_t bytes; /* live, asked for */
	size_t touched; /* cleared or copied by the target, at most */
	struct hook_counts before; /* the call that is judged */
	struct run_finding finding;
	struct model model;
};

enum any_entry {
	ALIGNED_ALLOC,
	POSIX_MEMALIGN,
	MEMALIGN,
	VALLOC,
	PVALLOC,
	ENTRY_NR
};

/* A call that makes or resizes a block: what was wanted. */
struct any_request {
	size_t size; /* bytes in all */
	size_t align; /* asked for, or 0 */
	enum any_maker maker;
	enum rule enomem; /* of its error */
	bool zero; /* calloc */
	bool overflow; /* size times n */
	bool refuse; /* not to be served: a breach of the rule ... */
	enum rule why;
	enum rule refusal; /* of its error */
	bool pages; /* valloc, pvalloc */
	size_t least; /* usable bytes at least, or 0 */
	int err; /* after the call */
	void *memptr; /* posix_memalign's, after the call */
};

/* ---- any.c -------------------------------------------------------------- */

/* What runs, or ran last. */
const struct any *any_running(void);

/*
 * A rule was broken.  True: it holds, the input ends.  False: it is not asked
 * for, or known; go on.
 */
__attribute__((format(printf, 3, 4))) bool
any_broken(struct any *r, enum rule rule, const char *fmt, ...);

__attribute__((format(printf, 2, 3))) void any_note(struct any *r,
						    const char *fmt, ...);

/* Around each call of the target. */
static inline void any_enter(struct any *r)
{
	hooks_counts(&r->before);
	target_errno = ANY_SENTINEL;
	hooks_enter();
}

void any_leave(struct any *r, size_t size);

/* Whether the kernel refused memory since any_enter(), or may have. */
bool any_starved(const struct any *r);

/* ---- any_judge.c -------------------------------------------------------- */

/* The target's word on it, or @size if it has none. */
size_t any_usable(struct any *r, void *p, size_t size);

/* NULL came back; @err: errno or what posix_memalign() returned. */
void any_judge_null(struct any *r, const struct any_request *q);

/* A block came back: false if it cannot be kept. */
bool any_judge_block(struct any *r, const struct any_request *q, void *p,
		     size_t usable);

/* It overlaps a live block: false. */
bool any_overlap(struct any *r, const struct any_request *q, void *p,
		 size_t usable);

/* Put it into a free slot; false if that was not possible. */
bool any_take(struct any *r, const struct any_request *q, unsigned int slot,
	      void *p);

bool any_verify_slot(struct any *r, unsigned int slot, enum rule rule,
		     const char *when);

/* ---- any_alloc.c -------------------------------------------------------- */

void any_malloc(struct any *r);
void any_calloc(struct any *r);
void any_realloc(struct any *r);
void any_reallocarray(struct any *r);
void any_aligned(struct any *r);
void any_free(struct any *r);
void any_bulk_alloc(struct any *r);
void any_bulk_free(struct any *r);
void any_query(struct any *r);
void any_verify(struct any *r);
void any_trim(struct any *r);

/* Make a block by @call, in the slot that the record says. */
void any_fill(struct any *r, struct any_request *q,
	      void *(*call)(struct any *r, struct any_request *q));
void any_make(struct any *r, size_t size);
void any_make_aligned(struct any *r, enum any_entry entry, size_t align,
		      size_t size);
void any_resize(struct any *r, unsigned int slot, struct any_request *q,
		void *(*call)(struct any *r, void *ptr));
void *any_call_realloc(struct any *r, void *ptr);
void any_free_slot(struct any *r, unsigned int slot, enum op_kind how);

/* Whether @size more bytes are within bounds. */
static inline bool any_room(const struct any *r, size_t size)
{
	return size >= ANY_BIG ? rules_size(size) : r->bytes + size <= ANY_LIVE;
}

/* Whether the target may clear or copy @size more bytes; it may. */
static inline bool any_touch(struct any *r, size_t size)
{
	if (size > ANY_IMPOSSIBLE)
		return true;
	if (size > ANY_TOUCH - r->touched)
		return false;
	r->touched += size;
	return true;
}

/* ---- any_probe.c -------------------------------------------------------- */

void any_probe(struct any *r);

/* ---- any_thread.c ------------------------------------------------------- */

/*
 * Give the baton to a thread, which goes on with @fn and gives it to another
 * one at its end; who calls must return, or any_await() it as thread 0.
 */
typedef void (*any_fn)(struct any *r, unsigned int thread);
void any_pass(struct any *r, unsigned int thread, any_fn fn);
void any_await(struct any *r);

/* It ends; nothing if it has not begun. */
void any_end_thread(struct any *r, unsigned int thread);

/* ---- any_history.c ------------------------------------------------------ */

/* An input begins. */
void any_history(const uint8_t *data, size_t size);

#endif /* APB_FOREIGN_ANY_H */
