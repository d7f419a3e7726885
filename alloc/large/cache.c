// SPDX-License-Identifier: MIT
/* The cache of large mappings; see cache.h and large.h. */
#include "large/cache.h"

#include "state.h"

#include <string.h>

static struct apb_larges *larges(void)
{
	return &apb_state.larges;
}

/* Unmap what is in no list; its descriptor may go with its byte. */
static void unmap(uintptr_t addr, size_t mapped)
{
	apb_map_clear(addr);
	apb_os_release((void *)addr, mapped);
	larges()->retain.given += mapped;
}

static void forget(size_t i)
{
	struct apb_larges *ls = larges();
	struct apb_cached *at = &ls->cache[i];

	ls->cached_bytes -= at->mapped;
	ls->nr_cached--;
	if (i < ls->nr_idle)
		ls->nr_idle--;
	memmove(at, at + 1, (ls->nr_cached - i) * sizeof(*at));
}

/* Unmap the oldest. */
static void evict(void)
{
	struct apb_cached c = larges()->cache[0];

	forget(0);
	unmap(c.addr, c.mapped);
}

struct apb_large *apb_cache_take(size_t least, size_t most, size_t align)
{
	struct apb_larges *ls = larges();
	size_t i, best = SIZE_MAX, depth = 0, needed = 0;
	struct apb_cached c;

	/* the last one put first: it is warm */
	for (i = ls->nr_cached; i--;) {
		size_t has = ls->cache[i].mapped;

		depth += has;
		if (has < least || has > most ||
		    ls->cache[i].addr & (align - 1))
			continue;
		best = i;
		needed = depth;
		most = has - 1;
	}
	if (best == SIZE_MAX)
		return NULL;
	c = ls->cache[best];
	forget(best);
	ls->retain.moved += c.mapped;
	if (needed > ls->retain.high)
		ls->retain.high = needed;
	apb_map_change(c.addr, APB_KIND_LARGE);
	return apb_map_large(c.addr);
}

void apb_cache_put(struct apb_large *large)
{
	struct apb_larges *ls = larges();
	size_t mapped = large->mapped, limit = apb_large_cache_limit();

	if (mapped > limit) {
		unmap(large->addr, mapped);
		/* less is in use, so less may be cached */
		apb_large_limit_cache();
		return;
	}
	while (ls->nr_cached == APB_LARGE_CACHE_NR ||
	       ls->cached_bytes > limit - mapped)
		evict();
	large->size = 0;
	ls->cache[ls->nr_cached].addr = large->addr;
	ls->cache[ls->nr_cached].mapped = mapped;
	ls->nr_cached++;
	ls->cached_bytes += mapped;
	apb_map_change(large->addr, APB_KIND_CACHED);
	ls->retain.moved += mapped;
}

void apb_cache_missed(size_t bytes)
{
	apb_retain_missed(&larges()->retain, bytes, apb_policy.large_cache);
}

size_t apb_large_cache_limit(void)
{
	const struct apb_larges *ls = larges();
	size_t limit = APB_DIRTY_BASE + (ls->bytes >> APB_DIRTY_SHARE_SHIFT) +
		       ls->retain.extra;

	if (!apb_policy.purge_delay)
		return 0;
	return limit < apb_policy.large_cache ? limit : apb_policy.large_cache;
}

void apb_large_limit_cache(void)
{
	size_t limit = apb_large_cache_limit();

	while (larges()->cached_bytes > limit)
		evict();
}

void apb_large_decay(uint64_t now)
{
	struct apb_larges *ls = larges();
	size_t target;

	if (!apb_retain_pass(&ls->retain, now, 0, apb_large_cache_limit(),
			     &target))
		return;
	while (ls->nr_idle)
		evict();
	apb_large_limit_cache();
	ls->nr_idle = ls->nr_cached;
}

void apb_large_uncache(void)
{
	while (larges()->nr_cached)
		evict();
}
