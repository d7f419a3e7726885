/* SPDX-License-Identifier: MIT */
/*
 * Workers: threads that really run beside each other, for apb-threads.  Each
 * goes through records of an input (ops.h) with a share of the blocks of its
 * own; a block that it makes by a record of another thread's number goes to
 * that worker, through a ring, with its content: who frees it checks it.
 *
 * A ring orders the two threads it joins by one release and one acquire for
 * each block, and nothing else does: what the allocator forgets to order, TSan
 * sees.
 */
#ifndef APB_FUZZ_WORKER_H
#define APB_FUZZ_WORKER_H

#include "ops.h"

#include <pthread.h>
#include <stdatomic.h>

#define WORKERS_MAX OPS_THREADS
#define WORKER_SHARE 384 /* blocks */
#define FAULTY_OPS 8 /* with all calls of the system failing, from one on */
#define RING_BLOCKS 64u /* a power of two */

/* A live block; ptr NULL: none. */
struct piece {
	uint8_t *ptr;
	size_t size, align;
	uint64_t seed;
};

/* One writer, one reader. */
struct ring {
	_Atomic unsigned int head, tail; /* read from, written to; only grow */
	struct piece piece[RING_BLOCKS];
};

struct round;

struct worker {
	struct round *round;
	unsigned int index;
	pthread_t thread; /* this life; set by itself */
	pthread_t before; /* the life before, to be joined, if there is one */
	bool first; /* there is none */
	unsigned int lives;
	size_t left; /* operations */
	unsigned int faulty; /* operations until its fault is over; 0: none */
	size_t at; /* next record of the input */
	uint64_t rng;
	uint32_t gen;
	struct piece share[WORKER_SHARE];
	size_t handed, refused; /* blocks given away, requests that failed */
	struct ring in[WORKERS_MAX]; /* by writer */
};

/* What the workers of a round share. */
struct round {
	const uint8_t *data; /* an input, or NULL: random records */
	size_t size;
	uint64_t seed;
	unsigned int nr; /* workers */
	size_t ops; /* of each */
	bool faults; /* calls of the system fail now and then */
	struct worker worker[WORKERS_MAX];
	pthread_mutex_t lock;
	pthread_cond_t done;
	unsigned int running; /* under the lock */
};

/*
 * All workers run until each has done its operations, @seconds at most: else
 * they hang, and that is a finding.  Then their blocks are freed by the caller.
 */
void round_start(struct round *r);
void round_join(struct round *r, unsigned int seconds);

/* Check and free all that is left: the caller is the only thread. */
void round_free(struct round *r);

/*
 * @nr blocks by a thread that has ended since; and what the one thread of a
 * child of fork() does: check and free them, make others, give all back.
 */
void pieces_make(struct piece *pieces, size_t nr);
void pieces_in_child(struct piece *pieces, size_t nr, bool faults);
void pieces_drop(struct piece *pieces, size_t nr);

/* A violation: says it, and ends the process with status 1. */
__attribute__((noreturn, format(printf, 2, 3))) void
worker_fail(const char *oracle, const char *fmt, ...);

#endif /* APB_FUZZ_WORKER_H */
