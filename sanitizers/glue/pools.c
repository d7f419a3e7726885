// SPDX-License-Identifier: MIT
/*
 * The public functions, and the list of pools.
 *
 * The list is changed when a pool is made or gone, and read when a report is
 * made: then another thread may have the lock, or this one, if it is a fault in
 * here that is reported.  So the reader waits for a moment only.
 */
#include "glue/glue.h"
#include "glue/leak.h"
#include "glue/tool.h"

#include <pthread.h>
#include <sched.h>

#define TRIES 1000

TOOL_STATE

static struct {
	uint32_t lock;
	uint32_t started;
	struct apb_san_pool *first;
} pools;

/* ---- the lock --------------------------------------------------------- */

APB_RAW bool apb_glue_trylock(void)
{
	for (int i = 0; i < TRIES; i++) {
		if (!__atomic_exchange_n(&pools.lock, 1, __ATOMIC_ACQUIRE))
			return true;
		sched_yield();
	}
	return false;
}

APB_RAW static void lock(void)
{
	while (!apb_glue_trylock())
		;
}

APB_RAW void apb_glue_unlock(void)
{
	__atomic_store_n(&pools.lock, 0, __ATOMIC_RELEASE);
}

/* ---- the list --------------------------------------------------------- */

APB_RAW static void in_child(void)
{
	apb_glue_unlock();
	apb_glue_report_forked();
}

APB_RAW static void start(void)
{
	if (__atomic_load_n(&pools.started, __ATOMIC_ACQUIRE))
		return;
	tool_start();
	if (!__atomic_exchange_n(&pools.started, 1, __ATOMIC_ACQ_REL)) {
		/* no child has a list that is half changed */
		pthread_atfork(lock, apb_glue_unlock, in_child);
		tool_listen();
	}
}

APB_RAW static void link_pool(struct apb_san_pool *pool)
{
	lock();
	pool->prev = NULL;
	pool->next = pools.first;
	if (pool->next)
		pool->next->prev = pool;
	pools.first = pool;
	apb_glue_unlock();
}

APB_RAW static void unlink_pool(struct apb_san_pool *pool)
{
	lock();
	if (pool->prev)
		pool->prev->next = pool->next;
	else
		pools.first = pool->next;
	if (pool->next)
		pool->next->prev = pool->prev;
	pool->next = NULL;
	pool->prev = NULL;
	apb_glue_unlock();
}

APB_RAW void apb_glue_pools_locked(void (*fn)(struct apb_san_pool *pool,
					      void *arg),
				   void *arg)
{
	struct apb_san_pool *pool;

	for (pool = pools.first; pool; pool = pool->next)
		fn(pool, arg);
}

APB_RAW bool apb_glue_pools(void (*fn)(struct apb_san_pool *pool, void *arg),
			    void *arg)
{
	if (!apb_glue_trylock())
		return false;
	apb_glue_pools_locked(fn, arg);
	apb_glue_unlock();
	return true;
}

/* All of memory, in the hands of an allocator that knows his way in it. */
APB_RAW static bool everywhere(const struct apb_san_pool *pool)
{
	return pool->size == SIZE_MAX;
}

APB_RAW bool apb_glue_find_in(const struct apb_san_pool *pool, const void *addr,
			      struct apb_san_block *block)
{
	if (!everywhere(pool) &&
	    (uintptr_t)addr - (uintptr_t)pool->addr >= pool->size)
		return false;
	if (pool->find)
		return pool->find(pool, addr, block);
	return apb_record_find(pool->record, addr, block);
}

APB_RAW void apb_glue_walk(const struct apb_san_pool *pool,
			   void (*fn)(const struct apb_san_block *block,
				      void *arg),
			   void *arg)
{
	tool_enter();
	if (pool->walk)
		pool->walk(pool, fn, arg);
	else if (!pool->find)
		apb_record_walk(pool->record, fn, arg);
	tool_leave();
}

/* ---- pools ------------------------------------------------------------ */

APB_RAW void apb_san_pool_made(struct apb_san_pool *pool)
{
	start();
	pool->record = pool->find ? NULL : apb_record_made(pool);
	if (!everywhere(pool)) {
		tool_pool_made(pool->addr, pool->size);
		apb_leak_memory_made(pool->addr, pool->size);
	}
	link_pool(pool);
}

APB_RAW void apb_san_pool_gone(struct apb_san_pool *pool)
{
	unlink_pool(pool);
	if (!everywhere(pool)) {
		apb_leak_memory_gone(pool->addr, pool->size);
		tool_pool_gone(pool->addr, pool->size);
	}
	apb_record_gone(pool->record);
	pool->record = NULL;
}

APB_RAW void apb_san_pool_reset(struct apb_san_pool *pool)
{
	uint32_t stack, thread;
	size_t place = 0, size;
	void *addr;

	tool_enter();
	if (pool->record) {
		stack = apb_stack_take(NULL, __builtin_frame_address(0));
		thread = apb_san_thread();
		while ((addr = apb_record_kill(pool->record, &place, &size,
					       stack, thread)))
			tool_died(addr, size);
	} else if (!everywhere(pool)) {
		tool_reset(pool->addr, pool->size);
	}
	tool_leave();
}

/* ---- blocks ----------------------------------------------------------- */

APB_RAW static void bad_free(enum apb_san_free kind, const void *addr,
			     size_t size, size_t align, uint32_t stack)
{
	struct apb_san_block block;
	struct apb_glue_free bad = {.kind = kind,
				    .addr = addr,
				    .size = size,
				    .align = align,
				    .stack = stack};

	start();
	tool_enter();
	if (apb_san_find(addr, &block))
		bad.block = &block;
	tool_leave();
	tool_bad_free(&bad);
}

APB_RAW void apb_san_born(struct apb_san_pool *pool, void *addr, size_t size,
			  unsigned int flags)
{
	if (pool->record)
		apb_record_born(
			pool->record, addr, size,
			apb_stack_take(NULL, __builtin_frame_address(0)),
			apb_san_thread());
	tool_born(addr, size, flags);
}

APB_RAW void apb_san_died(struct apb_san_pool *pool, void *addr, size_t size)
{
	enum apb_san_free wrong;
	uint32_t stack;

	if (pool->record) {
		stack = apb_stack_take(NULL, __builtin_frame_address(0));
		if (!apb_record_died(pool->record, addr, size, &wrong, stack,
				     apb_san_thread())) {
			bad_free(wrong, addr, size, 0, stack);
			return;
		}
	}
	tool_died(addr, size);
}

APB_RAW void apb_san_resized(struct apb_san_pool *pool, void *addr,
			     size_t old_size, size_t new_size)
{
	if (pool->record)
		apb_record_resized(pool->record, addr, new_size);
	tool_resized(addr, old_size, new_size);
}

/* ---- asking ----------------------------------------------------------- */

APB_RAW const struct apb_san_pool *apb_san_find(const void *addr,
						struct apb_san_block *block)
{
	const struct apb_san_pool *pool, *found = NULL;

	if (!apb_glue_trylock())
		return NULL;
	/* what is in front of a block may be closed */
	tool_enter();
	/* those that are a range first */
	for (pool = pools.first; pool && !found; pool = pool->next)
		if (!everywhere(pool) && apb_glue_find_in(pool, addr, block))
			found = pool;
	for (pool = pools.first; pool && !found; pool = pool->next)
		if (everywhere(pool) && apb_glue_find_in(pool, addr, block))
			found = pool;
	tool_leave();
	apb_glue_unlock();
	return found;
}

APB_RAW void apb_san_bad_free(enum apb_san_free kind, const void *addr)
{
	bad_free(kind, addr, 0, 0,
		 apb_stack_take(NULL, __builtin_frame_address(0)));
}

APB_RAW void apb_san_bad_free_sized(enum apb_san_free kind, const void *addr,
				    size_t size, size_t align)
{
	bad_free(kind, addr, size, align,
		 apb_stack_take(NULL, __builtin_frame_address(0)));
}

APB_RAW uint32_t apb_san_stack(void)
{
	return apb_stack_take(NULL, __builtin_frame_address(0));
}
