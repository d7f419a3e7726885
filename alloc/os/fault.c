// SPDX-License-Identifier: MIT
/* Fault injection; see fault.h. */
#include "uninstrumented.h"

#include "fault.h"

#include <string.h>

void apb_fault_arm(struct apb_fault_state *st, const struct apb_fault *fault)
{
	memset(st, 0, sizeof(*st));
	if (!fault)
		return;
	st->fault = *fault;
	if (!st->fault.n)
		st->fault.n = 1;
	/* xorshift must not start at 0; a bijection keeps seeds apart */
	st->rng = fault->seed ^ UINT64_C(0x9e3779b97f4a7c15);
	if (!st->rng)
		st->rng = 1;
}

static uint64_t next_random(struct apb_fault_state *st)
{
	/* xorshift64*, Vigna 2014 */
	uint64_t x = st->rng;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	st->rng = x;
	return (x * UINT64_C(0x2545f4914f6cdd1d)) >> 32;
}

bool apb_fault_hit(struct apb_fault_state *st, enum apb_os_call call)
{
	bool hit = false;

	st->stats.calls[call]++;
	if (!(st->fault.calls & (1u << call)))
		return false;
	st->seen++;
	switch (st->fault.mode) {
	case APB_FAULT_OFF:
		break;
	case APB_FAULT_ONCE:
		hit = st->seen == st->fault.n;
		break;
	case APB_FAULT_FROM:
		hit = st->seen >= st->fault.n;
		break;
	case APB_FAULT_RANDOM:
		hit = next_random(st) % st->fault.n == 0;
		break;
	}
	st->stats.failed[call] += hit;
	return hit;
}

#include "instrumented.h"
