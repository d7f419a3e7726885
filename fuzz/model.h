/* SPDX-License-Identifier: MIT */
/*
 * The reference model: which blocks are live, where, how big, with what in
 * them, and what the allocator's statistics must say of them.
 *
 * It knows size classes from the documentation only, shares no code with the
 * allocator, and never allocates from it: everything is in this structure, a
 * static one in the programs.
 *
 * Slots: see README.md.  A slot is live, freed (in the list of freed slots,
 * most recent first) or has not been used yet since the last reset; the arrays
 * that are indexed by slot count only while it is one of the first two, so
 * that a reset does not have to look at them.
 *
 * Invariants: blocks[0 .. live) are the live blocks, in the order of the dense
 * list of README.md, and place[blocks[i].slot] is i; live_bits has exactly
 * their slots' bits, used_bits those and the freed slots'; cover covers exactly
 * the usable bytes of the live blocks.
 */
#ifndef APB_FUZZ_MODEL_H
#define APB_FUZZ_MODEL_H

#include "content.h"
#include "cover.h"
#include "ops.h"

#define MODEL_PAGE ((size_t)4096)
#define MODEL_MAX_POOLED ((size_t)32768)
#define MODEL_MAX_POOL_ALIGN MODEL_PAGE
#define MODEL_LARGE 0 /* class of large blocks */

struct block {
	uint8_t *ptr;
	size_t size; /* asked for */
	size_t usable;
	size_t filled; /* bytes that hold the pattern */
	uint64_t seed; /* of the pattern */
	size_t align; /* that it was made with, 16 if none */
	uint16_t slot;
	uint8_t cls; /* 1 .. OPS_CLASSES, or MODEL_LARGE */
	uint8_t thread; /* that made it */
	bool whole; /* the pattern was written everywhere */
};

struct model {
	size_t live;
	size_t class_used[OPS_CLASSES + 1];
	size_t used_bytes; /* usable bytes of pooled blocks */
	size_t large;
	size_t large_bytes;
	uint32_t gen; /* allocations since the reset */
	uint8_t thread; /* that runs: the maker of what is added */
	uint16_t freed; /* most recently freed slot, or MODEL_NONE */
	uint16_t lowest; /* no slot below it is unused */
	uint16_t place[OPS_SLOTS]; /* of a live slot, in blocks */
	uint16_t next[OPS_SLOTS], prev[OPS_SLOTS]; /* of freed slots */
	uint64_t live_bits[OPS_SLOTS / 64];
	uint64_t used_bits[OPS_SLOTS / 64];
	struct block blocks[OPS_SLOTS];
	struct cover cover;
};

#define MODEL_NONE UINT16_MAX

/* Forget every block.  A zeroed model must be reset before its first use. */
void model_reset(struct model *m);

/* The block in a live slot; valid until a block is removed. */
static inline struct block *model_block(struct model *m, unsigned int slot)
{
	return &m->blocks[m->place[slot]];
}

/* Class of a plain request, and of one with a valid alignment. */
unsigned int model_class(size_t size);
unsigned int model_class_aligned(size_t align, size_t size);

/* The usable size that a block of @cls made for @size bytes must have. */
size_t model_usable(unsigned int cls, size_t size);

/* The slot for a new block: @slot, or another as README.md says; or -1. */
int model_slot_to_fill(struct model *m, uint16_t slot);

/* The first free slot from @from on, wrapping round; or -1. */
int model_next_free(struct model *m, unsigned int from);

/* The live slot that an operation on a block means by @slot; or -1. */
int model_slot_to_take(struct model *m, uint16_t slot);

/*
 * A new block in the free slot @slot.  False, and nothing changed, if it
 * overlaps a live one.  Writes its content.
 */
bool model_add(struct model *m, unsigned int slot, void *ptr, size_t size,
	       size_t align, unsigned int cls);

/*
 * The same of an allocator whose classes the model does not know: @usable is
 * what it says, @cls is free for the caller's use.
 */
bool model_add_usable(struct model *m, unsigned int slot, void *ptr,
		      size_t size, size_t usable, size_t align,
		      unsigned int cls);

/* The block in @slot is gone. */
void model_remove(struct model *m, unsigned int slot);

/*
 * The block in @slot was resized: now at @ptr, of @size bytes.  As
 * model_add(), but the old place counts as free and slot and place in the
 * dense list stay.
 */
bool model_resize(struct model *m, unsigned int slot, void *ptr, size_t size,
		  unsigned int cls);
bool model_resize_usable(struct model *m, unsigned int slot, void *ptr,
			 size_t size, size_t usable, unsigned int cls);

/*
 * Before a resize that must keep the first @limit bytes: write the pattern
 * also where model_verify() with that limit will look for it.
 */
void model_before_resize(struct model *m, unsigned int slot, size_t limit);

/* Write the pattern into all usable bytes (beyond CONTENT_FILL: a sample). */
void model_fill(struct model *m, unsigned int slot);

/*
 * Check the content, which has moved to @p or, if that is NULL, is where it
 * was, as far as it lies below @limit.  Returns the offset of the first
 * difference, or CONTENT_OK.
 */
size_t model_verify(struct model *m, unsigned int slot, void *p, size_t limit);

/* Whether [addr, addr + size) overlaps a live block other than @slot's. */
bool model_overlaps_other(struct model *m, unsigned int slot, uintptr_t addr,
			  size_t size);

/* A live block that overlaps [addr, addr + size), or -1; slow. */
int model_find(struct model *m, uintptr_t addr, size_t size);

#endif /* APB_FUZZ_MODEL_H */
