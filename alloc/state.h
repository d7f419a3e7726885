/* SPDX-License-Identifier: MIT */
/*
 * All mutable state of the allocator, in one structure, so that it can be
 * reset.  Zeroed memory is the state before the first call.
 *
 * The locks and their order are told in api/lock.h; what is whose in a heap
 * in heap/heap.h.  All else is under the state lock.
 */
#ifndef APB_STATE_H
#define APB_STATE_H

#include "arena/arena.h"
#include "heap/heap.h"
#include "large/large.h"
#include "map/map.h"
#include "meta/meta.h"
#include "os/os.h"
#include "os/retain.h"

struct apb_misuse_state {
	apb_misuse_fn fn;
	void *arg;
};

/* Under the heaps lock. */
struct apb_heaps {
	struct apb_node *all;
	struct apb_heap *idle; /* no thread has them */
	size_t nr;
	size_t nr_mapped; /* of these, not in struct apb_state */
	/* what those that were unmapped had counted */
	uint64_t settles, settled, recovered;
	/* forked while others ran: what they had in hand is in no list */
	bool torn;
	/* a thread without heap: what it has in hand is under no lock; relaxed */
	bool heapless;
};

struct apb_state {
	/* 260 KiB, hardly touched */
	struct apb_map map;
	_Alignas(APB_HEAP_ALIGN) struct apb_heap main; /* the first thread's */
	/* of threads that cannot have one of their own */
	_Alignas(APB_HEAP_ALIGN) struct apb_heap common;
	struct apb_heaps heaps;
	struct apb_larges larges;
	struct apb_arenas arenas;
	struct apb_os_state os;
	struct apb_meta meta;
	struct apb_misuse_state misuse;
	_Atomic uint16_t period; /* option; 0: adaptive */
	_Atomic uint64_t trims;
};

extern struct apb_state apb_state;

/* The pool (of slot 0: the header) of an address that is in an arena. */
static inline struct apb_pool *apb_pool_at(uintptr_t addr)
{
	return apb_pool_of(addr, apb_map_kind(&apb_state.map, addr));
}

#endif /* APB_STATE_H */
