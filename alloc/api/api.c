// SPDX-License-Identifier: MIT
/*
 * Allocation and free: the public functions, and with them the fast paths.
 *
 * The fast path of apb_malloc() is a pop from a bin, that of apb_free() three
 * comparisons and a push; both are inline here and leave for a slow path at
 * the first thing that is not plain.  The slow path starts again from the
 * arguments, under the lock.  Misuse is looked for under the lock and told
 * without it.
 */
#include "api/lock.h"
#include "api/options.h"
#include "debug/report.h"
#include "state.h"

#include <errno.h>
#include <string.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define noinline __attribute__((noinline))

struct apb_state apb_state = {
	.arenas.dirty_limit = APB_DIRTY_AUTO,
};

/* ---- allocation ------------------------------------------------------- */

/*
 * Under the lock, when the system has no memory: give back what can be.
 * Returns whether that was anything, so that it is worth asking again.
 */
static bool reclaim(void)
{
	size_t mapped = apb_state.os.mapped;

	apb_heap_settle_all(&apb_state.heap);
	apb_arena_unmap_spares();
	return apb_state.os.mapped < mapped;
}

/* Count @p, had after all, as recovered; or say that there is no memory. */
static void *after_reclaim(void *p)
{
	if (p)
		apb_state.heap.recovered++;
	else
		errno = ENOMEM;
	return p;
}

/* Under the lock: a large block. */
static void *large_locked(size_t size, size_t align, bool zero)
{
	void *p = apb_large_alloc(size, align, zero);

	if (likely(p))
		return p;
	return after_reclaim(reclaim() ? apb_large_alloc(size, align, zero) :
					 NULL);
}

static void *large_resize_locked(struct apb_large *large, size_t size)
{
	void *p = apb_large_resize(large, size);

	if (likely(p))
		return p;
	return after_reclaim(reclaim() ? apb_large_resize(large, size) : NULL);
}

/* Under the lock: any size. */
static void *alloc_locked(size_t size, bool zero)
{
	void *p;

	if (unlikely(size > APB_MAX_POOLED)) {
		if (likely(size <= PTRDIFF_MAX - APB_ARENA))
			return large_locked(size, APB_ARENA, zero);
		errno = ENOMEM;
		return NULL;
	}
	p = apb_heap_pop(&apb_state.heap, apb_class_of(size ? size : 1));
	if (p && zero)
		memset(p, 0, size);
	return p;
}

static noinline void *alloc_slow(size_t size, bool zero)
{
	bool locked;
	void *p;

	apb_options_want();
	locked = apb_enter();
	p = alloc_locked(size, zero);
	apb_leave(locked);
	return p;
}

/*
 * The block for a request of up to APB_MAX_POOLED bytes, if this thread is
 * alone and the bin has one; else NULL.
 */
static inline struct apb_block *alloc_fast(size_t size)
{
	struct apb_heap *heap = &apb_state.heap;
	struct apb_block *block;
	struct apb_bin *bin;

	if (unlikely(!apb_single_threaded()))
		return NULL;
	if (likely(size <= APB_SMALL_MAX))
		bin = &heap->bin[(size + 15) >> APB_CLASS_STEP_SHIFT];
	else if (likely(size <= APB_MAX_POOLED))
		bin = &heap->bin[apb_class_of(size)];
	else
		return NULL;
	block = bin->head;
	if (unlikely(!block) || unlikely(!apb_marked(block, heap->key)))
		return NULL;
	bin->head = block->next;
	block->mark = 0;
	return block;
}

void *apb_malloc(size_t size)
{
	struct apb_block *block = alloc_fast(size);

	return likely(block) ? block : alloc_slow(size, false);
}

void *apb_calloc(size_t n, size_t size)
{
	struct apb_block *block;
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	block = alloc_fast(bytes);
	if (likely(block))
		return memset(block, 0, bytes);
	return alloc_slow(bytes, true);
}

void *apb_aligned_alloc(size_t align, size_t size)
{
	bool locked;
	void *p;

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
	apb_options_want();
	locked = apb_enter();
	if (size <= APB_MAX_POOLED && align <= APB_MAX_POOL_ALIGN)
		p = apb_heap_pop(&apb_state.heap,
				 apb_class_of_aligned(align, size));
	else
		p = large_locked(size, align, false);
	apb_leave(locked);
	return p;
}

/* ---- what a pointer is ------------------------------------------------ */

/*
 * Whether @addr is a live block in a pool and does not look free; its bin
 * then.  If not it may be large, misuse, or hold what looks like a mark.
 */
static inline bool find_live(uintptr_t addr, struct apb_bin **bin)
{
	const struct apb_block *block = (const struct apb_block *)addr;
	struct apb_heap *heap = &apb_state.heap;
	unsigned int shift = apb_map_kind(&apb_state.map, addr);
	const struct apb_pool *pool;

	/* a constant shift need not wait for the map: the branch is predicted */
	if (likely(shift == APB_POOL_SHIFT_SMALL))
		pool = apb_pool_of(addr, APB_POOL_SHIFT_SMALL);
	else if (shift > APB_POOL_SHIFT_SMALL)
		pool = apb_pool_of(addr, shift);
	else
		return false;
	if (unlikely(!apb_heap_owns(heap, pool->owner)))
		return false;
	*bin = (struct apb_bin *)pool->owner;
	return likely(apb_pool_index(pool, addr) < pool->carved) &&
	       likely(!apb_looks_free(block, heap->key));
}

/* Under the lock: what a pointer that was passed in is. */
struct target {
	struct apb_bin *bin; /* of a pooled block */
	struct apb_large *large; /* else */
	size_t size; /* usable */
};

static void pooled_target(struct target *t, struct apb_bin *bin)
{
	t->bin = bin;
	t->large = NULL;
	t->size = apb_class_size((unsigned int)(bin - apb_state.heap.bin));
}

/* False, with @m filled, if @ptr is no live block. */
static bool find_target(struct target *t, const void *ptr, const char *call,
			struct apb_misuse *m)
{
	uintptr_t addr = (uintptr_t)ptr;
	struct apb_bin *bin;

	if (likely(find_live(addr, &bin))) {
		pooled_target(t, bin);
		return true;
	}
	t->bin = NULL;
	t->large = apb_large_find(addr);
	if (t->large) {
		t->size = t->large->size;
		return true;
	}
	if (apb_misuse_find(m, ptr, call))
		return false;
	/* a live block in which the program wrote what looks like a mark */
	pooled_target(t, (struct apb_bin *)apb_pool_at(addr)->owner);
	return true;
}

/* ---- free ------------------------------------------------------------- */

static void free_target(const struct target *t, void *ptr)
{
	struct apb_heap *heap = &apb_state.heap;

	if (t->large)
		apb_large_free(t->large);
	else if (apb_bin_push(t->bin, ptr, heap->key))
		apb_heap_settle(heap, t->bin);
}

static noinline void free_slow(void *ptr)
{
	int saved_errno = errno;
	struct apb_misuse m;
	struct target t;
	bool locked, ok;

	if (!ptr)
		return;
	locked = apb_enter();
	ok = find_target(&t, ptr, "apb_free", &m);
	if (likely(ok))
		free_target(&t, ptr);
	apb_leave(locked);
	if (unlikely(!ok))
		apb_misuse_tell(&m);
	errno = saved_errno;
}

static noinline void settle_slow(struct apb_bin *bin)
{
	int saved_errno = errno;

	apb_heap_settle(&apb_state.heap, bin);
	errno = saved_errno;
}

void apb_free(void *ptr)
{
	struct apb_bin *bin;

	if (unlikely(!apb_single_threaded()) ||
	    unlikely(!find_live((uintptr_t)ptr, &bin))) {
		free_slow(ptr);
		return;
	}
	if (unlikely(apb_bin_push(bin, ptr, apb_state.heap.key)))
		settle_slow(bin);
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
	return t->bin &&
	       t->size == apb_class_size(apb_class_of_aligned(align, size));
}

static void free_checked(void *ptr, size_t align, size_t size, const char *call)
{
	int saved_errno = errno;
	struct apb_misuse m;
	struct target t;
	bool locked, ok;

	if (!ptr)
		return;
	locked = apb_enter();
	ok = find_target(&t, ptr, call, &m);
	if (ok && (!align || (align & (align - 1)) ||
		   ((uintptr_t)ptr & (align - 1)))) {
		apb_misuse_sized(&m, ptr, call, APB_MISUSE_WRONG_ALIGN, align,
				 size);
		ok = false;
	} else if (ok && !size_fits(&t, align, size)) {
		apb_misuse_sized(&m, ptr, call, APB_MISUSE_WRONG_SIZE, align,
				 size);
		ok = false;
	}
	if (likely(ok))
		free_target(&t, ptr);
	apb_leave(locked);
	if (unlikely(!ok))
		apb_misuse_tell(&m);
	errno = saved_errno;
}

void apb_free_sized(void *ptr, size_t size)
{
	struct apb_bin *bin;

	/* the bin of a size is the block's: all is well, and a plain free */
	if (likely(apb_single_threaded()) && likely(size <= APB_MAX_POOLED) &&
	    likely(find_live((uintptr_t)ptr, &bin)) &&
	    likely(bin == &apb_state.heap.bin[apb_class_of(size)])) {
		if (unlikely(apb_bin_push(bin, ptr, apb_state.heap.key)))
			settle_slow(bin);
		return;
	}
	free_checked(ptr, APB_MIN_ALIGN, size, "apb_free_sized");
}

void apb_free_aligned_sized(void *ptr, size_t align, size_t size)
{
	free_checked(ptr, align, size, "apb_free_aligned_sized");
}

/* ---- realloc, usable size --------------------------------------------- */

static void *realloc_target(const struct target *t, void *ptr, size_t size)
{
	void *p;

	if (t->bin && size <= APB_MAX_POOLED &&
	    apb_class_size(apb_class_of(size)) == t->size)
		return ptr;
	if (t->large && size > APB_MAX_POOLED &&
	    size <= PTRDIFF_MAX - APB_ARENA)
		return large_resize_locked(t->large, size);
	p = alloc_locked(size, false);
	if (!p)
		return NULL;
	memcpy(p, ptr, size < t->size ? size : t->size);
	free_target(t, ptr);
	return p;
}

static noinline void *realloc_slow(void *ptr, size_t size, const char *call)
{
	struct apb_misuse m;
	struct target t;
	bool locked, ok;
	void *p = NULL;

	locked = apb_enter();
	ok = find_target(&t, ptr, call, &m);
	if (likely(ok))
		p = realloc_target(&t, ptr, size);
	apb_leave(locked);
	if (unlikely(!ok)) {
		apb_misuse_tell(&m);
		errno = EINVAL;
	}
	return p;
}

static inline void *realloc_from(void *ptr, size_t size, const char *call)
{
	struct apb_bin *bin;

	if (!ptr)
		return apb_malloc(size);
	if (!size)
		size = 1;
	/* in the same class nothing is to be done */
	if (likely(apb_single_threaded()) && size <= APB_MAX_POOLED &&
	    likely(find_live((uintptr_t)ptr, &bin)) &&
	    bin == &apb_state.heap.bin[apb_class_of(size)])
		return ptr;
	return realloc_slow(ptr, size, call);
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
	bool locked, ok;

	if (!ptr)
		return 0;
	locked = apb_enter();
	ok = find_target(&t, ptr, "apb_usable_size", &m);
	apb_leave(locked);
	if (likely(ok))
		return t.size;
	apb_misuse_tell(&m);
	return 0;
}
