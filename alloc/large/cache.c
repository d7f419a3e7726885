// SPDX-License-Identifier: MIT
/* The cache of large mappings; see cache.h and large.h. */
#include "uninstrumented.h"

#include "large/cache.h"

#include "state.h"

#include <string.h>

static struct apb_larges *larges(void)
{
	return &apb_state.larges;
}

static void give_back(uintptr_t addr, size_t bytes)
{
	apb_os_release((void *)addr, bytes);
	larges()->retain.given += bytes;
	if (bytes > larges()->given_most)
		larges()->given_most = bytes;
}

/* Unmap what is in no list; its descriptor may go with its byte. */
static void unmap(uintptr_t addr, size_t mapped)
{
	apb_map_clear(addr);
	give_back(addr, mapped);
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

/* Entry @i is at @addr now, and @mapped bytes long. */
static void set_entry(size_t i, uintptr_t addr, size_t mapped)
{
	struct apb_cached *at = &larges()->cache[i];
	struct apb_large *large = apb_map_large(addr);

	larges()->cached_bytes += mapped - at->mapped;
	at->addr = addr;
	at->mapped = mapped;
	large->addr = addr;
	large->size = 0;
	large->mapped = mapped;
}

/* Unmap the oldest. */
static void evict(void)
{
	struct apb_cached c = larges()->cache[0];

	forget(0);
	unmap(c.addr, c.mapped);
}

/* Unmap what is oldest until @bytes are cached at most; no more than it needs
 * of one that was joined. */
static void evict_to(size_t bytes)
{
	struct apb_larges *ls = larges();

	while (ls->cached_bytes > bytes) {
		struct apb_cached c = ls->cache[0];
		size_t more = ls->cached_bytes - bytes;

		more = (more + APB_ARENA - 1) & ~(APB_ARENA - 1);
		if (c.mapped < more + APB_ARENA) {
			evict();
			continue;
		}
		/* the rest keeps its place in the map */
		set_entry(0, c.addr, c.mapped - more);
		give_back(c.addr + c.mapped - more, more);
	}
}

/* The smallest cached mapping from @least to @most bytes; the newest of such. */
static size_t find_fit(size_t least, size_t most, size_t align)
{
	struct apb_larges *ls = larges();
	size_t i, best = SIZE_MAX, depth = 0, needed = 0;

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
	if (needed > ls->retain.high)
		ls->retain.high = needed;
	return best;
}

/* The front @keep bytes, whole MiBs, of entry @i, or NULL. */
static struct apb_large *split(size_t i, size_t keep)
{
	struct apb_cached c = larges()->cache[i];
	struct apb_large *large;

	if (apb_map_set(c.addr + keep, APB_KIND_CACHED))
		return NULL;
	set_entry(i, c.addr + keep, c.mapped - keep);
	large = apb_map_large(c.addr);
	large->mapped = keep;
	return large;
}

struct apb_large *apb_cache_take(size_t least, size_t most, size_t align,
				 bool may_split)
{
	size_t keep = (least + APB_ARENA - 1) & ~(APB_ARENA - 1), i;
	struct apb_large *large;
	struct apb_cached c;

	/* of less half or more of a MiB would be wasted */
	may_split = may_split && keep <= 2 * least;
	i = find_fit(least, may_split ? SIZE_MAX : most, align);
	if (i == SIZE_MAX)
		return NULL;
	c = larges()->cache[i];
	if (may_split && c.mapped >= keep + APB_ARENA) {
		large = split(i, keep);
		if (!large)
			return NULL;
	} else if (c.mapped <= most) {
		forget(i);
		large = apb_map_large(c.addr);
	} else {
		return NULL;
	}
	larges()->retain.moved += large->mapped;
	apb_map_change(large->addr, APB_KIND_LARGE);
	return large;
}

size_t apb_cache_extend(uintptr_t end, size_t bytes)
{
	struct apb_larges *ls = larges();
	struct apb_cached c;
	size_t i = 0;

	if (end & (APB_ARENA - 1) ||
	    apb_map_kind(&apb_state.map, end) != APB_KIND_CACHED)
		return 0;
	while (ls->cache[i].addr != end)
		i++;
	c = ls->cache[i];
	if (c.mapped < bytes)
		return 0;
	bytes = (bytes + APB_ARENA - 1) & ~(APB_ARENA - 1);
	if (c.mapped > bytes) {
		/* what is left may be in a slice for which there is no leaf */
		if (apb_map_set(end + bytes, APB_KIND_CACHED))
			return 0;
		set_entry(i, end + bytes, c.mapped - bytes);
	} else {
		bytes = c.mapped;
		forget(i);
	}
	apb_map_clear(end);
	ls->retain.moved += bytes;
	return bytes;
}

/* Join the last entry with those it borders on. */
static void join(void)
{
	struct apb_larges *ls = larges();
	size_t i, last = ls->nr_cached - 1;
	struct apb_cached c = ls->cache[last];

	for (i = last; i--;) {
		struct apb_cached b = ls->cache[i];
		uintptr_t upper = b.addr > c.addr ? b.addr : c.addr;

		if (b.addr + b.mapped != c.addr && c.addr + c.mapped != b.addr)
			continue;
		forget(i);
		last--;
		apb_map_clear(upper);
		c.addr = upper == b.addr ? c.addr : b.addr;
		c.mapped += b.mapped;
		set_entry(last, c.addr, c.mapped);
	}
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
	if (ls->nr_cached == APB_LARGE_CACHE_NR)
		evict();
	evict_to(limit - mapped);
	apb_map_change(large->addr, APB_KIND_CACHED);
	ls->cache[ls->nr_cached].mapped = 0;
	set_entry(ls->nr_cached++, large->addr, mapped);
	ls->retain.moved += mapped;
	join();
}

void apb_cache_missed(size_t bytes)
{
	struct apb_larges *ls = larges();

	if (bytes <= ls->given_most)
		apb_retain_missed(&ls->retain, bytes, apb_policy.large_cache);
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
	evict_to(apb_large_cache_limit());
}

void apb_large_make_room(void)
{
	struct apb_larges *ls = larges();
	size_t given = ls->retain.given, most = ls->given_most;

	evict_to(apb_retain_grown(ls->cached_bytes));
	/* from which nothing is learnt: the next time it would have to go, too */
	ls->retain.given = given;
	ls->given_most = most;
}

void apb_large_decay(uint64_t now)
{
	struct apb_larges *ls = larges();
	size_t target;

	if (!apb_retain_pass(&ls->retain, now, 0, apb_large_cache_limit(),
			     &target))
		return;
	if (!ls->retain.given)
		ls->given_most = 0;
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

#include "instrumented.h"
