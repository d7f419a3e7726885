/* SPDX-License-Identifier: MIT */
/*
 * All mutable state of the allocator, in one structure, so that it can be
 * reset.  Zeroed memory is the state before the first call.
 *
 * Lock order: there is one lock, apb_state_lock (api/lock.h), taken in the
 * api layer and held over everything below it.  A process with one thread
 * does not take it.
 */
#ifndef APB_STATE_H
#define APB_STATE_H

#include "arena/arena.h"
#include "heap/heap.h"
#include "large/large.h"
#include "map/map.h"
#include "os/os.h"
#include "os/retain.h"

struct apb_misuse_state {
	apb_misuse_fn fn;
	void *arg;
};

struct apb_state {
	struct apb_heap heap;
	struct apb_larges larges;
	struct apb_arenas arenas;
	struct apb_os_state os;
	struct apb_misuse_state misuse;
	struct apb_policy policy;
	uint64_t seed; /* option; 0: random */
	struct apb_map map; /* last: 256 KiB, hardly touched */
};

extern struct apb_state apb_state;

/* The pool (of slot 0: the header) of an address that is in an arena. */
static inline struct apb_pool *apb_pool_at(uintptr_t addr)
{
	return apb_pool_of(addr, apb_map_kind(&apb_state.map, addr));
}

#endif /* APB_STATE_H */
