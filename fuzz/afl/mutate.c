// SPDX-License-Identifier: MIT
/* Mutation and trimming by whole operations; see mutate.h. */
#include "mutate.h"

#include "ops.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HEADER OPS_HEADER_SIZE
#define RECORD OPS_RECORD_SIZE
#define STACK_MAX 5 /* changes at a time */
#define RUN_MAX 32 /* records that are moved, copied or left out */

/* ---- small things ----------------------------------------------------- */

static uint64_t draw(struct mutation *m, uint64_t below)
{
	/* splitmix64 */
	uint64_t x = m->rng += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (x ^ (x >> 31)) % below;
}

/* From 1 to @most; small numbers are as likely as all others. */
static size_t draw_run(struct mutation *m, size_t most)
{
	size_t n = most < RUN_MAX ? most : RUN_MAX;

	return 1 + draw(m, 1 + draw(m, n));
}

__attribute__((format(printf, 2, 3))) static void say(struct mutation *m,
						      const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!m->room)
		return;
	va_start(ap, fmt);
	n = vsnprintf(m->words, m->room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= m->room) {
		/* no half words */
		*m->words = '\0';
		n = 0;
		m->room = 0;
	}
	m->words += n;
	m->room -= (size_t)n < m->room ? (size_t)n : m->room;
}

static uint8_t *record(struct mutation *m, size_t i)
{
	return m->data + HEADER + i * RECORD;
}

static size_t count(const struct mutation *m)
{
	return (m->size - HEADER) / RECORD;
}

/* How many records fit behind those that are there. */
static size_t space(const struct mutation *m)
{
	return (m->max - m->size) / RECORD;
}

/* Open a gap of @n records before number @at, as far as there is room. */
static size_t open_gap(struct mutation *m, size_t at, size_t n)
{
	if (n > space(m))
		n = space(m);
	memmove(record(m, at + n), record(m, at), (count(m) - at) * RECORD);
	m->size += n * RECORD;
	return n;
}

static void drop(struct mutation *m, size_t at, size_t n)
{
	memmove(record(m, at), record(m, at + n), (count(m) - at - n) * RECORD);
	m->size -= n * RECORD;
}

/* ---- changes ---------------------------------------------------------- */

/* Any record: of all 32 codes, operands of any kind. */
static void random_record(struct mutation *m, uint8_t *r)
{
	for (int i = 0; i < RECORD; i++)
		r[i] = (uint8_t)draw(m, 256);
	/* most operations mean what they are called with a small arg only */
	if (draw(m, 2))
		r[1] &= 31;
	/* slots that are used by others as well */
	if (draw(m, 2))
		r[3] = 0;
}

static void change_drop(struct mutation *m, const uint8_t *other, size_t n)
{
	size_t all = count(m), run = draw_run(m, all);
	size_t at = draw(m, all - run + 1);

	(void)other;
	(void)n;
	if (run == all)
		return;
	drop(m, at, run);
	say(m, " drop%zu@%zu", run, at);
}

static void change_insert(struct mutation *m, const uint8_t *other, size_t n)
{
	size_t at = draw(m, count(m) + 1), run = open_gap(m, at, 1);

	(void)other;
	(void)n;
	if (!run)
		return;
	random_record(m, record(m, at));
	say(m, " insert@%zu", at);
}

/* A run once more, in another place. */
static void change_copy(struct mutation *m, const uint8_t *other, size_t n)
{
	uint8_t copied[RUN_MAX * RECORD];
	size_t all = count(m), run = draw_run(m, all);
	size_t from = draw(m, all - run + 1), to = draw(m, all + 1);

	(void)other;
	(void)n;
	memcpy(copied, record(m, from), run * RECORD);
	run = open_gap(m, to, run);
	memcpy(record(m, to), copied, run * RECORD);
	say(m, " copy%zu@%zu-%zu", run, from, to);
}

/* One record many times, in slots that go up. */
static void change_repeat(struct mutation *m, const uint8_t *other, size_t n)
{
	size_t at = draw(m, count(m)), run = draw_run(m, RUN_MAX);
	uint8_t step = (uint8_t)draw(m, 2);

	(void)other;
	(void)n;
	run = open_gap(m, at + 1, run);
	for (size_t i = 1; i <= run; i++) {
		memcpy(record(m, at + i), record(m, at), RECORD);
		record(m, at + i)[2] += (uint8_t)(i * step);
	}
	say(m, " repeat%zu@%zu", run, at);
}

static void change_swap(struct mutation *m, const uint8_t *other, size_t n)
{
	size_t a = draw(m, count(m)), b = draw(m, count(m));
	uint8_t saved[RECORD];

	(void)other;
	(void)n;
	memcpy(saved, record(m, a), RECORD);
	memcpy(record(m, a), record(m, b), RECORD);
	memcpy(record(m, b), saved, RECORD);
	say(m, " swap@%zu-%zu", a, b);
}

/* Another operation with the same operands; the thread stays. */
static void change_kind(struct mutation *m, const uint8_t *other, size_t n)
{
	size_t at = draw(m, count(m));
	uint8_t *r = record(m, at);

	(void)other;
	(void)n;
	r[0] = (uint8_t)((r[0] & 0xe0) | draw(m, 32));
	say(m, " kind@%zu", at);
}

static void change_thread(struct mutation *m, const uint8_t *other, size_t n)
{
	size_t all = count(m), run = draw_run(m, all);
	size_t at = draw(m, all - run + 1);
	uint8_t thread = (uint8_t)(draw(m, OPS_THREADS) << 5);

	(void)other;
	(void)n;
	for (size_t i = at; i < at + run; i++)
		record(m, i)[0] = (record(m, i)[0] & 0x1f) | thread;
	say(m, " thread%zu@%zu", run, at);
}

/* The operand of another record, or one of its own, a bit different. */
static void change_operand(struct mutation *m, const uint8_t *other, size_t n)
{
	static const struct {
		const char *name;
		uint8_t at, size;
	} field[] = {{"arg", 1, 1}, {"slot", 2, 2}, {"val", 4, 4}};
	size_t at = draw(m, count(m)), from = draw(m, count(m));
	unsigned int f = (unsigned int)draw(m, 3);
	uint8_t *p = record(m, at) + field[f].at;

	(void)other;
	(void)n;
	switch (draw(m, 4)) {
	case 0:
		memcpy(p, record(m, from) + field[f].at, field[f].size);
		break;
	case 1:
		p[0] = (uint8_t)(p[0] + draw(m, 9) - 4);
		break;
	case 2:
		p[draw(m, field[f].size)] ^= (uint8_t)(1 << draw(m, 8));
		break;
	default:
		p[draw(m, field[f].size)] = (uint8_t)draw(m, 256);
		break;
	}
	say(m, " %s@%zu", field[f].name, at);
}

/* The kernel, the options, the threads, the seed. */
static void change_header(struct mutation *m, const uint8_t *other, size_t n)
{
	size_t at = 1 + draw(m, HEADER - 1);

	(void)other;
	(void)n;
	if (draw(m, 2))
		m->data[at] ^= (uint8_t)(1 << draw(m, 8));
	else
		m->data[at] = (uint8_t)draw(m, 256);
	say(m, " head@%zu", at);
}

/* A run of the other input, into this one. */
static void change_splice(struct mutation *m, const uint8_t *other, size_t n)
{
	size_t run, from, to = draw(m, count(m) + 1);

	if (!n)
		return;
	run = draw_run(m, n);
	from = draw(m, n - run + 1);
	run = open_gap(m, to, run);
	memcpy(record(m, to), other + HEADER + from * RECORD, run * RECORD);
	say(m, " splice%zu@%zu", run, to);
}

/* The other input's end behind this one's beginning; no longer than this one:
 * what is long is slow. */
static void change_cross(struct mutation *m, const uint8_t *other, size_t n)
{
	size_t all = count(m), keep = draw(m, all), run, from;

	if (!n)
		return;
	from = draw(m, n);
	run = n - from;
	m->size = HEADER + keep * RECORD;
	if (run > all - keep)
		run = all - keep;
	memcpy(record(m, keep), other + HEADER + from * RECORD, run * RECORD);
	m->size += run * RECORD;
	say(m, " cross@%zu", keep);
}

/* As often as they stand here: what makes shorter is to weigh as much as what
 * makes longer, for long inputs are slow. */
static void (*const changes[])(struct mutation *m, const uint8_t *other,
			       size_t n) = {
	change_drop,	change_drop,   change_drop,    change_insert,
	change_copy,	change_repeat, change_swap,    change_kind,
	change_thread,	change_header, change_operand, change_operand,
	change_operand, change_splice, change_splice,  change_cross,
};

void mutate(struct mutation *m, const uint8_t *other, size_t other_size)
{
	size_t nr = sizeof(changes) / sizeof(changes[0]);
	size_t times = 1 + draw(m, STACK_MAX);

	if (m->size < HEADER) {
		memset(m->data + m->size, 0, HEADER - m->size);
		m->size = HEADER;
	}
	/* a rest that is no record does nothing */
	m->size = HEADER + count(m) * RECORD;
	for (; times; times--) {
		if (!count(m))
			change_insert(m, NULL, 0);
		changes[draw(m, nr)](m, other, ops_count(other_size));
	}
}

/* ---- trimming --------------------------------------------------------- */

/* The next run that can be left out, on from @t->at; false: there is none. */
static bool trim_place(struct trim *t)
{
	size_t n = ops_count(t->size);

	while (t->run && (t->run >= n || t->at == SIZE_MAX)) {
		t->run /= 2;
		t->at = n - t->run;
	}
	return t->run;
}

bool trim_begin(struct trim *t, const uint8_t *data, size_t size,
		unsigned int steps)
{
	size_t n = ops_count(size);

	*t = (struct trim){
		.data = data,
		.size = HEADER + n * RECORD,
		.run = n / 2,
		.at = n - n / 2,
		.steps = steps,
	};
	return size >= HEADER && trim_place(t);
}

size_t trim_try(const struct trim *t, uint8_t *out)
{
	size_t from = HEADER + t->at * RECORD, cut = t->run * RECORD;

	memmove(out, t->data, from);
	memmove(out + from, t->data + from + cut, t->size - from - cut);
	return t->size - cut;
}

bool trim_next(struct trim *t, bool kept, uint8_t *data)
{
	if (kept)
		t->size = trim_try(t, data);
	/* what is before the run; a last bit that is shorter counts as well */
	if (!t->at)
		t->at = SIZE_MAX;
	else
		t->at = t->at > t->run ? t->at - t->run : 0;
	return ++t->step < t->steps && trim_place(t);
}
