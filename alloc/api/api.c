// SPDX-License-Identifier: MIT
/*
 * Allocation and free: the public functions, and with them the fast paths.
 *
 * The fast path of apb_malloc() is a pop from a bin of the thread's heap, that
 * of apb_free() a few comparisons and a push; both are inline here, take no
 * lock and leave for a slow path at the first thing that is not plain.  The
 * slow path starts again from the arguments.  Misuse is looked for with all
 * threads stopped, and told with no lock held.
 */
#include "uninstrumented.h"

#include "api/lock.h"
#include "arena/flat.h"
#include "debug/junk.h"
#include "debug/report.h"
#include "fill.h"
#include "heap/remote.h"
#include "heap/thread.h"
#include "hints.h"
#include "state.h"
#include "track/core.h"

#include <errno.h>
#include <string.h>

struct apb_state apb_state;

/* ---- large blocks ----------------------------------------------------- */

/*
 * When the system has no memory: give back what can be.  Returns whether that
 * was anything, so that it is worth asking again.
 */
static bool reclaim(void)
{
	struct apb_heap *heap = apb_tls;
	size_t mapped;
	bool some;

	apb_enter();
	mapped = apb_state.os.mapped;
	apb_leave();
	if (heap != &apb_empty_heap) {
		apb_lock(&heap->lock);
		apb_heap_reclaim(heap);
		apb_unlock(&heap->lock);
	} else {
		apb_heaps_drain(NULL);
	}
	apb_enter();
	apb_retain_drop();
	some = apb_state.os.mapped < mapped;
	apb_leave();
	return some;
}

/* Count @p, had after all, as recovered; or say that there is no memory. */
static void *after_reclaim(void *p)
{
	if (p) {
		apb_enter();
		apb_state.larges.recovered++;
		apb_leave();
	} else {
		errno = ENOMEM;
	}
	return p;
}

static void *large_once(size_t size, size_t align, bool zero)
{
	bool clear = zero;
	void *p;

	apb_enter();
	p = apb_large_alloc(size, align, &clear);
	apb_leave();
	/* that may be much: others need not wait for it */
	return p && clear ? apb_fill(p, 0, size) : p;
}

static void *large_alloc(size_t size, size_t align, bool zero)
{
	void *p = large_once(size, align, zero);

	if (unlikely(!p))
		p = after_reclaim(reclaim() ? large_once(size, align, zero) :
					      NULL);
	if (apb_junk() && p && !zero)
		apb_fill(p, APB_JUNK_BORN, size);
	return p;
}

/* ---- allocation ------------------------------------------------------- */

/* A block of class @cls by the slow path. */
static noinline void *pooled_slow(unsigned int cls)
{
	struct apb_heap *heap = apb_thread_heap();
	struct apb_entry entry;
	bool ok;

	if (unlikely(!heap))
		heap = apb_common_heap();
	apb_lock(&heap->lock);
	ok = apb_bin_pop(&heap->bin[cls], &entry) ||
	     apb_heap_refill(heap, cls, &entry);
	apb_unlock(&heap->lock);
	if (apb_junk() && ok)
		apb_junk_born(entry, apb_class_size(cls));
	if (likely(ok))
		return apb_block_born(entry);
	errno = ENOMEM;
	return NULL;
}

static noinline void *alloc_slow(size_t size, bool zero)
{
	void *p;

	if (unlikely(size > APB_MAX_POOLED)) {
		if (likely(size <= PTRDIFF_MAX - APB_ARENA))
			return large_alloc(size, APB_ARENA, zero);
		errno = ENOMEM;
		return NULL;
	}
	p = pooled_slow(apb_class_of(size ? size : 1));
	if (p && zero)
		apb_fill(p, 0, size);
	return p;
}

/* Whether the bin for a request of any size had a block. */
static inline bool alloc_fast(size_t size, struct apb_entry *entry)
{
	struct apb_heap *heap = apb_tls;

	if (likely(size <= APB_SMALL_MAX))
		return apb_bin_pop(apb_bin_small(heap, size), entry);
	if (likely(size <= APB_MAX_POOLED))
		return apb_bin_pop(&heap->bin[apb_class_of(size)], entry);
	return false;
}

void *apb_malloc(size_t size)
{
	struct apb_entry entry;

	if (likely(alloc_fast(size, &entry)))
		return apb_block_born(entry);
	return alloc_slow(size, false);
}

void *apb_calloc(size_t n, size_t size)
{
	struct apb_entry entry;
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	if (likely(alloc_fast(bytes, &entry)))
		return apb_fill(apb_block_born(entry), 0, bytes);
	return alloc_slow(bytes, true);
}

void *apb_aligned_alloc(size_t align, size_t size)
{
	struct apb_entry entry;
	unsigned int cls;

	if (unlikely(!align || (align & (align - 1)))) {
		errno = EINVAL;
		return NULL;
	}
	if (align <= APB_MIN_ALIGN)
		return apb_malloc(size);
	if (unlikely(align > PTRDIFF_MAX || size > PTRDIFF_MAX - align)) {
		errno = ENOMEM;
		return NULL;
	}
	if (!size)
		size = 1;
	if (size > APB_MAX_POOLED || align > APB_MAX_POOL_ALIGN)
		return large_alloc(size, align, false);
	cls = apb_class_of_aligned(align, size);
	if (likely(apb_bin_pop(&apb_tls->bin[cls], &entry)))
		return apb_block_born(entry);
	return pooled_slow(cls);
}

/* ---- what a pointer is ------------------------------------------------ */

/* What a pointer that was passed in is. */
struct target {
	struct apb_pool *pool; /* of a pooled block */
	uint64_t index; /* in the pool */
	struct apb_large *large; /* else */
	size_t size; /* usable */
};

/* Whether @addr is a live block in a pool of any heap. */
static bool find_pooled(struct target *t, uintptr_t addr)
{
	unsigned int shift = apb_map_kind(&apb_state.map, addr);

	t->large = NULL;
	if (unlikely(shift < APB_KIND_ARENA))
		return false;
	t->pool = apb_pool_of(addr, shift);
	if (unlikely(!apb_pool_in_use(t->pool)) ||
	    unlikely(!apb_block_live(t->pool, addr, &t->index)))
		return false;
	t->size = apb_class_size(t->pool->cls);
	return true;
}

/* False, with @m filled, if @ptr is no live block. */
static bool find_target(struct target *t, const void *ptr, const char *call,
			struct apb_misuse *m)
{
	uintptr_t addr = (uintptr_t)ptr;
	bool misuse = false;

	do {
		if (likely(find_pooled(t, addr)))
			return true;
		apb_enter();
		t->pool = NULL;
		t->large = apb_large_find(addr);
		if (t->large)
			t->size = t->large->size;
		apb_leave();
		if (unlikely(!t->large))
			misuse = apb_misuse_find(m, ptr, call);
		/* neither: another thread has just been given that block */
	} while (unlikely(!t->large && !misuse));
	return t->large;
}

/* ---- free ------------------------------------------------------------- */

/* A live block goes to the bin of @pool, whosever it is. */
static void free_pooled(const struct apb_pool *pool, void *ptr, uint64_t index)
{
	/* first: who has a free block in hand has a heap, as apb_check() sees */
	struct apb_heap *heap = apb_thread_heap();
	struct apb_bin *bin = (struct apb_bin *)pool->owner;
	struct apb_entry entry =
		apb_block_died(apb_entry_make(pool, (uintptr_t)ptr, index));

	if (unlikely(!heap)) {
		apb_remote_direct(pool->owner, entry);
	} else if (unlikely(!apb_heap_owns(heap, pool->owner))) {
		apb_remote_free(heap, pool->owner, entry);
	} else if (unlikely(!apb_bin_push(bin, entry))) {
		apb_lock(&heap->lock);
		apb_heap_overflow(heap, pool->cls, entry);
		apb_unlock(&heap->lock);
	}
}

/* A large block, which another thread might just have freed, too. */
static void free_large(void *ptr, const char *call)
{
	struct apb_large *large;
	struct apb_misuse m;

	apb_enter();
	large = apb_large_find((uintptr_t)ptr);
	if (likely(large))
		apb_large_free(large);
	apb_leave();
	if (unlikely(!large) && apb_misuse_find(&m, ptr, call))
		apb_misuse_tell(&m);
}

static void free_target(const struct target *t, void *ptr, const char *call)
{
	if (t->large) {
		free_large(ptr, call);
		return;
	}
	if (apb_junk())
		apb_fill(ptr, APB_JUNK_DIED, t->size);
	free_pooled(t->pool, ptr, t->index);
}

static noinline void free_slow(void *ptr)
{
	int saved_errno = errno;
	struct apb_misuse m;
	struct target t;

	if (!ptr)
		return;
	if (likely(find_target(&t, ptr, "apb_free", &m)))
		free_target(&t, ptr, "apb_free");
	else
		apb_misuse_tell(&m);
	errno = saved_errno;
}

static noinline void overflow_slow(struct apb_bin *bin, struct apb_entry entry)
{
	struct apb_heap *heap = apb_tls;
	int saved_errno = errno;

	apb_lock(&heap->lock);
	apb_heap_overflow(heap, (unsigned int)(bin - heap->bin), entry);
	apb_unlock(&heap->lock);
	errno = saved_errno;
}

/* When there is no batch for it with room for more than that. */
static noinline void foreign_slow(void *ptr, const struct apb_flat_entry *at)
{
	uintptr_t owner = apb_flat_owner(at);
	struct apb_heap *heap = apb_tls;
	struct apb_entry entry;

	if (likely(owner) && likely(heap != &apb_empty_heap) &&
	    likely(apb_flat_live(at, (uintptr_t)ptr, &entry)))
		apb_remote_free(heap, owner, apb_block_died(entry));
	else
		free_slow(ptr);
}

/* Free a pointer into a pool that is not of the thread's heap, or into none. */
static noinline void free_foreign(void *ptr, const struct apb_flat_entry *at)
{
	uintptr_t owner = apb_flat_owner(at);
	struct apb_out *out = apb_remote_out(apb_tls, owner);
	struct apb_entry entry;

	if (likely(apb_out_takes(out, owner)) &&
	    likely(apb_flat_live(at, (uintptr_t)ptr, &entry)))
		apb_out_put(out, apb_block_died(entry));
	else
		foreign_slow(ptr, at);
}

/* A live block for @bin, of the thread's own heap. */
static inline void free_live(struct apb_entry entry, struct apb_bin *bin)
{
	if (unlikely(!apb_bin_push(bin, entry)))
		overflow_slow(bin, apb_block_died(entry));
}

/* Whether that was a live block for @bin, of the thread's own heap. */
static inline bool free_own(void *ptr, const struct apb_flat_entry *at,
			    struct apb_bin *bin)
{
	struct apb_entry entry;

	if (unlikely(!apb_flat_live(at, (uintptr_t)ptr, &entry)))
		return false;
	free_live(entry, bin);
	return true;
}

void apb_free(void *ptr)
{
	const struct apb_flat_entry *at = apb_flat_at((uintptr_t)ptr);
	uintptr_t owner = apb_flat_owner(at);

	if (unlikely(!apb_heap_owns(apb_tls, owner)))
		free_foreign(ptr, at);
	else if (unlikely(!free_own(ptr, at, (struct apb_bin *)owner)))
		free_slow(ptr);
}

/* Whether a request of @size and @align would have made @t. */
static bool size_fits(const struct target *t, size_t align, size_t size)
{
	bool pooled = size <= APB_MAX_POOLED && align <= APB_MAX_POOL_ALIGN;

	if (size > PTRDIFF_MAX)
		return false;
	if (!size)
		size = 1;
	if (!pooled)
		return t->large && t->size == apb_page_up(size);
	return t->pool && t->pool->cls == apb_class_of_aligned(align, size);
}

static void free_checked(void *ptr, size_t align, size_t size, const char *call)
{
	enum apb_misuse_kind kind = APB_MISUSE_NR;
	int saved_errno = errno;
	struct apb_misuse m;
	struct target t;
	bool ok;

	if (!ptr)
		return;
	ok = find_target(&t, ptr, call, &m);
	if (ok &&
	    (!align || (align & (align - 1)) || ((uintptr_t)ptr & (align - 1))))
		kind = APB_MISUSE_WRONG_ALIGN;
	else if (ok && !size_fits(&t, align, size))
		kind = APB_MISUSE_WRONG_SIZE;
	if (kind != APB_MISUSE_NR) {
		apb_misuse_sized(&m, ptr, call, kind, align, size);
		ok = false;
	}
	if (likely(ok))
		free_target(&t, ptr, call);
	else
		apb_misuse_tell(&m);
	errno = saved_errno;
}

void apb_free_sized(void *ptr, size_t size)
{
	const struct apb_flat_entry *at = apb_flat_at((uintptr_t)ptr);
	struct apb_bin *bin;

	if (likely(size <= APB_MAX_POOLED)) {
		bin = &apb_tls->bin[apb_class_of(size)];
		/* the bin of a size is the block's: all is well, a plain free */
		if (likely((uintptr_t)bin == apb_flat_owner(at)) &&
		    likely(free_own(ptr, at, bin)))
			return;
	}
	free_checked(ptr, APB_MIN_ALIGN, size, "apb_free_sized");
}

void apb_free_aligned_sized(void *ptr, size_t align, size_t size)
{
	free_checked(ptr, align, size, "apb_free_aligned_sized");
}

/* ---- realloc, usable size --------------------------------------------- */

static void *resize_once(void *ptr, size_t size, const char *call)
{
	struct apb_large *large;
	bool copy = false;
	void *p = NULL;
	size_t old = 0;

	apb_enter();
	/* as in free_large() */
	large = apb_large_find((uintptr_t)ptr);
	if (likely(large)) {
		old = large->size;
		p = apb_large_resize(large, size, &copy);
	}
	apb_leave();
	if (!p || !copy)
		return p;
	/* that may be much: others need not wait for it */
	memcpy(p, ptr, old);
	free_large(ptr, call);
	return p;
}

static void *large_resize(void *ptr, size_t size, const char *call)
{
	void *p = resize_once(ptr, size, call);

	if (likely(p))
		return p;
	return after_reclaim(reclaim() ? resize_once(ptr, size, call) : NULL);
}

static void *realloc_target(const struct target *t, void *ptr, size_t size,
			    const char *call)
{
	void *p;

	if (t->pool && size <= APB_MAX_POOLED &&
	    apb_class_of(size) == t->pool->cls)
		return ptr;
	if (t->large && size > APB_MAX_POOLED &&
	    size <= PTRDIFF_MAX - APB_ARENA)
		return large_resize(ptr, size, call);
	p = apb_malloc(size);
	if (!p)
		return NULL;
	memcpy(p, ptr, size < t->size ? size : t->size);
	free_target(t, ptr, call);
	return p;
}

static noinline void *realloc_slow(void *ptr, size_t size, const char *call)
{
	struct apb_misuse m;
	struct target t;

	if (likely(find_target(&t, ptr, call, &m)))
		return realloc_target(&t, ptr, size, call);
	apb_misuse_tell(&m);
	errno = EINVAL;
	return NULL;
}

/*
 * A block that was live, and @owner's, before it was copied, for whichever heap.
 */
static void free_copied(void *ptr, uintptr_t owner, struct apb_entry entry)
{
	/* if another thread has freed it meanwhile, apb_free() tells of it */
	if (likely(apb_heap_owns(apb_tls, owner)) &&
	    likely(apb_entry_live(entry)))
		free_live(entry, (struct apb_bin *)owner);
	else
		apb_free(ptr);
}

/* All but a live block that stays where it is. */
static noinline void *realloc_other(void *ptr, size_t size, const char *call)
{
	const struct apb_flat_entry *at = apb_flat_at((uintptr_t)ptr);
	uintptr_t owner = apb_flat_owner(at);
	struct apb_entry entry;
	unsigned int cls;
	size_t old;
	void *p;

	if (!ptr)
		return apb_malloc(size);
	if (!size)
		size = 1;
	if (unlikely(!owner) ||
	    unlikely(!apb_flat_live(at, (uintptr_t)ptr, &entry)))
		return realloc_slow(ptr, size, call);
	cls = apb_bin_class(owner);
	old = apb_class_size(cls);
	/* of a request of 0 bytes */
	if (unlikely(size == 1) && cls == apb_class_of(1))
		return ptr;
	p = apb_malloc(size);
	if (unlikely(!p))
		return NULL;
	memcpy(p, ptr, size < old ? size : old);
	free_copied(ptr, owner, entry);
	return p;
}

/* Needs no stack for what is most common, a block that stays where it is. */
static inline void *realloc_from(void *ptr, size_t size, const char *call)
{
	const struct apb_flat_entry *at = apb_flat_at((uintptr_t)ptr);
	uintptr_t owner = apb_flat_owner(at);
	struct apb_entry entry;

	/* the class of 0 bytes is no pool's */
	if (likely(size <= APB_MAX_POOLED) && likely(owner) &&
	    likely(apb_flat_live(at, (uintptr_t)ptr, &entry)) &&
	    apb_class_of(size) == apb_bin_class(owner))
		return ptr;
	return realloc_other(ptr, size, call);
}

void *apb_realloc(void *ptr, size_t size)
{
	return realloc_from(ptr, size, "apb_realloc");
}

void *apb_reallocarray(void *ptr, size_t n, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc_from(ptr, bytes, "apb_reallocarray");
}

size_t apb_usable_size(const void *ptr)
{
	struct apb_misuse m;
	struct target t;

	if (!ptr)
		return 0;
	if (likely(find_target(&t, ptr, "apb_usable_size", &m)))
		return t.size;
	apb_misuse_tell(&m);
	return 0;
}

#include "instrumented.h"
