// SPDX-License-Identifier: MIT
/* Large blocks; see large.h. */
#include "uninstrumented.h"

#include "large/large.h"

#include "large/cache.h"
#include "state.h"

#include <errno.h>
#include <string.h>

#define STEP_MAX ((size_t)64 << 20)
#define TRACK_STEP ((size_t)64 << 10) /* in tracking builds */

static struct apb_larges *larges(void)
{
	return &apb_state.larges;
}

size_t apb_large_step(size_t size)
{
	unsigned int top;
	size_t step;

	if (size <= 8 * APB_PAGE)
		return size;
	/* they never grow where they are, and what is behind them has a shadow */
	if (APB_TRACK)
		return (size + TRACK_STEP - 1) & ~(TRACK_STEP - 1);
	/* an eighth of the power of two below */
	top = 63u ^ (unsigned int)__builtin_clzl(size - 1);
	step = (size_t)1 << (top - 3);
	if (step > STEP_MAX)
		step = STEP_MAX;
	return (size + step - 1) & ~(step - 1);
}

/* The largest mapping that a block of @size should have. */
static size_t largest_fit(size_t size)
{
	size_t step = apb_large_step(size);

	return step + step / 4;
}

/* Set size and slack of a block that is counted. */
static void set_size(struct apb_large *large, size_t size, size_t mapped)
{
	larges()->bytes += size - large->size;
	larges()->slack += (mapped - size) - (large->mapped - large->size);
	large->size = size;
	large->mapped = mapped;
}

static void enlist(struct apb_large *large, size_t size)
{
	large->size = size;
	large->grown = 0;
	apb_node_add(&larges()->list, &large->node);
	larges()->nr++;
	larges()->bytes += size;
	larges()->slack += large->mapped - size;
}

static void delist(struct apb_large *large)
{
	larges()->nr--;
	larges()->bytes -= large->size;
	larges()->slack -= large->mapped - large->size;
	apb_node_del(&large->node);
}

/* A new mapping of @mapped bytes, with its byte set, on no list. */
static struct apb_large *map_large(size_t mapped, size_t align, bool *zero)
{
	struct apb_large *large;
	void *p;

	p = apb_os_map(apb_map_hint(mapped, align), mapped, align, zero);
	if (!p)
		return NULL;
	if (apb_map_set((uintptr_t)p, APB_KIND_LARGE)) {
		apb_os_release(p, mapped);
		errno = ENOMEM;
		return NULL;
	}
	apb_cache_missed(mapped);
	large = apb_map_large((uintptr_t)p);
	large->addr = (uintptr_t)p;
	large->mapped = mapped;
	return large;
}

/* The same, or a cached one. */
static struct apb_large *get_large(size_t size, size_t align, bool *zero)
{
	size_t mapped = apb_large_step(size);
	struct apb_large *large;

	*zero = false;
	large = apb_cache_take(mapped, 2 * mapped, align, true);
	if (large)
		return large;
	return map_large(mapped, align, zero);
}

void *apb_large_alloc(size_t size, size_t align, bool *clear)
{
	struct apb_large *large;
	bool zero;

	apb_retain_tick();
	size = apb_page_up(size);
	if (align < APB_ARENA)
		align = APB_ARENA;
	large = get_large(size, align, &zero);
	if (!large)
		return NULL;
	enlist(large, size);
	/* beyond some size zeroes rather cost page faults than memory */
	if (*clear && !zero && size > APB_LARGE_CLEAR_MAX)
		zero = !apb_os_purge_to_zero((void *)large->addr,
					     large->mapped);
	*clear = *clear && !zero;
	return (void *)large->addr;
}

void apb_large_free(struct apb_large *large)
{
	delist(large);
	apb_cache_put(large);
	apb_retain_tick();
}

/* Make @large @size bytes long where it is: 0 or -1. */
static int resize_in_place(struct apb_large *large, size_t size)
{
	size_t mapped = apb_large_step(size), more = 0;
	char *p = (char *)large->addr;

	if (size > large->mapped)
		more = apb_cache_extend(large->addr + large->mapped,
					size - large->mapped);
	if (more)
		mapped = large->mapped + more;
	else if (size <= large->mapped &&
		 (size >= large->size || large->mapped <= largest_fit(size)))
		mapped = large->mapped;
	else if (size < large->mapped)
		apb_os_release(p + mapped, large->mapped - mapped);
	else if (apb_os_remap(p, large->mapped, mapped, NULL))
		return -1;
	if (mapped > large->mapped && !more)
		apb_cache_missed(mapped - large->mapped);
	set_size(large, size, mapped);
	/* on what is in use depends how much may be cached */
	apb_large_limit_cache();
	return 0;
}

/*
 * A cached mapping in which @large can grow on, or NULL.  A small block is
 * copied there for anything, a large one only if it has grown before, and if
 * there is so much room that it need not be copied again soon.
 */
static struct apb_large *room_to_grow(const struct apb_large *large,
				      size_t size)
{
	size_t least = apb_large_step(size), most = 2 * least;

	if (size > APB_LARGE_COPY_GROWN ||
	    (size > APB_LARGE_COPY_MAX && large->grown < APB_LARGE_GROWN))
		return NULL;
	if (size > APB_LARGE_COPY_MAX && least < large->size * 3 / 2)
		least = large->size * 3 / 2;
	return apb_cache_take(least, most, APB_ARENA,
			      size > APB_LARGE_COPY_MAX);
}

/* Move the pages of @large, which is not needed any more then: 0 or -1. */
static int move(struct apb_large *large, struct apb_large *to)
{
	if (apb_os_remap((void *)large->addr, large->mapped, to->mapped,
			 (void *)to->addr))
		return -1;
	delist(large);
	apb_map_clear(large->addr);
	return 0;
}

/*
 * The pages of a block did not move to @to: what it was to become is to be
 * copied there, unless the system has lost that.
 */
static bool is_lost(struct apb_large *to)
{
	if (errno != ENXIO)
		return false;
	errno = ENOMEM;
	delist(to);
	apb_map_clear(to->addr);
	return true;
}

void *apb_large_resize(struct apb_large *large, size_t size, bool *copy)
{
	struct apb_large *to = NULL;
	unsigned int grown = large->grown;
	int saved_errno = errno;
	bool zero, whole;

	apb_retain_tick();
	*copy = false;
	size = apb_page_up(size);
	if (size > large->mapped) {
		grown++;
		to = room_to_grow(large, size);
		*copy = to;
	}
	errno = 0;
	if (!to && !resize_in_place(large, size)) {
		large->grown = grown;
		errno = saved_errno;
		return (void *)large->addr;
	}
	/* joined of what the kernel has as two: then it would not move it */
	whole = errno != EFAULT;
	errno = saved_errno;
	if (!to)
		to = get_large(size, APB_ARENA, &zero);
	if (!to)
		return NULL;
	enlist(to, size);
	to->grown = grown;
	if (*copy || (whole && !move(large, to)))
		return (void *)to->addr;
	if (whole && is_lost(to))
		return NULL;
	*copy = true;
	return (void *)to->addr;
}

struct apb_large *apb_large_find(uintptr_t addr)
{
	struct apb_large *large;

	if (apb_map_kind(&apb_state.map, addr) != APB_KIND_LARGE)
		return NULL;
	large = apb_map_large(addr);
	return large->addr == addr ? large : NULL;
}

struct apb_large *apb_large_around(uintptr_t addr)
{
	/* what starts nearest below is the only one that can reach @addr */
	uintptr_t start = apb_map_below(addr);
	struct apb_large *large;

	if (apb_map_kind(&apb_state.map, start) != APB_KIND_LARGE)
		return NULL;
	large = apb_map_large(start);
	return addr - start < large->size ? large : NULL;
}

void apb_large_reset(void)
{
	struct apb_node *node, *next;

	apb_large_uncache();
	for (node = larges()->list; node; node = next) {
		struct apb_large *large =
			apb_entry(node, struct apb_large, node);

		next = node->next;
		apb_os_release((void *)large->addr, large->mapped);
	}
}

#include "instrumented.h"
