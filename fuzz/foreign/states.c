// SPDX-License-Identifier: MIT
/* State feedback from outside; see states.h. */
#include "states.h"

#include "hits.h"

#define SIZES 24 /* powers of two */
#define COARSE 12 /* steps of two powers */
#define DELTAS 16
#define PROBES 16
#define RESULTS 4
#define GROUPS 6 /* of operations */
#define RECENT 256 /* freed addresses remembered; a power of two */

/* Where each group of states begins. */
enum {
	KERNEL = 0,
	REUSE = KERNEL + GROUPS * APB_OS_NR * SIZES,
	DELTA = REUSE + 3 * SIZES,
	RESIZE = DELTA + DELTAS * COARSE,
	ALIGN = RESIZE + 4 * SIZES,
	PAGE_AT = ALIGN + 16 * SIZES,
	SLACK = PAGE_AT + 2 * SIZES,
	LIVE = SLACK + 16 * COARSE,
	BYTES = LIVE + SIZES,
	FAULT = BYTES + 2 * SIZES,
	REFUSED = FAULT + OP_NR * APB_OS_NR,
	REMOTE = REFUSED + OP_NR,
	THREAD_END = REMOTE + OPS_THREADS * OPS_THREADS,
	PROBE = THREAD_END + 2 * 8,
	END = PROBE + PROBES * RESULTS
};

_Static_assert(END <= FEEDBACK_NR, "all states have a counter");

static uintptr_t recent[RECENT]; /* by hash; 0: none */
static uintptr_t last_freed;
static uintptr_t last_of[COARSE]; /* block made last */

void feedback_begin(void)
{
	hits_clear();
	__builtin_memset(recent, 0, sizeof(recent));
	__builtin_memset(last_of, 0, sizeof(last_of));
	last_freed = 0;
}

void feedback_end(void)
{
}

static unsigned int hash(uintptr_t addr)
{
	return (unsigned int)((addr >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

void states_block(uintptr_t addr, size_t size, size_t usable)
{
	unsigned int s = hits_bucket(size, SIZES),
		     c = hits_bucket(size, SIZES) / 2;
	unsigned int reuse = addr == last_freed		? 0 :
			     recent[hash(addr)] == addr ? 1 :
							  2;
	uintptr_t last = last_of[c];
	unsigned int low = (unsigned int)__builtin_ctzll(addr | 1ull << 19);

	hits_add(REUSE + reuse * SIZES + s);
	hits_add(ALIGN + (low < 4 ? 0 : low - 4) * SIZES + s);
	if (last)
		hits_add(DELTA + c * DELTAS +
			 hits_bucket(addr > last ? addr - last :
						   (last - addr) >> 8,
				     DELTAS));
	last_of[c] = addr;
	if (!(addr & 4095))
		hits_add(PAGE_AT + s);
	else if ((addr ^ (addr + size)) >> 12)
		hits_add(PAGE_AT + SIZES + s);
	hits_add(SLACK + c * 16 + hits_bucket(usable - size, 16));
}

void states_freed(uintptr_t addr)
{
	last_freed = addr;
	recent[hash(addr)] = addr;
}

void states_resized(bool moved, size_t from, size_t to)
{
	hits_add(RESIZE + (moved * 2u + (to > from)) * SIZES +
		 hits_bucket(to, SIZES));
}

static unsigned int group_of(enum op_kind op)
{
	switch (op) {
	case OP_MALLOC:
	case OP_BULK_ALLOC:
		return 0;
	case OP_CALLOC:
		return 1;
	case OP_REALLOC:
	case OP_REALLOCARRAY:
		return 2;
	case OP_ALIGNED:
		return 3;
	case OP_FREE:
	case OP_FREE_SIZED:
	case OP_FREE_ALIGNED_SIZED:
	case OP_BULK_FREE:
		return 4;
	default:
		return 5;
	}
}

void states_kernel(enum op_kind op, size_t size,
		   const struct hook_counts *before,
		   const struct hook_counts *after)
{
	unsigned int s = hits_bucket(size, SIZES);

	for (unsigned int i = 0; i < APB_OS_NR; i++) {
		if (after->calls[i] == before->calls[i])
			continue;
		hits_add(KERNEL + (group_of(op) * APB_OS_NR + i) * SIZES + s);
		if (after->failed[i] != before->failed[i])
			hits_add(FAULT + op * APB_OS_NR + i);
	}
}

void states_live(size_t live, size_t bytes)
{
	hits_add(LIVE + hits_bucket(live, SIZES));
	hits_add(BYTES + hits_bucket(bytes, 2 * SIZES));
}

void states_probe(unsigned int probe, unsigned int result)
{
	hits_add(PROBE + probe % PROBES * RESULTS + result % RESULTS);
}

void feedback_thread_end(bool others, size_t live)
{
	hits_add(THREAD_END + others * 8u + hits_bucket(live, 8));
}

void feedback_remote(unsigned int from, unsigned int to, unsigned int cls)
{
	(void)cls;
	hits_add(REMOTE + from * OPS_THREADS + to);
}

void feedback_refused(enum op_kind op)
{
	hits_add(REFUSED + op);
}
