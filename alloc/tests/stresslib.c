// SPDX-License-Identifier: MIT
/* What the tests with threads need; see stresslib.h. */
#include "stresslib.h"

#include <stdlib.h>
#include <unistd.h>

size_t stress_times(size_t quick, size_t full)
{
	const char *env = getenv("APB_TEST_FULL");
	size_t n = env && *env && strcmp(env, "0") != 0 ? full : quick;

	if (!test_has_tool())
		return n;
	return n < 10 ? 1 : n / 10;
}

/* ---- complaints ------------------------------------------------------- */

static atomic_size_t complaints;
static const char *_Atomic first_what;
static const char *_Atomic first_file;
static _Atomic int first_line;

void stress_complain(const char *file, int line, const char *what)
{
	if (atomic_fetch_add(&complaints, 1))
		return;
	atomic_store(&first_file, file);
	atomic_store(&first_line, line);
	atomic_store(&first_what, what);
}

size_t stress_complaints(void)
{
	return atomic_load(&complaints);
}

void stress_assert_none(const char *file, int line)
{
	size_t n = atomic_exchange(&complaints, 0);

	if (!n)
		return;
	print_error("%s:%d: %zu complaints, the first of %s:%d: %s\n", file,
		    line, n, first_file, first_line, first_what);
	_fail(file, line);
}

/* ---- blocks ----------------------------------------------------------- */

atomic_bool stress_no_memory;

/* All of a small block; of others a piece of each page, and the end. */
#define LABEL_WHOLE ((size_t)2048)

size_t label_size(uint64_t *r)
{
	uint64_t x = rnd(r);

	if (x % 512 == 0)
		return 33000 + (x >> 16) % 100000;
	if (x % 16 == 0)
		return 16 + (x >> 16) % 32000;
	return 16 + (x >> 16) % 600;
}

static void sign(struct label *b)
{
	char *p = (char *)b;
	size_t at;

	if (b->size <= LABEL_WHOLE) {
		fill(b + 1, b->size - sizeof(*b), b->seed);
		return;
	}
	for (at = 4096; at + 16 <= b->size; at += 4096)
		fill(p + at, 8, b->seed + at);
	fill(p + b->size - 8, 8, b->seed);
}

bool label_holds(const struct label *b)
{
	const char *p = (const char *)b;
	size_t at;

	if (b->size <= LABEL_WHOLE)
		return filled(b + 1, b->size - sizeof(*b), b->seed);
	for (at = 4096; at + 16 <= b->size; at += 4096)
		if (!filled(p + at, 8, b->seed + at))
			return false;
	return filled(p + b->size - 8, 8, b->seed);
}

struct label *label_make(size_t size, uint64_t *r)
{
	struct label *b;

	if (size < sizeof(*b))
		size = sizeof(*b);
	switch (rnd(r) % 4) {
	case 0:
		b = apb_calloc(1, size);
		expect(!b || all_bytes(b, size < 64 ? size : 64, 0));
		break;
	case 1:
		b = apb_aligned_alloc(64, size);
		expect(!b || is_aligned(b, 64));
		break;
	default:
		b = apb_malloc(size);
		expect(!b || is_aligned(b, 16));
	}
	expect(b || (stress_no_memory && errno == ENOMEM));
	if (!b)
		return NULL;
	b->size = size;
	b->seed = rnd(r);
	sign(b);
	return b;
}

/* Whether @b, which had @old bytes, has the first @kept of them still. */
static bool keeps(const struct label *b, size_t old, size_t kept)
{
	const char *p = (const char *)b;
	size_t at;

	if (old <= LABEL_WHOLE)
		return filled(b + 1, kept / 8 * 8 - sizeof(*b), b->seed);
	for (at = 4096; at + 16 <= kept; at += 4096)
		if (!filled(p + at, 8, b->seed + at))
			return false;
	return true;
}

struct label *label_resize(struct label *b, size_t size)
{
	size_t old = b->size;
	uint64_t seed = b->seed;
	struct label *p;

	if (size < sizeof(*b))
		size = sizeof(*b);
	expect(label_holds(b));
	p = apb_realloc(b, size);
	expect(p || (stress_no_memory && errno == ENOMEM));
	if (!p)
		return b;
	expect(p->size == old && p->seed == seed);
	expect(keeps(p, old, size < old ? size : old));
	p->size = size;
	sign(p);
	return p;
}

void label_drop(struct label *b)
{
	if (!b)
		return;
	expect(label_holds(b));
	expect(apb_usable_size(b) >= b->size);
	apb_free(b);
}

/* ---- threads ---------------------------------------------------------- */

struct crew_member {
	struct crew *crew;
	size_t index;
};

static void *crew_main(void *arg)
{
	struct crew_member me = *(struct crew_member *)arg;

	/* the second time everybody has read what was theirs */
	pthread_barrier_wait(&me.crew->start);
	me.crew->fn(me.index, me.crew->arg);
	return NULL;
}

void crew_start(struct crew *c, size_t nr, void (*fn)(size_t, void *),
		void *arg)
{
	struct crew_member member[CREW_MAX];
	size_t i;

	assert_true(nr <= CREW_MAX);
	c->nr = nr;
	c->fn = fn;
	c->arg = arg;
	pthread_barrier_init(&c->start, NULL, (unsigned int)nr + 1);
	for (i = 0; i < nr; i++) {
		member[i] = (struct crew_member){c, i};
		assert_int_equal(pthread_create(&c->thread[i], NULL, crew_main,
						&member[i]),
				 0);
	}
	pthread_barrier_wait(&c->start);
}

void crew_join(struct crew *c)
{
	size_t i;

	for (i = 0; i < c->nr; i++)
		assert_int_equal(pthread_join(c->thread[i], NULL), 0);
	pthread_barrier_destroy(&c->start);
}

void crew_run(size_t nr, void (*fn)(size_t, void *), void *arg)
{
	struct crew c;

	crew_start(&c, nr, fn, arg);
	crew_join(&c);
}

/* ---- memory ----------------------------------------------------------- */

size_t resident_bytes(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*u %lu", &pages), 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

bool stats_add_up(const struct apb_stats *s)
{
	return s->used_bytes + s->avail_bytes + s->unused_pool_bytes +
		       s->header_bytes + s->quant_bytes + s->align_bytes ==
	       s->arenas * s->arena_bytes;
}

void stress_assert_given_back(const char *file, int line)
{
	struct apb_stats s = stats_now();

	_assert_int_equal(s.used_bytes, 0, file, line);
	_assert_int_equal(s.large, 0, file, line);
	test_whole(file, line);
	apb_trim();
	test_whole(file, line);
	s = stats_now();
	_assert_int_equal(s.arenas, 0, file, line);
	_assert_int_equal(s.mapped_bytes, s.heap_bytes, file, line);
	_assert_in_range(s.heap_bytes, 0, APB_HEAP_BYTES, file, line);
}
