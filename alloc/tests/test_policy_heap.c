// SPDX-License-Identifier: MIT
/*
 * A heap's policies against a model of them: which block malloc returns, how
 * many a bin may hold, what is settled and in which order, which pools are
 * sparse and what of them is given back; at random, call by call.  What the
 * model knows is what heap/heap.h, heap/sparse.h and arena/pool.h say.
 */
#include "arenalib.h"
#include "policylib.h"

#include "heap/heap.h"

#include <stdlib.h>

#define POOLS 1500
#define RING 32

struct pool {
	uintptr_t start, base; /* start 0: none */
	unsigned int cls, count, used;
	bool out[512];
	unsigned int first; /* the block taken first */
	unsigned int place; /* in the ring, from 1 up */
	unsigned int swept, idle;
	bool let_be;
	uint64_t partial; /* when it got onto the list, or 0 */
};

struct bin {
	struct {
		uintptr_t addr;
		struct pool *pool;
	} has[4096];
	unsigned int n, limit, want, room;
	bool ran_empty, was_full;
};

static struct pool pools[POOLS];
static struct bin bins[APB_NR_CLASSES + 1];
static struct pool *ring[RING];
static unsigned int next_place, nr_pools, period, replayed;
static uint64_t stamp, settles, settled;
static uint64_t sweeps, followed; /* asked for, and done */
static struct policy sparse;
static bool none_stays; /* what the system has is known then */
static bool trimming; /* it sweeps them all when it has settled */

static const struct apb_heap *heap(void)
{
	return apb_tls;
}

static size_t size_of(unsigned int cls)
{
	return test_class_sizes[cls - 1];
}

static unsigned int clamped(size_t n, size_t least, size_t most)
{
	return (unsigned int)(n < least ? least : n > most ? most : n);
}

static unsigned int first_room(unsigned int cls)
{
	return clamped(1024 / size_of(cls), 6, 32);
}

static unsigned int most_wanted(unsigned int cls)
{
	return clamped(512 * KIB / size_of(cls), 6, 1023);
}

/* ---- the model: sparse pools ------------------------------------------ */

static bool is_sparse(const struct pool *p)
{
	return p->used <= 4 && p->used * 8 <= p->count;
}

/* Whether it is among the calls to come; between may be such of other pools. */
static bool purged(uintptr_t addr, size_t size)
{
	unsigned int i;

	for (i = replayed; i < policy_logged; i++) {
		const struct policy_call *c = &policy_log[i];

		if (c->call == APB_OS_PURGE && c->addr == addr &&
		    c->size == size) {
			replayed = i + 1;
			return true;
		}
	}
	return false;
}

static void sweep(struct pool *p, bool may)
{
	unsigned int pages = (unsigned int)(test_pool_bytes(p->cls) / APB_PAGE);
	size_t let_be = p->let_be ? p->idle * APB_PAGE : 0;
	bool busy[33] = {false}, some = false;
	unsigned int i, j, page;

	for (i = 0; i < p->count; i++) {
		uintptr_t at = p->base + i * size_of(p->cls) - p->start;

		for (page = 0; p->out[i] && page < pages; page++)
			if (at < (page + 1) * APB_PAGE &&
			    at + size_of(p->cls) > page * APB_PAGE)
				busy[page] = true;
	}
	p->idle = 0;
	for (i = 0; i < pages; i++)
		p->idle += !busy[i];
	p->swept = p->used;
	p->let_be = may && (!p->idle || trimming);
	/* whether more may stay is the arenas' business: test_policy_arena */
	for (i = 0; i < pages && !p->let_be; i = j + 1) {
		for (j = i; j < pages && !busy[j];)
			j++;
		if (j == i)
			continue;
		if (purged(p->start + i * APB_PAGE, (j - i) * APB_PAGE)) {
			some = true;
			continue;
		}
		assert_true(may && !none_stays && !some);
		p->let_be = true;
	}
	if (!p->let_be && none_stays)
		policy_gave(&sparse, 0, may ? p->idle * APB_PAGE : let_be);
}

static void leave_ring(struct pool *p)
{
	if (p->place)
		ring[p->place - 1] = NULL;
	p->place = 0;
}

static void note(struct pool *p)
{
	unsigned int i;
	struct pool *old;

	if (p->place || (p->swept && p->used * 4 > p->swept))
		return;
	i = next_place++ % RING;
	old = ring[i];
	ring[i] = NULL;
	if (old) {
		old->place = 0;
		if (is_sparse(old))
			sweep(old, true);
	}
	ring[i] = p;
	p->place = i + 1;
}

static void forget(struct pool *p)
{
	leave_ring(p);
	if (p->idle && p->used && !p->let_be && none_stays)
		policy_missed(&sparse, p->idle * APB_PAGE,
			      64 * MIB + as()->used_pool_bytes / 4);
	p->idle = p->swept = 0;
	p->let_be = false;
}

static int latest_first(const void *a, const void *b)
{
	uint64_t x = (*(struct pool *const *)a)->partial;
	uint64_t y = (*(struct pool *const *)b)->partial;

	return x > y ? -1 : x < y;
}

/* Those on lists, or (@all) all that have blocks out and were not swept so. */
static void sweep_heap(bool all)
{
	struct pool *list[POOLS];
	unsigned int i, n, cls;

	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		for (i = n = 0; i < POOLS; i++)
			if (pools[i].start && pools[i].partial &&
			    pools[i].cls == cls)
				list[n++] = &pools[i];
		qsort(list, n, sizeof(list[0]), latest_first);
		for (i = 0; i < n; i++) {
			struct pool *p = list[i];

			if (p->let_be ||
			    (all && (!p->swept || p->used < p->swept))) {
				leave_ring(p);
				sweep(p, false);
			}
		}
	}
}

/* On slow paths it sweeps what was let be for too long. */
static void follow(void)
{
	if (followed != sweeps)
		sweep_heap(false);
	followed = sweeps;
}

/* ---- the model: bins -------------------------------------------------- */

/* A grown array is filled up to 16 KiB, or 127 blocks, whichever is less. */
static void set_limit(unsigned int cls)
{
	struct bin *b = &bins[cls];
	unsigned int step = clamped(16 * KIB / size_of(cls), 6, 127);
	unsigned int n = !period && b->want < step ? step : b->want;

	b->limit = n < b->room ? n : b->room;
}

static void adjust(unsigned int cls)
{
	struct bin *b = &bins[cls];

	if (b->want > b->room) {
		b->room = 127;
		while (b->room < b->want)
			b->room = b->room * 2 + 1;
	}
	set_limit(cls);
	if (b->limit < b->n)
		b->limit = b->n;
}

static void want_more(unsigned int cls, unsigned int n)
{
	if (!period)
		bins[cls].want =
			clamped(bins[cls].want + n, 0, most_wanted(cls));
}

static struct pool *pool_at(uintptr_t addr)
{
	unsigned int i;

	for (i = 0; i < POOLS; i++)
		if (pools[i].start &&
		    addr - pools[i].start < test_pool_bytes(pools[i].cls))
			return &pools[i];
	return NULL;
}

static struct pool *new_pool(unsigned int cls, uintptr_t addr)
{
	size_t bytes = test_pool_bytes(cls), size = size_of(cls), offset = 0;
	struct apb_arena *a = apb_arena_of(addr);
	uint8_t colour = (uint8_t)(a->colour - 1);
	unsigned int i = 0;
	struct pool *p;

	while (pools[i].start)
		i++;
	assert_true(i < POOLS);
	p = &pools[i];
	memset(p, 0, sizeof(*p));
	p->start = addr & ~(bytes - 1);
	p->cls = cls;
	if (size & (size - 1))
		offset = colour % (bytes % size % 4096 / 64 + 1) * 64;
	p->base = p->start + offset;
	p->count = (unsigned int)test_pool_blocks(cls, bytes - offset);
	if (bytes == 16 * KIB)
		p->first = colour * 37u % p->count;
	p->partial = ++stamp;
	nr_pools++;
	return p;
}

static struct pool *partial_pool(unsigned int cls)
{
	struct pool *best = NULL;
	unsigned int i;

	for (i = 0; i < POOLS; i++)
		if (pools[i].start && pools[i].cls == cls &&
		    pools[i].partial > (best ? best->partial : 0))
			best = &pools[i];
	return best;
}

/* The block to be taken next from @p. */
static unsigned int next_of(struct pool *p)
{
	unsigned int i;

	for (i = p->first; i < p->count; i++)
		if (!p->out[i])
			return i;
	p->first = 0;
	for (i = 0; p->out[i];)
		i++;
	return i;
}

/* Those that were freed first, down to @keep. */
static void settle(unsigned int cls, unsigned int keep)
{
	struct bin *b = &bins[cls];
	unsigned int i, gone;

	if (b->n <= keep)
		return;
	gone = b->n - keep;
	for (i = 0; i < gone;) {
		struct pool *p = b->has[i].pool;

		for (; i < gone && b->has[i].pool == p; i++) {
			size_t at = b->has[i].addr - p->base;

			p->out[at / size_of(cls)] = false;
			p->used--;
		}
		if (!p->used) {
			forget(p);
			p->start = 0;
			nr_pools--;
			continue;
		}
		if (!p->partial)
			p->partial = ++stamp;
		if (is_sparse(p))
			note(p);
	}
	memmove(b->has, b->has + gone, keep * sizeof(b->has[0]));
	b->n = keep;
	settles++;
	settled += gone;
}

static void learn(unsigned int cls)
{
	struct bin *b = &bins[cls];

	if (period)
		return;
	if (b->ran_empty) {
		want_more(cls, b->want);
		b->was_full = false;
	} else if (b->was_full) {
		b->want = clamped(b->want / 2, first_room(cls), 4095);
	} else {
		b->was_full = true;
	}
	b->ran_empty = false;
}

static void push(unsigned int cls, uintptr_t addr, struct pool *p)
{
	struct bin *b = &bins[cls];

	b->has[b->n].addr = addr;
	b->has[b->n].pool = p;
	b->n++;
}

static void put(unsigned int cls, uintptr_t addr, struct pool *p)
{
	struct bin *b = &bins[cls];

	if (b->n >= b->limit) {
		follow();
		if (b->want <= b->limit)
			learn(cls);
		if (b->want > b->limit)
			adjust(cls);
		if (b->n >= b->limit) {
			settle(cls, b->want / 2);
			set_limit(cls);
		}
	}
	push(cls, addr, p);
}

static void refill(unsigned int cls, uintptr_t got)
{
	struct bin *b = &bins[cls];
	unsigned int n, i, taken[1024];
	struct pool *p;

	follow();
	b->ran_empty = true;
	b->was_full = false;
	p = partial_pool(cls);
	if (!p)
		p = new_pool(cls, got);
	n = b->want <= first_room(cls) ?
		    clamped(b->want, 1, 6) :
		    clamped(clamped(4096 / size_of(cls), 4, 4096), 1, b->want);
	if (n > b->room)
		adjust(cls);
	n = clamped(n, 1, b->room);
	n = clamped(n, 1, p->count - p->used);
	for (i = 0; i < n; i++) {
		taken[i] = next_of(p);
		p->out[taken[i]] = true;
		p->used++;
	}
	while (i--)
		push(cls, p->base + taken[i] * size_of(cls), p);
	if (p->used == p->count)
		p->partial = 0;
	if (p->used * 2 > p->count)
		forget(p);
	want_more(cls, n);
	if (b->limit < b->n)
		b->limit = b->n;
}

static void start_bin(unsigned int cls)
{
	struct bin *b = &bins[cls];

	b->room = first_room(cls);
	b->want = period ? period : b->room;
	b->ran_empty = b->was_full = false;
	set_limit(cls);
}

static void settle_all(void)
{
	unsigned int cls;

	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		settle(cls, 0);
		start_bin(cls);
	}
}

/* ---- both ------------------------------------------------------------- */

static void compare_pool(const struct pool *p)
{
	const struct apb_pool *is = pool_of((void *)p->base);
	unsigned int i;

	assert_int_equal(is->owner, (uintptr_t)&heap()->bin[p->cls]);
	assert_int_equal(is->base, p->base);
	assert_int_equal(is->count, p->count);
	assert_int_equal(is->used, p->used);
	assert_int_equal(is->start, p->first);
	assert_int_equal(is->sparse, p->place);
	assert_int_equal(is->swept, p->swept);
	assert_int_equal(is->idle, p->idle);
	assert_int_equal(is->let_be, p->let_be);
	/* in lines of their own */
	assert_true(is_aligned(is->states, 64));
	for (i = 0; i < p->count; i++)
		assert_int_equal(apb_pool_bits(is)[i / 64] >> i % 64 & 1,
				 !p->out[i]);
}

static void compare_bin(unsigned int cls)
{
	const struct apb_bin_info *info = &heap()->info[cls];
	const struct bin *b = &bins[cls];
	unsigned int i;

	assert_int_equal(heap()->bin[cls].top - info->base, b->n);
	assert_int_equal(heap()->bin[cls].limit - info->base, b->limit);
	assert_int_equal(info->want, b->want);
	assert_int_equal(info->room, b->room);
	assert_int_equal(info->ran_empty, b->ran_empty);
	assert_int_equal(info->was_full, b->was_full);
	for (i = 0; i < b->n; i++)
		assert_int_equal((uintptr_t)info->base[i + 1].block,
				 b->has[i].addr);
}

static void compare_counts(void)
{
	policy_forget();
	replayed = 0;
	assert_int_equal(heap()->settles, settles);
	assert_int_equal(heap()->settled, settled);
	assert_int_equal(heap()->next_sparse, next_place);
	assert_int_equal(heap()->pools, nr_pools);
	assert_int_equal(heap()->sweeps, followed);
	if (none_stays) {
		assert_int_equal(as()->sparse.given, sparse.given);
		assert_int_equal(as()->sparse.extra, sparse.extra);
	}
}

static void compare_all(void)
{
	unsigned int i, cls;
	size_t bytes = 0, held = 0;

	compare_counts();
	for (i = 0; i < POOLS; i++) {
		if (!pools[i].start)
			continue;
		compare_pool(&pools[i]);
		if (pools[i].let_be)
			bytes += pools[i].idle * APB_PAGE;
	}
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		compare_bin(cls);
		held += bins[cls].n * size_of(cls);
	}
	assert_int_equal(apb_heap_held(heap()), held);
	assert_int_equal(as()->sparse_bytes, bytes);
	for (i = 0; i < RING; i++)
		assert_ptr_equal(heap()->sparse[i],
				 ring[i] ? pool_of((void *)ring[i]->base) :
					   NULL);
}

static void *take(unsigned int cls)
{
	struct bin *b = &bins[cls];
	uintptr_t p;

	sweeps = as()->sweeps;
	p = (uintptr_t)apb_malloc(size_of(cls));
	assert_int_not_equal(p, 0);
	if (!b->n)
		refill(cls, p);
	b->n--;
	assert_int_equal(p, b->has[b->n].addr);
	compare_counts();
	return (void *)p;
}

static void give(void *block)
{
	struct pool *p = pool_at((uintptr_t)block);
	unsigned int cls = p->cls;

	sweeps = as()->sweeps;
	apb_free(block);
	put(cls, (uintptr_t)block, p);
	assert_int_equal(bin_length(cls), bins[cls].n);
	compare_counts();
}

/* ---- at random -------------------------------------------------------- */

#define BLOCKS 40000

static void *block[BLOCKS];
static unsigned int nr_blocks, order;
static uint64_t seed;

static unsigned int below(size_t n)
{
	return (unsigned int)(rnd(&seed) % n);
}

static void give_some(void)
{
	unsigned int i = order == 0 ? below(nr_blocks) : nr_blocks - 1;

	give(block[i]);
	block[i] = block[--nr_blocks];
}

static void others(void)
{
	static const unsigned int periods[] = {0, 0, 0, 1, 5, 40, 300, 2000};
	unsigned int cls;

	switch (below(4)) {
	case 0:
		/* what was let be all that time was not needed */
		if (none_stays)
			break;
		simos_pass(250 + (unsigned int)below(1000));
		apb_retain_tick();
		break;
	case 1:
		apb_settle();
		settle_all();
		break;
	case 2:
		apb_trim();
		trimming = true;
		settle_all();
		sweep_heap(true);
		trimming = false;
		break;
	default:
		period = periods[below(NR_OF(periods))];
		policy_option(APB_OPT_SETTLE_PERIOD, period);
		for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
			bins[cls].want = period ? period : first_room(cls);
			adjust(cls);
		}
	}
	compare_all();
}

static void start(uint64_t from)
{
	unsigned int cls;

	policy_fresh(from, SIMOS_HINTS);
	memset(pools, 0, sizeof(pools));
	memset(bins, 0, sizeof(bins));
	memset(ring, 0, sizeof(ring));
	memset(&sparse, 0, sizeof(sparse));
	next_place = nr_pools = period = 0;
	stamp = settles = settled = sweeps = followed = 0;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++)
		start_bin(cls);
	none_stays = from % 2;
	if (none_stays)
		policy_option(APB_OPT_DIRTY_LIMIT, 0);
	/* there is a heap from now on */
	apb_free(apb_malloc(16));
	apb_settle();
	settles = heap()->settles;
	settled = heap()->settled;
}

static void run(uint64_t from, unsigned int steps, unsigned int most,
		const unsigned int *classes, unsigned int nr)
{
	unsigned int i, rise = 1, cls = classes[0];

	start(from);
	seed = from;
	nr_blocks = 0;
	for (i = 0; i < steps; i++) {
		if (nr_blocks >= most || !below(most)) {
			rise = 0;
			order = below(3);
		}
		if (!nr_blocks || !below(most))
			rise = 1;
		if (!below(20))
			cls = classes[below(nr)];
		if (!below(2500))
			others();
		else if (below(16) < 4 + rise * 8 || !nr_blocks)
			block[nr_blocks++] = take(cls);
		else
			give_some();
		if (i % 512 == 0)
			compare_all();
	}
	assert_whole();
	while (nr_blocks)
		give_some();
	compare_all();
	assert_whole();
}

static void test_small(void **ctx)
{
	static const unsigned int classes[] = {1, 3, 4, 28, 31, 36};
	unsigned int i;

	(void)ctx;
	for (i = 0; i < 4; i++)
		run(i, 30000, i < 2 ? 12000 : 900, classes, NR_OF(classes));
}

static void test_large(void **ctx)
{
	static const unsigned int classes[] = {37, 38, 40, 45, 48, 49, 53, 56};
	unsigned int i;

	(void)ctx;
	for (i = 10; i < 14; i++)
		run(i, 10000, i < 12 ? 1500 : 200, classes, NR_OF(classes));
}

/* Of a block that grows no more is copied than it has. */
static void test_realloc_copies_the_block(void **ctx)
{
	unsigned char *p[8], *q;
	unsigned int i;

	(void)ctx;
	policy_fresh(1, SIMOS_HINTS);
	for (i = 0; i < NR_OF(p); i++) {
		p[i] = apb_malloc(64);
		memset(p[i], 0xa0 + (int)i, 64);
	}
	q = apb_malloc(1000);
	memset(q, 0xbb, 1000);
	apb_free(q);
	assert_ptr_equal(apb_realloc(p[0], 1000), q);
	assert_true(all_bytes(q, 64, 0xa0));
	assert_true(all_bytes(q + 64, 1000 - 64, 0xbb));
}

/* Many pools of one class are sparse, one after the other. */
static void test_sparse(void **ctx)
{
	static const unsigned int classes[] = {4, 34, 20};
	unsigned int i;

	(void)ctx;
	for (i = 20; i < 32; i++)
		run(i, 60000, 8000, classes + i % 3, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_realloc_copies_the_block),
		cmocka_unit_test(test_sparse),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
