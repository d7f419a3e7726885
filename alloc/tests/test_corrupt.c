// SPDX-License-Identifier: MIT
/*
 * Unit tests of free blocks that were written to, which is seen when they are
 * to be handed out or settled; of double frees that hide behind such a write;
 * and of live blocks that hold what looks like a free one.
 */
#include "testreport.h"

#include "debug/inspect.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Blocks of class 4, 64 bytes: 256 in a pool without a colour. */
#define CLS 4
#define SIZE 64

#define DUPLICATE 50 /* exit status: a block was handed out twice */

static char *p[200];

/* Blocks that are carved of the first pool when @n have been asked for. */
static unsigned int carved(unsigned int n)
{
	return test_carved(CLS, 256, n);
}

static void alloc_n(size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = apb_malloc(SIZE);
}

/* What is to be reported of @ptr now. */
static void corrupt(struct report *r, const void *ptr, unsigned int carved,
		    unsigned int nr_free)
{
	const uint64_t *word = ptr;

	report_in_pool(r, APB_MISUSE_CORRUPT, ptr, CLS, p[0], carved, nr_free);
	report_say(r, "apb:   it holds: %#lx %#lx\n", word[0], word[1]);
	report_finish(r, "apb");
}

/* ---- what finds it ---------------------------------------------------- */

static void by_malloc(void *arg)
{
	(void)arg;
	apb_malloc(SIZE);
}

static void by_calloc(void *arg)
{
	(void)arg;
	apb_calloc(1, SIZE);
}

static void by_aligned(void *arg)
{
	(void)arg;
	apb_aligned_alloc(64, 1);
}

static void by_realloc(void *arg)
{
	(void)arg;
	apb_realloc(apb_malloc(100), SIZE);
}

static void by_settle(void *arg)
{
	(void)arg;
	apb_settle();
}

static void by_trim(void *arg)
{
	(void)arg;
	apb_trim();
}

/* The frees of a period; the bin did not run empty since the last one. */
static void by_frees(void *arg)
{
	size_t i;

	(void)arg;
	for (i = 10; i < 100; i++)
		apb_free(p[i]);
}

static void assert_found(struct report *r, void (*by)(void *), void *arg)
{
	struct child c;

	run_child(&c, by, arg);
	assert_string_equal(c.err, r->m.text);
	assert_true(died_of(&c, SIGABRT));
}

/* Every bit of the first 16 bytes counts, and every function looks. */
static void test_head_of_a_bin(void **ctx)
{
	static void (*const by[])(void *) = {by_malloc,	 by_calloc, by_aligned,
					     by_realloc, by_settle, by_trim};
	struct report r;
	unsigned int bit;
	size_t i;

	(void)ctx;
	fresh_sim(1, 0);
	alloc_n(10);
	apb_free(p[3]);
	apb_free(p[4]);
	for (bit = 0; bit < 128; bit += 3) {
		uint64_t *word = (uint64_t *)p[4] + bit / 64;

		*word ^= UINT64_C(1) << bit % 64;
		corrupt(&r, p[4], carved(10), 0);
		assert_found(&r, by[bit % NR_OF(by)], NULL);
		*word ^= UINT64_C(1) << bit % 64;
	}
	assert_whole();
	memset(p[4], 0, 16);
	corrupt(&r, p[4], carved(10), 0);
	for (i = 0; i < NR_OF(by); i++)
		assert_found(&r, by[i], NULL);
	/* the block is the program's: behind its first words all is well */
	apb_reset();
	alloc_n(10);
	apb_free(p[3]);
	memset(p[3] + 16, 0xff, SIZE - 16);
	assert_ptr_equal(apb_malloc(SIZE), p[3]);
	assert_whole();
}

static void test_inside_a_bin(void **ctx)
{
	struct report r;
	size_t i;

	(void)ctx;
	fresh_sim(2, 0);
	alloc_n(10);
	for (i = 2; i < 8; i++)
		apb_free(p[i]);
	p[4][8]++; /* a count of references, say */
	corrupt(&r, p[4], carved(10), 0);
	/* settling meets it; p[7] to p[5] are in the pool's list by then */
	report_in_pool(&r, APB_MISUSE_CORRUPT, p[4], CLS, p[0], carved(10), 3);
	report_say(&r, "apb:   it holds: %#lx %#lx\n", ((uint64_t *)p[4])[0],
		   ((uint64_t *)p[4])[1]);
	report_finish(&r, "apb");
	assert_found(&r, by_settle, NULL);
	assert_found(&r, by_trim, NULL);
	/* so does malloc in time, but not before */
	assert_ptr_equal(apb_malloc(SIZE), p[7]);
	assert_ptr_equal(apb_malloc(SIZE), p[6]);
	assert_ptr_equal(apb_malloc(SIZE), p[5]);
	corrupt(&r, p[4], carved(10), 0);
	assert_found(&r, by_malloc, NULL);
	assert_found(&r, by_calloc, NULL);
}

/* A period's end meets it as well. */
static void test_found_by_frees(void **ctx)
{
	struct child c;
	size_t i;

	(void)ctx;
	fresh_sim(3, 0);
	apb_set_option(APB_OPT_SETTLE_PERIOD, 30);
	alloc_n(128);
	for (i = 100; i < 128; i++)
		apb_free(p[i]);
	memset(p[110], 0x55, 16);
	run_child(&c, by_frees, NULL);
	assert_true(died_of(&c, SIGABRT));
	assert_non_null(strstr(c.err, "apb: free block was written to: "));
	assert_non_null(strstr(c.err, "it holds: 0x5555555555555555 0x555555"));
}

static void test_in_a_pools_list(void **ctx)
{
	struct report r;
	size_t i;

	(void)ctx;
	fresh_sim(4, 0);
	alloc_n(64);
	for (i = 2; i < 8; i++)
		apb_free(p[i]);
	apb_settle();
	/* the block freed first is the head now */
	memset(p[2], 0, 16);
	{
		struct child c;

		run_child(&c, by_malloc, NULL);
		assert_true(died_of(&c, SIGABRT));
		snprintf(r.m.text, sizeof(r.m.text),
			 "apb: free block was written to: %p, in apb()\n",
			 (void *)p[2]);
		assert_int_equal(strncmp(c.err, r.m.text, strlen(r.m.text)), 0);
		assert_non_null(strstr(c.err, "apb:   it holds: 0 0\n"));
	}
}

/* ---- the handler ------------------------------------------------------ */

static void tell_stderr(const struct apb_misuse *m, void *arg)
{
	const struct report *want = arg;

	if (m->kind == APB_MISUSE_CORRUPT && m->ptr == want->m.ptr &&
	    m->arena == want->m.arena && m->pool == want->m.pool &&
	    m->block == want->m.block && m->class_size == want->m.class_size &&
	    !strcmp(m->text, want->m.text))
		dprintf(STDERR_FILENO, "told\n");
}

static void malloc_with_handler(void *arg)
{
	apb_set_misuse(tell_stderr, arg);
	apb_malloc(SIZE);
}

/* Nothing can be done about it: the handler is told, then the process ends. */
static void test_always_fatal(void **ctx)
{
	struct report r;
	struct child c;

	(void)ctx;
	fresh_sim(5, 0);
	alloc_n(10);
	apb_free(p[3]);
	memset(p[3], 0, 16);
	corrupt(&r, p[3], carved(10), 0);
	run_child(&c, malloc_with_handler, &r);
	assert_string_equal(c.err, "told\n");
	assert_true(died_of(&c, SIGABRT));
}

static void allocate(const struct apb_misuse *m, void *arg)
{
	(void)m;
	(void)arg;
	apb_malloc(SIZE);
	apb_malloc(SIZE);
}

static void malloc_with_allocating_handler(void *arg)
{
	(void)arg;
	apb_set_misuse(allocate, NULL);
	apb_malloc(SIZE);
}

/* A handler that runs into the same block does not run for ever. */
static void test_handler_that_allocates(void **ctx)
{
	struct child c;

	(void)ctx;
	fresh_sim(6, 0);
	alloc_n(10);
	apb_free(p[3]);
	memset(p[3], 0, 16);
	run_child(&c, malloc_with_allocating_handler, NULL);
	assert_true(died_of(&c, SIGABRT));
}

/* ---- double frees behind a write -------------------------------------- */

/* The second free is not seen; then something else happens. */
struct sequence {
	unsigned int first; /* index of the block */
	unsigned int then;
};

static void use_up(void)
{
	static char *got[4000];
	size_t i, j;

	for (i = 0; i < NR_OF(got); i++) {
		got[i] = apb_malloc(SIZE);
		/* a block that is used: its first words change */
		memset(got[i], (int)i | 1, SIZE);
	}
	for (i = 0; i < NR_OF(got); i++)
		for (j = 0; j < i; j++)
			if (got[i] == got[j])
				_exit(DUPLICATE);
}

static void write_and_free_again(void *arg)
{
	const struct sequence *s = arg;
	struct apb_stats stats;
	size_t i;

	memset(p[s->first], 0, 16);
	apb_free(p[s->first]);
	switch (s->then) {
	case 0:
		break;
	case 1:
		apb_settle();
		break;
	case 2:
		apb_trim();
		break;
	case 3: /* frees, and periods that end */
		for (i = 20; i < 120; i++)
			apb_free(p[i]);
		break;
	case 4: /* must end, whatever they say */
		apb_stats(&stats);
		apb_check(NULL);
		break;
	case 5: /* reports must end, too */
		apb_free(p[2]);
		break;
	case 6: /* and again, and again */
		memset(p[s->first], 0, 16);
		apb_free(p[s->first]);
		memset(p[2], 0, 16);
		apb_free(p[2]);
		apb_settle();
		break;
	}
	use_up();
}

/* Handed out twice is what must not happen; it ends with a report instead. */
static void test_double_free_behind_a_write(void **ctx)
{
	struct sequence s;
	unsigned int settled, period;

	(void)ctx;
	for (settled = 0; settled < 3; settled++) {
		for (period = 0; period < 2; period++) {
			for (s.first = 2; s.first < 8; s.first += 5) {
				for (s.then = 0; s.then < 7; s.then++) {
					struct child c;
					size_t i;

					fresh_sim(7, 0);
					apb_set_option(APB_OPT_SETTLE_PERIOD,
						       period * 7);
					alloc_n(128);
					for (i = 2; i < 8; i++)
						apb_free(p[i]);
					if (settled)
						apb_settle();
					if (settled == 2)
						apb_free(p[10]);
					run_child(&c, write_and_free_again, &s);
					if (!died_of(&c, SIGABRT) ||
					    !strstr(c.err, "apb: "))
						fail_msg("settled %u, period "
							 "%u, block %u, then "
							 "%u: status %#x, %s",
							 settled, period,
							 s.first, s.then,
							 c.status, c.err);
				}
			}
		}
	}
}

/* ---- what only looks free --------------------------------------------- */

/* Every kind of word that a free block could begin with. */
static void mimic(void *block, unsigned int how, const void *other)
{
	uint64_t *word = block, key = apb_inspect_key();

	word[0] = how & 2 ? (uintptr_t)other : 0;
	if (how & 4)
		word[0] = (uintptr_t)block;
	word[1] = word[0] ^ key ^ (how & 1);
}

static void test_mimics_are_live(void **ctx)
{
	unsigned int cls, how;

	(void)ctx;
	fresh_sim(8, 0);
	apb_set_misuse(note_misuse, NULL);
	times_told = 0;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		size_t size = test_class_sizes[cls - 1];
		char *free_one = apb_malloc(size), *b = apb_malloc(size);

		apb_free(free_one);
		for (how = 0; how < 6; how++) {
			mimic(b, how, free_one);
			assert_int_equal(apb_usable_size(b), size);
			assert_ptr_equal(apb_realloc(b, size), b);
			assert_whole();
			mimic(b, how, free_one);
			b = apb_realloc(b, size == 16 ? 100 : 1);
			b = apb_realloc(b, size);
			mimic(b, how, free_one);
			if (how == 0)
				apb_free(b);
			else if (how == 1)
				apb_free_sized(b, size);
			else
				apb_free_aligned_sized(b, 8, size);
			assert_int_equal(times_told, 0);
			assert_whole();
			/* now it is free, and a second free is one */
			apb_free(b);
			assert_int_equal(times_told, 1);
			assert_int_equal(told.kind, APB_MISUSE_DOUBLE_FREE);
			assert_ptr_equal(told.ptr, b);
			times_told = 0;
			assert_ptr_equal(apb_malloc(size), b);
		}
	}
	assert_whole();
}

/* What malloc hands out never looks free, and calloc clears it all. */
static void test_nothing_handed_out_looks_free(void **ctx)
{
	char *b[100];
	size_t i;

	(void)ctx;
	fresh_sim(9, SIMOS_NONZERO);
	apb_set_misuse(note_misuse, NULL);
	times_told = 0;
	for (i = 0; i < NR_OF(b); i++) {
		b[i] = apb_malloc(SIZE);
		/* untouched as it is */
		apb_free(b[i]);
		assert_ptr_equal(apb_malloc(SIZE), b[i]);
		assert_int_equal(apb_usable_size(b[i]), SIZE);
	}
	for (i = 0; i < NR_OF(b); i++)
		apb_free(b[i]);
	assert_int_equal(times_told, 0);
	assert_whole();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head_of_a_bin),
		cmocka_unit_test(test_inside_a_bin),
		cmocka_unit_test(test_found_by_frees),
		cmocka_unit_test(test_in_a_pools_list),
		cmocka_unit_test(test_always_fatal),
		cmocka_unit_test(test_handler_that_allocates),
		cmocka_unit_test(test_double_free_behind_a_write),
		cmocka_unit_test(test_mimics_are_live),
		cmocka_unit_test(test_nothing_handed_out_looks_free),
	};

	return cmocka_run_group_tests_name("corrupt", tests, NULL,
					   test_teardown);
}
