/* SPDX-License-Identifier: MIT */
/*
 * The tracking build: the allocator as it is, and around it what makes each
 * block visible to a sanitizer or valgrind (apb/sanitize.h), to the byte.
 *
 * A block of the core holds a block of the program:
 *
 *	| note, 16 bytes | red zone | the program's bytes | rest of the class |
 *	|<-------- 1 << shift ----->|<------ size ------->|
 *
 * Only the program's bytes are accessible, and those only from birth to death.
 * The next block of the core begins with a note, so between any two blocks of
 * the program are 16 bytes at least which nobody may touch.  Red zones grow with
 * the size, as those of AddressSanitizer do, and are the same for all blocks
 * of a class, so that free finds the note by a subtraction and proves by the
 * core's own check that it is one; aligned blocks are looked up.
 *
 * A block that is freed is *held* in quarantine, in the order of the frees, and
 * goes back to the core when the quarantine holds more bytes than its limit.
 * Until the core hands it out again its note tells what it was.
 *
 * realloc always moves: who keeps the old pointer is found out.
 *
 * After apb_reset() notes are left as they were, and live ones whose blocks the
 * core does not have out died then.
 *
 * Nothing here is instrumented, and where the tool looks at all accesses
 * (valgrind) it is told to look away, between tool_enter() and tool_leave().
 */
#ifndef APB_TRACK_H
#define APB_TRACK_H

#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

struct apb_san_block;
struct apb_san_pool;

enum {
	APB_NOTE_LIVE = 1,
	APB_NOTE_HELD, /* in quarantine */
	APB_NOTE_FREE, /* the core's */
};

/* At the start of a block of the core. */
struct apb_note {
	uint32_t born_stack;
	uint32_t word; /* apb_note_word(): state, shift, born_thread */
	uint64_t size; /* and above APB_NOTE_SIZE_BITS a check of the address */
};

#define APB_NOTE_SIZE_BITS 48

/*
 * In the first of the program's bytes when it is dead, followed by the link to
 * the next one in quarantine.
 */
struct apb_grave {
	uint32_t died_stack;
	uint32_t word; /* a check of the address, died_thread */
};

static_assert(sizeof(struct apb_note) == 16 &&
		      sizeof(struct apb_grave) + sizeof(struct apb_note *) ==
			      16,
	      "the smallest block, of 32 bytes, holds all of it");

/* How many bytes of the quarantine may be one thread's. */
#define APB_QUARANTINE_LOCAL ((size_t)256 << 10)
/* It counts so much for each beside its bytes. */
#define APB_QUARANTINE_EACH ((size_t)8)

#if APB_TRACK

/* The core's: what the public functions are in other builds. */
void *apb_core_malloc(size_t size);
void *apb_core_calloc(size_t n, size_t size);
void *apb_core_realloc(void *ptr, size_t size);
void *apb_core_reallocarray(void *ptr, size_t n, size_t size);
void *apb_core_aligned_alloc(size_t align, size_t size);
void apb_core_free(void *ptr);
void apb_core_free_sized(void *ptr, size_t size);
void apb_core_free_aligned_sized(void *ptr, size_t align, size_t size);
size_t apb_core_usable_size(const void *ptr);
size_t apb_core_trim(void);
int apb_core_reset(void);

/* A caller's OS table gets the range back: it may do with it what it likes. */
void apb_track_unmap(void *addr, size_t size);

/* It has written to what it purged; pools are closed again. */
void apb_track_purged(void *addr, size_t size);

/* A new arena: what is in it is closed but for its metadata. */
void apb_track_arena(void *arena);

/* The calling thread ends: what it holds in quarantine is everybody's. */
void apb_track_thread_end(void);

/* Set APB_OPT_QUARANTINE: 0 or an errno. */
int apb_track_set_quarantine(size_t bytes);

#else

static inline void apb_track_unmap(void *addr, size_t size)
{
	(void)addr;
	(void)size;
}

static inline void apb_track_purged(void *addr, size_t size)
{
	(void)addr;
	(void)size;
}

static inline void apb_track_arena(void *arena)
{
	(void)arena;
}

static inline void apb_track_thread_end(void)
{
}

static inline int apb_track_set_quarantine(size_t bytes)
{
	(void)bytes;
	return ENOTSUP;
}

#endif

/* Of the allocator's files; for others these functions are plain ones. */
#ifndef APB_UNINSTRUMENTED
#define APB_UNINSTRUMENTED
#endif

/* ---- between the files of this folder --------------------------------- */

extern struct apb_san_pool apb_track_pool;

/* Where an address is in the core, now or before a reset. */
struct apb_track_place {
	struct apb_note *note; /* of a block there is or was; NULL: none */
	char *block, *end; /* of the core: the note would be at its start */
	bool out; /* the core has it out */
	bool large;
};

/* The block of the core that @addr lies in; false if there is none. */
bool apb_track_locate(const void *addr, struct apb_track_place *place);

/* What the note of the place at @block says, if it is one; else NULL. */
struct apb_note *apb_note_at(char *block);

/* Whether the core's block is a mapping of its own. */
bool apb_track_is_large(const char *block);

/* A large block is there: what else was is not any more. */
void apb_track_forget(const char *block, size_t size);

/* The core's own memory, or a large block: who needs it closed does so. */
void apb_track_open(char *start, size_t size);

/* Who called apb_reset() last. */
extern uint32_t apb_track_reset_stack;
extern uint32_t apb_track_reset_thread;

/* Hold a dead block; recycle those that leave the quarantine for it. */
void apb_quarantine_put(struct apb_note *note);

/* Recycle all; forget all. */
void apb_quarantine_flush(void);
void apb_quarantine_reset(void);

/* lent.c: of malloc, if tool_lends(). */
void *apb_lent_make(size_t align, size_t size, bool zero);
bool apb_lent_free(void *ptr); /* false: it is none that is out */
bool apb_lent_size(const void *ptr, size_t *size);
void apb_lent_reset(void);
/* Under a lock: @fn may not allocate. */
void apb_lent_walk(void (*fn)(const struct apb_san_block *block, void *arg),
		   void *arg);

static inline uint64_t apb_note_check(const void *block)
{
	return (uintptr_t)block * UINT64_C(0x9e3779b97f4a7c15) | UINT64_C(1)
									 << 63;
}

APB_UNINSTRUMENTED static inline size_t
apb_note_size(const struct apb_note *note)
{
	return note->size & ((UINT64_C(1) << APB_NOTE_SIZE_BITS) - 1);
}

/* Of both words. */
static inline uint32_t apb_word_thread(uint32_t word)
{
	return word >> 8;
}

/* Of a note: state 2 bits, shift 6, thread 24. */
static inline uint32_t apb_note_word(uint32_t state, unsigned int shift,
				     uint32_t thread)
{
	return state | shift << 2 | thread << 8;
}

static inline uint32_t apb_word_state(uint32_t word)
{
	return word & 3;
}

APB_UNINSTRUMENTED static inline uint32_t
apb_note_state(const struct apb_note *note)
{
	return apb_word_state(__atomic_load_n(&note->word, __ATOMIC_RELAXED));
}

APB_UNINSTRUMENTED static inline unsigned int
apb_note_shift(const struct apb_note *note)
{
	return note->word >> 2 & 63;
}

/* Of a grave: check 8 bits, thread 24. */
static inline uint32_t apb_grave_word(const void *grave, uint32_t thread)
{
	return (uint8_t)(apb_note_check(grave) >> APB_NOTE_SIZE_BITS) |
	       thread << 8;
}

APB_UNINSTRUMENTED static inline char *apb_note_user(struct apb_note *note)
{
	return (char *)note + ((size_t)1 << apb_note_shift(note));
}

APB_UNINSTRUMENTED static inline bool
apb_note_valid(const struct apb_note *note)
{
	return !((note->size ^ apb_note_check(note)) >> APB_NOTE_SIZE_BITS);
}

#endif /* APB_TRACK_H */
