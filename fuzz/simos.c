// SPDX-License-Identifier: MIT
/*
 * The simulated kernel; see simos.h.
 *
 * What is mapped, and where things go, is in simspace.c; here is what is in the
 * memory.  A call costs by the number of mappings; only what has to be
 * poisoned, cleaned or scribbled over costs by size, and each of these is
 * bounded or rare.
 *
 * A fuzzing process runs thousands of inputs in the same memory, and each of
 * them must go the same way in a fresh process.  So every decision, an address
 * or whether a mapping is zero, is drawn from the seed before anyone looks at
 * the memory.  What earlier inputs did only decides how much work it is to
 * make the answer true.  Three maps of the address space carry knowledge:
 *   used      granules that were ever handed out: all others are still the
 *             kernel's zeroes; outlives simos_reset()
 *   poisoned  pages that the sanitizer was told not to let anyone touch;
 *             outlives simos_reset()
 *   purged    mapped pages that were purged
 * No mapped page is poisoned.  Unmapped pages are, but for the middle of a
 * range over 1 MiB that was unmapped at once.
 */
#define _GNU_SOURCE /* MAP_FIXED_NOREPLACE */
#include "simos.h"

#include "initialised.h"
#include "os/fault.h"
#include "poison.h"
#include "simspace.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)
#define NR_PAGES SIMSPACE_PAGES
#define TIGHT_PAGES ((uint32_t)(((size_t)8 << 20) / PAGE))
#define MIB_PAGES ((uint32_t)(((size_t)1 << 20) / PAGE))
#define NOWHERE SIMSPACE_NOWHERE

/* Pages of a granule: 64 KiB. */
#define GRANULE 16u

/* Of a page that is scribbled over, without SIMOS_FILL. */
#define SCRIBBLE_WORDS 8u
#define PAGE_WORDS (PAGE / sizeof(uint64_t))

/* Up to here it is cheaper to clear than to fault every page in again. */
#define CLEAR_PAGES MIB_PAGES

static_assert(NR_PAGES * PAGE == SIMOS_SPACE, "one size, in two headers");

static struct {
	bool reserved;
	uint64_t seed, rng;
	uint64_t clock; /* ms */
	unsigned int flags;
	uint32_t most; /* mappings */
	struct simos_stats stats;
	struct apb_fault_state fault;
	char violation[160];
	uint64_t used[NR_PAGES / GRANULE / 64];
	uint64_t poisoned[NR_PAGES / 64];
	uint64_t purged[NR_PAGES / 64];
	struct simspace space;
} sim;

/* ---- small things ----------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
	/* the finaliser of splitmix64 */
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t next_random(void)
{
	sim.rng += UINT64_C(0x9e3779b97f4a7c15);
	return mix(sim.rng);
}

static char *page_addr(uint32_t page)
{
	return (char *)SIMOS_BASE + page * PAGE;
}

static size_t bytes_of(struct range r)
{
	return range_pages(r) * PAGE;
}

/* The bits of word @i of a bitmap that stand for @r. */
static uint64_t word_mask(struct range r, uint32_t i)
{
	uint64_t mask = UINT64_MAX;

	if (r.start > i * 64)
		mask <<= r.start - i * 64;
	if (r.end < (i + 1) * 64)
		mask &= UINT64_MAX >> ((i + 1) * 64 - r.end);
	return mask;
}

/* Set or clear the bits of @r; returns how many changed. */
static uint32_t mark(uint64_t *map, struct range r, bool value)
{
	uint32_t i, changed = 0;

	for (i = r.start / 64; i * 64 < r.end; i++) {
		uint64_t mask = word_mask(r, i);
		uint64_t old = value ? ~map[i] : map[i];

		changed += (uint32_t)__builtin_popcountll(old & mask);
		map[i] ^= old & mask;
	}
	return changed;
}

/* ---- content ---------------------------------------------------------- */

static void poison_range(struct range r)
{
	struct range low = {r.start, r.start + SIMOS_POISON_EDGE};
	struct range high = {r.end - SIMOS_POISON_EDGE, r.end};

	if (!POISON_ACTIVE)
		return;
	if (range_pages(r) > SIMOS_POISON_WHOLE) {
		poison_range(low);
		poison_range(high);
		return;
	}
	poison(page_addr(r.start), bytes_of(r));
	mark(sim.poisoned, r, true);
}

static void unpoison_range(struct range r)
{
	uint32_t i;

	if (!POISON_ACTIVE)
		return;
	for (i = r.start / 64; i * 64 < r.end; i++) {
		uint64_t bits = sim.poisoned[i] & word_mask(r, i);

		sim.poisoned[i] &= ~bits;
		while (bits) {
			uint32_t first = (uint32_t)__builtin_ctzll(bits);
			uint64_t rest = ~(bits >> first);
			uint32_t n =
				rest ? (uint32_t)__builtin_ctzll(rest) : 64;

			unpoison(page_addr(i * 64 + first), n * PAGE);
			if (first + n == 64)
				break;
			bits &= UINT64_MAX << (first + n);
		}
	}
}

static void clear(struct range r)
{
	if (range_pages(r) > CLEAR_PAGES &&
	    !madvise(page_addr(r.start), bytes_of(r), MADV_DONTNEED)) {
		initialised(page_addr(r.start), bytes_of(r));
		return;
	}
	memset(page_addr(r.start), 0, bytes_of(r));
}

/* Make @r zeroes: what was never handed out is already. */
static void make_zero(struct range r)
{
	struct range dirty = {r.start, r.start};
	uint32_t page, next;

	for (page = r.start; page < r.end; page = next) {
		uint32_t g = page / GRANULE;

		next = (g + 1) * GRANULE;
		if (next > r.end)
			next = r.end;
		if (sim.used[g / 64] >> g % 64 & 1) {
			dirty.end = next;
			continue;
		}
		if (dirty.start < dirty.end)
			clear(dirty);
		dirty.start = dirty.end = next;
	}
	if (dirty.start < dirty.end)
		clear(dirty);
}

/*
 * Write what is not zero and depends on the seed and the place only: the first
 * cache line of each page has to do, for the pages of large mappings are cold.
 */
static void scribble(struct range r, uint64_t salt)
{
	size_t words = sim.flags & SIMOS_FILL ? PAGE_WORDS : SCRIBBLE_WORDS;
	uint32_t page;
	size_t k;

	for (page = r.start; page < r.end; page++) {
		uint64_t *p = (uint64_t *)page_addr(page);
		uint64_t v = mix(sim.seed ^ salt ^ page) | 1;

		/* odd times odd is odd: no word is zero */
		for (k = 0; k < words; k++)
			p[k] = v * (2 * k + 1);
	}
}

#define SALT_MAP UINT64_C(0x6d61700000000000)
#define SALT_PURGE UINT64_C(0x7075726765000000)

/* Whether there are too many mappings without @erased and with @added, of
 * which either may be empty. */
static bool too_many(struct range erased, struct range added)
{
	int nr = (int)sim.space.nr;

	if (sim.most == SIMSPACE_RANGES)
		return false;
	if (range_pages(erased))
		nr += simspace_erase_adds(&sim.space, erased);
	if (range_pages(added))
		nr += simspace_insert_adds(&sim.space, added);
	return nr > (int)sim.most;
}

static int refuse(void)
{
	sim.stats.refused++;
	errno = ENOMEM;
	return -1;
}

/* Map @r, which is vacant; make it what the caller is told it is. */
static void hand_out(struct range r, bool zero)
{
	struct range some = r, granules;

	simspace_insert(&sim.space, r);
	sim.stats.mapped += bytes_of(r);
	if (sim.stats.mapped > sim.stats.mapped_highwater)
		sim.stats.mapped_highwater = sim.stats.mapped;
	unpoison_range(r);
	if (zero)
		make_zero(r);
	granules.start = r.start / GRANULE;
	granules.end = (r.end + GRANULE - 1) / GRANULE;
	mark(sim.used, granules, true);
	if (zero)
		return;
	if (!(sim.flags & SIMOS_FILL) && range_pages(r) > SIMOS_SCRIBBLE_PAGES)
		some.end = r.start + SIMOS_SCRIBBLE_PAGES;
	scribble(some, SALT_MAP);
	/* to MSan nothing of that is there to be read */
	uninitialised(page_addr(some.start), bytes_of(some));
}

static void take_back(struct range r)
{
	simspace_erase(&sim.space, r);
	sim.stats.mapped -= bytes_of(r);
	sim.stats.purged -= mark(sim.purged, r, false) * PAGE;
	poison_range(r);
}

/* ---- the operations --------------------------------------------------- */

static uint32_t place_hint(const void *hint, uint32_t n)
{
	uintptr_t off = (uintptr_t)hint - SIMOS_BASE;
	struct range r;

	if ((uintptr_t)hint < SIMOS_BASE || off >= SIMOS_SPACE || off % PAGE)
		return NOWHERE;
	r.start = (uint32_t)(off / PAGE);
	r.end = r.start + n;
	return simspace_vacant(&sim.space, r) ? r.start : NOWHERE;
}

static uint32_t place(const void *hint, uint32_t n)
{
	uint32_t random = (uint32_t)(next_random() >> 32);
	uint32_t at = NOWHERE;

	if (sim.flags & SIMOS_HINTS)
		at = place_hint(hint, n);
	if (at == NOWHERE && sim.flags & SIMOS_REUSE)
		at = simspace_place_recent(&sim.space, n);
	if (at == NOWHERE)
		at = simspace_place(&sim.space, n, random,
				    sim.flags & SIMOS_MISALIGN);
	return at;
}

/*
 * Small mappings are zero often, large ones rarely: making 1 MiB zero takes as
 * long as the rest of an execution.
 */
static bool draw_zero(uint32_t n)
{
	uint64_t random = next_random() >> 32;
	unsigned int one_in = 1024;

	if (sim.flags & SIMOS_NONZERO)
		return false;
	if (n <= GRANULE)
		one_in = 2;
	else if (n <= 4 * GRANULE)
		one_in = 8;
	else if (n <= MIB_PAGES)
		one_in = 128;
	return random % one_in == 0;
}

static bool begin(enum apb_os_call call)
{
	bool hit = apb_fault_hit(&sim.fault, call);

	sim.stats.calls[call]++;
	sim.stats.failed[call] += hit;
	return hit;
}

static int no_memory(void)
{
	errno = ENOMEM;
	return -1;
}

static int violated(const char *call, const void *addr, size_t size,
		    const char *why)
{
	if (!sim.violation[0])
		snprintf(sim.violation, sizeof(sim.violation),
			 "%s of %#zx bytes at %#zx: %s", call, size,
			 (size_t)addr, why);
	errno = EINVAL;
	return -1;
}

/* What is wrong with a range, or NULL; then *@r is its pages. */
static const char *resolve(const void *addr, size_t size, struct range *r)
{
	uintptr_t off = (uintptr_t)addr - SIMOS_BASE;

	if (!size)
		return "the size is 0";
	if (off % PAGE)
		return "the address is not page-aligned";
	if (size % PAGE)
		return "the size is not a multiple of the page size";
	if ((uintptr_t)addr < SIMOS_BASE || off >= SIMOS_SPACE ||
	    size > SIMOS_SPACE - off)
		return "outside the address space";
	r->start = (uint32_t)(off / PAGE);
	r->end = r->start + (uint32_t)(size / PAGE);
	return NULL;
}

static const char *resolve_mapped(const void *addr, size_t size,
				  struct range *r)
{
	const char *why = resolve(addr, size, r);

	if (!why && !simspace_mapped(&sim.space, *r))
		why = "not wholly mapped";
	return why;
}

static void *sim_map(void *ctx, void *hint, size_t size, bool *zero)
{
	bool hit = begin(APB_OS_MAP);
	struct range r, none = {0, 0};

	(void)ctx;
	*zero = false;
	if (!size || size % PAGE) {
		violated("map", hint, size,
			 size ? "the size is not a multiple of the page size" :
				"the size is 0");
		return NULL;
	}
	if (hit) {
		no_memory();
		return NULL;
	}
	r.start = size <= SIMOS_SPACE ? place(hint, (uint32_t)(size / PAGE)) :
					NOWHERE;
	r.end = r.start + (uint32_t)(size / PAGE);
	if (r.start == NOWHERE || too_many(none, r)) {
		refuse();
		return NULL;
	}
	*zero = draw_zero(range_pages(r));
	hand_out(r, *zero);
	return page_addr(r.start);
}

static int sim_unmap(void *ctx, void *addr, size_t size)
{
	bool hit = begin(APB_OS_UNMAP);
	struct range r, none = {0, 0};
	const char *why = resolve_mapped(addr, size, &r);

	(void)ctx;
	if (why)
		return violated("unmap", addr, size, why);
	if (hit)
		return no_memory();
	if (too_many(r, none))
		return refuse();
	take_back(r);
	return 0;
}

/* The content of purged pages is lost. */
static void lose(struct range r)
{
	if (sim.flags & SIMOS_PURGE_ZEROES)
		make_zero(r);
	else
		scribble(r, SALT_PURGE);
}

static int sim_purge(void *ctx, void *addr, size_t size)
{
	bool hit = begin(APB_OS_PURGE);
	struct range r;
	const char *why = resolve_mapped(addr, size, &r);

	(void)ctx;
	if (why)
		return violated("purge", addr, size, why);
	if (hit) {
		/* it may have failed before the pages or behind them */
		if (next_random() >> 63)
			lose(r);
		return no_memory();
	}
	lose(r);
	sim.stats.purged += mark(sim.purged, r, true) * PAGE;
	return 0;
}

static int remap_here(struct range old, uint32_t end)
{
	struct range delta = {old.end, end}, none = {0, 0};

	if (end < old.end) {
		delta.start = end;
		delta.end = old.end;
		if (too_many(delta, none))
			return refuse();
		take_back(delta);
	} else if (end > old.end) {
		/* what grows is one mapping with what is before it */
		if (!simspace_vacant(&sim.space, delta))
			return refuse();
		hand_out(delta, true);
	}
	return 0;
}

static void remap_to(struct range old, struct range new)
{
	uint32_t n_old = range_pages(old), n_new = range_pages(new);
	struct range kept = old, added = new;

	if (n_new < n_old)
		kept.end = old.start + n_new;
	memcpy(page_addr(new.start), page_addr(old.start), bytes_of(kept));
	if (n_new > n_old) {
		added.start = new.start + n_old;
		make_zero(added);
	}
	/* the pages of the target are others now */
	sim.stats.purged -= mark(sim.purged, new, false) * PAGE;
	take_back(old);
}

static int sim_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		     void *new_addr)
{
	bool hit = begin(APB_OS_REMAP);
	struct range old, new, none = {0, 0};
	const char *why = resolve_mapped(addr, old_size, &old);

	(void)ctx;
	if (why)
		return violated("remap", addr, old_size, why);
	if (!new_size || new_size % PAGE)
		return violated("remap", addr, new_size,
				"the new size is no number of pages");
	if (new_addr) {
		why = resolve_mapped(new_addr, new_size, &new);
		if (!why && new.start < old.end && old.start < new.end)
			why = "overlaps the old range";
		if (why)
			return violated("remap target", new_addr, new_size,
					why);
	}
	if (hit)
		return no_memory();
	if (new_addr) {
		if (too_many(old, none))
			return refuse();
		remap_to(old, new);
		return 0;
	}
	if (new_size / PAGE > NR_PAGES - old.start)
		return refuse();
	return remap_here(old, old.start + (uint32_t)(new_size / PAGE));
}

static uint64_t sim_now(void *ctx)
{
	(void)ctx;
	return sim.clock;
}

/* ---- for the harness -------------------------------------------------- */

static int reserve(void)
{
	char *p = mmap((void *)SIMOS_BASE, SIMOS_SPACE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			       MAP_FIXED_NOREPLACE,
		       -1, 0);
	struct range all = {0, NR_PAGES};

	if (p == MAP_FAILED)
		return -1;
	if (p != (char *)SIMOS_BASE) {
		/* a kernel before 4.17 takes the address for a hint */
		munmap(p, SIMOS_SPACE);
		errno = EEXIST;
		return -1;
	}
	if (POISON_ACTIVE) {
		poison(p, SIMOS_SPACE);
		mark(sim.poisoned, all, true);
	}
	sim.reserved = true;
	return 0;
}

int simos_reset(uint64_t seed, unsigned int flags)
{
	uint32_t i;

	if (!sim.reserved && reserve())
		return -1;
	for (i = 0; i < sim.space.nr; i++) {
		mark(sim.purged, sim.space.ranges[i], false);
		poison_range(sim.space.ranges[i]);
	}
	simspace_reset(&sim.space,
		       flags & SIMOS_TIGHT ? TIGHT_PAGES : NR_PAGES);
	sim.seed = mix(seed);
	sim.rng = sim.seed;
	sim.flags = flags;
	sim.most = SIMSPACE_RANGES;
	if (flags & SIMOS_FEW)
		sim.most = SIMOS_FEW_MAPPINGS +
			   (uint32_t)(sim.seed % SIMOS_FEW_MAPPINGS);
	sim.clock = 0;
	memset(&sim.stats, 0, sizeof(sim.stats));
	apb_fault_arm(&sim.fault, NULL);
	sim.violation[0] = '\0';
	return 0;
}

const struct apb_os *simos_ops(void)
{
	static struct apb_os ops = {
		.map = sim_map,
		.unmap = sim_unmap,
		.purge = sim_purge,
		.remap = sim_remap,
	};

	ops.now = sim.flags & SIMOS_NO_CLOCK ? NULL : sim_now;
	ops.purge_zeroes = sim.flags & SIMOS_PURGE_ZEROES;
	return &ops;
}

bool simos_is_mapped(const void *addr, size_t size)
{
	uintptr_t off = (uintptr_t)addr - SIMOS_BASE;
	struct range r;

	if ((uintptr_t)addr < SIMOS_BASE || off >= SIMOS_SPACE ||
	    size > SIMOS_SPACE - off)
		return false;
	r.start = (uint32_t)(off / PAGE);
	r.end = (uint32_t)((off + size + PAGE - 1) / PAGE);
	return simspace_mapped(&sim.space, r);
}

void simos_fault(const struct apb_fault *fault)
{
	apb_fault_arm(&sim.fault, fault);
}

void simos_lift_limit(void)
{
	sim.most = SIMSPACE_RANGES;
}

void simos_pass(uint64_t ms)
{
	sim.clock += ms;
}

void simos_stats(struct simos_stats *stats)
{
	*stats = sim.stats;
	stats->mappings = sim.space.nr;
}

const char *simos_violation(void)
{
	return sim.violation[0] ? sim.violation : NULL;
}
