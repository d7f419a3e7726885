// SPDX-License-Identifier: MIT
/*
 * Blocks of malloc's that are given to the program as apb's, for a tool that can
 * be told of no others (tool_lends()): helgrind names a block in a report only
 * if it is its own malloc's, and has no request by which it could be told of one.
 *
 * A table by address knows which are out: a free is checked, and apb_reset()
 * can end all of them.  Its lock is one that the tool does not take for one, as
 * it would order the program's threads and hide their races; the caller is
 * between tool_enter() and tool_leave().
 */
#include "uninstrumented.h"

#include "glue/tool.h"
#include "track/track.h"

#include <apb/sanitize.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define TABLE_BITS 14

struct lent {
	struct lent *next;
	void *addr;
	size_t size;
};

static struct lent *table[(size_t)1 << TABLE_BITS];
static uint32_t locked;

static void lock(void)
{
	while (__atomic_exchange_n(&locked, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void unlock(void)
{
	__atomic_store_n(&locked, 0, __ATOMIC_RELEASE);
}

/* No child has a table that is half changed. */
__attribute__((constructor)) static void at_fork(void)
{
	if (tool_lends())
		pthread_atfork(lock, unlock, unlock);
}

/* Where the entry of @addr is linked from, or would be. */
static struct lent **place_of(const void *addr)
{
	uint64_t hash = (uintptr_t)addr * UINT64_C(0x9e3779b97f4a7c15);
	struct lent **at = &table[hash >> (64 - TABLE_BITS)];

	while (*at && (*at)->addr != addr)
		at = &(*at)->next;
	return at;
}

void *apb_lent_make(size_t align, size_t size, bool zero)
{
	struct lent *entry = malloc(sizeof(*entry)), **at;
	void *p;

	if (align > APB_MIN_ALIGN)
		p = aligned_alloc(align, size);
	else
		p = zero ? calloc(1, size) : malloc(size);
	if (!entry || !p) {
		free(entry);
		free(p);
		errno = ENOMEM;
		return NULL;
	}
	entry->addr = p;
	entry->size = size;
	lock();
	at = place_of(p);
	entry->next = *at;
	*at = entry;
	unlock();
	return p;
}

bool apb_lent_free(void *ptr)
{
	struct lent **at, *entry;

	lock();
	at = place_of(ptr);
	entry = *at;
	if (entry)
		*at = entry->next;
	unlock();
	if (!entry)
		return false;
	free(entry);
	free(ptr);
	return true;
}

bool apb_lent_size(const void *ptr, size_t *size)
{
	struct lent *entry;

	lock();
	entry = *place_of(ptr);
	if (entry)
		*size = entry->size;
	unlock();
	return entry;
}

void apb_lent_walk(void (*fn)(const struct apb_san_block *block, void *arg),
		   void *arg)
{
	struct apb_san_block block = {.state = APB_SAN_LIVE};
	const struct lent *entry;
	size_t i;

	lock();
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (entry = table[i]; entry; entry = entry->next) {
			block.addr = entry->addr;
			block.size = entry->size;
			fn(&block, arg);
		}
	}
	unlock();
}

void apb_lent_reset(void)
{
	struct lent *entry, *next;
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		lock();
		entry = table[i];
		table[i] = NULL;
		unlock();
		for (; entry; entry = next) {
			next = entry->next;
			free(entry->addr);
			free(entry);
		}
	}
}

#include "instrumented.h"
