// SPDX-License-Identifier: MIT
/* Data races; see race.h. */
#include "race.h"

#include "coro.h"
#include "objects.h"
#include "report.h"
#include "shadow.h"

#include <stdio.h>
#include <string.h>

#define ACQUIRE 1u
#define RELEASE 2u

static struct {
	struct clock now[SCHED_THREADS];
	/* what a fence may make of relaxed operations before and after it */
	struct clock seen[SCHED_THREADS];
	struct clock fenced[SCHED_THREADS];
	/* what is published with the value of an atomic, or with a lock */
	struct clock sync[OBJECTS_MAX];
	unsigned int synced; /* so many of these are set up */
} race;

/* Pages of the watched range that are mapped. */
#define PAGE_SHIFT 12
#define WATCH_PAGES 65536u
static struct {
	uintptr_t base;
	size_t size;
	uint64_t mapped[WATCH_PAGES / 64];
} watch;

static void join(struct clock *a, const struct clock *b)
{
	for (unsigned int t = 0; t < SCHED_THREADS; t++)
		if (b->at[t] > a->at[t])
			a->at[t] = b->at[t];
}

static struct clock *sync_of(unsigned int id)
{
	for (; race.synced <= id; race.synced++)
		race.sync[race.synced] = (struct clock){{0}};
	return &race.sync[id];
}

void race_begin(unsigned int nr)
{
	memset(race.now, 0, sizeof(race.now));
	memset(race.seen, 0, sizeof(race.seen));
	memset(race.fenced, 0, sizeof(race.fenced));
	race.synced = 0;
	for (unsigned int t = 0; t < nr; t++)
		race.now[t].at[t] = 1;
	shadow_reset();
}

/* ---- telling ---------------------------------------------------------- */

static const char *words(unsigned int flags)
{
	switch (flags & (SHADOW_WRITE | SHADOW_ATOMIC)) {
	case SHADOW_WRITE:
		return "write";
	case SHADOW_ATOMIC:
		return "atomic read";
	case SHADOW_WRITE | SHADOW_ATOMIC:
		return "atomic write";
	default:
		return "read";
	}
}

static void name(uintptr_t addr, char *buf, size_t len)
{
	snprintf(buf, len, "%#lx", (unsigned long)addr);
	if (sched_name)
		sched_name(addr, buf, len);
}

static void tell(uintptr_t addr, const struct shadow_access *now,
		 const struct shadow_access *before)
{
	char text[REPORT_NAME];

	name(addr, text, sizeof(text));
	if (report) {
		report->pc[0] = now->pc;
		report->pc[1] = before->pc;
	}
	sched_fail("race",
		   "%s: %s by thread %u, which does not happen after a %s by "
		   "thread %u",
		   text, words(now->flags), now->thread, words(before->flags),
		   before->thread);
}

/* ---- accesses --------------------------------------------------------- */

static bool is_mapped(uintptr_t addr)
{
	uintptr_t page = (addr - watch.base) >> PAGE_SHIFT;

	return watch.mapped[page / 64] >> page % 64 & 1;
}

static void expect_mapped(uintptr_t addr, size_t size, uintptr_t pc)
{
	char text[REPORT_NAME];

	if (is_mapped(addr) && is_mapped(addr + size - 1))
		return;
	name(addr, text, sizeof(text));
	if (report)
		report->pc[0] = pc;
	sched_fail("unmapped",
		   "%s: thread %u accesses memory that is not "
		   "mapped",
		   text, sched_self());
}

static void touch(uintptr_t addr, size_t size, uintptr_t pc, unsigned int flags)
{
	unsigned int t = sched_self();
	struct shadow_access now = {
		.clock = race.now[t].at[t],
		.pc = (uint32_t)pc,
		.thread = (uint8_t)t,
		.flags = (uint8_t)flags,
	};
	const struct shadow_access *before;

	if (addr - watch.base < watch.size)
		expect_mapped(addr, size, pc);
	else if (coro_private(addr))
		return;
	while (size) {
		unsigned int at = addr & 7u, n = 8u - at;

		if (n > size)
			n = (unsigned int)size;
		now.mask = (uint8_t)((1u << n) - 1) << at;
		before = shadow_note(addr - at, &now, race.now[t].at);
		if (before)
			tell(addr, &now, before);
		addr += n;
		size -= n;
	}
}

void race_read(uintptr_t addr, size_t size, uintptr_t pc)
{
	if (sched_running() && size)
		touch(addr, size, pc, 0);
}

void race_write(uintptr_t addr, size_t size, uintptr_t pc)
{
	if (sched_running() && size)
		touch(addr, size, pc, SHADOW_WRITE);
}

/* ---- what orders them ------------------------------------------------- */

static unsigned int effect(unsigned int order)
{
	switch (order) {
	case __ATOMIC_RELAXED:
		return 0;
	case __ATOMIC_CONSUME:
	case __ATOMIC_ACQUIRE:
		return ACQUIRE;
	case __ATOMIC_RELEASE:
		return RELEASE;
	default:
		return ACQUIRE | RELEASE;
	}
}

/* What the thread does from now on is not yet published. */
static void tick(unsigned int t)
{
	race.now[t].at[t]++;
}

void race_atomic(const struct access *a, bool stores)
{
	unsigned int t = sched_self(), what = effect(a->order);
	struct clock *sync;

	if (!sched_running())
		return;
	sync = sync_of(a->id);
	touch(a->addr, a->size, a->pc,
	      SHADOW_ATOMIC | (stores ? SHADOW_WRITE : 0));
	if (a->kind != ACCESS_STORE) {
		join(&race.seen[t], sync);
		if (what & ACQUIRE)
			join(&race.now[t], sync);
	}
	if (!stores)
		return;
	/* a plain store ends the release sequence, an RMW goes on with it */
	if (a->kind == ACCESS_STORE)
		*sync = (struct clock){{0}};
	join(sync, what & RELEASE ? &race.now[t] : &race.fenced[t]);
	if (what & RELEASE)
		tick(t);
}

void race_fence(unsigned int order)
{
	unsigned int t = sched_self(), what = effect(order);

	if (!sched_running())
		return;
	if (what & ACQUIRE)
		join(&race.now[t], &race.seen[t]);
	if (what & RELEASE) {
		race.fenced[t] = race.now[t];
		tick(t);
	}
}

void race_mutex(const struct access *a)
{
	if (sched_running())
		touch(a->addr, 8, a->pc, SHADOW_ATOMIC | SHADOW_WRITE);
}

void race_locked(unsigned int id)
{
	if (sched_running())
		join(&race.now[sched_self()], sync_of(id));
}

void race_unlocking(unsigned int id)
{
	if (!sched_running())
		return;
	*sync_of(id) = race.now[sched_self()];
	tick(sched_self());
}

/* ---- mappings --------------------------------------------------------- */

void race_watch(uintptr_t base, size_t size)
{
	watch.base = base;
	watch.size = size;
	memset(watch.mapped, 0, sizeof(watch.mapped));
}

static void set_mapped(uintptr_t addr, size_t size, bool mapped)
{
	uintptr_t page = (addr - watch.base) >> PAGE_SHIFT;
	uintptr_t end = (addr + size - watch.base) >> PAGE_SHIFT;

	for (; page < end && page < WATCH_PAGES; page++) {
		uint64_t bit = UINT64_C(1) << page % 64;

		if (mapped)
			watch.mapped[page / 64] |= bit;
		else
			watch.mapped[page / 64] &= ~bit;
	}
}

void race_mapped(uintptr_t addr, size_t size)
{
	set_mapped(addr, size, true);
}

void race_purged(uintptr_t addr, size_t size)
{
	unsigned int t = sched_self();
	struct shadow_access now = {
		.mask = UINT8_MAX,
		.thread = (uint8_t)t,
		.flags = SHADOW_WRITE,
	};
	const struct shadow_access *before;
	uintptr_t at;

	if (!sched_running())
		return;
	now.clock = race.now[t].at[t];
	now.pc = (uint32_t)(uintptr_t)__builtin_return_address(0);
	before = shadow_range(addr, size, &now, race.now[t].at, &at);
	if (before)
		tell(at, &now, before);
}

void race_unmapped(uintptr_t addr, size_t size)
{
	race_purged(addr, size);
	set_mapped(addr, size, false);
}
