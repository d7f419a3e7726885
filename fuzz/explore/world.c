// SPDX-License-Identifier: MIT
/* The allocator as scenarios see it; see world.h. */
#include "world.h"

#include "content.h"
#include "heap/thread.h"
#include "locks.h"
#include "model.h"
#include "names.h"
#include "race.h"
#include "sched.h"
#include "simos.h"

#include <apb/apb.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>

/* A seed with which mappings are sometimes zero, sometimes not. */
#define SEED 5
#define SENTINEL 4711
#define EDGE CONTENT_EDGE

struct piece {
	uint8_t *ptr; /* NULL: none */
	size_t size, usable;
	uint64_t seed;
};

static struct {
	struct piece piece[WORLD_BLOCKS];
	unsigned int used; /* numbers from here on were never used */
	uint32_t gen;
	bool refuses;
	const struct apb_os *kernel;
} world;

/* Stands for all that the simulated kernel knows: it has no lock. */
static uint64_t kernel_state;

void world_expect(bool ok, const char *oracle, const char *what)
{
	if (!ok)
		sched_fail(oracle, "thread %u: %s", sched_self(), what);
}

/* ---- the kernel ------------------------------------------------------- */

static void enter_kernel(void)
{
	race_write((uintptr_t)&kernel_state, sizeof(kernel_state),
		   (uintptr_t)__builtin_return_address(0));
}

static void *map(void *ctx, void *hint, size_t size, bool *zero)
{
	void *p;

	enter_kernel();
	p = world.kernel->map(ctx, hint, size, zero);
	if (p)
		race_mapped((uintptr_t)p, size);
	return p;
}

static int unmap(void *ctx, void *addr, size_t size)
{
	enter_kernel();
	locks_expect_free_in((uintptr_t)addr, size);
	race_unmapped((uintptr_t)addr, size);
	return world.kernel->unmap(ctx, addr, size);
}

static int purge(void *ctx, void *addr, size_t size)
{
	enter_kernel();
	race_purged((uintptr_t)addr, size);
	return world.kernel->purge(ctx, addr, size);
}

static int remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		 void *to)
{
	int err;

	enter_kernel();
	err = world.kernel->remap(ctx, addr, old_size, new_size, to);
	if (err)
		return err;
	race_unmapped((uintptr_t)addr, old_size);
	race_mapped((uintptr_t)(to ? to : addr), new_size);
	return 0;
}

static uint64_t now(void *ctx)
{
	return world.kernel->now(ctx);
}

/* ---- blocks ----------------------------------------------------------- */

static void check_overlap(const struct piece *new)
{
	for (unsigned int i = 0; i < world.used; i++) {
		const struct piece *b = &world.piece[i];

		if (!b->ptr || new->ptr >= b->ptr + b->usable ||
		    b->ptr >= new->ptr + new->usable)
			continue;
		sched_fail("overlap",
			   "thread %u got %p, %zu bytes, which "
			   "overlaps block %u at %p",
			   sched_self(), (void *)new->ptr, new->usable, i,
			   (void *)b->ptr);
	}
}

/* The program touches the edges of a block at least. */
static void touch(const struct piece *b,
		  void (*how)(uintptr_t, size_t, uintptr_t))
{
	uintptr_t pc = (uintptr_t)__builtin_return_address(0);
	uintptr_t addr = (uintptr_t)b->ptr;

	if (b->size <= 2 * EDGE) {
		how(addr, b->size, pc);
		return;
	}
	how(addr, EDGE, pc);
	how(addr + b->size - EDGE, EDGE, pc);
}

static void fill(struct piece *b)
{
	b->seed = content_seed((uint32_t)(b - world.piece), ++world.gen);
	touch(b, race_write);
	if (b->size)
		content_write(b->ptr, b->size, b->seed, false);
}

static void verify(const struct piece *b, const uint8_t *at, size_t limit,
		   const char *when)
{
	size_t bad = CONTENT_OK;

	if (b->size)
		bad = content_check(at, b->size, b->seed, false, limit);
	if (bad != CONTENT_OK)
		sched_fail("content",
			   "block %d at %p, %zu bytes: byte %zu is "
			   "%#x, %s",
			   (int)(b - world.piece), (const void *)at, b->size,
			   bad, at[bad], when);
}

static struct piece *piece(unsigned int i)
{
	if (i >= WORLD_BLOCKS)
		sched_fail("limit", "there is no block %u", i);
	if (i >= world.used)
		world.used = i + 1;
	return &world.piece[i];
}

unsigned int world_new(void)
{
	return world.used < WORLD_BLOCKS ? world.used++ : WORLD_BLOCKS;
}

bool world_try(unsigned int i, size_t size)
{
	struct piece *b = piece(i), new = {.size = size};

	new.ptr = apb_malloc(size);
	if (!new.ptr)
		return false;
	new.usable = model_usable(model_class(size), size);
	if ((uintptr_t)new.ptr & 15)
		sched_fail("align", "%p", (void *)new.ptr);
	check_overlap(&new);
	*b = new;
	fill(b);
	return true;
}

void world_make(unsigned int i, size_t size)
{
	if (!world_try(i, size))
		sched_fail("null-without-cause",
			   "thread %u asked for %zu bytes", sched_self(), size);
}

void world_verify(unsigned int i)
{
	const struct piece *b = piece(i);

	if (!b->ptr)
		return;
	touch(b, race_read);
	verify(b, b->ptr, SIZE_MAX, "later");
}

void world_free(unsigned int i)
{
	struct piece *b = piece(i);
	void *ptr = b->ptr;

	if (!ptr)
		return;
	touch(b, race_write);
	verify(b, b->ptr, SIZE_MAX, "before its free");
	b->ptr = NULL;
	errno = SENTINEL;
	apb_free(ptr);
	if (errno != SENTINEL)
		sched_fail("errno", "free changed it to %d", errno);
}

void world_resize(unsigned int i, size_t size)
{
	struct piece *b = piece(i), old = *b, new = {.size = size};
	size_t keep = old.size < size ? old.size : size;

	if (!old.ptr)
		return;
	touch(b, race_write);
	verify(b, b->ptr, SIZE_MAX, "before its realloc");
	content_write(old.ptr, old.size, old.seed, false);
	b->ptr = NULL;
	new.ptr = apb_realloc(old.ptr, size);
	if (!new.ptr) {
		*b = old;
		return;
	}
	new.usable = model_usable(model_class(size), size);
	verify(b, new.ptr, keep, "after its realloc");
	check_overlap(&new);
	*b = new;
	fill(b);
}

void world_name(uintptr_t addr, char *buf, size_t len)
{
	for (unsigned int i = 0; i < world.used; i++) {
		const struct piece *b = &world.piece[i];

		if (!b->ptr || addr - (uintptr_t)b->ptr >= b->usable)
			continue;
		snprintf(buf, len, "block %u + %zu", i,
			 addr - (uintptr_t)b->ptr);
		return;
	}
	if (addr - (uintptr_t)&kernel_state < sizeof(kernel_state))
		snprintf(buf, len, "the kernel");
	else
		names_of(addr, buf, len);
}

/* ---- begin and end ---------------------------------------------------- */

static void on_misuse(const struct apb_misuse *m, void *arg)
{
	(void)arg;
	sched_fail("misuse-false", "thread %u, a correct call: %s",
		   sched_self(), m->text);
}

void world_refuse_maps(bool on)
{
	struct apb_fault fault = {
		.mode = APB_FAULT_FROM,
		.calls = 1u << APB_OS_MAP,
		.n = 1,
	};

	world.refuses = on;
	apb_fault_set(on ? &fault : NULL);
}

void world_begin(void)
{
	static struct apb_os os;

	sched_name = world_name;
	memset(world.piece, 0, world.used * sizeof(world.piece[0]));
	world.used = 0;
	world.gen = 0;
	world.refuses = false;
	if (simos_reset(SEED, 0)) {
		perror("apb-explore: simulated kernel");
		_Exit(2);
	}
	world.kernel = simos_ops();
	os = *world.kernel;
	os.map = map;
	os.unmap = unmap;
	os.purge = purge;
	os.remap = remap;
	os.now = now;
	race_watch(SIMOS_BASE, SIMOS_SPACE);
	/* locks are taken */
	__libc_single_threaded = 0;
	if (apb_set_os(&os))
		sched_fail("leak-mapping", "memory is mapped at the begin");
	apb_set_misuse(on_misuse, NULL);
}

static void check(const char *when)
{
	struct apb_violation v = {.invariant = "?"};
	const char *violation = simos_violation();

	if (apb_check(&v))
		sched_fail("check", "%s, %s", v.text, when);
	if (violation)
		sched_fail("os-violation", "%s", violation);
}

static void check_accounts(void)
{
	size_t used = 0, large = 0, large_bytes = 0;
	struct apb_stats stats;

	for (unsigned int i = 0; i < world.used; i++) {
		const struct piece *b = &world.piece[i];

		if (!b->ptr)
			continue;
		if (b->size > MODEL_MAX_POOLED) {
			large++;
			large_bytes += b->usable;
		} else {
			used += b->usable;
		}
	}
	apb_stats(&stats);
	if (stats.used_bytes != used || stats.large != large ||
	    stats.large_bytes != large_bytes)
		sched_fail("accounting",
			   "%zu bytes and %zu large blocks (%zu bytes) in use, "
			   "not %zu and %zu (%zu)",
			   stats.used_bytes, stats.large, stats.large_bytes,
			   used, large, large_bytes);
}

static void check_given_back(void)
{
	struct apb_stats stats;
	struct simos_stats kernel;

	apb_stats(&stats);
	simos_stats(&kernel);
	if (stats.mapped_bytes || kernel.mapped)
		sched_fail("leak-mapping",
			   "%zu bytes are mapped (says the kernel: %zu; %zu "
			   "arenas, %zu heaps) when all is freed and trimmed",
			   stats.mapped_bytes, kernel.mapped, stats.arenas,
			   stats.heaps);
}

void world_end(unsigned int nr)
{
	/* nobody else runs: all heaps can be looked into */
	__libc_single_threaded = 1;
	world_refuse_maps(false);
	check("after the threads");
	check_accounts();
	for (unsigned int i = 0; i < world.used; i++) {
		sched_play(i % nr);
		world_free(i);
	}
	for (unsigned int t = 0; t < SCHED_THREADS; t++) {
		sched_play(t);
		apb_thread_end();
	}
	sched_play(SCHED_NOBODY);
	check("when all is freed");
	check_accounts();
	apb_trim();
	check("after a trim");
	check_given_back();
	if (apb_reset())
		sched_fail("reset", "failed with errno %d", errno);
}

/* ---- the first time --------------------------------------------------- */

/* No threads: what is wrong with those is to be found later. */
static void first_begin(void)
{
	world_begin();
	sched_play(0);
	world_make(0, 1);
	world_make(1, MODEL_MAX_POOLED + 1);
}

static void nothing(unsigned int t)
{
	(void)t;
}

static void first_end(void)
{
	world_end(1);
}

static unsigned int by_default(void *arg, const struct moment *m)
{
	(void)arg;
	return sched_default(m);
}

void world_warm_up(void)
{
	static const struct program first = {
		.name = "warm-up",
		.nr = 1,
		.begin = first_begin,
		.thread = nothing,
		.end = first_end,
	};

	sched_run(&first, by_default, NULL);
}
