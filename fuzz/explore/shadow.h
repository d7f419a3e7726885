/* SPDX-License-Identifier: MIT */
/*
 * Shadow memory of the race detector: for every 8 bytes the accesses that a
 * later one may race with.
 */
#ifndef APB_EXPLORE_SHADOW_H
#define APB_EXPLORE_SHADOW_H

#include <stddef.h>
#include <stdint.h>

#define SHADOW_WRITE 1u
#define SHADOW_ATOMIC 2u

struct shadow_access {
	uint32_t clock; /* of its thread */
	uint32_t pc;
	uint8_t thread;
	uint8_t mask; /* which of the 8 bytes */
	uint8_t flags;
};

/* Nothing was touched. */
void shadow_reset(void);

/*
 * Note @now, at the 8 bytes from @addr on, by a thread that has seen of the
 * others what @clock says.  Returns one with which it races, or NULL.
 */
const struct shadow_access *shadow_note(uintptr_t addr,
					const struct shadow_access *now,
					const uint32_t *clock);

/* The same for all of a range that was touched before; *@at is where. */
const struct shadow_access *shadow_range(uintptr_t addr, size_t size,
					 const struct shadow_access *now,
					 const uint32_t *clock, uintptr_t *at);

#endif /* APB_EXPLORE_SHADOW_H */
