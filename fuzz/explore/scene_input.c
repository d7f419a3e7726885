// SPDX-License-Identifier: MIT
/* Inputs as programs; see input.h. */
#include "input.h"

#include "heap/thread.h"
#include "ops.h"
#include "world.h"

#include <stdatomic.h>
#include <string.h>

#define SLOTS 64u
#define BULK 12u
#define CHECKS 2u /* they look at every block: thousands of accesses */
#define SIZE_CAP ((size_t)150 << 10)

static struct {
	const uint8_t *data;
	size_t size;
	size_t records;
	struct ops_header head;
	_Atomic unsigned int checks;
	/* the block's number + 1, or 0 */
	_Atomic unsigned int slot[SLOTS];
} in;

/* ---- slots ------------------------------------------------------------ */

static _Atomic unsigned int *slot_of(unsigned int slot)
{
	return &in.slot[slot % SLOTS];
}

/* Put a block there; returns what was there. */
static unsigned int put(unsigned int slot, unsigned int block)
{
	return atomic_exchange_explicit(slot_of(slot), block,
					memory_order_acq_rel);
}

static void drop(unsigned int block)
{
	if (block)
		world_free(block - 1);
}

static void make(unsigned int slot, size_t size)
{
	unsigned int block = world_new();

	if (block == WORLD_BLOCKS)
		return;
	if (world_try(block, size < SIZE_CAP ? size : size % SIZE_CAP))
		drop(put(slot, block + 1));
}

static void resize(unsigned int slot, size_t size)
{
	unsigned int block = put(slot, 0);

	if (!block)
		return;
	world_resize(block - 1, size < SIZE_CAP ? size : size % SIZE_CAP);
	drop(put(slot, block));
}

/* ---- records ---------------------------------------------------------- */

static unsigned int count(const struct op *op)
{
	return op->n < BULK ? (unsigned int)op->n : BULK;
}

static void set_option(const struct op *op)
{
	if (op->option == OPTION_PERIOD)
		apb_set_option(APB_OPT_SETTLE_PERIOD,
			       op->value == OPS_AUTO ? 0 : op->value);
	else if (op->option == OPTION_DIRTY)
		apb_set_option(APB_OPT_DIRTY_LIMIT, op->value == OPS_AUTO ?
							    APB_DIRTY_AUTO :
							    op->value);
}

static void check(void)
{
	struct apb_violation v = {.invariant = "?"};

	if (atomic_fetch_add_explicit(&in.checks, 1, memory_order_relaxed) >=
	    CHECKS)
		return;
	if (apb_check(&v))
		sched_fail("check", "thread %u: %s", sched_self(), v.text);
}

static void do_record(const struct op *op)
{
	unsigned int i;

	switch (op->kind) {
	case OP_FREE:
	case OP_FREE_SIZED:
	case OP_FREE_ALIGNED_SIZED:
		drop(put(op->slot, 0));
		break;
	case OP_REALLOC:
	case OP_REALLOCARRAY:
		resize(op->slot, op->size);
		break;
	case OP_BULK_ALLOC:
		for (i = 0; i < count(op); i++)
			make(op->slot + i, op->size);
		break;
	case OP_BULK_FREE:
		for (i = 0; i < count(op); i++)
			drop(put(op->slot + i, 0));
		break;
	case OP_SETTLE:
		apb_settle();
		break;
	case OP_TRIM:
		apb_trim();
		break;
	case OP_CHECK:
		check();
		break;
	case OP_OPTION:
		set_option(op);
		break;
	case OP_THREAD_END:
		apb_thread_end();
		break;
	default:
		make(op->slot, op->size);
	}
}

static void thread(unsigned int t)
{
	struct op op;

	for (size_t i = 0; i < in.records; i++) {
		ops_decode(in.data, in.size, i, &op);
		if (op.thread % input_program.nr == t)
			do_record(&op);
	}
}

static void begin(void)
{
	world_begin();
	memset(in.slot, 0, sizeof(in.slot));
	in.checks = 0;
	apb_set_option(APB_OPT_SETTLE_PERIOD, in.head.small_period ? 4 : 0);
	apb_set_option(APB_OPT_DIRTY_LIMIT,
		       in.head.no_dirty ? 0 : APB_DIRTY_AUTO);
}

static void end(void)
{
	world_end(input_program.nr);
	apb_set_option(APB_OPT_SETTLE_PERIOD, 0);
	apb_set_option(APB_OPT_DIRTY_LIMIT, APB_DIRTY_AUTO);
}

struct program input_program = {
	"input", "an input of the fuzzers", 2, begin, thread, end};

void input_set(const uint8_t *data, size_t size)
{
	in.data = data;
	in.size = size;
	in.records = ops_count(size);
	if (in.records > INPUT_RECORDS)
		in.records = INPUT_RECORDS;
	ops_header(data, size, &in.head);
	input_program.nr = in.head.threads < 2 ? 2 : in.head.threads;
}

/* ---- schedules -------------------------------------------------------- */

size_t input_schedule(struct schedule *s, const uint8_t *data, size_t size)
{
	size_t nr, at;

	s->nr = 0;
	if (!size)
		return 0;
	nr = data[size - 1] % INPUT_PARTS;
	if (nr > (size - 1) / 3)
		nr = (size - 1) / 3;
	at = size - 1 - 3 * nr;
	size = at;
	for (; s->nr < nr; at += 3) {
		unsigned int steps = data[at] | (unsigned int)data[at + 1] << 8;

		s->part[s->nr++] = (struct schedule_part){
			.thread = data[at + 2] % SCHED_THREADS,
			.steps = steps % 1024 + 1,
		};
	}
	return size;
}
