// SPDX-License-Identifier: MIT
/*
 * The quarantine: blocks that were freed, in that order, each with a link to
 * the next one in what were its bytes.  A chain is first a thread's, which adds
 * to it without a lock; then it is in the queue that all threads share, under
 * the state lock.  When the queue holds more bytes than the limit its oldest
 * chains leave it, and who has put a chain in gives their blocks back to the
 * core.
 *
 * The queue is a ring of chains; those that are short are joined, and if it is
 * full all are joined to the last one.
 */
#include "uninstrumented.h"

#include "api/lock.h"
#include "glue/tool.h"
#include "heap/thread.h"
#include "hints.h"
#include "track/track.h"

#include <stdatomic.h>

#define NR_CHAINS 1024u

struct chain {
	struct apb_note *first, *last;
	size_t bytes;
};

static struct {
	struct chain chain[NR_CHAINS];
	unsigned int head, nr;
	size_t bytes;
} queue;

/* Both are read without a lock: an old value does no harm. */
static _Atomic size_t limit = TOOL_QUARANTINE;
static _Atomic unsigned int epoch; /* of apb_reset() */

static __thread struct {
	struct chain chain;
	unsigned int epoch;
} mine __attribute__((tls_model("initial-exec")));

static size_t get_limit(void)
{
	return atomic_load_explicit(&limit, memory_order_relaxed);
}

static unsigned int get_epoch(void)
{
	return atomic_load_explicit(&epoch, memory_order_relaxed);
}

/* ---- chains ----------------------------------------------------------- */

APB_UNINSTRUMENTED static struct apb_note **link_of(struct apb_note *note)
{
	struct apb_grave *grave = (struct apb_grave *)apb_note_user(note);

	return (struct apb_note **)(grave + 1);
}

APB_UNINSTRUMENTED static void join(struct chain *to, const struct chain *from)
{
	if (!from->first)
		return;
	if (to->first)
		*link_of(to->last) = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	to->bytes += from->bytes;
}

APB_UNINSTRUMENTED static void recycle(struct apb_note *note)
{
	__atomic_store_n(&note->word, note->word | APB_NOTE_FREE,
			 __ATOMIC_RELAXED);
	apb_core_free(note);
}

APB_UNINSTRUMENTED static void recycle_chain(const struct chain *chain)
{
	struct apb_note *note = chain->first, *next;

	for (; note; note = next) {
		next = note == chain->last ? NULL : *link_of(note);
		/* it has been out of the cache for long */
		__builtin_prefetch(next);
		recycle(note);
	}
}

/* ---- the queue -------------------------------------------------------- */

/* Bytes that a thread holds by itself at most: no more than it may. */
static size_t local_limit(void)
{
	size_t all = get_limit() / 4;

	return all < APB_QUARANTINE_LOCAL ? all : APB_QUARANTINE_LOCAL;
}

static struct chain *chain_at(unsigned int i)
{
	return &queue.chain[(queue.head + i) % NR_CHAINS];
}

APB_UNINSTRUMENTED static void enqueue(const struct chain *chain)
{
	struct chain *last = queue.nr ? chain_at(queue.nr - 1) : NULL;

	queue.bytes += chain->bytes;
	if (last && (queue.nr == NR_CHAINS ||
		     last->bytes + chain->bytes <= local_limit())) {
		join(last, chain);
		return;
	}
	*chain_at(queue.nr++) = *chain;
}

/* The oldest chain, if the queue holds more than @max bytes. */
static bool dequeue_above(size_t max, struct chain *chain)
{
	bool some;

	apb_enter();
	some = queue.nr && queue.bytes > max;
	if (some) {
		*chain = *chain_at(0);
		queue.head = (queue.head + 1) % NR_CHAINS;
		queue.nr--;
		queue.bytes -= chain->bytes;
	}
	apb_leave();
	return some;
}

/*
 * Once it has held so much it holds at least nine tenths of @max, as
 * AddressSanitizer's does, and at most a sixteenth less than @max: nobody can
 * count on a report about what is held above the least, and it is memory.
 */
static void shrink(size_t max)
{
	size_t most = max - max / 16, least = max - max / 11;
	struct chain chain;
	bool some = dequeue_above(most, &chain);

	if (!some)
		return;
	while (some) {
		recycle_chain(&chain);
		some = dequeue_above(least, &chain);
	}
	/* what waits for threads that do not come, others cannot use */
	apb_settle();
}

/* The thread's chain is everybody's. */
static void hand_over(void)
{
	struct chain chain = mine.chain;

	mine.chain = (struct chain){0};
	/* of before a reset: its blocks are gone */
	if (!chain.first || mine.epoch != get_epoch())
		return;
	apb_enter();
	enqueue(&chain);
	apb_leave();
}

APB_UNINSTRUMENTED void apb_quarantine_put(struct apb_note *note)
{
	struct chain one = {
		.first = note,
		.last = note,
		.bytes = apb_note_size(note) + APB_QUARANTINE_EACH,
	};
	size_t max = get_limit();

	if (unlikely(!max)) {
		recycle(note);
		return;
	}
	if (unlikely(mine.epoch != get_epoch())) {
		mine.chain = (struct chain){0};
		mine.epoch = get_epoch();
	}
	join(&mine.chain, &one);
	/* without a heap nobody would take the chain when the thread ends */
	if (likely(mine.chain.bytes <= local_limit() && apb_thread_heap()))
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
	queue.nr = 0;
	queue.bytes = 0;
	atomic_fetch_add_explicit(&epoch, 1, memory_order_relaxed);
	apb_leave();
	mine.chain = (struct chain){0};
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
