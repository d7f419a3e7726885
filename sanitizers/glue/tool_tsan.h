/* SPDX-License-Identifier: MIT */
/*
 * ThreadSanitizer; the functions are described in tool.h.
 *
 * It has an interface for the heap of a Java machine: blocks in one range of
 * addresses that is told once, which its reports then name.  But what is freed
 * is forgotten there, while that of malloc is marked, so that any use of it is
 * found, by the same thread as well.  So the functions are called by which its
 * own malloc and free tell it; they are not in its headers, but in its library
 * (clang's, which is linked to the program).  Where they are not to be had
 * (gcc's, which is a shared object) it is Java's, and what is freed is written
 * to: a use by another thread that nothing orders is a race then.
 *
 * Blocks are made and die in a race-free manner, whatever the program does: the
 * tool forgets what was known of the memory when a block is born in it, and
 * takes birth for a write of all of it, as malloc does.
 *
 * It keeps stacks by what functions say when they are called, and those of the
 * layer and of apb say nothing.  So the caller of apb's public function is told
 * in between tool_enter() and tool_leave(), which are to be in that function
 * itself; blocks of others are born and die where the layer is called.
 */
#ifndef APB_GLUE_TOOL_TSAN_H
#define APB_GLUE_TOOL_TSAN_H

#include "glue/glue.h"
#include "glue/real.h"
#include "glue/tool_common.h"

#define TOOL_NAME "ThreadSanitizer"
#define TOOL_OPTIONS "TSAN_OPTIONS"
#define TOOL_DEFAULTS __tsan_default_options
#define TOOL_STACKS 1
#define TOOL_REFUSES
#define TOOL_QUARANTINE ((size_t)0)
#define TOOL_CLOSED_HEADER 0
#define TOOL_BEFORE "before"
#define TOOL_AFTER "after"

/* The one range of blocks that is told. */
struct apb_tsan_heap {
	uintptr_t start, end;
};

extern struct apb_tsan_heap apb_tsan_heap;

#define TOOL_STATE struct apb_tsan_heap apb_tsan_heap;

#ifdef __clang__
#define TSAN_WEAK(name) __asm__(name) __attribute__((weak))
#else
#define TSAN_WEAK(name) __attribute__((weak))
#endif

/* __tsan::OnUserAlloc(), __tsan::OnUserFree() */
void apb_tsan_alloc(void *thread, uintptr_t pc, uintptr_t p, uintptr_t n,
		    bool write)
	TSAN_WEAK("_ZN6__tsan11OnUserAllocEPNS_11ThreadStateEmmmb");
void apb_tsan_free(void *thread, uintptr_t pc, uintptr_t p, bool write)
	TSAN_WEAK("_ZN6__tsan10OnUserFreeEPNS_11ThreadStateEmmb");

/* Of its public interface, which has no header for them. */
void *__tsan_get_current_fiber(void);
void __tsan_java_init(uintptr_t start, uintptr_t size);
void __tsan_java_alloc(uintptr_t p, uintptr_t n);
void __tsan_java_free(uintptr_t p, uintptr_t n);
void __tsan_write_range(void *p, long n);
void __tsan_func_entry(void *pc);

/* What gcc has a built-in function of the same name for. */
void apb_tsan_exit(void *none) __asm__("__tsan_func_exit");

#define TSAN_INLINE APB_RAW __attribute__((always_inline)) static inline
#define TSAN_ALIGN(n) (((n) + 7) & ~(uintptr_t)7)

TSAN_INLINE const void *tsan_here(void)
{
	const void *pc;

	__asm__("lea 0(%%rip), %0" : "=r"(pc));
	return pc;
}

TSAN_INLINE bool tsan_direct(void)
{
	return apb_tsan_alloc && apb_tsan_free;
}

static inline void tool_start(void)
{
}

TSAN_INLINE void tool_enter(void)
{
	__tsan_func_entry(__builtin_return_address(0));
}

TSAN_INLINE void tool_leave(void)
{
	apb_tsan_exit(NULL);
}

/* ---- the range -------------------------------------------------------- */

/*
 * Pools follow each other downwards, usually: so much below the first belongs
 * to the range.  The tool goes through it from an address that is no block's.
 */
#define TSAN_BELOW ((uintptr_t)1 << 30)

/* The range of all blocks from now on, unless there is one. */
APB_RAW static inline void tool_heap(void *p, size_t n)
{
	uintptr_t none = 0, start = (uintptr_t)p;

	if (!__atomic_compare_exchange_n(&apb_tsan_heap.start, &none, start,
					 false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		return;
	apb_tsan_heap.end = start + n;
	__tsan_java_init(start, n);
}

/* Ordinary memory that nobody has used. */
APB_RAW static inline void tsan_clear(void *p, size_t n)
{
	__tsan_java_alloc((uintptr_t)p, TSAN_ALIGN(n));
	__tsan_java_free((uintptr_t)p, TSAN_ALIGN(n));
}

APB_RAW static inline void tool_pool_made(void *p, size_t n)
{
	uintptr_t start = (uintptr_t)p;

	if (__builtin_expect(!apb_tsan_heap.start, 0))
		tool_heap((void *)(start - TSAN_BELOW), n + TSAN_BELOW);
	tsan_clear(p, n);
}

APB_RAW static inline void tool_pool_gone(void *p, size_t n)
{
	tsan_clear(p, n);
}

/* ---- blocks ----------------------------------------------------------- */

/* No more than so much of a block is marked when it is freed. */
#define TSAN_MARKED ((size_t)1024)
#define TSAN_MARKED_ALL ((size_t)1 << 20)

/* As if all of it were written: its shadow is four times as large. */
TSAN_INLINE void tsan_write(void *p, size_t n)
{
	__tsan_write_range(p,
			   (long)(n < TSAN_MARKED_ALL ? n : TSAN_MARKED_ALL));
}

TSAN_INLINE void tsan_alloc(void *p, size_t n, bool write, const void *pc)
{
	if (tsan_direct()) {
		apb_tsan_alloc(__tsan_get_current_fiber(), (uintptr_t)pc,
			       (uintptr_t)p, n, write);
		return;
	}
	__tsan_java_alloc((uintptr_t)p, TSAN_ALIGN(n));
	if (write)
		tsan_write(p, n);
}

TSAN_INLINE void tsan_free(void *p, size_t n, const void *pc)
{
	if (tsan_direct()) {
		apb_tsan_free(__tsan_get_current_fiber(), (uintptr_t)pc,
			      (uintptr_t)p, true);
		return;
	}
	tsan_write(p, n);
	__tsan_java_free((uintptr_t)p, TSAN_ALIGN(n));
}

TSAN_INLINE void tool_born(void *p, size_t n, unsigned int flags)
{
	(void)flags;
	tsan_alloc(p, n, true, __builtin_return_address(0));
}

TSAN_INLINE void tool_died(void *p, size_t n)
{
	tsan_free(p, n, __builtin_return_address(0));
}

/* For any other thread a write of what was there, and a birth. */
TSAN_INLINE void tool_resized(void *p, size_t old, size_t size)
{
	tsan_write(p, old);
	__tsan_java_free((uintptr_t)p, TSAN_ALIGN(old));
	tsan_alloc(p, size, true, __builtin_return_address(0));
}

/* As if it were blocks of that size. */
TSAN_INLINE void tool_reset(void *p, size_t n)
{
	const void *pc = tsan_here();
	size_t at, part;

	__tsan_java_free((uintptr_t)p, TSAN_ALIGN(n));
	if (n > TSAN_MARKED_ALL)
		n = TSAN_MARKED_ALL;
	for (at = 0; at < n; at += part) {
		part = n - at < TSAN_MARKED ? n - at : TSAN_MARKED;
		tsan_alloc((char *)p + at, part, false, pc);
		tsan_free((char *)p + at, part, pc);
	}
}

/* ---- reports ---------------------------------------------------------- */

/* It knows the block by itself. */
static inline void tool_listen(void)
{
}

/*
 * It goes on after a report, and the program's exit status tells at the end
 * that there was one: so one that nobody sees is made.
 */
static inline void tool_report(void (*print)(void *arg), void *arg)
{
	unsigned int __tsan_mutex_pre_unlock(void *addr, unsigned int flags);
	void __tsan_mutex_post_unlock(void *addr, unsigned int flags);
	static uint64_t mutex;

	print(arg);
	tool_quiet();
	__tsan_mutex_pre_unlock(&mutex, 0);
	__tsan_mutex_post_unlock(&mutex, 0);
	tool_loud();
}

TSAN_INLINE bool tool_refuse(enum apb_glue_refusal kind, size_t n, size_t size,
			     uint32_t stack)
{
	const uintptr_t *pcs;
	bool caller = apb_stack_get(stack, &pcs) > 1;

	/* its own stack does not have who called apb */
	if (caller)
		__tsan_func_entry((void *)pcs[1]);
	apb_real_refuse(kind, n, size);
	if (caller)
		apb_tsan_exit(NULL);
	return false;
}

static inline void tool_bad_free(const struct apb_glue_free *bad)
{
	apb_glue_report_free(bad);
}

#endif /* APB_GLUE_TOOL_TSAN_H */
