// SPDX-License-Identifier: MIT
/*
 * Unit tests of the oracles for the result of a single call.
 */
#include "oraclelib.h"

#include <errno.h>
#include <string.h>

#include "simos.h"

/* ---- inputs ----------------------------------------------------------- */

static void in_huge(struct input *in)
{
	begin(in, NULL);
	put(in, OP_MALLOC, 5, 0, 1);
}

static void in_calloc(struct input *in)
{
	begin(in, NULL);
	put_size(in, OP_MALLOC, 0, 100);
	put(in, OP_FREE, 0, 0, 0);
	put_size(in, OP_CALLOC, 0, 100);
}

static void in_overflow(struct input *in)
{
	begin(in, NULL);
	put(in, OP_CALLOC, 3 << 3 | OPS_MODE_EXACT, 0, ops_exact_size(100));
}

static void in_aligned(struct input *in)
{
	begin(in, NULL);
	put(in, OP_ALIGNED, 9 << 3 | OPS_MODE_EXACT, 0, ops_exact_size(100));
}

static void in_bad_align(struct input *in)
{
	begin(in, NULL);
	put(in, OP_ALIGNED, 24 << 3 | OPS_MODE_EXACT, 0, ops_exact_size(100));
}

static void in_realloc(struct input *in)
{
	begin(in, NULL);
	put_size(in, OP_MALLOC, 0, 100);
	put_size(in, OP_REALLOC, 0, 500);
}

static void in_realloc_in_place(struct input *in)
{
	begin(in, NULL);
	put_size(in, OP_MALLOC, 0, 100);
	put_size(in, OP_REALLOC, 0, 101);
}

/* ---- faulty functions ------------------------------------------------- */

static void *shifted_malloc(size_t size)
{
	char *p = apb_malloc(size);

	return ++faulty_calls == 7 ? p + 16 : p;
}

static void *misaligned_malloc(size_t size)
{
	char *p = apb_malloc(size);

	return ++faulty_calls == 7 ? p + 8 : p;
}

static void *repeating_malloc(size_t size)
{
	if (++faulty_calls != 7)
		faulty_last = apb_malloc(size);
	return faulty_last;
}

static void *lazy_malloc(size_t size)
{
	errno = ENOMEM;
	return ++faulty_calls == 7 ? NULL : apb_malloc(size);
}

static void *silent_malloc(size_t size)
{
	void *p = apb_malloc(size);

	if (!p)
		errno = 0;
	return p;
}

static void *boundless_malloc(size_t size)
{
	return apb_malloc(size > PTRDIFF_MAX ? 64 : size);
}

static void *dangling_malloc(size_t size)
{
	if (++faulty_calls == 7)
		return (void *)(SIMOS_BASE + SIMOS_SPACE - 65536);
	return apb_malloc(size);
}

static void *wide_malloc(size_t size)
{
	return apb_malloc(size + 16);
}

/* Shares the neighbour's memory, but not its start. */
static void *trampling_malloc(size_t size)
{
	char *p = apb_malloc(size);

	if (++faulty_calls == 2)
		memset(faulty_last, 0x55, 4);
	faulty_last = p;
	return p;
}

static void *accusing_malloc(size_t size)
{
	if (++faulty_calls == 7)
		apb_free((void *)8);
	return apb_malloc(size);
}

static void *dirty_calloc(size_t n, size_t size)
{
	return apb_malloc(n * size);
}

static void *nearly_zero_calloc(size_t n, size_t size)
{
	char *p = apb_calloc(n, size);

	if (p)
		p[n * size - 1] = 1;
	return p;
}

static void *wrapping_calloc(size_t n, size_t size)
{
	return apb_calloc(1, n * size);
}

static void *unaligned_alloc(size_t align, size_t size)
{
	return (char *)apb_aligned_alloc(align, size + 16) + 16;
}

static void *lenient_alloc(size_t align, size_t size)
{
	return apb_aligned_alloc(align & (align - 1) ? 64 : align, size);
}

static void *forgetful_realloc(void *ptr, size_t size)
{
	char *p = apb_realloc(ptr, size);

	p[99] ^= 1;
	return p;
}

static void *moving_realloc(void *ptr, size_t size)
{
	char *p = apb_malloc(size);

	memcpy(p, ptr, 100);
	apb_free(ptr);
	return p;
}

static void *stubborn_realloc(void *ptr, size_t size)
{
	(void)size;
	return ptr;
}

static void leaking_free(void *ptr)
{
	if (++faulty_calls != 7)
		apb_free(ptr);
}

static void loud_free(void *ptr)
{
	apb_free(ptr);
	errno = ENOENT;
}

/* ---- the table -------------------------------------------------------- */

static const struct faulty faulties[] = {
	{"malloc: shifted", "usable", in_mallocs, {.malloc = shifted_malloc}},
	{"malloc: misaligned",
	 "align",
	 in_mallocs,
	 {.malloc = misaligned_malloc}},
	{"malloc: the same again",
	 "overlap",
	 in_mallocs,
	 {.malloc = repeating_malloc}},
	{"malloc: NULL",
	 "null-without-cause",
	 in_mallocs,
	 {.malloc = lazy_malloc}},
	{"malloc: no errno", "errno", in_huge, {.malloc = silent_malloc}},
	{"malloc: boundless",
	 "must-fail",
	 in_huge,
	 {.malloc = boundless_malloc}},
	{"malloc: not mapped",
	 "unmapped",
	 in_mallocs,
	 {.malloc = dangling_malloc}},
	{"malloc: wrong class", "usable", in_mallocs, {.malloc = wide_malloc}},
	{"malloc: writes to a live block",
	 "content",
	 in_mallocs,
	 {.malloc = trampling_malloc}},
	{"malloc: false report",
	 "misuse-false",
	 in_mallocs,
	 {.malloc = accusing_malloc}},
	{"calloc: dirty", "zero", in_calloc, {.calloc = dirty_calloc}},
	{"calloc: last byte dirty",
	 "zero",
	 in_calloc,
	 {.calloc = nearly_zero_calloc}},
	{"calloc: overflow",
	 "must-fail",
	 in_overflow,
	 {.calloc = wrapping_calloc}},
	{"aligned_alloc: not aligned",
	 "align",
	 in_aligned,
	 {.aligned_alloc = unaligned_alloc}},
	{"aligned_alloc: takes anything",
	 "must-fail",
	 in_bad_align,
	 {.aligned_alloc = lenient_alloc}},
	{"realloc: last byte lost",
	 "realloc-content",
	 in_realloc,
	 {.realloc = forgetful_realloc}},
	{"realloc: moves in a class",
	 "realloc-inplace",
	 in_realloc_in_place,
	 {.realloc = moving_realloc}},
	{"realloc: stays in another class",
	 "realloc-inplace",
	 in_realloc,
	 {.realloc = stubborn_realloc}},
	{"free: forgets one", "accounting", in_free, {.free = leaking_free}},
	{"free: errno", "errno", in_free, {.free = loud_free}},
};

static void test_faulty_functions_are_found(void **ctx)
{
	(void)ctx;
	find_all(faulties, sizeof(faulties) / sizeof(faulties[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faulty_functions_are_found),
	};

	return cmocka_run_group_tests_name("oracles", tests, NULL, NULL);
}
