// SPDX-License-Identifier: MIT
/*
 * The simulated kernel over long random sequences: against a naive model that
 * keeps a byte per page, and against itself, for the same seed and the same
 * calls must give the same answers whatever came before in the process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "initialised.h"
#include "poison.h"
#include "simos.h"

#define PAGE ((size_t)4096)
#define NR_PAGES (SIMOS_SPACE / PAGE)
#define STAMP 520 /* where in a page the model writes: not where simos does */

static uint64_t rng;

static uint64_t draw(uint64_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (rng * UINT64_C(0x2545f4914f6cdd1d) >> 16) % n;
}

/* Pages: mostly few, sometimes around a MiB, rarely many. */
static size_t draw_pages(void)
{
	switch (draw(8)) {
	case 0:
		return 1;
	case 1 ... 4:
		return 1 + draw(20);
	case 5:
		return 1 + draw(100);
	case 6:
		return 250 + draw(12);
	default:
		return 1 + draw(600);
	}
}

static char *page(size_t i)
{
	return (char *)SIMOS_BASE + i * PAGE;
}

static void reset(uint64_t seed, unsigned int flags)
{
	assert_int_equal(simos_reset(seed, flags), 0);
}

/* ---- against a model -------------------------------------------------- */

static struct model {
	bool mapped[NR_PAGES];
	bool purged[NR_PAGES];
	uint64_t stamp[NR_PAGES]; /* 0: the content is not known */
	size_t limit, nr_mapped, nr_purged, highwater;
} model;

static void model_reset(size_t limit)
{
	memset(&model, 0, sizeof(model));
	model.limit = limit;
}

static bool model_free(size_t from, size_t n)
{
	size_t i;

	for (i = from; i < from + n; i++)
		if (i >= model.limit || model.mapped[i])
			return false;
	return true;
}

static bool model_has_hole(size_t n)
{
	size_t i, run = 0;

	for (i = 0; i < model.limit && run < n; i++)
		run = model.mapped[i] ? 0 : run + 1;
	return run >= n;
}

static uint64_t *stamp_of(size_t i)
{
	return (uint64_t *)(page(i) + STAMP);
}

static void model_map(size_t from, size_t n)
{
	size_t i;

	assert_true(model_free(from, n));
	assert_false(is_poisoned(page(from), n * PAGE));
	for (i = from; i < from + n; i++) {
		model.mapped[i] = true;
		model.stamp[i] = draw(UINT32_MAX) + 1;
		*stamp_of(i) = model.stamp[i];
	}
	model.nr_mapped += n;
	if (model.nr_mapped > model.highwater)
		model.highwater = model.nr_mapped;
}

static void model_verify(size_t from, size_t n)
{
	size_t i;

	for (i = from; i < from + n; i++)
		if (model.stamp[i])
			assert_true(*stamp_of(i) == model.stamp[i]);
}

static void model_forget_purge(size_t i)
{
	model.nr_purged -= model.purged[i];
	model.purged[i] = false;
}

static void model_unmap(size_t from, size_t n)
{
	size_t i;

	for (i = from; i < from + n; i++) {
		assert_true(model.mapped[i]);
		model.mapped[i] = false;
		model.stamp[i] = 0;
		model_forget_purge(i);
		if (POISON_ACTIVE && n <= SIMOS_POISON_WHOLE)
			assert_true(is_poisoned(page(i), 1));
	}
	model.nr_mapped -= n;
}

static bool is_zero(size_t from, size_t n)
{
	const char *p = page(from);

	return !p[0] && !memcmp(p, p + 1, n * PAGE - 1);
}

/* A mapped run at or behind a random place, of at most @max pages. */
static size_t draw_run(size_t max, size_t *n)
{
	size_t i, from = draw(model.limit);

	for (i = 0; i < model.limit && !model.mapped[from]; i++)
		from = (from + 1) % model.limit;
	for (*n = 0; *n < max && from + *n < model.limit; (*n)++)
		if (!model.mapped[from + *n])
			break;
	return from;
}

static void step_map(unsigned int flags)
{
	const struct apb_os *os = simos_ops();
	size_t n = draw_pages(), want = draw(model.limit), from;
	bool zero, expected;
	char *p;

	expected = model_has_hole(n);
	p = os->map(os->ctx, page(want), n * PAGE, &zero);
	if (!expected) {
		assert_null(p);
		assert_int_equal(errno, ENOMEM);
		return;
	}
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % PAGE, 0);
	from = (size_t)(p - page(0)) / PAGE;
	if (flags & SIMOS_HINTS && model_free(want, n))
		assert_int_equal(from, want);
	if (flags & SIMOS_NONZERO)
		assert_false(zero);
	if (zero)
		assert_true(is_zero(from, n));
	model_map(from, n);
}

static void step_unmap(void)
{
	const struct apb_os *os = simos_ops();
	size_t n, from = draw_run(draw_pages(), &n);

	if (!n)
		return;
	model_verify(from, n);
	assert_int_equal(os->unmap(os->ctx, page(from), n * PAGE), 0);
	model_unmap(from, n);
}

static void step_purge(void)
{
	const struct apb_os *os = simos_ops();
	size_t n, i, from = draw_run(draw_pages(), &n);

	if (!n)
		return;
	assert_int_equal(os->purge(os->ctx, page(from), n * PAGE), 0);
	for (i = from; i < from + n; i++) {
		assert_true(*(uint64_t *)page(i) != 0);
		model.nr_purged += !model.purged[i];
		model.purged[i] = true;
		model.stamp[i] = 0;
	}
}

static void step_remap_here(void)
{
	const struct apb_os *os = simos_ops();
	size_t n, from = draw_run(draw_pages(), &n), new = draw_pages();
	int ret;

	if (!n)
		return;
	ret = os->remap(os->ctx, page(from), n * PAGE, new *PAGE, NULL);
	if (new <= n) {
		assert_int_equal(ret, 0);
		model_unmap(from + new, n - new);
	} else if (model_free(from + n, new - n)) {
		assert_int_equal(ret, 0);
		assert_true(is_zero(from + n, new - n));
		model_map(from + n, new - n);
	} else {
		assert_int_equal(ret, -1);
		assert_int_equal(errno, ENOMEM);
	}
	model_verify(from, n < new ? n : new);
}

static void step_remap_to(void)
{
	const struct apb_os *os = simos_ops();
	size_t n, new, i, from = draw_run(draw_pages(), &n);
	size_t to = draw_run(draw_pages(), &new);

	if (!n || !new || (from < to + new && to < from + n))
		return;
	assert_int_equal(
		os->remap(os->ctx, page(from), n * PAGE, new *PAGE, page(to)),
		0);
	for (i = 0; i < new; i++) {
		model_forget_purge(to + i);
		model.stamp[to + i] = i < n ? model.stamp[from + i] : 0;
	}
	if (new > n)
		assert_true(is_zero(to + n, new - n));
	model_verify(to, new);
	model_unmap(from, n);
}

static void compare(void)
{
	struct simos_stats s;
	size_t i, runs = 0;

	for (i = 0; i < model.limit; i++) {
		runs += model.mapped[i] && !(i && model.mapped[i - 1]);
		assert_int_equal(simos_is_mapped(page(i), PAGE),
				 model.mapped[i]);
		if (model.mapped[i])
			assert_false(is_poisoned(page(i), PAGE));
	}
	model_verify(0, model.limit);
	simos_stats(&s);
	assert_int_equal(s.mappings, runs);
	assert_int_equal(s.mapped, model.nr_mapped * PAGE);
	assert_int_equal(s.purged, model.nr_purged * PAGE);
	assert_int_equal(s.mapped_highwater, model.highwater * PAGE);
	assert_null(simos_violation());
}

static void run_model(uint64_t seed, unsigned int flags, unsigned int steps)
{
	unsigned int i;

	rng = seed * 2 + 1;
	model_reset(flags & SIMOS_TIGHT ? 2048 : NR_PAGES);
	reset(seed, flags);
	for (i = 0; i < steps; i++) {
		switch (draw(16)) {
		case 0 ... 6:
			step_map(flags);
			break;
		case 7 ... 10:
			step_unmap();
			break;
		case 11 ... 12:
			step_purge();
			break;
		case 13 ... 14:
			step_remap_here();
			break;
		default:
			step_remap_to();
			break;
		}
		if (i % 256 == 255)
			compare();
	}
	compare();
}

static void test_against_model(void **ctx)
{
	unsigned int flags;

	(void)ctx;
	for (flags = 0; flags < 32; flags++)
		run_model(flags, flags, 600);
	for (flags = 0; flags < 32; flags += 5)
		run_model(100 + flags, flags | SIMOS_TIGHT | SIMOS_FILL, 600);
}

static void test_a_long_life(void **ctx)
{
	(void)ctx;
	run_model(77, SIMOS_TIGHT, 20000);
	run_model(78, SIMOS_TIGHT | SIMOS_REUSE | SIMOS_MISALIGN, 20000);
	run_model(79, 0, 4000);
}

/* ---- against itself --------------------------------------------------- */

static uint64_t hash(uint64_t h, uint64_t x)
{
	h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

/* What a caller may see: of indeterminate content all, if all is filled. */
static uint64_t hash_content(uint64_t h, const char *p, size_t size, bool all)
{
	size_t i, k, words = all ? PAGE / 8 : 1;

	initialised(p, size);
	if (!all && size > SIMOS_SCRIBBLE_PAGES * PAGE)
		size = SIMOS_SCRIBBLE_PAGES * PAGE;
	for (i = 0; i < size; i += PAGE)
		for (k = 0; k < words; k++)
			h = hash(h, *(const uint64_t *)(p + i + k * 8));
	return h;
}

/*
 * A sequence of calls that depends on @seed and the answers, which are hashed:
 * results, errno, addresses, zero flags, content, statistics.
 */
static uint64_t trace(uint64_t seed, unsigned int flags, unsigned int calls)
{
	const struct apb_os *os = simos_ops();
	const struct apb_fault fault = {
		.mode = APB_FAULT_RANDOM, .calls = 15, .n = 8, .seed = seed};
	static struct {
		char *p;
		size_t size;
	} held[64];
	struct simos_stats s;
	uint64_t h = seed;
	unsigned int i;
	int ret;

	memset(held, 0, sizeof(held));
	rng = seed * 2 + 1;
	reset(seed, flags);
	if (seed % 2)
		simos_fault(&fault);
	for (i = 0; i < calls; i++) {
		size_t at = draw(64), size = draw_pages() * PAGE;
		char *p = held[at].p;
		bool zero = false;

		errno = 0;
		if (!p) {
			p = os->map(os->ctx, page(draw(NR_PAGES)), size, &zero);
			h = hash(hash(h, (uintptr_t)p), zero);
			held[at].p = p;
			held[at].size = size;
			if (p) {
				h = hash_content(h, p, size,
						 zero || flags & SIMOS_FILL);
				memset(p, (int)at + 1, size);
			}
		} else if (draw(3) == 0) {
			ret = os->purge(os->ctx, p, held[at].size);
			h = hash(h, (uint64_t)ret);
			h = hash_content(h, p, held[at].size,
					 flags & SIMOS_FILL);
		} else if (draw(3) == 0) {
			ret = os->remap(os->ctx, p, held[at].size, size, NULL);
			h = hash(h, (uint64_t)ret);
			if (!ret)
				held[at].size = size;
		} else {
			ret = os->unmap(os->ctx, p, held[at].size);
			h = hash(h, (uint64_t)ret);
			if (!ret)
				held[at].p = NULL;
		}
		h = hash(h, (uint64_t)errno);
	}
	assert_null(simos_violation());
	simos_stats(&s);
	return hash(hash(hash(h, s.mapped), s.purged), s.refused);
}

#define NR_TRACES 64u

static uint64_t fresh[NR_TRACES];

static uint64_t numbered_trace(unsigned int i)
{
	return trace(1000 + i, i % 64, 120);
}

/* Before any test, each trace in a process of its own. */
static int record_traces(void **ctx)
{
	unsigned int i;

	(void)ctx;
	for (i = 0; i < NR_TRACES; i++) {
		int fds[2], status;
		pid_t pid;

		if (pipe(fds))
			return -1;
		pid = fork();
		if (!pid) {
			uint64_t h = numbered_trace(i);

			_exit(write(fds[1], &h, sizeof(h)) != sizeof(h));
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status ||
		    read(fds[0], &fresh[i], sizeof(fresh[i])) !=
			    sizeof(fresh[i]))
			return -1;
		close(fds[0]);
		close(fds[1]);
	}
	return 0;
}

/* Runs last: all other tests are the history. */
static void test_history_does_not_matter(void **ctx)
{
	unsigned int i, k;

	(void)ctx;
	for (k = 0; k < 2; k++)
		for (i = NR_TRACES; i-- > 0;) {
			assert_true(numbered_trace(i) == fresh[i]);
			trace(i + k, SIMOS_NONZERO, 20);
		}
}

static void test_seeds_and_flags_matter(void **ctx)
{
	unsigned int flags;
	uint64_t seed;

	(void)ctx;
	for (seed = 2; seed < 40; seed++)
		assert_true(trace(seed, 0, 50) != trace(seed + 1, 0, 50));
	for (flags = 1; flags < 64; flags <<= 1)
		assert_true(trace(1, flags, 200) != trace(1, 0, 200));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_a_long_life),
		cmocka_unit_test(test_seeds_and_flags_matter),
		cmocka_unit_test(test_history_does_not_matter),
	};

	return cmocka_run_group_tests_name("simos model", tests, record_traces,
					   NULL);
}
