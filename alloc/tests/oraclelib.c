// SPDX-License-Identifier: MIT
/* What the tests of the oracles share; see oraclelib.h. */
#include "oraclelib.h"

#include <string.h>

unsigned int faulty_calls;
void *faulty_last;

/* ---- inputs ----------------------------------------------------------- */

void begin(struct input *in, const struct ops_header *h)
{
	static const struct ops_header plain = {.seed = 1};

	ops_encode_header(in->data, h ? h : &plain);
	in->size = OPS_HEADER_SIZE;
}

void put(struct input *in, enum op_kind kind, uint8_t arg, uint16_t slot,
	 uint32_t val)
{
	assert_true(in->size < sizeof(in->data));
	ops_encode(in->data + in->size, kind, arg, slot, val);
	in->size += OPS_RECORD_SIZE;
}

void put_size(struct input *in, enum op_kind kind, uint16_t slot, size_t size)
{
	put(in, kind, OPS_MODE_EXACT, slot, ops_exact_size(size));
}

void in_mallocs(struct input *in)
{
	begin(in, NULL);
	for (uint16_t slot = 0; slot < 20; slot++)
		put_size(in, OP_MALLOC, slot, 48);
	put(in, OP_CHECK, 0, 0, 0);
}

void in_free(struct input *in)
{
	in_mallocs(in);
	for (uint16_t slot = 0; slot < 20; slot += 2)
		put(in, OP_FREE, 0, slot, 0);
	put(in, OP_CHECK, 0, 0, 0);
}

/* ---- running ---------------------------------------------------------- */

/* The real allocator with what is faulty in its place. */
static struct apb_api mix(const struct apb_api *faulty)
{
	struct apb_api api = apb_api;
	void (*functions[sizeof(api) / sizeof(void (*)(void))])(void);
	void (*real[sizeof(api) / sizeof(void (*)(void))])(void);

	memcpy(functions, faulty, sizeof(functions));
	memcpy(real, &api, sizeof(real));
	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++)
		if (functions[i])
			real[i] = functions[i];
	memcpy(&api, real, sizeof(api));
	return api;
}

struct run_finding found;

static void on_finding(const struct run_finding *f, void *arg)
{
	(void)arg;
	found = *f;
}

const char *run(const struct input *in, const struct apb_api *api)
{
	struct run_options options = {
		.on_finding = on_finding,
		.api = api,
	};

	faulty_calls = 0;
	faulty_last = NULL;
	memset(&found, 0, sizeof(found));
	if (!run_input(in->data, in->size, &options))
		return "none";
	assert_non_null(found.oracle);
	assert_true(found.words[0] && found.detail[0]);
	return found.oracle;
}

static void find(const struct faulty *f)
{
	struct apb_api api = mix(&f->api);
	struct input in;
	const char *oracle;

	f->input(&in);
	assert_string_equal(run(&in, NULL), "none");
	oracle = run(&in, &api);
	if (strcmp(oracle, f->oracle)) {
		print_error("%s: %s, not %s\n", f->name, oracle, f->oracle);
		run_print_finding(&found, stderr);
		fail();
	}
	/* and it has left nothing behind */
	assert_int_equal(apb_reset(), 0);
	assert_string_equal(run(&in, NULL), "none");
}

void find_all(const struct faulty *faulties, size_t n)
{
	for (size_t i = 0; i < n; i++)
		find(&faulties[i]);
}
