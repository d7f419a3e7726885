/* SPDX-License-Identifier: MIT */
/*
 * A heap: for each size class a bin, a LIFO list of free blocks that malloc
 * pops and free pushes, and the pools of the class that have blocks to give.
 *
 * malloc touches no counter.  free counts a bin's frees down; at zero the bin
 * is *settled*: the blocks freed last stay (they are warm), the surplus
 * returns to its pools, whose counts become exact, so that empty pools are
 * found.  The period adapts: it halves when most of what was freed turns out
 * to be surplus (the program is giving memory back), and doubles when there
 * is none (it is churning).
 *
 * Invariants (checked by apb_check()):
 *   bin.free       every block in a bin is carved, a block's start, marked,
 *                  of the bin's class and in no list twice
 *   bin.class0     bin 0 is empty: a request of 0 bytes takes the slow path
 *   bin.countdown  1 <= countdown <= period
 *   heap.partial   every pool on a class's partial list is of that class
 */
#ifndef APB_HEAP_H
#define APB_HEAP_H

#include "arena/pool.h"
#include "heap/class.h"

struct apb_bin {
	struct apb_block *head;
	uint32_t countdown; /* frees until the bin is settled */
	uint32_t period; /* what it is set to then; 0: bin never used */
};

struct apb_heap {
	struct apb_bin bin[APB_NR_CLASSES + 1];
	uint64_t key; /* of the marks, see pool.h */
	struct apb_node *partial[APB_NR_CLASSES + 1];
	uint64_t settles;
	uint64_t settled;
	uint64_t recovered;
	uint32_t fixed_period; /* option; 0: adaptive */
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

/* Push a block that was live; returns whether the bin is to be settled. */
static inline bool apb_heap_push(struct apb_heap *heap, unsigned int cls,
				 struct apb_block *block)
{
	struct apb_bin *bin = &heap->bin[cls];
	struct apb_block *head = bin->head;

	block->next = head;
	block->mark = apb_mark(head, heap->key);
	bin->head = block;
	return --bin->countdown == 0;
}

/* Settle the bin of @cls, as its countdown has ended. */
void apb_heap_settle(struct apb_heap *heap, unsigned int cls);

/* Settle everything. */
void apb_heap_settle_all(struct apb_heap *heap);

/* Apply a changed option to all bins. */
void apb_heap_set_period(struct apb_heap *heap, uint32_t period);

#endif /* APB_HEAP_H */
