// SPDX-License-Identifier: MIT
/*
 * What was found, as assertions: about the last call's result, or about the
 * allocator as a whole.  They say what the oracle of that name says (run_*.c);
 * numbers that an oracle holds results to are in the finding's detail.
 */
#include "emitter.h"

#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_BYTES 12288
#define SENTINEL 4711
#define CONTENT_MAX 64 /* blocks that are looked at for good measure */

static bool is(const struct emit *e, const char *oracle)
{
	const struct run_finding *f = e->o->finding;

	return f && !strncmp(f->oracle, oracle, strlen(oracle));
}

/* Whether the detail has these words in it. */
static bool says(const struct emit *e, const char *words)
{
	const struct run_finding *f = e->o->finding;

	return f && strstr(f->detail, words);
}

/* The number behind the words; 0 if there is none. */
static unsigned long long number_after(const struct emit *e, const char *words)
{
	const char *at = strstr(e->o->finding->detail, words);

	return at ? strtoull(at + strlen(words), NULL, 0) : 0;
}

static bool at_end(const struct emit *e)
{
	return e->t->ended;
}

static void read_stats(struct emit *e)
{
	need(e, PART_STATS);
	line(e, "apb_stats(&s);");
}

/* ---- before the last call --------------------------------------------- */

void oracle_before(struct emit *e, const struct call *c)
{
	enum trace_kind kind = c->event->kind;

	if (e->o->plain) {
		if (is(e, "errno"))
			line(e, "errno = %s;",
			     kind <= TRACE_ALIGNED ? "0" : "4711");
		return;
	}
	if (is(e, "errno"))
		line(e, "errno = %d;", kind <= TRACE_ALIGNED ? 0 : SENTINEL);
	if (is(e, "misuse-false") && e->misuse) {
		need(e, PART_REPORTS);
		line(e, "reports = 0;");
	}
	if (is(e, "trim") || is(e, "misuse-effect") ||
	    is(e, "fault-unreported") || is(e, "null-without-cause") ||
	    (is(e, "accounting") && says(e, "recovered"))) {
		need(e, PART_BEFORE);
		line(e, "apb_stats(&before);");
	}
}

/* ---- after an allocation ---------------------------------------------- */

static void after_refusal(struct emit *e, const struct trace_event *v)
{
	int refuse;
	size_t size = wanted(v, &refuse);

	if (says(e, "no OS call failed") || e->o->plain) {
		line(e, "assert(p[%u]); /* nothing was refused to it */",
		     v->block);
		return;
	}
	line(e, "if (!p[%u]) { /* then there is nothing left */", v->block);
	line(e, "\tapb_stats(&before);");
	if (!says(e, "arenas spare") && !says(e, "are cached"))
		need(e, PART_STATS);
	if (says(e, "arenas spare"))
		line(e,
		     "\tassert(!before.spares);\n"
		     "\t\tfor (int i = 0; i < APB_NR_POOL_SIZES; i++)\n"
		     "\t\t\tassert(before.unused_pools[i].size != %zu ||\n"
		     "\t\t\t       !before.unused_pools[i].nr);",
		     size <= 1024 ? (size_t)16384 :
		     size <= 8192 ? (size_t)65536 :
				    (size_t)131072);
	else if (says(e, "are cached"))
		line(e, "\tassert(!before.large_cached);");
	else
		line(e, "\tapb_settle();\n\t\tapb_stats(&s);\n"
			"\t\tassert(s.settled == before.settled);");
	line(e, "}");
}

/* Print @fmt for the block that is in the way of a new one, if it is known. */
static size_t suspects(struct emit *e, const char *fmt,
		       const struct trace_event *v)
{
	if (e->t->suspect != TRACE_NONE && e->t->suspect != v->block) {
		line(e, "apart(%u, %u);", v->block, e->t->suspect);
		return 1;
	}
	return each_live(e, fmt, v->ref == REF_BLOCK ? v->old : TRACE_NONE);
}

/* The model has not taken it in: nothing is written there yet. */
static void after_alloc(struct emit *e, const struct trace_event *v)
{
	int refuse;
	size_t size = wanted(v, &refuse), usable;
	unsigned int k = v->block, cls;

	cls = refuse		       ? 1 :
	      v->kind == TRACE_ALIGNED ? model_class_aligned(v->align, size) :
					 model_class(size);
	usable = model_usable(cls, size);
	if (is(e, "null-without-cause")) {
		after_refusal(e, v);
	} else if (is(e, "fault-unreported")) {
		need(e, PART_STATS);
		line(e,
		     "assert(!p[%u] || !failures(APB_OS_MAP) ||\n"
		     "\t       recovered() > before.recovered);",
		     k);
	} else if (is(e, "must-fail")) {
		line(e, "assert(!p[%u]);", k);
	} else if (is(e, "errno")) {
		line(e, "assert(!p[%u] && errno == %s);", k,
		     refuse == EINVAL ? "EINVAL" : "ENOMEM");
	} else if (is(e, "align")) {
		line(e, "assert(p[%u] && (uintptr_t)p[%u] %% %zu == 0);", k, k,
		     v->kind == TRACE_ALIGNED && v->align > 16 ? v->align : 16);
	} else if (is(e, "unmapped")) {
		line(e, "assert(p[%u]);", k);
		line(e, "memset(p[%u], 1, %zu); /* not all of it is mapped */",
		     k, usable);
	} else if (is(e, "usable")) {
		line(e, "assert(%s(p[%u]) %s %zu);",
		     e->o->plain ? "malloc_usable_size" : "apb_usable_size", k,
		     e->o->plain ? ">=" : "==", e->o->plain ? size : usable);
	} else if (is(e, "realloc-inplace")) {
		line(e, "assert(p[%u] %s p[%u]);", k,
		     says(e, "is the same") ? "==" : "!=", v->old);
	} else if (is(e, "junk")) {
		line(e,
		     "for (size_t i = 0; i < %zu; i++)\n"
		     "\t\tassert(p[%u][i] == (char)0xa5);",
		     size, k);
	} else if (is(e, "overlap")) {
		char fmt[64];
		enum part apart = e->o->plain ? PART_APART_PLAIN : PART_APART;

		snprintf(fmt, sizeof(fmt), "apart(%u, %%s);", k);
		line(e, "assert(p[%u]);", k);
		if (suspects(e, fmt, v))
			need(e, apart);
	}
}

/* The oracles after which what is always done with a new block would be wrong */
static const char *const own_words[] = {
	"null-without-cause",
	"fault-unreported",
	"must-fail",
	"errno",
	"align",
	"unmapped",
	"usable",
	"overlap",
	"realloc-inplace",
	"junk",
};

/* ---- after other calls ------------------------------------------------ */

static bool after_trim(struct emit *e)
{
	if (!is(e, "trim"))
		return false;
	need(e, PART_BEFORE);
	if (is_scripted(e)) {
		line(e, "size_t mapped = kernel_mapped, purged = "
			"kernel_purged;");
		line(e, "size_t got = apb_trim();");
		line(e, "mapped -= kernel_mapped;");
		line(e, "purged = kernel_purged - purged;");
		line(e, "assert(got >= mapped && got <= mapped + purged);");
	} else {
		line(e, "size_t got = apb_trim();");
		read_stats(e);
		line(e, "assert(got >= before.mapped_bytes - s.mapped_bytes);");
	}
	if (says(e, "left")) {
		read_stats(e);
		line(e, "assert(!s.spares && !s.dirty_bytes && "
			"!s.slop_bytes &&\n"
			"\t       !s.large_cached_bytes);");
	}
	return true;
}

bool oracle_after(struct emit *e, const struct call *c)
{
	const struct trace_event *v = c->event;

	if (v->kind <= TRACE_ALIGNED && !v->misuse && v->done) {
		for (size_t i = 0; i < sizeof(own_words) / sizeof(*own_words);
		     i++) {
			if (!is(e, own_words[i]))
				continue;
			after_alloc(e, v);
			return true;
		}
		return false;
	}
	if (v->kind == TRACE_TRIM)
		return after_trim(e);
	if (is(e, "errno"))
		line(e, "assert(errno == %s);",
		     v->misuse && v->kind <= TRACE_ALIGNED ? "EINVAL" : "4711");
	if (is(e, "misuse-wrong") && says(e, "right are"))
		line(e, "assert(1u << report_kind & %#llx);",
		     number_after(e, "right are "));
	if (is(e, "misuse-effect")) {
		read_stats(e);
		line(e, "assert(!memcmp(&before, &s, sizeof(s)));");
	}
	return false;
}

/* ---- in the end ------------------------------------------------------- */

/* The statistics may have started anew since, and what is armed, too. */
static void end_calls(struct emit *e)
{
	line(e, "struct apb_fault_stats failed;");
	line(e, "apb_fault_get(&failed);");
	line(e, "assert(s.unmap_failures >= failed.failed[APB_OS_UNMAP]);");
	if (is_scripted(e))
		line(e, "assert(s.purges <= kernel_purges);");
}

static void end_accounting(struct emit *e)
{
	size_t used[OPS_CLASSES + 1] = {0}, bytes = 0, large = 0, of_large = 0;

	for (uint32_t i = 0; i < e->t->blocks; i++) {
		const struct made *m = &e->made[i];

		if (!m->live)
			continue;
		used[m->cls]++;
		if (m->cls == MODEL_LARGE) {
			large++;
			of_large += m->usable;
		} else {
			bytes += m->usable;
		}
	}
	read_stats(e);
	if (says(e, "recovered")) {
		need(e, PART_BEFORE);
		line(e, "assert(s.recovered == before.recovered);");
		return;
	}
	if (says(e, "failed unmaps")) {
		end_calls(e);
		return;
	}
	line(e, "assert(s.used_bytes == %zu);", bytes);
	line(e, "assert(s.large == %zu && s.large_bytes == %zu);", large,
	     of_large);
	for (unsigned int c = 1; c <= OPS_CLASSES; c++)
		if (used[c])
			line(e, "assert(s.class_[%u].used == %zu);", c - 1,
			     used[c]);
	line(e, "for (int i = 0; i < APB_NR_CLASSES; i++)\n"
		"\t\ts.used_bytes -= s.class_[i].used * s.class_[i].size;\n"
		"\tassert(!s.used_bytes);");
}

static void end_conservation(struct emit *e)
{
	read_stats(e);
	line(e, "assert(s.used_bytes + s.avail_bytes + s.unused_pool_bytes +\n"
		"\t       s.header_bytes + s.quant_bytes + s.align_bytes ==\n"
		"\t       s.arenas * s.arena_bytes);");
	line(e, "assert(s.arenas_total - s.arenas_reclaimed == s.arenas);");
	line(e, "assert(s.arenas <= s.arenas_highwater && s.spares <= "
		"s.arenas);");
	line(e, "assert(s.dirty_bytes <= s.unused_pool_bytes);");
	line(e, "for (int i = 0; i < APB_NR_POOL_SIZES; i++)\n"
		"\t\ts.unused_pool_bytes -= s.unused_pools[i].nr *\n"
		"\t\t\t\t       s.unused_pools[i].size;\n"
		"\tassert(!s.unused_pool_bytes);");
	line(e, "for (int i = 0; i < APB_NR_CLASSES; i++)\n"
		"\t\ts.avail_bytes -= s.class_[i].avail * s.class_[i].size;\n"
		"\tassert(!s.avail_bytes);");
}

static void end_mapped(struct emit *e)
{
	read_stats(e);
	line(e, "assert(s.mapped_bytes == s.arenas * s.arena_bytes +\n"
		"\t       s.large_bytes + s.large_slack_bytes +\n"
		"\t       s.large_cached_bytes + s.map_bytes + s.heap_bytes +\n"
		"\t       s.slop_bytes);");
	line(e, "assert(s.mapped_bytes <= s.mapped_highwater);");
	if (says(e, "highwater") && says(e, "the kernel says"))
		line(e, "assert(s.mapped_highwater <= %llu);",
		     number_after(e, "the kernel says "));
	if (is_scripted(e))
		line(e, "assert(s.mapped_bytes == kernel_mapped);");
}

static void end_dirty(struct emit *e)
{
	read_stats(e);
	if (says(e, "the limit is") && says(e, "not from"))
		line(e,
		     "assert(s.dirty_limit >= %llu && s.dirty_limit <= %llu);",
		     number_after(e, "not from "), number_after(e, " to "));
	else
		line(e, "assert(s.dirty_bytes <= s.dirty_limit);");
}

static void end_large_cache(struct emit *e)
{
	size_t cache = e->option[APB_OPT_PURGE_DELAY] ?
			       e->option[APB_OPT_LARGE_CACHE] :
			       0;

	read_stats(e);
	line(e, "assert(s.large_cached_bytes <= %zu);", cache);
	line(e, "assert(s.large_cached * 4096 <= s.large_cached_bytes);");
	line(e, "assert(s.large_slack_bytes * 4 <= s.large_bytes * 5);");
}

static void end_leak_arena(struct emit *e)
{
	read_stats(e);
	line(e, says(e, "when all is freed") ?
			"assert(s.arenas == s.spares); /* all is freed */" :
			"assert(s.spares * 16384 <= s.dirty_bytes);");
}

static void end_leak_mapping(struct emit *e)
{
	size_t own = e->t->head.threads > 1 && !at_end(e) ? HEAP_BYTES : 0;

	read_stats(e);
	line(e, "assert(s.mapped_bytes <= %zu); /* no block is live */", own);
	if (is_scripted(e))
		line(e, "assert(kernel_mapped <= %zu);", own);
}

static void end_reset(struct emit *e)
{
	read_stats(e);
	line(e, "assert(!s.arenas_total && !s.settles && !s.purges);");
}

static void end_thread(struct emit *e)
{
	need(e, PART_THREADS);
	line(e, "assert(!apb_thread_swap(NULL));");
}

static void end_misuse_false(struct emit *e)
{
	if (e->misuse)
		line(e, "assert(!reports);");
	else
		line(e, "/* a report: the process has aborted */");
}

static void end_check(struct emit *e)
{
	line(e, "assert(!apb_check(NULL));");
}

static void end_content(struct emit *e)
{
	uint32_t k = e->t->suspect;

	if (k != TRACE_NONE && e->made[k].live) {
		need(e, PART_INTACT);
		line(e, "intact(%u);", k);
	} else if (each_live(e, "intact(%s);", TRACE_NONE)) {
		need(e, PART_INTACT);
	}
}

static const struct {
	const char *oracle;
	void (*print)(struct emit *e);
	bool own; /* of apb's own */
} ends[] = {
	{"accounting", end_accounting, true},
	{"conservation", end_conservation, true},
	{"mapped", end_mapped, true},
	{"dirty", end_dirty, true},
	{"large-cache", end_large_cache, true},
	{"leak-arena", end_leak_arena, true},
	{"leak-mapping", end_leak_mapping, true},
	{"reset", end_reset, true},
	{"thread-end", end_thread, true},
	{"misuse-false", end_misuse_false, true},
	{"misuse-effect", end_content, false},
	{"content", end_content, false},
	{"realloc-content", end_content, false},
	{"zero", end_content, false},
	{"overlap", end_content, false},
	{"check", end_check, true},
};

static size_t live(const struct emit *e)
{
	size_t n = 0;

	for (uint32_t i = 0; i < e->t->blocks; i++)
		n += e->made[i].live;
	return n;
}

void oracle_end(struct emit *e)
{
	if (!e->o->finding) {
		/* of a process that died: it may be seen otherwise, too */
		if (live(e) <= CONTENT_MAX)
			end_content(e);
		if (!e->o->plain)
			end_check(e);
		return;
	}
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (!strncmp(e->o->finding->oracle, ends[i].oracle,
			     strlen(ends[i].oracle)) &&
		    !(ends[i].own && e->o->plain))
			ends[i].print(e);
}
