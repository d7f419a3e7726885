// SPDX-License-Identifier: MIT
/*
 * The policies of large blocks against a model of them: what is taken from the
 * cache, whole or in part, what is unmapped when, how a block grows and
 * shrinks; at random, over a system that refuses to move pages at times.  What
 * the model knows is what large/large.h and os/retain.h say.
 */
#include "policylib.h"

#include "large/large.h"

#define BLOCKS 60

struct range {
	uintptr_t addr;
	size_t mapped;
};

struct block {
	uintptr_t addr; /* 0: none */
	size_t size, mapped;
	unsigned int grown;
};

static struct block block[BLOCKS];
static struct range cache[APB_LARGE_CACHE_NR]; /* oldest first */
static unsigned int nr_cached, nr_idle, replayed;
static struct policy kept;
static size_t given_most; /* and not all needed again */
static size_t bytes;
static uint64_t now;

static size_t up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* ---- the model -------------------------------------------------------- */

/* Eight steps to a doubling, none of more than 64 MiB. */
static size_t step_of(size_t size)
{
	size_t power = 1, step;

	if (size <= 32 * KIB)
		return size;
	while (power * 2 < size)
		power *= 2;
	step = power / 8;
	return up(size, step < 64 * MIB ? step : 64 * MIB);
}

static size_t cached(void)
{
	size_t sum = 0;
	unsigned int i;

	for (i = 0; i < nr_cached; i++)
		sum += cache[i].mapped;
	return sum;
}

static size_t bound(void)
{
	size_t limit = MIB + bytes / 128 + kept.extra;

	if (!policy_options.delay)
		return 0;
	return limit < policy_options.large_cache ? limit :
						    policy_options.large_cache;
}

/* The next call is this one. */
static const struct policy_call *called(enum apb_os_call call, uintptr_t addr,
					size_t size)
{
	const struct policy_call *c = &policy_log[replayed++];

	assert_true(replayed <= policy_logged);
	assert_int_equal(c->call, call);
	assert_int_equal(c->addr, addr);
	assert_int_equal(c->size, size);
	return c;
}

static void unmapped(uintptr_t addr, size_t size)
{
	called(APB_OS_UNMAP, addr, size);
}

static void gave(uintptr_t addr, size_t size)
{
	unmapped(addr, size);
	kept.given += size;
	if (size > given_most)
		given_most = size;
}

/* Missed is what is no larger than something that was given back. */
static void missed(size_t size)
{
	if (size <= given_most)
		policy_missed(&kept, size, policy_options.large_cache);
}

static void forget(unsigned int i)
{
	nr_cached--;
	nr_idle -= i < nr_idle;
	memmove(cache + i, cache + i + 1, (nr_cached - i) * sizeof(cache[0]));
}

static void evict(void)
{
	struct range r = cache[0];

	forget(0);
	gave(r.addr, r.mapped);
}

static void evict_to(size_t most)
{
	size_t more;

	while (cached() > most) {
		more = up(cached() - most, MIB);
		/* a part of it, unless less than a MiB would be left */
		if (cache[0].mapped < more + MIB) {
			evict();
			continue;
		}
		cache[0].mapped -= more;
		gave(cache[0].addr + cache[0].mapped, more);
	}
}

static void tick(void)
{
	size_t target;

	if (!policy_epoch(&kept, now, 0, bound(), &target))
		return;
	if (!kept.given)
		given_most = 0;
	while (nr_idle)
		evict();
	evict_to(bound());
	nr_idle = nr_cached;
}

/* The best of the cache, or its front; false: there is none. */
static bool take(struct block *b, size_t least, size_t most, size_t align,
		 bool front)
{
	unsigned int i, best = nr_cached;
	size_t keep = up(least, MIB), needed = 0;

	front = front && keep <= 2 * least;
	for (i = 0; i < nr_cached; i++) {
		if (cache[i].mapped < least || cache[i].addr % align ||
		    (!front && cache[i].mapped > most))
			continue;
		if (best == nr_cached || cache[i].mapped <= cache[best].mapped)
			best = i;
	}
	if (best == nr_cached)
		return false;
	for (i = best; i < nr_cached; i++)
		needed += cache[i].mapped;
	if (needed > kept.high)
		kept.high = needed;
	if (front && cache[best].mapped >= keep + MIB) {
		b->addr = cache[best].addr;
		b->mapped = keep;
		cache[best].addr += keep;
		cache[best].mapped -= keep;
	} else if (cache[best].mapped <= most) {
		b->addr = cache[best].addr;
		b->mapped = cache[best].mapped;
		forget(best);
	} else {
		return false;
	}
	kept.moved += b->mapped;
	return true;
}

static void put(uintptr_t addr, size_t mapped)
{
	size_t limit = bound();
	unsigned int i;

	if (mapped > limit) {
		gave(addr, mapped);
		evict_to(bound());
		return;
	}
	if (nr_cached == APB_LARGE_CACHE_NR)
		evict();
	evict_to(limit - mapped);
	kept.moved += mapped;
	for (i = nr_cached; i--;) {
		struct range r = cache[i];

		if (r.addr + r.mapped != addr && addr + mapped != r.addr)
			continue;
		addr = r.addr < addr ? r.addr : addr;
		mapped += r.mapped;
		forget(i);
	}
	cache[nr_cached].addr = addr;
	cache[nr_cached++].mapped = mapped;
}

static void free_it(struct block *b)
{
	bytes -= b->size;
	put(b->addr, b->mapped);
	b->addr = 0;
	tick();
}

/* From the cache, or else new, at @got. */
static void get(struct block *b, size_t size, size_t align, uintptr_t got)
{
	size_t mapped = step_of(size);

	if (!take(b, mapped, 2 * mapped, align, true)) {
		b->addr = got;
		b->mapped = mapped;
		missed(mapped);
	}
	b->size = size;
	b->grown = 0;
	bytes += size;
}

/* Bytes that are taken from the cache behind @b. */
static size_t extend(const struct block *b, size_t more)
{
	uintptr_t end = b->addr + b->mapped;
	unsigned int i = 0;

	while (i < nr_cached && cache[i].addr != end)
		i++;
	if (i == nr_cached || end % MIB || cache[i].mapped < more)
		return 0;
	more = up(more, MIB);
	if (cache[i].mapped > more) {
		cache[i].addr += more;
		cache[i].mapped -= more;
	} else {
		more = cache[i].mapped;
		forget(i);
	}
	kept.moved += more;
	return more;
}

/* 0, or how the system refused. */
static int in_place(struct block *b, size_t size)
{
	size_t step = step_of(size), more = 0;
	const struct policy_call *c;

	if (size > b->mapped)
		more = extend(b, size - b->mapped);
	if (more) {
		b->mapped += more;
	} else if (size > b->mapped) {
		c = called(APB_OS_REMAP, b->addr, b->mapped);
		assert_int_equal(c->new_size, step);
		assert_int_equal(c->to, 0);
		if (c->err)
			return c->err;
		missed(step - b->mapped);
		b->mapped = step;
	} else if (size < b->size && b->mapped > step + step / 4) {
		unmapped(b->addr + step, b->mapped - step);
		b->mapped = step;
	}
	bytes += size - b->size;
	b->size = size;
	evict_to(bound());
	return 0;
}

/* A larger one in the cache to copy it to. */
static bool room_to_grow(struct block *to, const struct block *b, size_t size)
{
	size_t least = step_of(size), most = 2 * least;

	if (size <= 512 * KIB)
		return take(to, least, most, MIB, false);
	if (size > 12 * MIB || b->grown < 3)
		return false;
	if (least < b->size * 3 / 2)
		least = b->size * 3 / 2;
	return take(to, least, most, MIB, true);
}

static void resize(struct block *b, size_t size, uintptr_t got)
{
	unsigned int grown = b->grown + (size > b->mapped);
	const struct policy_call *c;
	struct block to = {0};
	int err;

	tick();
	if (size > b->mapped && room_to_grow(&to, b, size)) {
		to.size = size;
		bytes += size;
	} else {
		err = in_place(b, size);
		b->grown = grown;
		if (!err)
			return;
		get(&to, size, MIB, got);
		if (err != EFAULT) {
			c = called(APB_OS_REMAP, b->addr, b->mapped);
			assert_int_equal(c->to, to.addr);
			assert_int_equal(c->new_size, to.mapped);
			if (!c->err) {
				bytes -= b->size;
				b->addr = 0;
			}
		}
	}
	if (b->addr)
		free_it(b);
	to.grown = grown;
	*b = to;
}

/* ---- both ------------------------------------------------------------- */

static bool is_ours(uintptr_t addr)
{
	unsigned int i;

	for (i = 0; i < BLOCKS; i++)
		if (block[i].addr && addr - block[i].addr < block[i].mapped)
			return true;
	for (i = 0; i < nr_cached; i++)
		if (addr - cache[i].addr < cache[i].mapped)
			return true;
	return false;
}

/* Of the log only what is about blocks and the cache. */
static void expect_calls(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < policy_logged; i++)
		if (is_ours(policy_log[i].addr) ||
		    policy_log[i].call == APB_OS_PURGE)
			policy_log[n++] = policy_log[i];
	policy_logged = n;
	replayed = 0;
}

static void compare(void)
{
	const struct apb_larges *ls = &apb_state.larges;
	size_t n = 0, slack = 0;
	unsigned int i;

	assert_int_equal(replayed, policy_logged);
	policy_forget();
	for (i = 0; i < BLOCKS; i++) {
		const struct block *b = &block[i];
		const struct apb_large *large;

		if (!b->addr)
			continue;
		large = apb_large_find(b->addr);
		assert_non_null(large);
		assert_int_equal(large->size, b->size);
		assert_int_equal(large->mapped, b->mapped);
		assert_int_equal(large->grown, b->grown);
		slack += b->mapped - b->size;
		n++;
	}
	assert_int_equal(ls->nr, n);
	assert_int_equal(ls->bytes, bytes);
	assert_int_equal(ls->slack, slack);
	assert_int_equal(ls->nr_cached, nr_cached);
	assert_int_equal(ls->nr_idle, nr_idle);
	assert_int_equal(ls->cached_bytes, cached());
	for (i = 0; i < nr_cached; i++) {
		assert_int_equal(ls->cache[i].addr, cache[i].addr);
		assert_int_equal(ls->cache[i].mapped, cache[i].mapped);
	}
	assert_policy(&kept, &ls->retain);
	assert_int_equal(given_most, ls->given_most);
	assert_int_equal(apb_large_cache_limit(), bound());
}

/* ---- at random -------------------------------------------------------- */

static uint64_t seed;
static bool purge_zeroes;

static size_t below(size_t n)
{
	return rnd(&seed) % n;
}

/* In the larger half of @most. */
static size_t some_size(size_t most)
{
	static const unsigned int shift[] = {0, 0, 1, 2, 3, 4, 6};
	/* where something else begins */
	static const size_t edge[] = {40 * KIB, 512 * KIB, MIB,
				      4 * MIB,	12 * MIB,  64 * KIB};

	if (!below(6)) {
		size_t size = edge[below(NR_OF(edge))];

		if (size <= most)
			return size + below(3) * APB_PAGE - APB_PAGE;
	}
	most >>= shift[below(NR_OF(shift))];
	if (most < 70000)
		most = 70000;
	return most / 2 + below(most / 2);
}

static void allocate(struct block *b, size_t most)
{
	size_t align = MIB << (below(4) ? 0 : below(4)), size = some_size(most);
	bool zero = align == MIB && !below(3);
	uintptr_t p;

	if (bytes + size > 64 * MIB)
		return;
	p = (uintptr_t)(align > MIB ? apb_aligned_alloc(align, size) :
			zero	    ? apb_calloc(1, size) :
				      apb_malloc(size));
	assert_int_not_equal(p, 0);
	expect_calls();
	tick();
	get(b, up(size, APB_PAGE), align, p);
	assert_int_equal(p, b->addr);
	if (zero)
		assert_true(all_bytes((void *)p, size, 0));
	/* nothing that is mapped is said to be zero here */
	if (zero && up(size, APB_PAGE) > 4 * MIB && purge_zeroes)
		called(APB_OS_PURGE, b->addr, b->mapped);
}

static void reallocate(struct block *b, size_t most)
{
	size_t size = b->size, other = some_size(most);
	uintptr_t p;

	switch (below(4)) {
	case 0:
		size = other;
		break;
	case 1:
		size -= below(size / 8);
		break;
	default:
		size += below(size / (1 + below(8)));
	}
	if (size < 40000 || bytes + size > 64 * MIB)
		return;
	p = (uintptr_t)apb_realloc((void *)b->addr, size);
	assert_int_not_equal(p, 0);
	expect_calls();
	resize(b, up(size, APB_PAGE), p);
	assert_int_equal(p, b->addr);
}

static void set_option(void)
{
	static const size_t delays[] = {500, 500, 37, 1, 0};
	static const size_t caps[] = {64 * MIB, 64 * MIB, 20 * MIB, 5000000, 0};

	if (below(2))
		policy_option(APB_OPT_LARGE_CACHE, caps[below(NR_OF(caps))]);
	else
		policy_option(APB_OPT_PURGE_DELAY,
			      delays[below(NR_OF(delays))]);
	expect_calls();
	evict_to(bound());
}

static void others(void)
{
	switch (below(6)) {
	case 0:
		set_option();
		break;
	case 1:
		apb_retain_tick();
		expect_calls();
		tick();
		break;
	case 2:
		if (below(3))
			break;
		apb_large_uncache();
		expect_calls();
		while (nr_cached)
			evict();
		break;
	default:
		policy_refuse = below(2) << APB_OS_REMAP;
		expect_calls();
	}
}

static void run(uint64_t from, unsigned int flags, unsigned int steps,
		size_t most)
{
	unsigned int i;

	policy_fresh(from, flags);
	memset(block, 0, sizeof(block));
	memset(&kept, 0, sizeof(kept));
	given_most = 0;
	nr_cached = nr_idle = 0;
	bytes = 0;
	now = 0;
	seed = from;
	purge_zeroes = flags & SIMOS_PURGE_ZEROES;
	for (i = 0; i < steps; i++) {
		struct block *b = &block[below(BLOCKS)];

		if (!below(4)) {
			unsigned int ms = (unsigned int)below(100);

			now += policy_options.clock ? ms : 0;
			simos_pass(ms);
		}
		expect_calls();
		if (!below(60)) {
			others();
		} else if (!b->addr) {
			allocate(b, most);
		} else if (below(from % 2 ? 4 : 20)) {
			reallocate(b, most);
		} else {
			apb_free((void *)b->addr);
			expect_calls();
			free_it(b);
		}
		/* the address space is full, for which the model has no rule */
		if (apb_state.larges.recovered)
			break;
		compare();
		if (i % 128 == 0)
			assert_whole();
	}
	assert_in_range(i, steps / 2, steps);
	assert_whole();
}

static void test_at_random(void **ctx)
{
	static const size_t most[] = {24 * MIB, 3 * MIB, 700 * KIB, 8 * MIB};
	unsigned int i;

	(void)ctx;
	for (i = 0; i < 12; i++)
		run(i,
		    SIMOS_HINTS | SIMOS_NONZERO | (i & 4 ? SIMOS_MISALIGN : 0) |
			    (i & 2 ? 0 : SIMOS_PURGE_ZEROES),
		    1200, most[i % NR_OF(most)]);
}

static void test_without_clock(void **ctx)
{
	unsigned int i;

	(void)ctx;
	for (i = 20; i < 24; i++)
		run(i, SIMOS_HINTS | SIMOS_NO_CLOCK, 1500,
		    i % 2 ? 6 * MIB : 600 * KIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_random),
		cmocka_unit_test(test_without_clock),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
