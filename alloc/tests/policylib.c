// SPDX-License-Identifier: MIT
/* What tests of policies need; see policylib.h. */
#include "policylib.h"

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t most(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* ---- the bound -------------------------------------------------------- */

void policy_came(struct policy *p, size_t level, size_t bytes)
{
	p->moved += bytes;
	p->high = most(p->high, level);
}

void policy_needed(struct policy *p, size_t level, size_t bytes)
{
	p->moved += bytes;
	p->low = least(p->low, level);
}

/* What goes was not among what was needed. */
void policy_gave(struct policy *p, size_t level, size_t bytes)
{
	p->given += bytes;
	p->high = most(level, p->high - least(bytes, p->high));
	p->low = least(p->low, level);
}

/* Only what had been given back is a lesson, of eight bytes for each that was
 * missed, and only up to the cap. */
void policy_missed(struct policy *p, size_t bytes, size_t cap)
{
	size_t missed = least(bytes, p->given);
	size_t lesson = missed < SIZE_MAX / 16 ? 8 * missed : SIZE_MAX / 2;

	p->given -= missed;
	p->extra = most(p->extra, least(p->extra + lesson, cap));
}

static size_t halved(size_t n, uint64_t times)
{
	while (n && times--)
		n /= 2;
	return n;
}

bool policy_epoch(struct policy *p, uint64_t now, size_t level, size_t bound,
		  size_t *target)
{
	size_t delay = policy_options.delay, needed = p->high - p->low;
	size_t idle = p->low;
	uint64_t over;

	if (!delay)
		return false;
	over = policy_options.clock ? (now - p->epoch) / delay :
				      p->moved >= 64 * MIB + 8 * bound;
	if (!over)
		return false;
	/* a MiB and an eighth of what was needed is not worth the trouble */
	if (needed && idle <= MIB + needed / 8)
		idle = 0;
	*target = level - idle;
	if (p->extra > needed)
		p->extra = needed + halved(p->extra - needed, over);
	p->given = halved(p->given, over);
	p->low = p->high = level;
	p->moved = 0;
	p->epoch = now;
	return true;
}

struct policy_options policy_options;

void policy_option(enum apb_option opt, size_t value)
{
	assert_int_equal(apb_set_option(opt, value), 0);
	if (opt == APB_OPT_DIRTY_LIMIT)
		policy_options.dirty_limit = value;
	else if (opt == APB_OPT_PURGE_DELAY)
		policy_options.delay = value;
	else if (opt == APB_OPT_LARGE_CACHE)
		policy_options.large_cache = value;
}

void test_policy(const struct policy *p, const struct apb_retain *r,
		 const char *file, int line)
{
	_assert_int_equal(r->extra, p->extra, file, line);
	_assert_int_equal(r->given, p->given, file, line);
	_assert_int_equal(r->low, p->low, file, line);
	_assert_int_equal(r->high, p->high, file, line);
	_assert_int_equal(r->moved, p->moved, file, line);
	_assert_int_equal(r->epoch, p->epoch, file, line);
}

/* ---- calls to the system ---------------------------------------------- */

struct policy_call policy_log[POLICY_CALLS];
unsigned int policy_logged;
unsigned int policy_refuse;
struct policy_done policy_done;

/* Log it, and make it, unless it is to be refused. */
static int make(void *ctx, struct policy_call call)
{
	const struct apb_os *os = simos_ops();
	void *addr = (void *)call.addr;
	int ret = -1;

	assert_true(policy_logged < POLICY_CALLS);
	if (policy_refuse >> call.call & 1)
		errno = ENOMEM;
	else if (call.call == APB_OS_UNMAP)
		ret = os->unmap(ctx, addr, call.size);
	else if (call.call == APB_OS_PURGE)
		ret = os->purge(ctx, addr, call.size);
	else
		ret = os->remap(ctx, addr, call.size, call.new_size,
				(void *)call.to);
	call.err = ret ? errno : 0;
	policy_log[policy_logged++] = call;
	if (call.call == APB_OS_UNMAP)
		policy_done.refused_unmaps += ret != 0;
	if (call.call == APB_OS_PURGE && !ret) {
		policy_done.purges++;
		policy_done.purged += call.size;
	}
	return ret;
}

static int unmap(void *ctx, void *addr, size_t size)
{
	return make(ctx, (struct policy_call){.call = APB_OS_UNMAP,
					      .addr = (uintptr_t)addr,
					      .size = size});
}

static int purge(void *ctx, void *addr, size_t size)
{
	return make(ctx, (struct policy_call){.call = APB_OS_PURGE,
					      .addr = (uintptr_t)addr,
					      .size = size});
}

static int remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		 void *new_addr)
{
	return make(ctx, (struct policy_call){.call = APB_OS_REMAP,
					      .addr = (uintptr_t)addr,
					      .size = old_size,
					      .new_size = new_size,
					      .to = (uintptr_t)new_addr});
}

void policy_forget(void)
{
	policy_logged = 0;
}

void policy_fresh(uint64_t seed, unsigned int flags)
{
	struct apb_os os;

	policy_refuse = 0;
	fresh_sim(seed, flags);
	os = *simos_ops();
	os.unmap = unmap;
	os.purge = purge;
	os.remap = remap;
	assert_int_equal(apb_set_os(&os), 0);
	policy_options = (struct policy_options){
		.dirty_limit = APB_DIRTY_AUTO,
		.delay = APB_PURGE_DELAY_DEFAULT,
		.large_cache = APB_LARGE_CACHE_DEFAULT,
		.clock = !(flags & SIMOS_NO_CLOCK),
	};
	policy_forget();
	memset(&policy_done, 0, sizeof(policy_done));
}
