/* SPDX-License-Identifier: MIT */
/*
 * What emit.c and the parts of it share.  Private to them.
 *
 *   emit.c         the program as a whole: its top, what is in a loop
 *   emit_calls.c   one call after the other
 *   emit_oracle.c  the assertions for what was found, about the last call
 *   emit_text.c    the functions that programs are made of
 */
#ifndef APB_FUZZ_EMITTER_H
#define APB_FUZZ_EMITTER_H

#include "emit.h"

/* A call, and what it made the kernel do. */
struct call {
	const struct trace_event *event;
	const struct trace_event *os; /* nr_os of them */
	size_t nr_os;
};

/* What is known of a block while the program is written. */
struct made {
	size_t size, usable, align;
	unsigned int cls;
	bool live;
};

/* Parts of a program, each with what it needs; in the order they stand in. */
enum part {
	PART_BLOCKS,
	PART_FILL,
	PART_MADE,
	PART_MADE_OR_NULL, /* the same, where a fault may be armed */
	PART_ZEROED,
	PART_HOLDS,
	PART_KEPT,
	PART_INTACT,
	PART_STAYS,
	PART_HIDE,
	PART_APART,
	PART_APART_PLAIN,
	PART_FAIL,
	PART_REPORTS,
	PART_THREADS,
	PART_PTHREADS,
	PART_STATS,
	PART_BEFORE,
	PART_OTHER,
	PART_NR
};

struct emit {
	FILE *to;
	const struct trace *t;
	const struct emit_options *o;
	const char *prefix; /* of the functions' names */
	struct call *call;
	size_t nr;
	size_t at; /* that is printed; nr: behind all of them */
	struct made *made;
	unsigned int needs; /* 1u << enum part */
	unsigned int tables; /* printed so far */
	/* plain, and there are threads: the body is functions, one after
	 * another, and this is main(), which has the threads call them */
	FILE *turns;
	unsigned int turn; /* functions printed so far */
	unsigned int thread; /* that calls the one that is printed */
	bool faults; /* calls of the kernel fail somewhere in it */
	bool armed; /* a fault, by the input itself */
	bool misuse;
	size_t option[APB_OPT_NR]; /* as it is now */
};

/* ---- emit.c */

/* A line of the program, indented. */
__attribute__((format(printf, 2, 3))) void line(struct emit *e, const char *fmt,
						...);
void need(struct emit *e, enum part part);
bool is_scripted(const struct emit *e);
/*
 * Print @fmt, in which a %s stands for a block's number, for each live block;
 * how many.
 */
size_t each_live(struct emit *e, const char *fmt, uint32_t except);

/* Another thread goes on, or the one that runs ends. */
void next_turn(struct emit *e, const struct trace_event *v);

/* ---- emit_calls.c */

/* How a size is written, in @buf. */
char *number_text(struct emit *e, size_t n, char *buf, size_t len);
/* Print a call, with what is done before and after it. */
void emit_call(struct emit *e, const struct call *c, bool last);
/* What is printed of a call that is one of many, for block number @k. */
void emit_alloc_text(struct emit *e, const struct call *c, const char *k,
		     const char *indent);
void emit_free_text(struct emit *e, const struct call *c, const char *k,
		    const char *indent);
/* A block comes or goes. */
void note_call(struct emit *e, const struct call *c);
/* Whether the kernel failed a call in it that no fault of the input's did. */
bool must_arm(const struct emit *e, const struct call *c);
/* The bytes that a call asks for, and with what errno it has to be refused. */
size_t wanted(const struct trace_event *v, int *refuse);

/* ---- emit_oracle.c */

/* Before and after the last call; after it, what is found in the end. */
void oracle_before(struct emit *e, const struct call *c);
/* Whether what is usually said of the call's result would be wrong. */
bool oracle_after(struct emit *e, const struct call *c);
void oracle_end(struct emit *e);

/* ---- emit_text.c */

void emit_parts(struct emit *e, FILE *to);
void emit_kernel(const struct emit *e, FILE *to);

#endif /* APB_FUZZ_EMITTER_H */
