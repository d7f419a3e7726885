// SPDX-License-Identifier: MIT
/*
 * The quarantine: blocks that were freed, in that order, in batches.  A batch
 * is first a thread's, which puts blocks into it without a lock, then in the
 * queue that all threads share, under the state lock.  When the queue holds
 * more bytes than the limit the oldest batches leave it, and who has put a
 * batch in gives their blocks back to the core.
 */
#include "uninstrumented.h"

#include "api/lock.h"
#include "glue/tool.h"
#include "hints.h"
#include "track/track.h"

#include <stdatomic.h>

struct batch {
	/* in a note's place: this is none, as zeroes never are */
	uint64_t none[2];
	struct batch *next;
	size_t bytes;
	unsigned int n;
	unsigned int epoch; /* of apb_reset() */
	struct apb_note *note[APB_QUARANTINE_BATCH];
};

static struct {
	struct batch *first, *last;
	size_t bytes;
} queue;

/* Both are read without a lock: an old value does no harm. */
static _Atomic size_t limit = TOOL_QUARANTINE;
static _Atomic unsigned int epoch;

static __thread struct batch *mine __attribute__((tls_model("initial-exec")));
static __thread unsigned int mine_epoch
	__attribute__((tls_model("initial-exec")));

static size_t get_limit(void)
{
	return atomic_load_explicit(&limit, memory_order_relaxed);
}

static unsigned int get_epoch(void)
{
	return atomic_load_explicit(&epoch, memory_order_relaxed);
}

static void recycle(struct apb_note *note)
{
	__atomic_store_n(&note->state, APB_NOTE_FREE, __ATOMIC_RELAXED);
	apb_core_free(note);
}

static void recycle_batch(struct batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->n; i++)
		recycle(batch->note[i]);
	apb_core_free(batch);
}

/* The oldest batch, if the queue holds more than @max bytes. */
static struct batch *take_above(size_t max)
{
	struct batch *batch = NULL;

	apb_enter();
	if (queue.first && queue.bytes > max) {
		batch = queue.first;
		queue.first = batch->next;
		queue.bytes -= batch->bytes;
	}
	apb_leave();
	return batch;
}

static void shrink(size_t max)
{
	struct batch *batch;

	while ((batch = take_above(max)))
		recycle_batch(batch);
}

/* The thread's batch is everybody's. */
static void hand_over(void)
{
	struct batch *batch = mine;

	mine = NULL;
	if (!batch || mine_epoch != get_epoch())
		return;
	apb_enter();
	batch->next = NULL;
	if (queue.first)
		queue.last->next = batch;
	else
		queue.first = batch;
	queue.last = batch;
	queue.bytes += batch->bytes;
	apb_leave();
}

/* Bytes that a thread holds by itself at most: no more than it may. */
static size_t local_limit(void)
{
	size_t all = get_limit() / 4;

	return all < APB_QUARANTINE_LOCAL ? all : APB_QUARANTINE_LOCAL;
}

static bool have_batch(void)
{
	if (likely(mine && mine_epoch == get_epoch()))
		return true;
	/* of before a reset: its memory is gone */
	mine = apb_core_malloc(sizeof(*mine));
	if (!mine)
		return false;
	mine_epoch = get_epoch();
	mine->none[0] = mine->none[1] = 0;
	mine->bytes = 0;
	mine->n = 0;
	return true;
}

void apb_quarantine_put(struct apb_note *note)
{
	size_t max = get_limit();

	if (unlikely(!max) || unlikely(!have_batch())) {
		recycle(note);
		return;
	}
	mine->note[mine->n++] = note;
	mine->bytes += apb_note_size(note);
	if (likely(mine->n < APB_QUARANTINE_BATCH &&
		   mine->bytes <= local_limit()))
		return;
	hand_over();
	shrink(max);
}

void apb_quarantine_flush(void)
{
	hand_over();
	shrink(0);
}

void apb_quarantine_reset(void)
{
	apb_enter();
	queue.first = queue.last = NULL;
	queue.bytes = 0;
	atomic_fetch_add_explicit(&epoch, 1, memory_order_relaxed);
	apb_leave();
	mine = NULL;
}

void apb_track_thread_end(void)
{
	tool_enter();
	hand_over();
	shrink(get_limit());
	tool_leave();
}

int apb_track_set_quarantine(size_t bytes)
{
	atomic_store_explicit(&limit, bytes, memory_order_relaxed);
	tool_enter();
	/* as little as may be held from now on */
	if (!bytes)
		hand_over();
	shrink(bytes);
	tool_leave();
	return 0;
}

#include "instrumented.h"
