// SPDX-License-Identifier: MIT
/*
 * Stacks, each kept once, and the numbers of threads.
 *
 * A stack is taken by following frame pointers, as far as they stay in the
 * thread's stack, or on any other stack in the page, and go up.  Those taken are in one reserved range, one after
 * the other, never changed and never given back; a stack's number is its place
 * there.  A table of chains finds those that are known.  Who adds one writes it
 * first and then puts it at the head of its chain, with a compare-and-swap: no
 * lock, and what is found is whole.
 */
#define _GNU_SOURCE
#include "glue/glue.h"
#include "glue/os.h"
#include "glue/tool.h"

#include <pthread.h>

#define UNIT 16 /* a stack begins at a multiple; 0 is none */
#define DEPOT_MAX ((size_t)4 << 30)
#define DEPOT_MIN ((size_t)16 << 20)
#define TABLE_BITS 18
#define LOWEST_PC 4096
#define PAGE ((uintptr_t)4096)

struct stack {
	uint64_t hash;
	uint32_t next; /* in the chain */
	uint32_t nr;
	uintptr_t pcs[];
};

struct depot {
	size_t bytes; /* of all of this */
	size_t used; /* of these, also by those that came too late */
	size_t nr;
	uint32_t heads[(size_t)1 << TABLE_BITS];
};

enum {
	LIMITS_UNKNOWN,
	LIMITS_ASKED,
	LIMITS_KNOWN
};

static struct depot *depot;
static uint32_t nr_threads;

static APB_GLUE_TLS struct {
	uintptr_t low, high; /* of the stack */
	uint32_t thread; /* + 1 */
	uint32_t limits;
} self;

/* ---- threads ---------------------------------------------------------- */

APB_RAW __attribute__((noinline, cold)) static uint32_t ask_thread(void)
{
	uint32_t own = __atomic_fetch_add(&nr_threads, 1, __ATOMIC_RELAXED);

	/* the tool may allocate, which may come back here */
	self.thread = own + 1;
	self.thread = tool_thread(own) + 1;
	return self.thread - 1;
}

APB_RAW uint32_t apb_san_thread(void)
{
	if (__builtin_expect(!self.thread, 0))
		return ask_thread();
	return self.thread - 1;
}

void apb_thread_set(uint32_t thread)
{
	self.thread = thread + 1;
}

APB_RAW __attribute__((noinline, cold)) static void ask_limits(void)
{
	pthread_attr_t attr;
	void *low;
	size_t size;

	self.limits = LIMITS_ASKED;
	if (!pthread_getattr_np(pthread_self(), &attr)) {
		if (!pthread_attr_getstack(&attr, &low, &size)) {
			self.low = (uintptr_t)low;
			self.high = (uintptr_t)low + size;
		}
		pthread_attr_destroy(&attr);
	}
	self.limits = LIMITS_KNOWN;
}

/* ---- the depot -------------------------------------------------------- */

APB_RAW __attribute__((noinline, cold)) static struct depot *make_depot(void)
{
	struct depot *made = NULL, *other = NULL;
	size_t bytes = DEPOT_MAX;

	while (bytes >= DEPOT_MIN && !(made = apb_glue_map(bytes)))
		bytes /= 2;
	if (!made)
		return NULL;
	made->bytes = bytes;
	made->used = (sizeof(*made) + UNIT - 1) / UNIT * UNIT;
	if (__atomic_compare_exchange_n(&depot, &other, made, false,
					__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return made;
	apb_glue_unmap(made, bytes);
	return other;
}

APB_RAW static struct stack *stack_at(struct depot *d, uint32_t stack)
{
	return (struct stack *)((char *)d + (size_t)stack * UNIT);
}

APB_RAW static bool same(const struct stack *s, uint64_t hash,
			 const uintptr_t *pcs, uint32_t nr)
{
	uintptr_t differ = 0;

	if (s->hash != hash || s->nr != nr)
		return false;
	for (uint32_t i = 0; i < nr; i++)
		differ |= s->pcs[i] ^ pcs[i];
	return !differ;
}

/* In the chain from @from on, up to but not including @to. */
APB_RAW static uint32_t find(struct depot *d, uint32_t from, uint32_t to,
			     uint64_t hash, const uintptr_t *pcs, uint32_t nr)
{
	while (from != to) {
		const struct stack *s = stack_at(d, from);

		if (same(s, hash, pcs, nr))
			return from;
		from = s->next;
	}
	return 0;
}

APB_RAW __attribute__((noinline)) static uint32_t
add(struct depot *d, uint32_t *head, uint32_t seen, uint64_t hash,
    const uintptr_t *pcs, uint32_t nr)
{
	size_t bytes = (sizeof(struct stack) + nr * sizeof(*pcs) + UNIT - 1) /
		       UNIT * UNIT;
	size_t at = __atomic_fetch_add(&d->used, bytes, __ATOMIC_RELAXED);
	uint32_t known, now = seen;
	struct stack *s;

	if (at + bytes > d->bytes) {
		__atomic_fetch_sub(&d->used, bytes, __ATOMIC_RELAXED);
		return 0;
	}
	s = (struct stack *)((char *)d + at);
	s->hash = hash;
	s->nr = nr;
	for (uint32_t i = 0; i < nr; i++)
		s->pcs[i] = pcs[i];
	for (;;) {
		s->next = now;
		if (__atomic_compare_exchange_n(
			    head, &now, (uint32_t)(at / UNIT), false,
			    __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
			break;
		known = find(d, now, seen, hash, pcs, nr);
		if (known)
			return known;
		seen = now;
	}
	__atomic_fetch_add(&d->nr, 1, __ATOMIC_RELAXED);
	return (uint32_t)(at / UNIT);
}

APB_RAW static uint32_t keep(uint64_t hash, const uintptr_t *pcs, uint32_t nr)
{
	struct depot *d = __atomic_load_n(&depot, __ATOMIC_ACQUIRE);
	uint32_t *head, first, known;

	if (__builtin_expect(!d, 0)) {
		d = make_depot();
		if (!d)
			return 0;
	}
	head = &d->heads[hash >> (64 - TABLE_BITS)];
	first = __atomic_load_n(head, __ATOMIC_ACQUIRE);
	known = find(d, first, 0, hash, pcs, nr);
	return known ? known : add(d, head, first, hash, pcs, nr);
}

/* ---- taking ----------------------------------------------------------- */

/* Nothing but a rotation and an addition waits for the frame before. */
APB_RAW static uint64_t mix(uint64_t hash, uintptr_t pc)
{
	return (hash << 9 | hash >> 55) + pc * 0x9e3779b97f4a7c15u;
}

APB_RAW static uint64_t spread(uint64_t hash)
{
	return (hash ^ hash >> 32) * 0xd6e8feb86659fd93u;
}

APB_RAW static uint32_t take(const void *fn, const void *frame)
{
	uintptr_t fp = (uintptr_t)frame, up, high, pc;
	uintptr_t pcs[APB_STACK_MAX];
	uint64_t hash = 0;
	uint32_t nr = 0;

	if (fn) {
		pcs[nr++] = (uintptr_t)fn + 1;
		hash = mix(hash, pcs[0]);
	}
	if (__builtin_expect(self.limits != LIMITS_KNOWN, 0) &&
	    self.limits == LIMITS_UNKNOWN)
		ask_limits();
	high = self.high;
	/* on a signal's stack, or a coroutine's, no more is known than this */
	if (__builtin_expect(fp < self.low || fp >= high, 0))
		high = (fp | (PAGE - 1)) + 1;
	for (;;) {
		pc = ((const uintptr_t *)fp)[1];
		if (pc < LOWEST_PC)
			break;
		hash = mix(hash, pc);
		pcs[nr++] = pc;
		up = *(const uintptr_t *)fp;
		if (nr == APB_STACK_MAX || up <= fp ||
		    up > high - 2 * sizeof(up) || up % sizeof(up))
			break;
		fp = up;
	}
	return keep(spread(hash), pcs, nr);
}

APB_RAW uint32_t apb_stack_take(const void *fn, const void *frame)
{
	return TOOL_STACKS ? take(fn, frame) : 0;
}

APB_RAW unsigned int apb_stack_get(uint32_t stack, const uintptr_t **pcs)
{
	const struct stack *s;

	*pcs = NULL;
	if (!stack || !depot || (size_t)stack * UNIT >= depot->used)
		return 0;
	s = stack_at(depot, stack);
	/* a number that was none */
	if (s->nr > APB_STACK_MAX)
		return 0;
	*pcs = s->pcs;
	return s->nr;
}

APB_RAW size_t apb_stack_bytes(size_t *nr)
{
	*nr = depot ? depot->nr : 0;
	return depot ? depot->used : 0;
}
