// SPDX-License-Identifier: MIT
/*
 * Unit tests of the public functions: what the header promises of each, value
 * by value, and two million random calls against a list of live blocks.
 */
#include "testlib.h"

#define TOO_BIG ((size_t)PTRDIFF_MAX + 1)
#define UNMAPS FAULT_MASK(APB_OS_UNMAP)
#define PURGES FAULT_MASK(APB_OS_PURGE)

/* What a request of @size may use. */
static size_t usable(size_t size)
{
	unsigned int cls = 1;

	if (size > 32768)
		return (size + 4095) / 4096 * 4096;
	while (test_class_sizes[cls - 1] < size)
		cls++;
	return test_class_sizes[cls - 1];
}

#define assert_fails(call, err)               \
	do {                                  \
		errno = 0;                    \
		assert_null(call);            \
		assert_int_equal(errno, err); \
	} while (0)

/* Sizes that are too much for any call; some for arithmetic, too. */
static const size_t huge[] = {
	TOO_BIG,
	TOO_BIG + 1,
	TOO_BIG + 4095,
	SIZE_MAX / 2 + 4096,
	SIZE_MAX - (1 << 20),
	SIZE_MAX - 32768,
	SIZE_MAX - 4096,
	SIZE_MAX - 4095,
	SIZE_MAX - 16,
	SIZE_MAX - 15,
	SIZE_MAX - 1,
	SIZE_MAX,
	/* no address space has room for these */
	PTRDIFF_MAX,
	PTRDIFF_MAX - 1,
	PTRDIFF_MAX - 15,
	PTRDIFF_MAX - 4095,
	PTRDIFF_MAX - 4096,
	PTRDIFF_MAX - (1 << 20),
	PTRDIFF_MAX - (1 << 20) - 1,
	(size_t)1 << 62,
	(size_t)1 << 48,
};

/* ---- malloc, calloc --------------------------------------------------- */

static void test_malloc_sizes(void **ctx)
{
	size_t size;
	char *p;

	(void)ctx;
	fresh_sim(1, 0);
	for (size = 0; size <= 33000; size++) {
		p = apb_malloc(size);
		assert_non_null(p);
		assert_true(is_aligned(p, 16));
		assert_int_equal(apb_usable_size(p), usable(size ? size : 1));
		p[0] = 1;
		p[apb_usable_size(p) - 1] = 1;
		apb_free(p);
	}
	assert_whole();
}

static void test_malloc_0_is_a_block(void **ctx)
{
	void *p, *q;

	(void)ctx;
	fresh_sim(2, 0);
	p = apb_malloc(0);
	q = apb_malloc(0);
	assert_non_null(p);
	assert_non_null(q);
	assert_ptr_not_equal(p, q);
	assert_int_equal(apb_usable_size(p), 16);
	apb_free_sized(p, 0);
	apb_free_sized(q, 1);
	assert_int_equal(stats_now().used_bytes, 0);
	p = apb_calloc(0, 0);
	q = apb_aligned_alloc(64, 0);
	assert_non_null(p);
	assert_non_null(q);
	assert_int_equal(apb_usable_size(q), 64);
	apb_free(p);
	apb_free_aligned_sized(q, 64, 0);
	assert_int_equal(stats_now().used_bytes, 0);
	assert_whole();
}

static void test_huge_sizes_fail(void **ctx)
{
	size_t i;
	int real;

	(void)ctx;
	for (real = 0; real < 2; real++) {
		fresh_sim(3, 0);
		if (real)
			fresh_kernel();
		for (i = 0; i < NR_OF(huge); i++) {
			size_t n = opaque(huge[i]);
			void *p = apb_malloc(100), *q = apb_malloc(50000);

			fill(p, 100, i);
			fill(q, 50000, i);
			assert_fails(apb_malloc(n), ENOMEM);
			assert_fails(apb_calloc(1, n), ENOMEM);
			assert_fails(apb_calloc(n, 1), ENOMEM);
			assert_fails(apb_realloc(NULL, n), ENOMEM);
			assert_fails(apb_realloc(p, n), ENOMEM);
			assert_fails(apb_realloc(q, n), ENOMEM);
			assert_fails(apb_reallocarray(p, 1, n), ENOMEM);
			assert_fails(apb_reallocarray(q, n, 1), ENOMEM);
			assert_fails(apb_aligned_alloc(1, n), ENOMEM);
			assert_fails(apb_aligned_alloc(64, n), ENOMEM);
			assert_fails(apb_aligned_alloc(MIB, n), ENOMEM);
			assert_fails(apb_aligned_alloc(64 * MIB, n), ENOMEM);
			assert_true(filled(p, 100, i));
			assert_true(filled(q, 50000, i));
			apb_free(p);
			apb_free(q);
			assert_whole();
		}
		assert_int_equal(stats_now().large, 0);
		apb_trim();
		assert_int_equal(stats_now().mapped_bytes, 0);
	}
}

/* Products that wrap round, to what would be a small block, too. */
static void test_products_that_overflow(void **ctx)
{
	static const size_t pairs[][2] = {
		{SIZE_MAX, 2},
		{2, SIZE_MAX},
		{SIZE_MAX, SIZE_MAX},
		{SIZE_MAX / 2 + 1, 2},
		{(size_t)1 << 32, (size_t)1 << 32},
		{((size_t)1 << 32) + 1, (size_t)1 << 32},
		{((size_t)1 << 60) + 1, 16},
		{SIZE_MAX / 16 + 2, 16},
		{3, SIZE_MAX / 3 + 1},
	};
	size_t i;
	void *p;

	(void)ctx;
	fresh_sim(4, 0);
	p = apb_malloc(100);
	fill(p, 100, 4);
	for (i = 0; i < NR_OF(pairs); i++) {
		size_t n = opaque(pairs[i][0]), size = opaque(pairs[i][1]);

		assert_fails(apb_calloc(n, size), ENOMEM);
		assert_fails(apb_reallocarray(NULL, n, size), ENOMEM);
		assert_fails(apb_reallocarray(p, n, size), ENOMEM);
		assert_int_equal(apb_usable_size(p), 112);
		assert_true(filled(p, 100, 4));
	}
	assert_int_equal(stats_now().used_bytes, 112);
	assert_whole();
}

static void test_no_memory(void **ctx)
{
	(void)ctx;
	fresh_sim(5, 0);
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	assert_fails(apb_malloc(1), ENOMEM);
	assert_fails(apb_malloc(32768), ENOMEM);
	assert_fails(apb_malloc(32769), ENOMEM);
	assert_fails(apb_calloc(3, 1), ENOMEM);
	assert_fails(apb_calloc(3, 100000), ENOMEM);
	assert_fails(apb_realloc(NULL, 5), ENOMEM);
	assert_fails(apb_reallocarray(NULL, 5, 5), ENOMEM);
	assert_fails(apb_aligned_alloc(16, 5), ENOMEM);
	assert_fails(apb_aligned_alloc(4096, 5), ENOMEM);
	assert_fails(apb_aligned_alloc(2 * MIB, 5), ENOMEM);
	assert_int_equal(stats_now().mapped_bytes, 0);
	assert_whole();
}

/* Recycled memory of every class, and split into every product. */
static void test_calloc_zeroes(void **ctx)
{
	unsigned int cls, round;

	(void)ctx;
	fresh_sim(6, SIMOS_NONZERO);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t size = test_class_sizes[cls - 1];

		for (round = 0; round < 12; round++) {
			size_t n = 1 + round;
			char *p = apb_calloc(n, size / n);

			assert_true(all_bytes(p, n * (size / n), 0));
			memset(p, 0xff, apb_usable_size(p));
			/* neighbours of it, and the next time itself */
			if (round & 1)
				apb_free(p);
		}
	}
	assert_whole();
}

/* ---- realloc ---------------------------------------------------------- */

/* From and to every class, at its bounds. */
static void test_realloc_between_classes(void **ctx)
{
	unsigned int a, b, d;

	(void)ctx;
	fresh_sim(7, 0);
	for (a = 1; a <= APB_NR_CLASSES; a++) {
		for (b = 1; b <= APB_NR_CLASSES; b++) {
			for (d = 0; d < 3; d++) {
				size_t from = test_class_sizes[a - 1];
				size_t to = test_class_sizes[b - 1] + d - 1;
				size_t kept = from < to ? from : to;
				char *p = apb_malloc(from), *q;

				fill(p, from, a);
				q = apb_realloc(p, to);
				assert_int_equal(apb_usable_size(q),
						 usable(to));
				assert_int_equal(q == p, usable(to) == from);
				assert_true(filled(q, kept, a));
				apb_free(q);
			}
		}
	}
	assert_int_equal(stats_now().used_bytes, 0);
	assert_whole();
}

/* Every byte is kept, not only whole words. */
static void test_realloc_keeps_every_byte(void **ctx)
{
	unsigned char *p, *q;
	size_t from, to, i;

	(void)ctx;
	fresh_sim(8, 0);
	for (from = 1; from < 300; from += 7) {
		for (to = 1; to < 300; to += 11) {
			p = apb_malloc(from);
			for (i = 0; i < from; i++)
				p[i] = (unsigned char)(i + from);
			q = apb_realloc(p, to);
			for (i = 0; i < from && i < to; i++)
				assert_int_equal(q[i],
						 (unsigned char)(i + from));
			apb_free(q);
		}
	}
}

static void test_realloc_special_cases(void **ctx)
{
	char *p, *q;

	(void)ctx;
	fresh_sim(9, 0);
	p = apb_realloc(NULL, 100);
	assert_int_equal(apb_usable_size(p), 112);
	q = apb_realloc(NULL, 0);
	assert_int_equal(apb_usable_size(q), 16);
	apb_free(q);
	/* to 0 bytes: a block of one, never NULL */
	*p = 77;
	p = apb_realloc(p, opaque(0));
	assert_non_null(p);
	assert_int_equal(apb_usable_size(p), 16);
	assert_int_equal(*p, 77);
	q = p;
	p = apb_reallocarray(p, opaque(0), 50);
	assert_ptr_equal(p, q);
	assert_int_equal(apb_usable_size(p), 16);
	assert_int_equal(*p, 77);
	p = apb_reallocarray(p, 50, opaque(0));
	assert_int_equal(apb_usable_size(p), 16);
	p = apb_reallocarray(p, 30, 30);
	assert_int_equal(apb_usable_size(p), 1024);
	assert_int_equal(*p, 77);
	apb_free(p);
	p = apb_reallocarray(NULL, 3, 40);
	assert_int_equal(apb_usable_size(p), 128);
	apb_free(p);
	p = apb_malloc(50000);
	*p = 78;
	p = apb_realloc(p, opaque(0));
	assert_int_equal(apb_usable_size(p), 16);
	assert_int_equal(*p, 78);
	apb_free(p);
	assert_int_equal(stats_now().used_bytes, 0);
	assert_int_equal(stats_now().large, 0);
	assert_whole();
}

static void test_realloc_of_aligned_blocks(void **ctx)
{
	char *p, *q;

	(void)ctx;
	fresh_sim(10, 0);
	p = apb_aligned_alloc(1024, 500);
	assert_int_equal(apb_usable_size(p), 1024);
	fill(p, 500, 1);
	/* of the same class: stays */
	assert_ptr_equal(apb_realloc(p, 900), p);
	q = apb_realloc(p, 500);
	assert_int_equal(apb_usable_size(q), 512);
	assert_true(filled(q, 500, 1));
	apb_free(q);
	/* large for its alignment only */
	p = apb_aligned_alloc(64 * KIB, 500);
	fill(p, 500, 2);
	q = apb_realloc(p, 3000);
	assert_int_equal(apb_usable_size(q), 3072);
	assert_true(filled(q, 500, 2));
	assert_int_equal(stats_now().large, 0);
	apb_free(q);
	p = apb_aligned_alloc(2 * MIB, 500);
	fill(p, 500, 3);
	q = apb_realloc(p, 300000);
	assert_int_equal(apb_usable_size(q), usable(300000));
	assert_true(filled(q, 500, 3));
	apb_free(q);
	assert_whole();
}

static void test_realloc_failure_leaves_the_block(void **ctx)
{
	char *p;

	(void)ctx;
	fresh_sim(11, 0);
	p = apb_malloc(1000);
	fill(p, 1000, 11);
	fault_arm(APB_FAULT_FROM, FAULT_ALL, 1);
	assert_fails(apb_realloc(p, 2000), ENOMEM);
	assert_fails(apb_realloc(p, 50000), ENOMEM);
	assert_fails(apb_reallocarray(p, 2, 1000), ENOMEM);
	assert_int_equal(apb_usable_size(p), 1024);
	assert_true(filled(p, 1000, 11));
	assert_ptr_equal(apb_realloc(p, 1024), p);
	apb_free_sized(p, 1000);
	assert_whole();
}

/* ---- aligned_alloc ---------------------------------------------------- */

static void test_bad_alignments(void **ctx)
{
	static const size_t bad[] = {
		0,
		3,
		5,
		6,
		7,
		9,
		12,
		15,
		17,
		24,
		48,
		4095,
		4097,
		6144,
		12288,
		SIZE_MAX,
		SIZE_MAX - 1,
		TOO_BIG + 1,
		TOO_BIG - 1,
		((size_t)1 << 40) + 4096,
	};
	size_t i;

	(void)ctx;
	fresh_sim(12, 0);
	for (i = 0; i < NR_OF(bad); i++) {
		assert_fails(apb_aligned_alloc(opaque(bad[i]), 0), EINVAL);
		assert_fails(apb_aligned_alloc(opaque(bad[i]), 100), EINVAL);
		assert_fails(apb_aligned_alloc(opaque(bad[i]), opaque(TOO_BIG)),
			     EINVAL);
	}
	assert_int_equal(stats_now().mapped_bytes, 0);
}

/* The sum of both may not pass PTRDIFF_MAX, whichever is the larger. */
static void test_alignments_too_big(void **ctx)
{
	size_t align;

	(void)ctx;
	fresh_sim(13, 0);
	for (align = (size_t)1 << 47; align; align *= 2) {
		assert_fails(apb_aligned_alloc(align, 1), ENOMEM);
		assert_fails(apb_aligned_alloc(align, 0), ENOMEM);
		assert_fails(apb_aligned_alloc(align, opaque(TOO_BIG - align)),
			     ENOMEM);
		assert_fails(
			apb_aligned_alloc(align, opaque(TOO_BIG - align - 1)),
			ENOMEM);
		assert_fails(apb_aligned_alloc(align, opaque(SIZE_MAX - align)),
			     ENOMEM);
		assert_fails(apb_aligned_alloc(align, opaque(0 - align)),
			     ENOMEM);
	}
	assert_int_equal(stats_now().mapped_bytes, 0);
	assert_whole();
}

/* Every alignment with sizes round every class, all blocks of a pool. */
static void test_alignment_of_every_block(void **ctx)
{
	size_t align, size;
	unsigned int cls;

	(void)ctx;
	fresh_sim(14, 0);
	for (align = 1; align <= 4096; align *= 2) {
		for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
			int i;

			size = test_class_sizes[cls - 1] - cls % 3;
			for (i = 0; i < 40; i++) {
				char *p = apb_aligned_alloc(align, size);

				assert_non_null(p);
				assert_true(is_aligned(p, align));
				assert_true(apb_usable_size(p) >= size);
				assert_true(apb_usable_size(p) <=
					    (size < align ? align : size) * 2);
				if (i & 1)
					apb_free_aligned_sized(p, align, size);
			}
		}
		assert_whole();
		fresh_sim(14 + align, 0);
	}
}

/* ---- free, usable size ------------------------------------------------ */

static void test_null(void **ctx)
{
	(void)ctx;
	fresh_sim(15, 0);
	errno = 77;
	apb_free(NULL);
	apb_free_sized(NULL, 100);
	apb_free_aligned_sized(NULL, 3, SIZE_MAX);
	assert_int_equal(apb_usable_size(NULL), 0);
	assert_int_equal(errno, 77);
	assert_int_equal(stats_now().mapped_bytes, 0);
}

/* On the fast path, when settling, and when the system refuses. */
static void test_free_keeps_errno(void **ctx)
{
	static void *p[4000];
	unsigned int real, how;
	size_t i;

	(void)ctx;
	for (real = 0; real < 2; real++) {
		for (how = 0; how < 3; how++) {
			fresh_sim(16, 0);
			if (real)
				fresh_kernel();
			apb_set_option(APB_OPT_DIRTY_LIMIT, 0);
			apb_set_option(APB_OPT_LARGE_CACHE, 0);
			for (i = 0; i < NR_OF(p); i++)
				p[i] = apb_malloc(i % 50 ? 1000 : 40000);
			fault_arm(APB_FAULT_FROM, UNMAPS | PURGES, 1);
			for (i = 0; i < NR_OF(p); i++) {
				size_t size = i % 50 ? 1000 : 40000;

				errno = 1234 + (int)i;
				if (how == 0)
					apb_free(p[i]);
				else if (how == 1)
					apb_free_sized(p[i], size);
				else
					apb_free_aligned_sized(p[i], 1, size);
				assert_int_equal(errno, 1234 + (int)i);
			}
			assert_true(stats_now().unmap_failures > 80);
			assert_true(
				apb_state.os.fault.stats.failed[APB_OS_PURGE] >
				80);
			assert_true(stats_now().settles > 0);
			assert_whole();
		}
	}
}

static void test_sized_frees(void **ctx)
{
	unsigned int cls;
	size_t align;

	(void)ctx;
	fresh_sim(17, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t max = test_class_sizes[cls - 1];
		size_t min = cls == 1 ? 0 : test_class_sizes[cls - 2] + 1;

		/* any size of the class will do */
		apb_free_sized(apb_malloc(max), max);
		apb_free_sized(apb_malloc(min), max);
		apb_free_sized(apb_malloc(max), min);
		apb_free_sized(apb_calloc(1, max), min);
		apb_free_sized(apb_realloc(NULL, max), min);
		for (align = 1; align <= 8 * MIB; align *= 16)
			apb_free_aligned_sized(apb_aligned_alloc(align, max),
					       align, max);
	}
	apb_free_sized(apb_malloc(36865), 40960);
	apb_free_sized(apb_malloc(40960), 36865);
	apb_free_sized(apb_malloc(32769), 32769);
	assert_int_equal(stats_now().used_bytes, 0);
	assert_int_equal(stats_now().large, 0);
	assert_whole();
}

/* All of it can be used, of all blocks at a time. */
static void test_usable_bytes_are_ones_own(void **ctx)
{
	static void *p[3 * (APB_NR_CLASSES + 8)];
	size_t i, n = NR_OF(p);

	(void)ctx;
	fresh_sim(18, 0);
	for (i = 0; i < n; i++) {
		size_t cls = i % (APB_NR_CLASSES + 8);

		p[i] = apb_malloc(cls < APB_NR_CLASSES ?
					  test_class_sizes[cls] - 5 :
					  30000 * (cls - APB_NR_CLASSES + 2));
		fill(p[i], apb_usable_size(p[i]), i);
	}
	assert_whole();
	for (i = 0; i < n; i++) {
		assert_true(filled(p[i], apb_usable_size(p[i]), i));
		apb_free(p[i]);
	}
	assert_int_equal(stats_now().used_bytes, 0);
	assert_whole();
}

/* ---- trim ------------------------------------------------------------- */

/*
 * What trim says is what the mapped memory shrank by, and what was purged of
 * the rest: here as the simulated kernel sees it.
 */
static void assert_trim_is_exact(void)
{
	struct simos_stats before, after;
	size_t bytes;

	simos_stats(&before);
	/* what was purged before could hide among what is now */
	assert_int_equal(before.purged, 0);
	bytes = apb_trim();
	simos_stats(&after);
	assert_int_equal(bytes, before.mapped - after.mapped + after.purged);
	assert_whole();
}

static void test_trim_returns_bytes(void **ctx)
{
	static void *p[4000];
	unsigned int limit;
	size_t i;

	(void)ctx;
	for (limit = 0; limit < 3; limit++) {
		fresh_sim(19, 0);
		apb_set_option(APB_OPT_DIRTY_LIMIT, limit * 512 * KIB);
		apb_set_option(APB_OPT_SETTLE_PERIOD, 4095);
		for (i = 0; i < NR_OF(p); i++)
			p[i] = apb_malloc(1000);
		/* a block in three pools is left, all others are in the bin */
		for (i = 0; i < NR_OF(p); i++)
			if (i % 1600 != 100)
				apb_free(p[i]);
		assert_true(bin_length(36) > 3990);
		assert_trim_is_exact();
		assert_int_equal(stats_now().dirty_bytes, 0);
		assert_int_equal(apb_trim(), 0);
		for (i = 100; i < NR_OF(p); i += 1600)
			apb_free(p[i]);
		apb_free(apb_malloc(50000));
		i = stats_now().mapped_bytes;
		assert_int_equal(apb_trim(), i);
		assert_int_equal(stats_now().mapped_bytes, 0);
		assert_int_equal(apb_trim(), 0);
	}
}

static void test_unknown_options(void **ctx)
{
	(void)ctx;
	errno = 0;
	assert_int_equal(apb_set_option(APB_OPT_NR, 0), -1);
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_int_equal(apb_set_option((enum apb_option)77, 0), -1);
	assert_int_equal(errno, EINVAL);
}

/* ---- random calls ----------------------------------------------------- */

#define SLOTS 3000
#define CALLS 2000000

static struct slot {
	unsigned char *p;
	size_t size;
	uint64_t seed;
} slots[SLOTS];

#define EDGE ((size_t)32)

/* The ends of a block are enough to see an overlap. */
static void sign(struct slot *s, uint64_t seed)
{
	s->seed = seed;
	if (s->size <= 2 * EDGE) {
		fill(s->p, s->size, seed);
		return;
	}
	fill(s->p, EDGE, seed);
	fill(s->p + s->size - EDGE, EDGE, seed);
}

/* Whether the first @size bytes are as they were written. */
static void verify(const struct slot *s, size_t size)
{
	size_t head = s->size <= 2 * EDGE ? s->size : EDGE;

	assert_true(filled(s->p, head < size ? head : size, s->seed));
	if (size >= s->size && s->size > 2 * EDGE)
		assert_true(filled(s->p + s->size - EDGE, EDGE, s->seed));
}

static size_t random_size(uint64_t *r)
{
	uint64_t x = rnd(r);

	switch (x % 16) {
	case 0:
		return (x >> 8) % 32769;
	case 1:
		return test_class_sizes[(x >> 8) % APB_NR_CLASSES] +
		       (x >> 32) % 2;
	case 2:
		return (x >> 8) % 64 ? (x >> 16) % 4096 : (x >> 16) % 200000;
	default:
		return (x >> 8) % 513;
	}
}

static void random_alloc(struct slot *s, uint64_t *r)
{
	uint64_t x = rnd(r);
	size_t align = 16;

	s->size = random_size(r);
	if (x % 8 == 0) {
		s->p = apb_calloc(1, s->size);
		assert_true(all_bytes(s->p, s->size, 0));
	} else if (x % 8 == 1) {
		align = (size_t)1 << (x >> 8) % 13;
		s->p = apb_aligned_alloc(align, s->size);
	} else {
		s->p = apb_malloc(s->size);
	}
	assert_non_null(s->p);
	assert_true(is_aligned(s->p, align));
	sign(s, x);
}

static void random_realloc(struct slot *s, uint64_t *r)
{
	size_t size = random_size(r);
	unsigned char *p = apb_realloc(s->p, size);

	assert_non_null(p);
	s->p = p;
	verify(s, size);
	s->size = size;
	sign(s, rnd(r));
}

static void test_random_calls(void **ctx)
{
	uint64_t r = 20;
	int i;

	(void)ctx;
	fresh_kernel();
	memset(slots, 0, sizeof(slots));
	for (i = 0; i < CALLS; i++) {
		uint64_t x = rnd(&r);
		/* the live set grows and shrinks */
		struct slot *s = &slots[x % (i / 100000 % 2 ? SLOTS : 300)];

		if (!s->p) {
			random_alloc(s, &r);
			continue;
		}
		verify(s, SIZE_MAX);
		if ((x >> 32) % 8 == 0) {
			random_realloc(s, &r);
			continue;
		}
		assert_true(apb_usable_size(s->p) >= s->size);
		apb_free(s->p);
		s->p = NULL;
		if (i % 50000 == 0)
			assert_whole();
		if ((x >> 40) % 65536 == 0)
			apb_trim();
	}
	for (i = 0; i < SLOTS; i++) {
		if (slots[i].p)
			verify(&slots[i], SIZE_MAX);
		apb_free(slots[i].p);
	}
	assert_whole();
	assert_int_equal(stats_now().used_bytes, 0);
	apb_trim();
	assert_int_equal(stats_now().mapped_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malloc_sizes),
		cmocka_unit_test(test_malloc_0_is_a_block),
		cmocka_unit_test(test_huge_sizes_fail),
		cmocka_unit_test(test_products_that_overflow),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_calloc_zeroes),
		cmocka_unit_test(test_realloc_between_classes),
		cmocka_unit_test(test_realloc_keeps_every_byte),
		cmocka_unit_test(test_realloc_special_cases),
		cmocka_unit_test(test_realloc_of_aligned_blocks),
		cmocka_unit_test(test_realloc_failure_leaves_the_block),
		cmocka_unit_test(test_bad_alignments),
		cmocka_unit_test(test_alignments_too_big),
		cmocka_unit_test(test_alignment_of_every_block),
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_free_keeps_errno),
		cmocka_unit_test(test_sized_frees),
		cmocka_unit_test(test_usable_bytes_are_ones_own),
		cmocka_unit_test(test_trim_returns_bytes),
		cmocka_unit_test(test_unknown_options),
		cmocka_unit_test(test_random_calls),
	};

	return cmocka_run_group_tests_name("api", tests, NULL, test_teardown);
}
