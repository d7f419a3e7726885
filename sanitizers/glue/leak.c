/* SPDX-License-Identifier: MIT */
/*
 * leak.c - the leak check: on demand, at exit, and what the tool's own check is
 * told of blocks.
 *
 * Locks, in this order: the check's, the dynamic linker's (held around all of
 * it, as modules must not come and go), that of the list of ranges, the layer's
 * over its pools.  Then the
 * world is stopped.  Whatever lock a stopped thread holds otherwise makes the
 * check wait; the world goes on after a moment then, and the check is done anew.
 *
 * A block may be on its way from one thread to another where nobody looks: in
 * the tool's own memory between pthread_create() and the new thread's first
 * instruction.  So what seems to have leaked while there are other threads has
 * to seem so twice.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "glue/glue.h"
#include "glue/leak.h"
#include "glue/leak_arch.h"

void __lsan_do_leak_check(void) __attribute__((weak));
void __lsan_register_root_region(const void *p, size_t size)
	__attribute__((weak));
void __lsan_unregister_root_region(const void *p, size_t size)
	__attribute__((weak));
void __asan_init(void) __attribute__((weak));
void __lsan_init(void) __attribute__((weak));

#define ATTEMPTS 20
#define HEAP_STEP ((uintptr_t)64 << 20)
#define AGAIN_MS 5

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct leak_check check;
static struct leak_array suspects; /* of the first of two looks */
static int process; /* that has all the threads it was forked with */
static bool ready;

/* ---- start -------------------------------------------------------------- */

/* Memory that blocks are cut from, which the tool takes for pointers. */
static struct leak_array memory;
static pthread_mutex_t memory_lock = PTHREAD_MUTEX_INITIALIZER;

struct apb_leak_heap apb_leak_heap;
/* Taken with locks of apb's held, so not over fork(). */
static uint32_t heap_lock;

/*
 * A child has one thread, and of what only others of its parent knew nothing is
 * to be found in it, though nobody leaked it: there is no check in it.
 */
static bool alone;

APB_RAW static void before_fork(void)
{
	pthread_mutex_lock(&memory_lock);
	alone = process == getpid() && world_threads() == 1;
}

APB_RAW static void after_fork(void)
{
	pthread_mutex_unlock(&memory_lock);
}

APB_RAW static void in_child(void)
{
	pthread_mutex_unlock(&memory_lock);
	__atomic_store_n(&heap_lock, 0, __ATOMIC_RELEASE);
	if (alone)
		process = getpid();
}

/* Also from the first pool's constructor, if that comes first. */
APB_RAW __attribute__((constructor(101))) static void start(void)
{
	if (ready)
		return;
	ready = true;
	/* the tool's check at exit has to come last */
	if (__asan_init)
		__asan_init();
	else if (__lsan_init)
		__lsan_init();
	apb_leak_read_options();
	process = getpid();
	if (__lsan_do_leak_check && apb_leak_options()->detect)
		pthread_atfork(before_fork, after_fork, in_child);
}

#define FEW_RANGES 16

APB_RAW bool leak_is_pools(uintptr_t addr)
{
	const struct leak_range *ranges = memory.items;
	size_t i;

	if (addr - apb_leak_heap.start < apb_leak_heap.size)
		return true;
	for (i = 0; i < memory.count && i < FEW_RANGES; i++)
		if (addr >= ranges[i].start && addr < ranges[i].end)
			return true;
	return false;
}

/* ---- one look -------------------------------------------------------------- */

struct look {
	int error;
	bool again;
};

APB_RAW static void collect(struct apb_san_pool *pool, void *arg)
{
	(void)arg;
	leak_collect(&check, pool);
}

APB_RAW static void add_pool(struct apb_san_pool *pool, void *arg)
{
	uintptr_t start = (uintptr_t)pool->addr;

	(void)arg;
	/* what it says of itself is nobody's pointer to its first block */
	leak_add_hole(&check, (uintptr_t)pool, (uintptr_t)(pool + 1), NULL);
	if (pool->size != SIZE_MAX)
		leak_add_hole(&check, start, start + pool->size, pool);
}

APB_RAW static void add_array(uintptr_t start, uintptr_t end, void *arg)
{
	(void)arg;
	leak_add_hole(&check, start, end, NULL);
}

APB_RAW static void add_holes(void)
{
	const struct leak_range *ranges = memory.items;
	uintptr_t threads = (uintptr_t)check.world.threads;
	size_t i;

	leak_add_hole(&check, (uintptr_t)&check, (uintptr_t)(&check + 1), NULL);
	leak_add_hole(&check, threads, threads + check.world.bytes, NULL);
	leak_add_hole(&check, apb_leak_heap.start,
		      apb_leak_heap.start + apb_leak_heap.size, NULL);
	for (i = 0; i < memory.count; i++)
		leak_add_hole(&check, ranges[i].start, ranges[i].end, NULL);
	apb_glue_pools_locked(add_pool, NULL);
	leak_arrays(add_array, NULL);
	leak_sort_holes(&check);
}

/* What was reached at the first look is no leak, whatever the second says. */
APB_RAW static void clear_suspects(void)
{
	const struct leak_block *before = suspects.items;
	struct leak_block *blocks = leak_blocks(&check);
	size_t i, k = 0;

	for (i = 0; i < check.blocks.count; i++) {
		while (k < suspects.count && before[k].addr < blocks[i].addr)
			k++;
		if (blocks[i].reached ||
		    (k < suspects.count && before[k].addr == blocks[i].addr &&
		     before[k].stack == blocks[i].stack))
			continue;
		blocks[i].reached = true;
		check.unreached--;
	}
}

APB_RAW static void look(struct look *look, bool second)
{
	world_enter(&check.world);
	apb_glue_pools_locked(collect, NULL);
	if (!leak_tool_leave(&check))
		return;
	leak_sort_blocks(&check);
	if (check.failed || (!check.blocks.count && !check.whole))
		return;
	leak_read_maps(&check);
	add_holes();
	if (check.failed)
		return;
	leak_roots(&check);
	leak_mark(&check);
	look->again = check.unreached && check.world.count && !second;
	if (second)
		clear_suspects();
	if (check.unreached && !look->again)
		leak_mark_indirect(&check);
}

APB_RAW static bool keep_suspects(void)
{
	const struct leak_block *blocks = leak_blocks(&check);
	struct leak_block *item;
	size_t i;

	for (i = 0; i < check.blocks.count; i++) {
		if (blocks[i].reached)
			continue;
		item = leak_array_add(&suspects, sizeof(*item));
		if (!item)
			return false;
		*item = blocks[i];
	}
	return true;
}

struct attempt {
	struct look look;
	bool second;
};

/* With the dynamic linker's lock held. */
APB_RAW static int attempt(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct attempt *attempt = arg;

	(void)info;
	(void)size;
	attempt->look.error = -EAGAIN;
	pthread_mutex_lock(&memory_lock);
	if (!apb_glue_trylock()) {
		pthread_mutex_unlock(&memory_lock);
		return 1;
	}
	attempt->look.error = world_stop(&check.world);
	if (attempt->look.error == 0) {
		look(&attempt->look, attempt->second);
		if (check.failed)
			attempt->look.error = -ENOMEM;
		if (!world_resume(&check.world))
			attempt->look.error = -EAGAIN;
	}
	apb_glue_unlock();
	pthread_mutex_unlock(&memory_lock);
	return 1;
}

APB_RAW static void pause_ms(long ms)
{
	struct timespec time = {0, ms * 1000000};

	nanosleep(&time, NULL);
}

/* Both looks, each as often as it takes; 0, or a negative errno. */
APB_RAW static int look_twice(uintptr_t sp, bool at_exit)
{
	struct attempt both = {.second = false};
	unsigned int tries = 0;

	while (tries < ATTEMPTS) {
		leak_free(&check);
		check.sp = sp;
		check.whole = at_exit;
		dl_iterate_phdr(attempt, &both);
		if (both.look.error == 0 && !both.look.again)
			return 0;
		if (both.look.error == 0) {
			if (!keep_suspects())
				return -ENOMEM;
			both.second = true;
		} else if (both.look.error != -EAGAIN) {
			return both.look.error;
		}
		tries += both.look.error == -EAGAIN;
		pause_ms(AGAIN_MS);
	}
	return -EAGAIN;
}

/* ---- the tool's own check --------------------------------------------------- */

APB_RAW void apb_leak_memory_made(const void *addr, size_t size)
{
	struct leak_range *range;
	uintptr_t chunk;
	size_t bytes;

	start();
	/* in a block of malloc's it looks anyway, if that is no leak itself */
	if (!__lsan_register_root_region || !apb_leak_options()->detect ||
	    leak_tool_chunk((uintptr_t)addr, &chunk, &bytes))
		return;
	pthread_mutex_lock(&memory_lock);
	range = leak_array_add(&memory, sizeof(*range));
	if (range) {
		range->start = (uintptr_t)addr;
		range->end = range->start + size;
		__lsan_register_root_region(addr, size);
	}
	pthread_mutex_unlock(&memory_lock);
}

APB_RAW void apb_leak_memory_gone(const void *addr, size_t size)
{
	struct leak_range *ranges;
	size_t i;

	if (!__lsan_unregister_root_region)
		return;
	pthread_mutex_lock(&memory_lock);
	ranges = memory.items;
	for (i = memory.count; i-- > 0;)
		if (ranges[i].start == (uintptr_t)addr) {
			ranges[i] = ranges[--memory.count];
			__lsan_unregister_root_region(addr, size);
			break;
		}
	pthread_mutex_unlock(&memory_lock);
}

APB_RAW void apb_leak_heap_made(const void *addr, size_t size)
{
	start();
	if (!__lsan_register_root_region || !apb_leak_options()->detect)
		return;
	apb_leak_heap.top = apb_leak_heap.start = (uintptr_t)addr;
	apb_leak_heap.size = size;
}

/* Tell the tool that it is used up to @top now, or, if that is 0, not at all. */
APB_RAW static void tell_heap(uintptr_t top)
{
	struct apb_leak_heap *heap = &apb_leak_heap;
	void *addr = (void *)heap->start;

	while (__atomic_exchange_n(&heap_lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
	if (heap->size && (!top || top > heap->top)) {
		if (heap->top > heap->start)
			__lsan_unregister_root_region(addr,
						      heap->top - heap->start);
		heap->top = top ? top : UINTPTR_MAX;
		if (top)
			__lsan_register_root_region(addr, top - heap->start);
	}
	__atomic_store_n(&heap_lock, 0, __ATOMIC_RELEASE);
}

/* By a quarter at least, lest it be told at every step. */
APB_RAW void apb_leak_heap_grow(uintptr_t end)
{
	uintptr_t used = end - apb_leak_heap.start;

	used = (used + used / 4 + HEAP_STEP - 1) & ~(HEAP_STEP - 1);
	if (used > apb_leak_heap.size)
		used = apb_leak_heap.size;
	tell_heap(apb_leak_heap.start + used);
}

/* Only what live blocks hold is held, from now on. */
APB_RAW static void tell_tool(void)
{
	struct leak_range *ranges;
	size_t i;

	if (!leak_tool_exact() || !__lsan_register_root_region)
		return;
	pthread_mutex_lock(&memory_lock);
	ranges = memory.items;
	for (i = 0; i < memory.count; i++)
		__lsan_unregister_root_region((void *)ranges[i].start,
					      ranges[i].end - ranges[i].start);
	memory.count = 0;
	pthread_mutex_unlock(&memory_lock);
	tell_heap(0);
	if (check.keep.count)
		__lsan_register_root_region(
			check.keep.items, check.keep.count * sizeof(uintptr_t));
	/* for good: there is no second check at exit */
	check.keep.items = NULL;
	check.keep.count = check.keep.bytes = 0;
}

/* ---- the check ------------------------------------------------------------- */

APB_RAW __attribute__((noinline)) static size_t leak_check(uintptr_t sp,
							   bool at_exit)
{
	size_t leaked = 0;
	int error;

	if (!ready || !__lsan_do_leak_check || !apb_leak_options()->detect ||
	    process != getpid())
		return 0;
	pthread_mutex_lock(&lock);
	error = look_twice(sp, at_exit);
	if (error)
		apb_glue_say("==%d==%s: blocks of pools were not checked for "
			     "leaks: threads do not stop: %s",
			     (int)getpid(), leak_tool_name(), strerror(-error));
	else if (check.unreached)
		leaked = leak_report(&check);
	if (!error && at_exit)
		tell_tool();
	leak_free(&check);
	leak_array_free(&suspects);
	pthread_mutex_unlock(&lock);
	return leaked;
}

/* All registers that a caller may have blocks in are put on the stack. */
APB_RAW __attribute__((noinline)) size_t apb_san_leak_check(void)
{
	__builtin_unwind_init();
	return leak_check(arch_sp(), false);
}

/*
 * The tool has to end the process if this check found something and its own did
 * not: the status tells.
 */
APB_RAW __attribute__((noinline)) static void at_exit(void)
{
	const struct leak_options *options = apb_leak_options();

	__builtin_unwind_init();
	if (!options->at_exit || !leak_check(arch_sp(), true))
		return;
	__lsan_do_leak_check();
	if (!options->exitcode)
		return;
	fflush_unlocked(stdout);
	_exit(options->exitcode);
}

/*
 * After the program's own handlers and destructors, before the tool's check.
 * That one was registered with atexit() before anything else and comes last of
 * what is, be it from exit() itself or, in a position-independent program, from
 * the destructor that comes last.  What is registered now comes right before.
 */
APB_RAW __attribute__((destructor)) static void ending(void)
{
	if (ready)
		atexit(at_exit);
}
