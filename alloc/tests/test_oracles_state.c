// SPDX-License-Identifier: MIT
/*
 * Unit tests of the oracles for misuse, faults, and the allocator as a whole.
 */
#include "oraclelib.h"

#include <errno.h>
#include <string.h>

#include "simos.h"

/* ---- inputs ----------------------------------------------------------- */

/* The next map fails. */
static void put_fault(struct input *in, bool in_kernel)
{
	put(in, OP_FAULT, APB_FAULT_ONCE | 1 << 2 | (in_kernel ? 0x40 : 0), 0,
	    0);
}

static void in_fault_realloc(struct input *in)
{
	begin(in, NULL);
	put_size(in, OP_MALLOC, 0, 100);
	put_size(in, OP_MALLOC, 1, 100);
	put_fault(in, true);
	put_size(in, OP_REALLOC, 0, 100000);
}

/* A large block cannot grow where it is, nor move. */
static void in_fault_realloc_large(struct input *in)
{
	begin(in, NULL);
	put_size(in, OP_MALLOC, 0, 100000);
	put(in, OP_FAULT, 0x40 | (1 | 8) << 2 | APB_FAULT_FROM, 0, 0);
	put_size(in, OP_REALLOC, 0, 1000000);
}

static void in_interior(struct input *in)
{
	begin(in, NULL);
	put_size(in, OP_MALLOC, 0, 100);
	/* entry 0: free, off 1 */
	put(in, OP_MISUSE, MISUSE_INTERIOR, 0, 0);
}

static void in_double_free(struct input *in)
{
	begin(in, NULL);
	put_size(in, OP_MALLOC, 0, 100);
	put_size(in, OP_MALLOC, 1, 100);
	put(in, OP_FREE, 0, 0, 0);
	put(in, OP_MISUSE, MISUSE_DOUBLE_FREE, 0, 0);
}

static void in_interior_realloc(struct input *in)
{
	begin(in, NULL);
	put_size(in, OP_MALLOC, 0, 100);
	put(in, OP_MISUSE, MISUSE_INTERIOR, 0, 2);
}

static void in_option(struct input *in)
{
	begin(in, NULL);
	put(in, OP_OPTION, 1, 0, 1);
}

static void in_trim(struct input *in)
{
	in_free(in);
	put(in, OP_TRIM, 0, 0, 0);
}

/* Enough for two arenas, all freed at the end. */
static void in_two_arenas(struct input *in)
{
	begin(in, NULL);
	for (int i = 0; i < 3; i++)
		put(in, OP_BULK_ALLOC, 0xc0 | 2, 0, 32768 | 63 << 16);
}

static void in_reset(struct input *in)
{
	in_free(in);
	put(in, OP_RESET, 0, 0, 0);
}

static void in_no_dirty(struct input *in)
{
	struct ops_header h = {.no_dirty = true, .seed = 1};

	begin(in, &h);
	put(in, OP_BULK_ALLOC, 0xc0 | 2, 0, 8192 | 63 << 16);
	put(in, OP_BULK_FREE, 0xc0, 0, 1023 << 16);
	/* one is live: an arena that is wholly empty would go */
	put(in, OP_BULK_ALLOC, 0xc0 | 2, 0, 8192);
	put(in, OP_SETTLE, 0, 0, 0);
	put(in, OP_CHECK, 0, 0, 0);
}

static void in_fault(struct input *in)
{
	begin(in, NULL);
	put_fault(in, true);
	put_size(in, OP_MALLOC, 0, 100000);
}

static void in_fault_layer(struct input *in)
{
	begin(in, NULL);
	put_fault(in, false);
	put_size(in, OP_MALLOC, 0, 100000);
}

/* ---- faulty functions ------------------------------------------------- */

static void *losing_realloc(void *ptr, size_t size)
{
	void *p = apb_realloc(ptr, size);

	if (!p) {
		apb_free(ptr);
		apb_settle();
	}
	return p;
}

static void *spoiling_realloc(void *ptr, size_t size)
{
	void *p = apb_realloc(ptr, size);

	if (!p)
		*(char *)ptr ^= 1;
	return p;
}

static void *succeeding_realloc(void *ptr, size_t size)
{
	void *p = apb_realloc(ptr, size);

	return p ? p : ptr;
}

static void careless_free(void *ptr)
{
	if (!((uintptr_t)ptr & 15))
		apb_free(ptr);
}

static void deaf_free(void *ptr)
{
	if (ptr != faulty_last)
		apb_free(ptr);
	faulty_last = ptr;
}

static void chatty_free(void *ptr)
{
	apb_free(ptr);
	if ((uintptr_t)ptr & 15)
		apb_free(ptr);
}

static void *stubborn_realloc(void *ptr, size_t size)
{
	(void)size;
	return ptr;
}

static size_t rough_usable_size(const void *ptr)
{
	size_t size = apb_usable_size(ptr);

	return ++faulty_calls == 7 ? size - 1 : size;
}

static apb_misuse_fn handler;

static void tamper(const struct apb_misuse *m, void *arg)
{
	struct apb_misuse other = *m;

	other.kind = APB_MISUSE_FOREIGN;
	handler(&other, arg);
}

static void misplace(const struct apb_misuse *m, void *arg)
{
	struct apb_misuse other = *m;
	char *at = strstr(other.text, "offset ");

	at[7] = at[7] == '1' ? '2' : '1';
	handler(&other, arg);
}

static void lost_set_misuse(apb_misuse_fn fn, void *arg)
{
	handler = fn;
	apb_set_misuse(fn ? misplace : NULL, arg);
}

static void mistaken_set_misuse(apb_misuse_fn fn, void *arg)
{
	handler = fn;
	apb_set_misuse(fn ? tamper : NULL, arg);
}

static int failing_check(struct apb_violation *v)
{
	v->invariant = "test.invariant";
	strcpy(v->text, "broken on purpose");
	return -1;
}

static int stubborn_set_option(enum apb_option opt, size_t value)
{
	return opt == APB_OPT_SETTLE_PERIOD && value == 1 ?
		       -1 :
		       apb_set_option(opt, value);
}

static size_t idle_trim(void)
{
	return 0;
}

static size_t modest_trim(void)
{
	return apb_trim() / 2;
}

static size_t wild_trim(void)
{
	const struct apb_os *os = simos_ops();

	os->purge(os->ctx, (void *)(SIMOS_BASE + SIMOS_SPACE - 4096), 4096);
	return apb_trim();
}

static void idle_settle(void)
{
}

static int idle_reset(void)
{
	return 0;
}

static void used_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->class_[2].used++;
}

static void used_bytes_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->used_bytes += 16;
	s->avail_bytes -= 16;
}

static void large_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->large++;
}

static void quant_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->quant_bytes += s->arenas ? 16 : 0;
}

static void arena_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->arenas_reclaimed++;
}

static void mapped_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->map_bytes += 4096;
	s->mapped_bytes += 4096;
	s->mapped_highwater += 4096;
}

static void highwater_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->mapped_highwater += 4096;
}

static void purges_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->purges++;
}

static void refusals_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->unmap_failures++;
}

static void dirty_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->dirty_bytes = s->unused_pool_bytes;
}

static void bound_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->dirty_limit += 1;
}

static void cached_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->large_cached_bytes += 4096;
}

static void spare_stats(struct apb_stats *s)
{
	apb_stats(s);
	s->spares = s->arenas;
}

static void *retrying_malloc(size_t size)
{
	void *p = apb_malloc(size);

	return p ? p : apb_malloc(size);
}

/* ---- the table -------------------------------------------------------- */

static const struct faulty faulties[] = {
	{"realloc: failure frees",
	 "usable",
	 in_fault_realloc,
	 {.realloc = losing_realloc}},
	{"realloc: failure spoils",
	 "realloc-content",
	 in_fault_realloc,
	 {.realloc = spoiling_realloc}},
	{"realloc: fault hidden",
	 "fault-unreported",
	 in_fault_realloc_large,
	 {.realloc = succeeding_realloc}},
	{"free: no report",
	 "misuse-missed",
	 in_interior,
	 {.free = careless_free}},
	{"free: no report of a double free",
	 "misuse-missed",
	 in_double_free,
	 {.free = deaf_free}},
	{"free: two reports",
	 "misuse-wrong",
	 in_interior,
	 {.free = chatty_free}},
	{"realloc: no report",
	 "misuse-result",
	 in_interior_realloc,
	 {.realloc = stubborn_realloc}},
	{"usable_size: less",
	 "usable",
	 in_mallocs,
	 {.usable_size = rough_usable_size}},
	{"report: wrong kind",
	 "misuse-wrong",
	 in_interior,
	 {.set_misuse = mistaken_set_misuse}},
	{"report: wrong place",
	 "misuse-wrong",
	 in_interior,
	 {.set_misuse = lost_set_misuse}},
	{"check: fails", "check", in_mallocs, {.check = failing_check}},
	{"option: refused",
	 "option",
	 in_option,
	 {.set_option = stubborn_set_option}},
	{"trim: does nothing", "leak-mapping", in_trim, {.trim = idle_trim}},
	{"trim: says too little", "trim", in_trim, {.trim = modest_trim}},
	{"trim: purges foreign pages",
	 "os-violation",
	 in_trim,
	 {.trim = wild_trim}},
	{"settle: does nothing",
	 "leak-arena",
	 in_two_arenas,
	 {.settle = idle_settle}},
	{"reset: does nothing",
	 "leak-mapping",
	 in_reset,
	 {.reset = idle_reset}},
	{"stats: a block more",
	 "accounting",
	 in_mallocs,
	 {.stats = used_stats}},
	{"stats: bytes", "accounting", in_mallocs, {.stats = used_bytes_stats}},
	{"stats: a large block more",
	 "accounting",
	 in_mallocs,
	 {.stats = large_stats}},
	{"stats: sum", "conservation", in_mallocs, {.stats = quant_stats}},
	{"stats: arenas", "conservation", in_mallocs, {.stats = arena_stats}},
	{"stats: mapped", "mapped", in_mallocs, {.stats = mapped_stats}},
	{"stats: highwater", "mapped", in_mallocs, {.stats = highwater_stats}},
	{"stats: purges", "accounting", in_mallocs, {.stats = purges_stats}},
	{"stats: unmaps", "accounting", in_mallocs, {.stats = refusals_stats}},
	{"stats: dirty", "dirty", in_no_dirty, {.stats = dirty_stats}},
	{"stats: bound", "dirty", in_no_dirty, {.stats = bound_stats}},
	{"stats: cached", "mapped", in_mallocs, {.stats = cached_stats}},
	{"stats: spares", "leak-arena", in_two_arenas, {.stats = spare_stats}},
	{"malloc: fault hidden",
	 "fault-unreported",
	 in_fault,
	 {.malloc = retrying_malloc}},
	{"malloc: fault in the layer hidden",
	 "fault-unreported",
	 in_fault_layer,
	 {.malloc = retrying_malloc}},
};

static void test_faulty_functions_are_found(void **ctx)
{
	(void)ctx;
	find_all(faulties, sizeof(faulties) / sizeof(faulties[0]));
}

/* Whatever the input: the real allocator is clean, and the words are there. */
static void test_random_inputs_are_clean(void **ctx)
{
	uint64_t rng = 1;
	struct input in;

	(void)ctx;
	for (int i = 0; i < 300; i++) {
		in.size = sizeof(in.data) - (size_t)i % 20;
		for (size_t k = 0; k < in.size; k++) {
			rng ^= rng << 13;
			rng ^= rng >> 7;
			rng ^= rng << 17;
			in.data[k] = (uint8_t)(rng >> 24);
		}
		if (strcmp(run(&in, NULL), "none")) {
			run_print_finding(&found, stderr);
			fail();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faulty_functions_are_found),
		cmocka_unit_test(test_random_inputs_are_clean),
	};

	return cmocka_run_group_tests_name("oracles-state", tests, NULL, NULL);
}
