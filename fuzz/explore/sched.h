/* SPDX-License-Identifier: MIT */
/*
 * A deterministic scheduler.  The threads of a program are coroutines of one
 * real thread.  Before each access that others can see - an atomic operation,
 * the taking or letting go of a lock - a thread says what it is about to do,
 * and somebody (sched_choose_fn) chooses which thread goes on.  So what happens
 * is a function of these choices, and all of them can be tried.
 *
 * What is between two such accesses needs no choice: as long as no data race
 * is found there (race.h looks for them in each schedule), nobody can tell in
 * which order it happened.
 *
 * Interleavings are those of sequential consistency.  An order that is weaker
 * than it should be shows as a data race of what it does not publish.
 *
 * Whatever is found ends the process (sched_fail()): runs belong in a child
 * (report.h).  One run at a time.
 */
#ifndef APB_EXPLORE_SCHED_H
#define APB_EXPLORE_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCHED_THREADS 8 /* at most; masks of them are bytes */
#define SCHED_STEPS 65536 /* more is a finding */
#define SCHED_NOBODY SCHED_THREADS

enum access_kind {
	ACCESS_LOAD,
	ACCESS_STORE,
	ACCESS_RMW, /* a compare-and-swap that fails counts as one, too */
	ACCESS_LOCK,
	ACCESS_TRYLOCK,
	ACCESS_UNLOCK,
};

/* What a thread is about to do. */
struct access {
	enum access_kind kind;
	uint8_t size; /* bytes; of a lock 0 */
	uint8_t order; /* __ATOMIC_... */
	const char *what; /* "fetch_add" */
	uintptr_t addr;
	uintptr_t pc;
	unsigned int id; /* of the address in this run, from 0 up */
};

/* A program whose schedules are run. */
struct program {
	const char *name;
	const char *about; /* one line */
	unsigned int nr; /* threads */
	void (*begin)(void); /* before them; may be NULL, as may end */
	void (*thread)(unsigned int t);
	void (*end)(void);
};

/* A moment at which a thread is to be chosen. */
struct moment {
	unsigned int step; /* from 0 */
	unsigned int last; /* who ran, or SCHED_NOBODY */
	uint8_t enabled; /* mask: who can go on; not 0 */
	uint8_t alive; /* mask: who has not ended */
	const struct access *next; /* of each thread that is alive */
};

/* Returns one of those enabled. */
typedef unsigned int (*sched_choose_fn)(void *arg, const struct moment *m);

/* Who goes on if there is no reason for another choice: who ran, else the
 * lowest. */
unsigned int sched_default(const struct moment *m);

/* Whether @a changes anything: a trylock only if it succeeds. */
bool sched_writes(const struct access *a);

/* Run all of @p once. */
void sched_run(const struct program *p, sched_choose_fn choose, void *arg);

/* The steps of the run so far. */
unsigned int sched_steps(void);

/* The thread that runs, or that begin() and end() play; SCHED_NOBODY: none. */
unsigned int sched_self(void);

/* In begin() and end(): be thread @t from now on (SCHED_NOBODY: oneself). */
void sched_play(unsigned int t);

/* Whether threads run: not in begin() and end().  Asked at each access. */
extern bool sched_runs;

static inline bool sched_running(void)
{
	return sched_runs;
}

/* The calling thread is about to do @a; returns when it is to do it. */
void sched_point(struct access *a);

/* Something is wrong: does not return. */
__attribute__((noreturn, format(printf, 2, 3))) void
sched_fail(const char *oracle, const char *fmt, ...);

/* What an address is called, for people; set by who knows. */
typedef void (*sched_name_fn)(uintptr_t addr, char *buf, size_t len);
extern sched_name_fn sched_name;

#endif /* APB_EXPLORE_SCHED_H */
