// SPDX-License-Identifier: MIT
/* Going through schedules; see explorer.h. */
#include "explorer.h"

#include "clock.h"
#include "objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE (-1)

/* A choice: what is known of it from run to run. */
struct node {
	uint8_t enabled;
	uint8_t chosen;
	uint8_t done; /* mask: gone through, without the one chosen */
	uint8_t todo; /* mask: to go through, with all that were */
	uint8_t sleep; /* mask: would only repeat what was seen */
	uint8_t last; /* who ran before */
	unsigned int preemptions; /* up to here, without this choice's */
};

/* A step of this run. */
struct event {
	uint8_t thread;
	bool writes;
	enum access_kind kind;
	unsigned int id;
	unsigned int index; /* in its thread, from 1 up */
	/* of each thread how much happened before, this one included */
	unsigned int clock[SCHED_THREADS];
};

/* What an address has seen in this run: events' numbers, or NONE. */
struct object {
	int write; /* the last one that changed it */
	int taken; /* of a lock: the last time it was */
	int read[SCHED_THREADS]; /* by each thread, since the last change */
};

static struct {
	const struct explore *x;
	struct node node[SCHED_STEPS];
	unsigned int depth; /* nodes that are there */
	unsigned int fresh; /* from this one on, races are news */
	bool given_up;
	uint8_t sleep;
	unsigned int preemptions;
	struct event event[SCHED_STEPS];
	struct object object[OBJECTS_MAX];
	unsigned int objects;
	unsigned int index[SCHED_THREADS];
	unsigned int clock[SCHED_THREADS][SCHED_THREADS];
	uint64_t class;
	uint64_t met[2 * REPORT_CLASSES]; /* open addressing; 0: none */
} e;

static uint8_t bit(unsigned int t)
{
	return (uint8_t)(1u << t);
}

/* ---- events and their order ------------------------------------------- */

static struct object *object(unsigned int id)
{
	for (; e.objects <= id; e.objects++)
		e.object[e.objects] = (struct object){
			.write = NONE,
			.taken = NONE,
			.read = {[0 ... SCHED_THREADS - 1] = NONE},
		};
	return &e.object[id];
}

static void join(unsigned int *clock, int event)
{
	if (event == NONE)
		return;
	for (unsigned int t = 0; t < SCHED_THREADS; t++)
		if (e.event[event].clock[t] > clock[t])
			clock[t] = e.event[event].clock[t];
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0xff51afd7ed558ccd);
	return h ^ h >> 32;
}

/* The class of a run is the sum over its events: what happened before each. */
static void add_to_class(const struct event *ev)
{
	uint64_t h = mix(ev->thread + 1u, ev->index);

	for (unsigned int t = 0; t < SCHED_THREADS; t++)
		h = mix(h, ev->clock[t]);
	e.class += h;
}

static void append(unsigned int i, unsigned int t, const struct access *a)
{
	struct object *o = object(a->id);
	struct event *ev = &e.event[i];
	unsigned int r;

	ev->thread = (uint8_t)t;
	ev->kind = a->kind;
	ev->id = a->id;
	ev->writes = sched_writes(a);
	ev->index = ++e.index[t];
	e.clock[t][t] = ev->index;
	join(e.clock[t], o->write);
	if (ev->writes)
		for (r = 0; r < SCHED_THREADS; r++)
			join(e.clock[t], o->read[r]);
	memcpy(ev->clock, e.clock[t], sizeof(ev->clock));
	add_to_class(ev);
	if (!ev->writes) {
		o->read[t] = (int)i;
		return;
	}
	o->write = (int)i;
	for (r = 0; r < SCHED_THREADS; r++)
		o->read[r] = NONE;
	if (a->kind == ACCESS_LOCK || a->kind == ACCESS_TRYLOCK)
		o->taken = (int)i;
}

static bool before(const struct event *a, const struct event *b)
{
	return b->clock[a->thread] >= a->index;
}

/* ---- races: other orders that have to be tried ------------------------ */

/*
 * Who could begin if what is after event @from without happening after it, and
 * then event @to, came first.
 */
static uint8_t initials(unsigned int from, unsigned int to)
{
	const struct event *first[SCHED_THREADS] = {NULL};
	uint8_t mask = 0;

	for (unsigned int i = from + 1; i <= to; i++) {
		const struct event *ev = &e.event[i];
		bool is = true;

		if (first[ev->thread] ||
		    (i != to && before(&e.event[from], ev)))
			continue;
		for (unsigned int t = 0; t < SCHED_THREADS; t++)
			if (first[t] && before(first[t], ev))
				is = false;
		first[ev->thread] = ev;
		if (is)
			mask |= bit(ev->thread);
	}
	return mask;
}

/* Event @to might have come before @from, if that is another thread's. */
static void race(int from, unsigned int to, const unsigned int *clock)
{
	struct node *n;
	uint8_t mask, t = e.event[to].thread;

	if (from == NONE || e.event[from].thread == t ||
	    clock[e.event[from].thread] >= e.event[from].index)
		return;
	n = &e.node[from];
	mask = initials((unsigned int)from, to);
	if (mask & (n->todo | n->sleep))
		return;
	n->todo |=
		mask & bit(t) ? bit(t) : bit((unsigned int)__builtin_ctz(mask));
}

/* The races of thread @t's access @a, which will be event @i; @clock is what
 * the thread has seen before it. */
static void find_races(unsigned int i, const struct access *a,
		       const struct object *o, const unsigned int *clock)
{
	bool reads = false;

	if (a->kind == ACCESS_LOCK) {
		race(o->taken, i, clock);
		return;
	}
	for (unsigned int r = 0; r < SCHED_THREADS; r++) {
		if (!e.event[i].writes || o->read[r] == NONE)
			continue;
		reads = true;
		race(o->read[r], i, clock);
	}
	if (!reads)
		race(o->write, i, clock);
}

/* Append thread @t's next access, after looking with what it races. */
static void take_step(unsigned int i, unsigned int t, const struct access *a)
{
	struct object was = *object(a->id);
	unsigned int clock[SCHED_THREADS];

	memcpy(clock, e.clock[t], sizeof(clock));
	append(i, t, a);
	if (e.x->mode == EXPLORE_ALL && i >= e.fresh)
		find_races(i, a, &was, clock);
}

/* ---- choices ---------------------------------------------------------- */

static bool meet(const struct access *a, const struct access *b)
{
	return a->id == b->id && (sched_writes(a) || sched_writes(b));
}

/* Of those in @mask, who does not meet what thread @t is about to do. */
static uint8_t still_asleep(uint8_t mask, unsigned int t,
			    const struct access *next)
{
	uint8_t left = 0;

	for (unsigned int r = 0; r < SCHED_THREADS; r++)
		if (mask >> r & 1 && !meet(&next[r], &next[t]))
			left |= bit(r);
	return left;
}

static bool preempts(const struct node *n, unsigned int t)
{
	return n->last != SCHED_NOBODY && n->enabled >> n->last & 1 &&
	       t != n->last;
}

static void new_node(struct node *n, const struct moment *m)
{
	uint8_t able = m->enabled & (uint8_t)~e.sleep;
	struct moment rest = *m;

	n->enabled = m->enabled;
	n->done = 0;
	n->sleep = e.sleep;
	n->last = (uint8_t)m->last;
	n->preemptions = e.preemptions;
	rest.enabled = able;
	n->chosen = (uint8_t)sched_default(&rest);
	n->todo = bit(n->chosen);
	if (e.x->mode == EXPLORE_ALL)
		return;
	n->todo = m->enabled;
	if (e.x->mode == EXPLORE_BOUND && e.preemptions == e.x->preemptions &&
	    m->last != SCHED_NOBODY && m->enabled >> m->last & 1)
		n->todo = bit(n->chosen);
}

static unsigned int choose(void *arg, const struct moment *m)
{
	struct node *n = &e.node[m->step];

	(void)arg;
	if (e.given_up)
		return sched_default(m);
	if (m->step < e.depth) {
		if (n->enabled != m->enabled || n->last != m->last)
			sched_fail("divergence",
				   "step %u is another one than the last time",
				   m->step);
	} else if (!(m->enabled & (uint8_t)~e.sleep)) {
		/* nobody who would not repeat something; let it come to an end */
		e.given_up = true;
		return sched_default(m);
	} else {
		new_node(n, m);
		e.depth = m->step + 1;
	}
	e.preemptions = n->preemptions + preempts(n, n->chosen);
	e.sleep = e.x->mode == EXPLORE_ALL ?
			  still_asleep(n->sleep | n->done, n->chosen, m->next) :
			  0;
	take_step(m->step, n->chosen, &m->next[n->chosen]);
	return n->chosen;
}

/* ---- runs ------------------------------------------------------------- */

static void count_class(void)
{
	const size_t nr = sizeof(e.met) / sizeof(e.met[0]);
	uint64_t class = e.class ? e.class : 1;
	size_t i = mix(class, 1) % nr;

	if (report->classes == REPORT_CLASSES)
		return;
	for (; e.met[i]; i = (i + 1) % nr)
		if (e.met[i] == class)
			return;
	e.met[i] = class;
	report->classes++;
	report->signature += mix(class, 2);
}

static void one_run(void)
{
	e.given_up = false;
	e.sleep = 0;
	e.preemptions = 0;
	e.objects = 0;
	e.class = 0;
	memset(e.index, 0, sizeof(e.index));
	memset(e.clock, 0, sizeof(e.clock));
	report->runs++;
	sched_run(e.x->program, choose, NULL);
	if (sched_steps() > report->most_steps)
		report->most_steps = sched_steps();
	if (e.given_up) {
		report->pruned++;
		return;
	}
	report->schedules++;
	count_class();
}

/* Whether there is a next one. */
static bool turn_back(void)
{
	while (e.depth) {
		struct node *n = &e.node[e.depth - 1];
		uint8_t left;

		n->done |= bit(n->chosen);
		left = n->todo & (uint8_t)~(n->done | n->sleep);
		if (left) {
			n->chosen = (uint8_t)__builtin_ctz(left);
			e.fresh = e.depth - 1;
			return true;
		}
		e.depth--;
	}
	return false;
}

void explore(const struct explore *x)
{
	double begin = clock_seconds();

	e.x = x;
	e.depth = 0;
	e.fresh = 0;
	do {
		if (x->schedules && report->schedules >= x->schedules)
			return;
		if (x->seconds > 0 && clock_seconds() - begin >= x->seconds)
			return;
		one_run();
	} while (turn_back());
	report->complete = true;
}
