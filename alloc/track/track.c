// SPDX-License-Identifier: MIT
/* The public functions of the tracking build; see track.h. */
#include "uninstrumented.h"

#include "track/track.h"

#include "api/lock.h"
#include "arena/arena.h"
#include "arena/flat.h"
#include "glue/glue.h"
#include "glue/tool.h"
#include "hints.h"
#include "state.h"
#include "track/region.h"

#include <apb/sanitize.h>
#include <errno.h>
#include <string.h>

/*
 * Red zones as those of AddressSanitizer: by the size asked for, and the same
 * by the size of the class that this then is in.
 */
static inline unsigned int bounded(unsigned int shift)
{
	return shift > TOOL_SHIFT_MAX ? TOOL_SHIFT_MAX : shift;
}

/* Of a class, by its size. */
static inline unsigned int shift_of_class(size_t size)
{
	if (size <= 64)
		return TOOL_SHIFT_MIN;
	if (size <= 128)
		return 5;
	if (size <= 512)
		return bounded(6);
	if (size <= 4096)
		return bounded(7);
	return bounded(size <= 16384 ? 8 : 9);
}

/* Of a request. */
static inline unsigned int shift_of_size(size_t size)
{
	if (size <= 64 - 16)
		return TOOL_SHIFT_MIN;
	if (size <= 128 - 32)
		return 5;
	if (size <= 512 - 64)
		return bounded(6);
	if (size <= 4096 - 128)
		return bounded(7);
	if (size <= 16384 - 256)
		return bounded(8);
	if (size <= 32768 - 512)
		return bounded(9);
	return bounded(size <= 65536 - 1024 ? 10 : 11);
}

static_assert(APB_MAX_POOLED == 32768, "the red zones change there, too");

/* Behind a block that is a mapping: what it overflows into. */
#define LARGE_GAP ((size_t)16)
#define SIZE_LIMIT ((size_t)1 << (APB_NOTE_SIZE_BITS - 1))
/* Beyond, there are few, and the tool is asked. */
#define SIZE_FREE ((size_t)64 << 20)

APB_UNINSTRUMENTED __attribute__((cold)) noinline static bool
too_large(size_t size)
{
	return size > SIZE_LIMIT || size > apb_glue_largest();
}

/*
 * The stack as of @fn, the public function that was called: what that consists
 * of is nobody's business.  To be inlined into it.
 */
#define inlined APB_UNINSTRUMENTED static inline __attribute__((always_inline))

inlined uint32_t stack_from(const void *fn)
{
	return apb_stack_take(fn, __builtin_frame_address(0));
}

/* What is asked for as nothing is a byte, as malloc's is. */
static inline size_t served(size_t asked)
{
	return asked ? asked : 1;
}

/* ---- birth ------------------------------------------------------------ */

/* All of a large block but what the program asked for is closed. */
static void close_large(char *block, char *user, size_t size)
{
	struct apb_large *large;
	char *end = user + size;

	apb_enter();
	large = apb_large_find((uintptr_t)block);
	if (large)
		end = block + large->mapped;
	apb_leave();
	apb_track_forget(block, (size_t)(end - block));
	tool_pool_made(block, (size_t)(user - block));
	/* birth opens what of its last bytes is closed by that */
	tool_pool_made(user + size, (size_t)(end - user) - size);
}

/* A request that is a mistake: reported, if the tool does so. */
inlined void *refuse(enum apb_glue_refusal kind, size_t n, size_t size,
		     const void *fn)
{
	apb_glue_refused(kind, n, size, stack_from(fn));
	errno = kind == APB_GLUE_ALIGN ? EINVAL : ENOMEM;
	return NULL;
}

inlined void *birth(char *block, unsigned int shift, size_t asked,
		    unsigned int flags, const void *fn)
{
	size_t size = TOOL_EMPTY ? asked : served(asked);
	struct apb_note *note = (struct apb_note *)block;
	char *user = block + ((size_t)1 << shift);

	note->born_stack = stack_from(fn);
	note->size = size | (apb_note_check(block) >>
			     APB_NOTE_SIZE_BITS << APB_NOTE_SIZE_BITS);
	/* the leak check may come in between */
	__atomic_store_n(&note->word,
			 apb_note_word(APB_NOTE_LIVE, shift, apb_san_thread()),
			 __ATOMIC_RELEASE);
	apb_san_born(&apb_track_pool, user, size, flags);
	return user;
}

inlined void *alloc(size_t size, bool zero, const void *fn)
{
	unsigned int shift;
	size_t total;
	char *block;
	void *user;

	if (unlikely(size > SIZE_FREE) && too_large(size))
		return refuse(APB_GLUE_SIZE, 1, size, fn);
	shift = shift_of_size(size);
	total = served(size) + ((size_t)1 << shift);
	tool_enter();
	if (tool_lends()) {
		user = apb_lent_make(APB_MIN_ALIGN, size, zero);
		tool_leave();
		return user;
	}
	if (likely(total <= APB_MAX_POOLED)) {
		block = apb_core_malloc(total);
	} else {
		total += LARGE_GAP;
		block = zero ? apb_core_calloc(1, total) :
			       apb_core_malloc(total);
		if (block)
			close_large(block, block + ((size_t)1 << shift), size);
	}
	user = block ? birth(block, shift, size, zero ? APB_SAN_ZEROED : 0,
			     fn) :
		       NULL;
	tool_leave();
	if (unlikely(!user))
		return refuse(APB_GLUE_MEMORY, 1, size, fn);
	if (zero && total <= APB_MAX_POOLED)
		memset(user, 0, size);
	return user;
}

APB_UNINSTRUMENTED void *apb_malloc(size_t size)
{
	return alloc(size, false, apb_malloc);
}

APB_UNINSTRUMENTED void *apb_calloc(size_t n, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes)))
		return refuse(APB_GLUE_CALLOC, n, size, apb_calloc);
	return alloc(bytes, true, apb_calloc);
}

APB_UNINSTRUMENTED void *apb_aligned_alloc(size_t align, size_t size)
{
	unsigned int shift;
	size_t total;
	char *block;
	void *user;

	if (unlikely(!align || (align & (align - 1))))
		return refuse(APB_GLUE_ALIGN, align, size, apb_aligned_alloc);
	if (align <= APB_MIN_ALIGN)
		return alloc(size, false, apb_aligned_alloc);
	if (unlikely(align > SIZE_FREE || size > SIZE_FREE) &&
	    (too_large(align) || too_large(size)))
		return refuse(APB_GLUE_SIZE, 1, size > align ? size : align,
			      apb_aligned_alloc);
	shift = (unsigned int)__builtin_ctzl(align);
	if (shift < shift_of_size(size))
		shift = shift_of_size(size);
	total = served(size) + ((size_t)1 << shift);
	if (total > APB_MAX_POOLED || align > APB_MAX_POOL_ALIGN)
		total += LARGE_GAP;
	tool_enter();
	if (tool_lends()) {
		user = apb_lent_make(align, size, false);
		tool_leave();
		return user;
	}
	block = apb_core_aligned_alloc(align, total);
	if (block && apb_track_is_large(block))
		close_large(block, block + ((size_t)1 << shift), size);
	user = block ? birth(block, shift, size, 0, apb_aligned_alloc) : NULL;
	tool_leave();
	if (unlikely(!user))
		return refuse(APB_GLUE_MEMORY, 1, size, apb_aligned_alloc);
	return user;
}

/* ---- death ------------------------------------------------------------ */

/* The note of the block whose first byte is at @ptr, or NULL. */
APB_UNINSTRUMENTED static noinline struct apb_note *note_slow(const void *ptr)
{
	struct apb_track_place place;
	bool found;

	apb_enter();
	found = apb_track_locate(ptr, &place);
	apb_leave();
	if (!found || !place.out || !place.note ||
	    apb_note_user(place.note) != ptr)
		return NULL;
	return place.note;
}

APB_UNINSTRUMENTED static inline struct apb_note *note_of(const void *ptr)
{
	const struct apb_flat_entry *at = apb_flat_at((uintptr_t)ptr);
	uintptr_t owner = apb_flat_owner(at);
	struct apb_entry entry;
	unsigned int shift;
	char *block;

	if (likely(owner)) {
		shift = shift_of_class(apb_class_size(apb_bin_class(owner)));
		block = (char *)ptr - ((size_t)1 << shift);
		if (likely(apb_flat_live(at, (uintptr_t)block, &entry))) {
			struct apb_note *note = apb_note_at(block);

			if (likely(note && apb_note_shift(note) == shift))
				return note;
		}
	}
	return note_slow(ptr);
}

/* Whether the calling thread is the one to end its life. */
APB_UNINSTRUMENTED static bool die(struct apb_note *note)
{
	uint32_t word = __atomic_load_n(&note->word, __ATOMIC_RELAXED);

	return apb_word_state(word) == APB_NOTE_LIVE &&
	       __atomic_compare_exchange_n(
		       &note->word, &word,
		       word ^ (APB_NOTE_LIVE ^ APB_NOTE_HELD), false,
		       __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

inlined void bury(struct apb_note *note, void *ptr, const void *fn)
{
	struct apb_grave *grave = ptr;
	size_t size = apb_note_size(note);

	/* before it is dead: MSan would see that it is written */
	grave->died_stack = stack_from(fn);
	grave->word = apb_grave_word(grave, apb_san_thread());
	apb_san_died(&apb_track_pool, ptr, size);
	apb_quarantine_put(note);
}

APB_UNINSTRUMENTED static noinline void bad_free(void *ptr)
{
	struct apb_track_place place;
	enum apb_san_free kind = APB_SAN_FREE_WILD;

	tool_enter();
	if (apb_track_locate(ptr, &place) && place.note)
		kind = apb_note_user(place.note) == ptr ? APB_SAN_FREE_DOUBLE :
							  APB_SAN_FREE_INSIDE;
	tool_leave();
	apb_san_bad_free(kind, ptr);
}

inlined void release(void *ptr, const void *fn)
{
	int saved_errno = errno;
	struct apb_note *note;
	bool ok;

	if (!ptr)
		return;
	tool_enter();
	if (tool_lends()) {
		ok = apb_lent_free(ptr);
	} else {
		note = note_of(ptr);
		ok = note && die(note);
		if (likely(ok))
			bury(note, ptr, fn);
	}
	tool_leave();
	if (unlikely(!ok))
		bad_free(ptr);
	errno = saved_errno;
}

APB_UNINSTRUMENTED void apb_free(void *ptr)
{
	release(ptr, apb_free);
}

/* Whether @ptr is a live block, and of how many bytes. */
APB_UNINSTRUMENTED static bool live_size(const void *ptr, size_t *size)
{
	struct apb_note *note;
	bool live;

	tool_enter();
	if (tool_lends()) {
		live = apb_lent_size(ptr, size);
	} else {
		note = note_of(ptr);
		live = note && apb_note_state(note) == APB_NOTE_LIVE;
		if (live)
			*size = apb_note_size(note);
	}
	tool_leave();
	return live;
}

/* Whether that is right for @ptr, if it is a live block at all. */
APB_UNINSTRUMENTED static bool fits(void *ptr, size_t align, size_t size)
{
	enum apb_san_free kind;
	size_t real;

	if (!live_size(ptr, &real))
		return true;
	if (!align || (align & (align - 1)) || ((uintptr_t)ptr & (align - 1)))
		kind = APB_SAN_FREE_ALIGN;
	else if (real != (TOOL_EMPTY ? size : served(size)))
		kind = APB_SAN_FREE_SIZE;
	else
		return true;
	if (!tool_compares_sizes())
		return true;
	apb_san_bad_free_sized(kind, ptr, size, align);
	return false;
}

APB_UNINSTRUMENTED void apb_free_sized(void *ptr, size_t size)
{
	if (ptr && fits(ptr, APB_MIN_ALIGN, size))
		release(ptr, apb_free_sized);
}

APB_UNINSTRUMENTED void apb_free_aligned_sized(void *ptr, size_t align,
					       size_t size)
{
	if (ptr && fits(ptr, align, size))
		release(ptr, apb_free_aligned_sized);
}

/* ---- realloc, usable size --------------------------------------------- */

inlined void *move(void *ptr, size_t size, const void *fn)
{
	size_t old;
	void *p;

	if (!ptr)
		return alloc(size, false, fn);
	if (unlikely(!live_size(ptr, &old))) {
		bad_free(ptr);
		errno = EINVAL;
		return NULL;
	}
	p = alloc(size, false, fn);
	if (!p)
		return NULL;
	memcpy(p, ptr, size < old ? size : old);
	release(ptr, fn);
	return p;
}

APB_UNINSTRUMENTED void *apb_realloc(void *ptr, size_t size)
{
	return move(ptr, size, apb_realloc);
}

APB_UNINSTRUMENTED void *apb_reallocarray(void *ptr, size_t n, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes)))
		return refuse(APB_GLUE_REALLOCARRAY, n, size, apb_reallocarray);
	return move(ptr, bytes, apb_reallocarray);
}

APB_UNINSTRUMENTED size_t apb_usable_size(const void *ptr)
{
	size_t size;

	if (!ptr)
		return 0;
	if (likely(live_size(ptr, &size)))
		return size;
	/* as the tool says it of malloc's; others do not look, but the core does */
	if (!APB_SAN_ADDRESS)
		return apb_core_usable_size(ptr);
	apb_san_bad_free(APB_SAN_FREE_USABLE, ptr);
	return 0;
}

/* ---- everything at once ----------------------------------------------- */

size_t apb_trim(void)
{
	size_t bytes;

	tool_enter();
	apb_quarantine_flush();
	bytes = apb_core_trim();
	apb_enter();
	bytes += apb_region_trim();
	apb_leave();
	tool_leave();
	return bytes;
}

static void close_pools(struct apb_arena *arena, void *arg)
{
	uint64_t used = ~arena->unused & apb_slot_mask(arena->kind);
	size_t bytes = (size_t)1 << apb_kind_shift(arena->kind);

	(void)arg;
	for (; used; used &= used - 1)
		tool_reset((char *)arena +
				   (size_t)__builtin_ctzll(used) * bytes,
			   bytes);
}

static void kill_one(const struct apb_san_block *block, void *arg)
{
	(void)arg;
	apb_san_died(&apb_track_pool, (void *)(uintptr_t)block->addr,
		     block->size);
}

APB_UNINSTRUMENTED int apb_reset(void)
{
	struct apb_node *node;
	int err;

	tool_enter();
	if (tool_lends())
		apb_lent_reset();
	apb_track_reset_stack = stack_from(apb_reset);
	apb_track_reset_thread = apb_san_thread();
	if (TOOL_RESET_EACH && !tool_lends())
		apb_track_pool.walk(&apb_track_pool, kill_one, NULL);
	apb_enter();
	apb_region_keep(APB_REGION_KEEP);
	apb_arena_for_each(close_pools, NULL);
	for (node = apb_state.larges.list; node; node = node->next) {
		struct apb_large *large =
			apb_entry(node, struct apb_large, node);

		tool_reset((void *)large->addr, large->mapped);
	}
	apb_leave();
	apb_quarantine_reset();
	err = apb_core_reset();
	tool_leave();
	return err;
}

#include "instrumented.h"
