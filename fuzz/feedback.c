// SPDX-License-Identifier: MIT
/* State feedback; see feedback.h. */
#include "feedback.h"

#include "hits.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUCKETS 24 /* powers of two */
#define SMALL_BUCKETS 8
#define CALLS 8

/* Where each group of states begins. */
enum {
	CLASS_STATE = 0, /* none, all free, mixed, all full */
	CLASS_POOLS = CLASS_STATE + APB_NR_CLASSES * 4,
	CLASS_AVAIL = CLASS_POOLS + APB_NR_CLASSES * 4,
	ARENAS = CLASS_AVAIL + APB_NR_CLASSES * SMALL_BUCKETS,
	SPARES = ARENAS + BUCKETS,
	UNUSED = SPARES + SMALL_BUCKETS,
	ARENAS_UNUSED = UNUSED + APB_NR_POOL_SIZES * SMALL_BUCKETS,
	LARGE = ARENAS_UNUSED + SMALL_BUCKETS * SMALL_BUCKETS,
	LIVE = LARGE + BUCKETS,
	SETTLES = LIVE + BUCKETS,
	SETTLED = SETTLES + BUCKETS,
	PURGES = SETTLED + BUCKETS,
	DIRTY = PURGES + BUCKETS,
	SLOP = DIRTY + BUCKETS,
	RECOVERED = SLOP + SMALL_BUCKETS,
	UNMAP_FAILURES = RECOVERED + SMALL_BUCKETS,
	FAULT = UNMAP_FAILURES + SMALL_BUCKETS,
	MISUSE = FAULT + OP_NR * APB_OS_NR,
	REFUSED = MISUSE + APB_MISUSE_NR * CALLS,
	THREAD_END = REFUSED + OP_NR,
	REMOTE = THREAD_END + 2 * SMALL_BUCKETS,
	REMOTE_CLASS = REMOTE + OPS_THREADS * OPS_THREADS,
	HEAPS = REMOTE_CLASS + APB_NR_CLASSES + 1,
	HEAP_BYTES = HEAPS + SMALL_BUCKETS,
	CACHED = HEAP_BYTES + BUCKETS,
	SLACK = CACHED + SMALL_BUCKETS,
	END = SLACK + BUCKETS
};

_Static_assert(END <= FEEDBACK_NR, "all states have a counter");

static unsigned int nr_written; /* of those seen */

static void hit_bucket(unsigned int group, uint64_t n, unsigned int buckets)
{
	hits_add(group + hits_bucket(n, buckets));
}

void feedback_begin(void)
{
	hits_clear();
}

/*
 * Written whenever it has grown, not at exit: engines also end by a signal,
 * and after a finding.
 */
static void write_seen(void)
{
	const char *name = getenv("APB_FEATURES_OUT");
	char line[16];
	int fd, n;

	nr_written = feedback_seen();
	if (!name)
		return;
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return;
	n = snprintf(line, sizeof(line), "%u\n", feedback_seen());
	if (write(fd, line, (size_t)n) != n)
		perror(name);
	close(fd);
}

void feedback_end(void)
{
	if (feedback_seen() > nr_written)
		write_seen();
}

static void class_stats(unsigned int i, const struct apb_class_stats *c)
{
	unsigned int state = !c->pools ? 0 : !c->used ? 1 : c->avail ? 2 : 3;

	hits_add(CLASS_STATE + i * 4 + state);
	if (!c->pools)
		return;
	hit_bucket(CLASS_POOLS + i * 4, c->pools - 1, 4);
	hit_bucket(CLASS_AVAIL + i * SMALL_BUCKETS, c->avail, SMALL_BUCKETS);
}

void feedback_stats(const struct apb_stats *s, size_t live)
{
	uint64_t unused = 0;

	for (unsigned int i = 0; i < APB_NR_CLASSES; i++)
		if (s->class_[i].pools)
			class_stats(i, &s->class_[i]);
	for (unsigned int i = 0; i < APB_NR_POOL_SIZES; i++) {
		hit_bucket(UNUSED + i * SMALL_BUCKETS, s->unused_pools[i].nr,
			   SMALL_BUCKETS);
		unused += s->unused_pools[i].nr;
	}
	hit_bucket(ARENAS, s->arenas, BUCKETS);
	hit_bucket(SPARES, s->spares, SMALL_BUCKETS);
	hits_add(ARENAS_UNUSED +
		 hits_bucket(s->arenas, SMALL_BUCKETS) * SMALL_BUCKETS +
		 hits_bucket(unused, SMALL_BUCKETS));
	hit_bucket(LARGE, s->large, BUCKETS);
	hit_bucket(LIVE, live, BUCKETS);
	hit_bucket(SETTLES, s->settles, BUCKETS);
	hit_bucket(SETTLED, s->settled, BUCKETS);
	hit_bucket(PURGES, s->purges, BUCKETS);
	hit_bucket(DIRTY, s->dirty_bytes >> 12, BUCKETS);
	hit_bucket(SLOP, s->slop_bytes >> 12, SMALL_BUCKETS);
	hit_bucket(RECOVERED, s->recovered, SMALL_BUCKETS);
	hit_bucket(HEAPS, s->heaps, SMALL_BUCKETS);
	hit_bucket(HEAP_BYTES, s->heap_bytes >> 12, BUCKETS);
	hit_bucket(CACHED, s->large_cached, SMALL_BUCKETS);
	hit_bucket(SLACK, s->large_slack_bytes >> 12, BUCKETS);
	hit_bucket(UNMAP_FAILURES, s->unmap_failures, SMALL_BUCKETS);
}

void feedback_fault(enum op_kind op, enum apb_os_call call)
{
	hits_add(FAULT + op * APB_OS_NR + call);
}

void feedback_misuse(enum apb_misuse_kind kind, unsigned int call)
{
	hits_add(MISUSE + kind * CALLS + call % CALLS);
}

void feedback_thread_end(bool others, size_t live)
{
	hit_bucket(THREAD_END + others * SMALL_BUCKETS, live, SMALL_BUCKETS);
}

void feedback_remote(unsigned int from, unsigned int to, unsigned int cls)
{
	hits_add(REMOTE + from * OPS_THREADS + to);
	hits_add(REMOTE_CLASS + cls);
}

void feedback_refused(enum op_kind op)
{
	hits_add(REFUSED + op);
}
