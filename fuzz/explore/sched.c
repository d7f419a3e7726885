// SPDX-License-Identifier: MIT
/* The scheduler; see sched.h. */
#include "sched.h"

#include "coro.h"
#include "locks.h"
#include "objects.h"
#include "race.h"
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Coroutine 0 is who calls sched_run(), thread t is coroutine t + 1. */

static struct {
	const struct program *program;
	sched_choose_fn choose;
	void *arg;
	bool starting; /* threads go up to their first access */
	bool over; /* a finding is being told */
	unsigned int self;
	unsigned int last;
	unsigned int steps;
	uint8_t alive;
	struct access next[SCHED_THREADS];
} sched = {.self = SCHED_NOBODY};

bool sched_runs;
sched_name_fn sched_name;

/* ---- findings --------------------------------------------------------- */

void sched_fail(const char *oracle, const char *fmt, ...)
{
	va_list ap;

	/* what names addresses may stumble over the state it looks at */
	if (sched.over)
		_exit(1);
	sched.over = true;
	va_start(ap, fmt);
	if (!report) {
		fprintf(stderr, "FINDING: %s: ", oracle);
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
		abort();
	}
	snprintf(report->oracle, sizeof(report->oracle), "%s", oracle);
	vsnprintf(report->text, sizeof(report->text), fmt, ap);
	report->found = true;
	_exit(1);
}

/* ---- choices ---------------------------------------------------------- */

bool sched_writes(const struct access *a)
{
	switch (a->kind) {
	case ACCESS_LOAD:
		return false;
	case ACCESS_TRYLOCK:
		return locks_holder(a->id) == SCHED_NOBODY;
	default:
		return true;
	}
}

unsigned int sched_default(const struct moment *m)
{
	if (m->last != SCHED_NOBODY && m->enabled >> m->last & 1)
		return m->last;
	return (unsigned int)__builtin_ctz(m->enabled);
}

static uint8_t enabled(void)
{
	uint8_t mask = 0;

	for (unsigned int t = 0; t < sched.program->nr; t++) {
		const struct access *a = &sched.next[t];

		if (!(sched.alive >> t & 1))
			continue;
		if (a->kind == ACCESS_LOCK &&
		    locks_holder(a->id) != SCHED_NOBODY)
			continue;
		mask |= (uint8_t)(1u << t);
	}
	return mask;
}

static void deadlock(void)
{
	char text[400] = "";
	size_t used = 0;

	for (unsigned int t = 0; t < sched.program->nr; t++) {
		const struct access *a = &sched.next[t];
		char name[REPORT_NAME] = "a lock";

		if (!(sched.alive >> t & 1) || used >= sizeof(text))
			continue;
		if (sched_name)
			sched_name(a->addr, name, sizeof(name));
		used += (size_t)snprintf(
			text + used, sizeof(text) - used,
			"%sthread %u waits for %s, which thread %u has",
			used ? ", " : "", t, name, locks_holder(a->id));
	}
	sched_fail("deadlock", "%s", text);
}

static void note(unsigned int thread, uint8_t mask)
{
	struct report_step *s;

	if (!report)
		return;
	s = &report->step[sched.steps];
	s->thread = (uint8_t)thread;
	s->last = (uint8_t)sched.last;
	s->forced = sched.last == SCHED_NOBODY || !(mask >> sched.last & 1);
	s->access = sched.next[thread];
	if (report->want_names && sched_name)
		sched_name(s->access.addr, report->name[sched.steps],
			   REPORT_NAME);
	report->steps = sched.steps + 1;
}

/* Who goes on; SCHED_NOBODY: all have ended. */
static unsigned int choose(void)
{
	struct moment m = {
		.step = sched.steps,
		.last = sched.last,
		.enabled = enabled(),
		.alive = sched.alive,
		.next = sched.next,
	};
	unsigned int t;

	if (!sched.alive)
		return SCHED_NOBODY;
	if (!m.enabled)
		deadlock();
	if (sched.steps == SCHED_STEPS)
		sched_fail("steps", "the threads do not end within %u accesses",
			   SCHED_STEPS);
	t = sched.choose(sched.arg, &m);
	note(t, m.enabled);
	sched.steps++;
	sched.last = t;
	return t;
}

/* ---- threads ---------------------------------------------------------- */

static void go_on(void)
{
	unsigned int t = choose();

	sched.self = t;
	coro_switch(t == SCHED_NOBODY ? 0 : t + 1);
}

void sched_point(struct access *a)
{
	unsigned int me = sched.self;

	/* alone, only locks have to be known */
	if (!sched_runs && a->size)
		return;
	a->id = objects_id(a->addr);
	if (sched.starting) {
		sched.next[me] = *a;
		coro_switch(0);
	} else if (sched_runs) {
		sched.next[me] = *a;
		go_on();
	}
	/* here it is its turn */
}

static void body(unsigned int number)
{
	unsigned int me = number - 1;

	sched.program->thread(me);
	sched.alive &= (uint8_t)~(1u << me);
	if (sched.starting)
		coro_switch(0);
	go_on();
}

void sched_run(const struct program *p, sched_choose_fn choose_fn, void *arg)
{
	unsigned int t;

	sched.program = p;
	sched.choose = choose_fn;
	sched.arg = arg;
	sched.steps = 0;
	sched.last = SCHED_NOBODY;
	sched.alive = (uint8_t)((1u << p->nr) - 1);
	if (report)
		report->steps = 0;
	coro_reset(body);
	locks_reset();
	objects_reset();
	if (p->begin)
		p->begin();
	sched_play(SCHED_NOBODY);
	locks_expect_free();
	race_begin(p->nr);
	sched_runs = true;
	sched.starting = true;
	for (t = 0; t < p->nr; t++) {
		sched.self = t;
		coro_switch(t + 1);
	}
	sched.starting = false;
	go_on();
	sched_runs = false;
	sched.self = SCHED_NOBODY;
	locks_expect_free();
	if (p->end)
		p->end();
	sched_play(SCHED_NOBODY);
	locks_expect_free();
}

void sched_play(unsigned int t)
{
	sched.self = t;
	coro_play(t == SCHED_NOBODY ? 0 : t + 1);
}

unsigned int sched_steps(void)
{
	return sched.steps;
}

unsigned int sched_self(void)
{
	return sched.self;
}
