/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the oracles share.
 *
 * The oracles must find what they are for: the real allocator with one of its
 * functions replaced by a faulty one, an input that comes across it, and the
 * name of the oracle that has to tell.  With the real function in its place
 * the same input is clean.
 */
#ifndef APB_ORACLELIB_H
#define APB_ORACLELIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ops.h"
#include "run.h"

#define ORACLE_OPS 64

struct input {
	uint8_t data[OPS_HEADER_SIZE + ORACLE_OPS * OPS_RECORD_SIZE];
	size_t size;
};

struct faulty {
	const char *name;
	const char *oracle; /* that has to find it */
	void (*input)(struct input *in);
	struct apb_api api; /* what is not NULL is faulty */
};

/* Of the faulty functions; an input begins with them at 0 and NULL. */
extern unsigned int faulty_calls;
extern void *faulty_last;

/* An input; @h: its header, or NULL for a plain one. */
void begin(struct input *in, const struct ops_header *h);
void put(struct input *in, enum op_kind kind, uint8_t arg, uint16_t slot,
	 uint32_t val);
void put_size(struct input *in, enum op_kind kind, uint16_t slot, size_t size);

/* 20 mallocs of 48 bytes and a check; then half of them freed, and a check. */
void in_mallocs(struct input *in);
void in_free(struct input *in);

/* Run @in: the name of the oracle that found something, or "none". */
const char *run(const struct input *in, const struct apb_api *api);
/* What it found. */
extern struct run_finding found;

/* Each of them must be found as it says; fails the test otherwise. */
void find_all(const struct faulty *faulties, size_t n);

#endif /* APB_ORACLELIB_H */
