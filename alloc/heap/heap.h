/* SPDX-License-Identifier: MIT */
/*
 * A heap: for each size class a bin, a LIFO list of free blocks that malloc
 * pops and free pushes, and the pools of the class that have blocks to give.
 *
 * malloc touches no counter.  free counts a bin's frees down; at zero the bin
 * is *settled*: half a period's blocks, those freed last, stay (they are
 * warm), the surplus returns to its pools, whose counts become exact, so that
 * empty pools are found.  A bin that ran empty since it was last settled has
 * no surplus worth looking for.  The period adapts: it halves when most of
 * what was freed is surplus (the program is giving memory back), and doubles
 * when it is not (it is churning); it grows by what the bin is refilled with,
 * as that is about to come back; all within bounds by the block size.
 *
 * Invariants (checked by apb_check()):
 *   bin.free       every block in a bin is carved, a block's start, marked,
 *                  of the bin's class and in no list twice
 *   bin.class0     bin 0 is empty: a request of 0 bytes takes the slow path
 *   bin.countdown  1 <= countdown <= period
 *   bin.period     it is the fixed one, or within the bounds of its class
 *   heap.partial   every pool on a class's partial list is of that class
 */
#ifndef APB_HEAP_H
#define APB_HEAP_H

#include "arena/pool.h"
#include "heap/class.h"

struct apb_bin {
	struct apb_block *head;
	uint32_t countdown; /* frees until the bin is settled */
	uint16_t period; /* what it is set to then; 0: bin never used */
	bool ran_empty; /* since it was settled */
};

struct apb_heap {
	struct apb_bin bin[APB_NR_CLASSES + 1];
	uint64_t key; /* of the marks, see pool.h */
	struct apb_node *partial[APB_NR_CLASSES + 1];
	uint64_t settles;
	uint64_t settled;
	uint64_t recovered;
	uint16_t fixed_period; /* option; 0: adaptive */
};

/*
 * A block of class @cls when its bin is empty.  NULL with errno ENOMEM.
 */
struct apb_block *apb_heap_refill(struct apb_heap *heap, unsigned int cls);

/* Pop a block of class @cls, refilling if need be; NULL with errno ENOMEM. */
static inline struct apb_block *apb_heap_pop(struct apb_heap *heap,
					     unsigned int cls)
{
	struct apb_bin *bin = &heap->bin[cls];
	struct apb_block *block = bin->head;

	if (__builtin_expect(!block || !apb_marked(block, heap->key), 0))
		return apb_heap_refill(heap, cls);
	bin->head = block->next;
	block->mark = 0;
	return block;
}

/* Whether an owner word is the address of one of @heap's bins. */
static inline bool apb_heap_owns(const struct apb_heap *heap, uintptr_t owner)
{
	return __builtin_expect(
		owner - (uintptr_t)heap->bin < sizeof(heap->bin), 1);
}

/* Push a block that was live; returns whether the bin is to be settled. */
static inline bool apb_bin_push(struct apb_bin *bin, struct apb_block *block,
				uint64_t key)
{
	struct apb_block *head = bin->head;

	block->next = head;
	block->mark = apb_mark(head, key, APB_MARK_BIN);
	bin->head = block;
	return --bin->countdown == 0;
}

/* Settle @bin, as its countdown has ended. */
void apb_heap_settle(struct apb_heap *heap, struct apb_bin *bin);

/* Settle everything. */
void apb_heap_settle_all(struct apb_heap *heap);

/* Bounds of an adaptive period. */
uint16_t apb_heap_period_min(unsigned int cls);
uint16_t apb_heap_period_max(unsigned int cls);

/* Apply a changed option to all bins. */
void apb_heap_set_period(struct apb_heap *heap, uint16_t period);

#endif /* APB_HEAP_H */
