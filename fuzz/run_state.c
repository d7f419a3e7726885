// SPDX-License-Identifier: MIT
/*
 * The allocator as a whole against the model and the simulated kernel: what it
 * says it holds, and that it gives everything back.
 */
#include "runner.h"

#include "feedback.h"
#include "simos.h"

#include <errno.h>
#include <string.h>

#define ARENA ((size_t)1 << 20)
#define HEAP_BYTES ((size_t)12288)
#define SMALL_POOL ((size_t)16 << 10)
#define SENTINEL 4711

void run_self_check(struct run *r)
{
	struct apb_violation v = {.invariant = "?"};

	if (!r->failed && r->api->check(&v))
		run_fail(r, "check", "%s: %s", v.invariant, v.text);
}

static struct simos_stats kernel_stats(void)
{
	struct simos_stats stats;

	simos_stats(&stats);
	return stats;
}

/* ---- statistics ------------------------------------------------------- */

static void check_classes(struct run *r, const struct apb_stats *s)
{
	for (unsigned int c = 1; c <= OPS_CLASSES; c++) {
		const struct apb_class_stats *cs = &s->class_[c - 1];

		if (cs->size != ops_class_size(c)) {
			run_fail(r, "accounting",
				 "class %u has %zu bytes, not %zu", c, cs->size,
				 ops_class_size(c));
			return;
		}
		if (cs->used != r->model.class_used[c]) {
			run_fail(r, "accounting",
				 "class %zu: %zu blocks used, not %zu",
				 cs->size, cs->used, r->model.class_used[c]);
			return;
		}
	}
}

static void check_live(struct run *r, const struct apb_stats *s)
{
	const struct model *m = &r->model;

	check_classes(r, s);
	if (s->used_bytes != m->used_bytes)
		run_fail(r, "accounting", "%zu bytes used, not %zu",
			 s->used_bytes, m->used_bytes);
	if (s->large != m->large || s->large_bytes != m->large_bytes)
		run_fail(r, "accounting",
			 "%zu large blocks of %zu bytes, not %zu of %zu",
			 s->large, s->large_bytes, m->large, m->large_bytes);
}

static void check_conservation(struct run *r, const struct apb_stats *s)
{
	size_t sum = s->used_bytes + s->avail_bytes + s->unused_pool_bytes +
		     s->header_bytes + s->quant_bytes + s->align_bytes;
	size_t unused = 0, avail = 0;

	if (sum != s->arenas * s->arena_bytes || s->arena_bytes != ARENA)
		run_fail(r, "conservation",
			 "%zu used + %zu available + %zu unused + %zu headers "
			 "+ %zu quantization + %zu alignment is not %zu arenas",
			 s->used_bytes, s->avail_bytes, s->unused_pool_bytes,
			 s->header_bytes, s->quant_bytes, s->align_bytes,
			 s->arenas);
	if (s->arenas_total - s->arenas_reclaimed != s->arenas ||
	    s->arenas > s->arenas_highwater ||
	    s->arenas_highwater > s->arenas_total || s->spares > s->arenas)
		run_fail(r, "conservation",
			 "%zu arenas - %zu reclaimed, highwater %zu, now %zu, "
			 "%zu spares",
			 s->arenas_total, s->arenas_reclaimed,
			 s->arenas_highwater, s->arenas, s->spares);
	for (unsigned int i = 0; i < APB_NR_POOL_SIZES; i++)
		unused += s->unused_pools[i].nr * s->unused_pools[i].size;
	for (unsigned int i = 0; i < APB_NR_CLASSES; i++)
		avail += s->class_[i].avail * s->class_[i].size;
	if (unused != s->unused_pool_bytes || avail != s->avail_bytes)
		run_fail(r, "conservation",
			 "%zu bytes in unused pools, not %zu; %zu available, "
			 "not %zu",
			 s->unused_pool_bytes, unused, s->avail_bytes, avail);
	if (s->dirty_bytes > s->unused_pool_bytes)
		run_fail(r, "conservation", "%zu dirty of %zu unused bytes",
			 s->dirty_bytes, s->unused_pool_bytes);
}

static void check_mapped(struct run *r, const struct apb_stats *s)
{
	size_t sum = s->arenas * s->arena_bytes + s->large_bytes +
		     s->large_slack_bytes + s->large_cached_bytes +
		     s->map_bytes + s->heap_bytes + s->slop_bytes;

	if (s->mapped_bytes != sum)
		run_fail(r, "mapped",
			 "%zu bytes mapped, but %zu in arenas, large blocks, "
			 "slack behind them, cache, map, heaps and slop",
			 s->mapped_bytes, sum);
	if (!r->real && s->mapped_bytes != kernel_stats().mapped)
		run_fail(r, "mapped", "%zu bytes mapped, the kernel says %zu",
			 s->mapped_bytes, kernel_stats().mapped);
	if (s->mapped_bytes > s->mapped_highwater)
		run_fail(r, "mapped", "%zu bytes mapped, highwater %zu",
			 s->mapped_bytes, s->mapped_highwater);
	if (!r->real && !r->was_reset &&
	    s->mapped_highwater != kernel_stats().mapped_highwater)
		run_fail(r, "mapped", "highwater %zu, the kernel says %zu",
			 s->mapped_highwater, kernel_stats().mapped_highwater);
}

/* Calls of the system are counted when they are made, and as they end. */
static void check_calls(struct run *r, const struct apb_stats *s)
{
	uint64_t purges = r->watch.purges - r->old_purges, failures;
	struct failures f;

	if (r->real)
		return;
	run_failures(r, &f);
	failures = f.n[APB_OS_UNMAP] + r->layer_unmap_failures -
		   r->old_unmap_failures;
	if (s->purges != purges || s->unmap_failures != failures)
		run_fail(r, "accounting",
			 "%lu purges, not %lu; %lu failed unmaps, not %lu",
			 (unsigned long)s->purges, (unsigned long)purges,
			 (unsigned long)s->unmap_failures,
			 (unsigned long)failures);
}

/* ---- memory retained -------------------------------------------------- */

/* What is learnt may add so much, and a quarter of what is in use. */
#define LEARNT_MAX ((size_t)64 << 20)

/* The bound on dirty bytes is what the options make it. */
static void check_dirty_limit(struct run *r, const struct apb_stats *s)
{
	size_t option = r->option[OPTION_DIRTY], pools = 0, least, most;

	for (unsigned int i = 0; i < APB_NR_CLASSES; i++)
		pools += s->class_[i].pools * s->class_[i].pool_size;
	least = most = option;
	if (option == OPS_AUTO) {
		least = ARENA + pools / 128;
		most = least + LEARNT_MAX + pools / 4;
	}
	if (!r->option[OPTION_PURGE_DELAY])
		least = most = 0;
	if (s->dirty_limit < least || s->dirty_limit > most)
		run_fail(r, "dirty", "the limit is %zu, not from %zu to %zu",
			 s->dirty_limit, least, most);
}

/*
 * At any time: what is dirty is within its bound.  A spare arena is there for
 * its dirty pools only, the last one emptied at least.
 */
static void check_dirty(struct run *r, const struct apb_stats *s)
{
	check_dirty_limit(r, s);
	if (!r->unpurged && s->dirty_bytes > s->dirty_limit)
		run_fail(r, "dirty",
			 "%zu bytes of empty pools unpurged, the limit is %zu",
			 s->dirty_bytes, s->dirty_limit);
	if (!r->kept && s->spares * SMALL_POOL > s->dirty_bytes)
		run_fail(r, "leak-arena",
			 "%zu spare arenas, but %zu dirty bytes only",
			 s->spares, s->dirty_bytes);
}

/*
 * The cache of large mappings is within its bound; what is mapped behind live
 * blocks at most 5/4 of what they have: twice a step of an eighth.
 */
static void check_large(struct run *r, const struct apb_stats *s)
{
	size_t cache = r->option[OPTION_LARGE_CACHE];

	if (!r->option[OPTION_PURGE_DELAY])
		cache = 0;
	if (s->large_cached_bytes > cache ||
	    s->large_cached * MODEL_PAGE > s->large_cached_bytes)
		run_fail(r, "large-cache", "%zu mappings, %zu bytes of %zu",
			 s->large_cached, s->large_cached_bytes, cache);
	if (s->large_slack_bytes * 4 > s->large_bytes * 5)
		run_fail(r, "large-cache", "%zu bytes of slack behind %zu",
			 s->large_slack_bytes, s->large_bytes);
}

static void read_stats(struct run *r, struct apb_stats *s)
{
	if (r->failed)
		return;
	r->api->stats(s);
	check_live(r, s);
	check_conservation(r, s);
	check_mapped(r, s);
	check_calls(r, s);
	check_dirty(r, s);
	check_large(r, s);
	if (s->recovered < r->recovered)
		run_fail(r, "accounting", "recovered went from %lu to %lu",
			 (unsigned long)r->recovered,
			 (unsigned long)s->recovered);
	r->recovered = s->recovered;
	feedback_stats(s, r->model.live);
}

void run_check(struct run *r)
{
	struct apb_stats stats;

	run_self_check(r);
	read_stats(r, &stats);
}

/* ---- memory given back ------------------------------------------------ */

void run_settle(struct run *r)
{
	errno = SENTINEL;
	r->api->settle();
}

/* How many calls of the kinds that give memory back have failed. */
static uint64_t refusals(const struct run *r)
{
	struct failures f;

	run_failures(r, &f);
	return f.n[APB_OS_UNMAP] + f.n[APB_OS_PURGE];
}

static void trim(struct run *r)
{
	size_t before = r->real ? 0 : kernel_stats().mapped, after, got;
	uint64_t refused = refusals(r), purged = r->watch.purged;
	/* the running thread keeps its heap, if that is not the static one */
	size_t own = r->head.threads > 1 && !r->phase ? HEAP_BYTES : 0;
	struct apb_stats stats;

	got = r->api->trim();
	run_note(r, " = %zu bytes", got);
	after = r->real ? 0 : kernel_stats().mapped;
	purged = r->watch.purged - purged;
	/* whatever was refused: that is not given back */
	if (!r->real && (after > before || got < before - after ||
			 got > before - after + purged))
		run_fail(r, "trim",
			 "says %zu bytes, but mapped went from %zu to %zu, and "
			 "%zu bytes were purged",
			 got, before, after, (size_t)purged);
	if (refusals(r) != refused)
		return;
	/* nothing was refused, so what was refused before is back as well */
	r->kept = false;
	r->unpurged = false;
	if (!r->real && !r->model.live && run_alone(r) && after > own)
		run_fail(r, "leak-mapping",
			 "%zu bytes mapped, no block is live, after a trim",
			 after);
	/* at the end there is little that statistics could say: now and then */
	if (r->phase && !r->real && r->head.seed % 4)
		return;
	read_stats(r, &stats);
	if (r->failed)
		return;
	if (stats.spares || stats.dirty_bytes || stats.slop_bytes ||
	    stats.large_cached_bytes)
		run_fail(r, "trim",
			 "left %zu spares, %zu dirty, %zu slop, and %zu cached "
			 "bytes",
			 stats.spares, stats.dirty_bytes, stats.slop_bytes,
			 stats.large_cached_bytes);
	if (!r->model.live && run_alone(r) && stats.mapped_bytes > own)
		run_fail(r, "leak-mapping",
			 "%zu bytes mapped, no block is live, after a trim",
			 stats.mapped_bytes);
}

void run_trim(struct run *r)
{
	trim(r);
}

/* ---- reset and end ---------------------------------------------------- */

static void reset(struct run *r)
{
	uint64_t refused = r->watch.failed[APB_OS_UNMAP];
	size_t mapped;
	int err;

	/* the heaps of others would stay */
	run_end_others(r);
	if (r->failed)
		return;
	r->freed.ptr = 0;
	run_freed_reset(r);
	model_reset(&r->model);
	err = r->api->reset();
	/* it disarms the allocator's faults */
	r->armed[LAYER_ALLOCATOR] = false;
	r->left[LAYER_ALLOCATOR] = 0;
	r->recovered = 0;
	r->kept = false;
	r->unpurged = false;
	r->was_reset = true;
	r->old_purges = r->watch.purges;
	r->old_unmap_failures = r->watch.failed[APB_OS_UNMAP];
	r->layer_unmap_failures = 0;
	mapped = r->real ? 0 : kernel_stats().mapped;
	if (err && r->watch.failed[APB_OS_UNMAP] == refused)
		run_fail(r, "reset", "failed with errno %d", errno);
	else if (!r->real && (err != 0) != (mapped != 0))
		run_fail(r, "leak-mapping", "reset returned %d, %zu mapped",
			 err, mapped);
	if (!err || r->real)
		return;
	/* what it could not unmap is forgotten: so does the kernel */
	simos_reset(r->head.seed,
		    r->head.sim_flags | (r->opt->fill ? SIMOS_FILL : 0));
	r->armed[LAYER_KERNEL] = false;
	r->left[LAYER_KERNEL] = 0;
}

void run_reset(struct run *r)
{
	struct apb_stats stats;

	reset(r);
	if (r->failed)
		return;
	read_stats(r, &stats);
	if (!r->failed && (stats.arenas_total || stats.settles || stats.purges))
		run_fail(r, "reset", "statistics did not start anew");
}

/*
 * Everything is freed and settled: what stays is retained, within the bounds
 * that the statistics are held to; every arena is a spare.  So look at them,
 * unless so little is mapped that they would not matter.
 */
static void check_drained(struct run *r)
{
	struct apb_stats stats;

	/* heaps that were given up may have blocks waiting for a trim */
	if (r->failed || r->kept || r->head.threads > 1)
		return;
	if (!r->real && kernel_stats().mapped < ARENA)
		return;
	read_stats(r, &stats);
	if (!r->failed && stats.arenas != stats.spares)
		run_fail(r, "leak-arena",
			 "%zu arenas, %zu of them spare, when all is freed and "
			 "settled",
			 stats.arenas, stats.spares);
}

/*
 * The order in which the blocks go is the input's, too; and who frees them: all
 * threads, whoever made them, or one, when the others have ended.
 */
static void free_all(struct run *r)
{
	struct model *m = &r->model;
	bool in_turn = r->head.seed & 2;

	if (!in_turn)
		run_end_others(r);
	while (m->live && !r->failed) {
		size_t at = r->head.seed & 1 ? 0 : m->live - 1;
		unsigned int slot = m->blocks[at].slot;

		if (in_turn)
			run_switch(r, slot % r->head.threads);
		run_free_slot(r, slot, OP_FREE);
	}
	run_end_others(r);
	if (r->head.threads > 1 && !r->failed)
		run_thread_end(r);
}

void run_end(struct run *r)
{
	const char *violation;
	struct apb_stats stats;
	struct failures before;

	r->reports = 0;
	run_failures(r, &before);
	/*
	 * A look at everything takes as long as 64 operations do: some inputs
	 * end with one before the frees, some with one after them.
	 */
	if (r->head.seed % 8 == 3)
		run_self_check(r);
	read_stats(r, &stats);
	free_all(r);
	if (r->failed)
		return;
	if (r->head.seed % 8 == 6)
		run_scribble_all(r);
	run_settle(r);
	if (r->head.seed % 8 == 5)
		run_self_check(r);
	run_learn_failures(r, &before);
	check_drained(r);
	if (!r->failed)
		trim(r);
	if (r->failed)
		return;
	reset(r);
	if (r->reports)
		run_fail(r, "misuse-false",
			 "a correct free was reported as misuse of kind %d, %p",
			 (int)r->report.kind, r->report.ptr);
	violation = r->real ? NULL : simos_violation();
	if (violation)
		run_fail(r, "os-violation", "%s", violation);
}
