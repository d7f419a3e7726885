// SPDX-License-Identifier: MIT
/*
 * Unit tests of C programs: an input that comes across a faulty function, and
 * what the program asserts about it.  That programs compile and run is for
 * fuzz/test_emit.py.
 */
#define _GNU_SOURCE /* open_memstream() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "emit.h"
#include "ops.h"
#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct trace *trace;
static uint8_t data[OPS_HEADER_SIZE + 16 * OPS_RECORD_SIZE];
static size_t size;
static struct run_finding found;
static unsigned int calls;

static void put(enum op_kind kind, uint8_t arg, uint16_t slot, uint32_t val)
{
	ops_encode(data + size, kind, arg, slot, val);
	size += OPS_RECORD_SIZE;
}

static void put_size(enum op_kind kind, uint16_t slot, size_t n)
{
	put(kind, OPS_MODE_EXACT, slot, ops_exact_size(n));
}

/* ---- running ---------------------------------------------------------- */

static void on_finding(const struct run_finding *f, void *arg)
{
	(void)arg;
	found = *f;
	trace_found(trace, f);
}

static void on_op(const struct op *op, size_t index, void *arg)
{
	trace_op(arg, op, index);
}

static void on_write(const void *p, size_t n, unsigned int how, uint32_t val,
		     void *arg)
{
	trace_write(arg, p, n, how, val);
}

static void begin(void)
{
	struct ops_header head = {.seed = 1};

	memset(&found, 0, sizeof(found));
	calls = 0;
	ops_encode_header(data, &head);
	size = OPS_HEADER_SIZE;
}

/* The program for the input with @api in the allocator's place. */
static char *program(const struct apb_api *api, bool plain)
{
	struct run_observer observer = {on_op, on_write, trace};
	struct run_options options = {
		.on_finding = on_finding,
		.observer = &observer,
	};
	struct emit_options o = {.plain = plain, .finding = &found};
	struct ops_header head;
	char *text = NULL;
	size_t len;
	FILE *f;

	ops_header(data, size, &head);
	trace_begin(trace, &head);
	options.api = trace_api(trace, api);
	if (!run_input(data, size, &options))
		o.finding = NULL;
	f = open_memstream(&text, &len);
	assert_non_null(f);
	assert_int_equal(emit_program(f, trace, &o), 0);
	fclose(f);
	return text;
}

static void expect(const struct apb_api *api, const char *oracle,
		   const char *words)
{
	char *text = program(api, false);

	assert_non_null(found.oracle);
	assert_string_equal(found.oracle, oracle);
	if (!strstr(text, words)) {
		print_error("%s: not in the program: %s\n%s", oracle, words,
			    text);
		fail();
	}
	free(text);
}

/* ---- what is faulty --------------------------------------------------- */

static void *misaligned(size_t n)
{
	char *p = apb_malloc(n);

	return ++calls == 3 ? p + 8 : p;
}

static void *same(size_t n)
{
	static void *last;

	if (++calls != 3)
		last = apb_malloc(n);
	return last;
}

static void *lazy(size_t n)
{
	errno = ENOMEM;
	return ++calls == 3 ? NULL : apb_malloc(n);
}

static void *dirty(size_t n, size_t each)
{
	char *p = apb_malloc(n * each);

	memset(p, 1, n * each);
	return p;
}

static void *forgetful(void *ptr, size_t n)
{
	void *p = apb_malloc(n);

	apb_free(ptr);
	return p;
}

static void silent(void *ptr)
{
	(void)ptr;
}

static void clobbering(void *ptr)
{
	apb_free(ptr);
	errno = 1;
}

static struct apb_api api;

static void three_mallocs(void)
{
	begin();
	api = apb_api;
	for (uint16_t i = 0; i < 3; i++)
		put_size(OP_MALLOC, i, 48);
}

/* ---- tests ------------------------------------------------------------ */

static void test_results(void **state)
{
	(void)state;
	three_mallocs();
	api.malloc = misaligned;
	expect(&api, "align", "assert(p[2] && (uintptr_t)p[2] % 16 == 0);");
	three_mallocs();
	api.malloc = same;
	expect(&api, "overlap", "apart(2, 1);");
	three_mallocs();
	api.malloc = lazy;
	expect(&api, "null-without-cause",
	       "p[2] = apb_malloc(48);\n\tassert(p[2]);");
	three_mallocs();
	api.calloc = dirty;
	put(OP_CALLOC, 2 << 3 | OPS_MODE_EXACT, 9, ops_exact_size(70));
	expect(&api, "zero", "p[3] = apb_calloc(70, 1);\n\tzeroed(3, 70);");
	three_mallocs();
	api.realloc = forgetful;
	put_size(OP_REALLOC, 1, 1000);
	expect(&api, "realloc-content",
	       "p[3] = apb_realloc(p[1], 1000);\n\tkept(3, 1, 1000);");
}

static void test_frees(void **state)
{
	(void)state;
	three_mallocs();
	api.free = clobbering;
	put(OP_FREE, 0, 1, 0);
	expect(&api, "errno",
	       "errno = 4711;\n\tapb_free(p[1]);\n\tassert(errno == 4711);");
	three_mallocs();
	api.free = silent;
	put(OP_FREE, 0, 1, 0);
	put(OP_CHECK, 0, 0, 0);
	expect(&api, "accounting", "assert(s.used_bytes == 96);");
}

static void test_misuse(void **state)
{
	(void)state;
	three_mallocs();
	put(OP_FREE, 0, 1, 0);
	api.free = silent;
	put(OP_MISUSE, MISUSE_INTERIOR, 2, 4);
	expect(&api, "misuse-missed",
	       "reports = 0;\n\tapb_free(p[2] + 8);\n\tassert(reports == 1);");
}

static void test_faults(void **state)
{
	char *text;

	(void)state;
	begin();
	put(OP_FAULT, APB_FAULT_FROM | 1 << 2, 0, 2);
	put_size(OP_MALLOC, 0, 100000);
	text = program(&apb_api, false);
	assert_null(found.oracle);
	assert_non_null(strstr(text, "fail(APB_FAULT_FROM, 0x1, 3, "));
	free(text);
	/* of the simulated kernel: what it failed is made to fail */
	begin();
	put(OP_FAULT, APB_FAULT_FROM | 1 << 2 | 0x40, 0, 0);
	put_size(OP_MALLOC, 0, 100000);
	text = program(&apb_api, false);
	assert_non_null(strstr(text, "fail(APB_FAULT_ONCE, 0x1, 1, 0);\n"
				     "\tp[0] = apb_malloc(102400);"));
	free(text);
}

static void test_plain(void **state)
{
	char *text;

	(void)state;
	three_mallocs();
	put(OP_FREE, 0, 1, 0);
	put(OP_MISUSE, MISUSE_INTERIOR, 2, 4);
	put(OP_SETTLE, 0, 0, 0);
	text = program(&apb_api, true);
	assert_null(strstr(text, "apb_"));
	assert_non_null(strstr(text, "p[0] = malloc(48);\n"));
	assert_non_null(strstr(text, "intact(1);\n\tfree(p[1]);\n"));
	free(text);
}

static int setup(void **state)
{
	(void)state;
	trace = trace_new();
	return trace ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	trace_free(trace);
	return 0;
}

int main(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_results), cmocka_unit_test(test_frees),
		cmocka_unit_test(test_misuse),	cmocka_unit_test(test_faults),
		cmocka_unit_test(test_plain),
	};

	return cmocka_run_group_tests(list, setup, teardown);
}
