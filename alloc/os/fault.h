/* SPDX-License-Identifier: MIT */
/*
 * Fault injection: decides which OS calls fail.  Used by the OS layer in
 * front of every call, and by simulated kernels for themselves.
 */
#ifndef APB_FAULT_H
#define APB_FAULT_H

#include <apb/apb.h>

struct apb_fault_state {
	struct apb_fault fault;
	struct apb_fault_stats stats;
	uint64_t seen; /* calls under the mask since arming */
	uint64_t rng;
};

/* Arm @st with @fault (NULL: disarm); all counters start at 0. */
void apb_fault_arm(struct apb_fault_state *st, const struct apb_fault *fault);

/* Count a call; returns whether it has to fail. */
bool apb_fault_hit(struct apb_fault_state *st, enum apb_os_call call);

#endif /* APB_FAULT_H */
