// SPDX-License-Identifier: MIT
/*
 * One call after the other, as lines of C; see emitter.h.  Each block is filled
 * when it is made and looked at before it goes.
 */
#include "emitter.h"

#include "model.h"

#include <errno.h>
#include <string.h>

#define SLEEP_MAX 1200 /* ms: twice the purge delay, and some more */

static bool makes_block(const struct trace_event *v)
{
	return v->kind <= TRACE_ALIGNED;
}

static bool frees_block(const struct trace_event *v)
{
	return v->kind >= TRACE_FREE && v->kind <= TRACE_FREE_ALIGNED_SIZED;
}

static bool resizes(const struct trace_event *v)
{
	return v->kind == TRACE_REALLOC || v->kind == TRACE_REALLOCARRAY;
}

/* ---- numbers and pointers --------------------------------------------- */

char *number_text(struct emit *e, size_t n, char *buf, size_t len)
{
	if (n < (size_t)1 << 30) {
		snprintf(buf, len, "%zu", n);
		return buf;
	}
	need(e, PART_HIDE);
	if (n > SIZE_MAX - 8192)
		snprintf(buf, len, "hide(SIZE_MAX - %zu)", SIZE_MAX - n);
	else if (n - PTRDIFF_MAX < 8192)
		snprintf(buf, len, "hide((size_t)PTRDIFF_MAX + %zu)",
			 n - PTRDIFF_MAX);
	else if (PTRDIFF_MAX - n < 8192)
		snprintf(buf, len, "hide(PTRDIFF_MAX - %zu)", PTRDIFF_MAX - n);
	else
		snprintf(buf, len, "hide(%#zx)", n);
	return buf;
}

static const char *pointer_text(struct emit *e, const struct trace_event *v,
				char *buf, size_t len)
{
	long long delta = v->delta;

	switch ((enum trace_ref)v->ref) {
	case REF_NULL:
		return "NULL";
	case REF_BLOCK:
		if (!delta)
			snprintf(buf, len, "p[%u]", v->old);
		else
			snprintf(buf, len, "p[%u] %c %lld", v->old,
				 delta < 0 ? '-' : '+',
				 delta < 0 ? -delta : delta);
		break;
	case REF_ARENA:
		snprintf(buf, len,
			 "(void *)(((uintptr_t)p[%u] & -(uintptr_t)0x100000) "
			 "+ %lld)",
			 v->old, delta);
		break;
	case REF_BIT:
		snprintf(buf, len,
			 "(void *)((uintptr_t)p[%u] ^ (uintptr_t)1 << %lld)",
			 v->old, delta);
		break;
	case REF_SPACE:
		snprintf(buf, len, "(void *)(uintptr_t)(0x57fff8000000 + %lld)",
			 delta);
		break;
	case REF_NUMBER:
		snprintf(buf, len, "(void *)(uintptr_t)%lld", delta);
		break;
	case REF_OTHER:
		need(e, PART_OTHER);
		snprintf(buf, len, "other + %lld", delta);
		break;
	}
	return buf;
}

/* ---- what is known of a block ----------------------------------------- */

size_t wanted(const struct trace_event *v, int *refuse)
{
	size_t size;

	*refuse = 0;
	if (__builtin_mul_overflow(v->n, v->size, &size) || size > PTRDIFF_MAX)
		*refuse = ENOMEM;
	if (v->kind == TRACE_ALIGNED) {
		if (!v->align || (v->align & (v->align - 1)))
			*refuse = EINVAL;
		else if (size > (size_t)PTRDIFF_MAX - v->align)
			*refuse = ENOMEM;
	}
	return size;
}

static void note_made(struct emit *e, const struct trace_event *v)
{
	struct made *m = &e->made[v->block];
	int refuse;
	size_t size = wanted(v, &refuse);

	if (v->null || refuse)
		return;
	*m = (struct made){
		.size = size,
		.align = v->kind == TRACE_ALIGNED ? v->align : 16,
		.cls = v->kind == TRACE_ALIGNED ?
			       model_class_aligned(v->align, size) :
			       model_class(size),
		.live = true,
	};
	m->usable = model_usable(m->cls, size);
	if (resizes(v) && v->ref == REF_BLOCK)
		e->made[v->old].live = false;
}

void note_call(struct emit *e, const struct call *c)
{
	const struct trace_event *v = c->event;

	if (v->kind == TRACE_OPTION)
		e->option[v->n] = v->size;
	if (v->kind == TRACE_RESET)
		for (uint32_t i = 0; i < e->t->blocks; i++)
			e->made[i].live = false;
	if (v->misuse)
		return;
	if (makes_block(v))
		note_made(e, v);
	else if (frees_block(v) && v->ref == REF_BLOCK)
		e->made[v->old].live = false;
}

/* ---- faults ----------------------------------------------------------- */

bool must_arm(const struct emit *e, const struct call *c)
{
	if (e->o->plain || is_scripted(e) || e->armed)
		return false;
	for (size_t i = 0; i < c->nr_os; i++)
		if (c->os[i].kind == TRACE_OS && c->os[i].null)
			return true;
	return false;
}

/*
 * The kernel's failures as a fault of the allocator's own: one call, or all
 * from one on.
 */
static void arm(struct emit *e, const struct call *c)
{
	unsigned int calls = 0, seen = 0, first = 0, failed = 0;

	for (size_t i = 0; i < c->nr_os; i++)
		if (c->os[i].null)
			calls |= 1u << c->os[i].n;
	for (size_t i = 0; i < c->nr_os; i++) {
		if (!(calls >> c->os[i].n & 1))
			continue;
		seen++;
		if (c->os[i].null && !failed++)
			first = seen;
	}
	need(e, PART_FAIL);
	line(e, "fail(%s, %#x, %u, 0);",
	     failed > 1 ? "APB_FAULT_FROM" : "APB_FAULT_ONCE", calls, first);
}

static void emit_fault(struct emit *e, const struct trace_event *v)
{
	static const char *const mode[] = {"APB_FAULT_OFF", "APB_FAULT_ONCE",
					   "APB_FAULT_FROM",
					   "APB_FAULT_RANDOM"};

	e->armed = v->n != APB_FAULT_OFF;
	if (!e->armed) {
		line(e, "apb_fault_set(NULL);");
		return;
	}
	need(e, PART_FAIL);
	line(e, "fail(%s, %#zx, %zu, %llu);", mode[v->n], v->align, v->size,
	     (unsigned long long)v->seed);
}

/* ---- blocks ----------------------------------------------------------- */

/* The call itself, for block @k, without what is made of its result. */
static void call_text(struct emit *e, const struct trace_event *v,
		      const char *k)
{
	char size[64], n[64], ptr[96];
	const char *p = pointer_text(e, v, ptr, sizeof(ptr));

	number_text(e, v->size, size, sizeof(size));
	number_text(e, v->n, n, sizeof(n));
	fprintf(e->to, "p[%s] = %s", k, e->prefix);
	switch (v->kind) {
	case TRACE_CALLOC:
		fprintf(e->to, "calloc(%s, %s);\n", n, size);
		break;
	case TRACE_REALLOC:
		fprintf(e->to, "realloc(%s, %s);\n", p, size);
		break;
	case TRACE_REALLOCARRAY:
		fprintf(e->to, "reallocarray(%s, %s, %s);\n", p, n, size);
		break;
	case TRACE_ALIGNED:
		fprintf(e->to, "aligned_alloc(%zu, %s);\n", v->align, size);
		break;
	default:
		fprintf(e->to, "malloc(%s);\n", size);
		break;
	}
}

/* What has to hold of a block that was made, and what is written into it. */
static void result_text(struct emit *e, const struct trace_event *v,
			const char *k, const char *indent)
{
	int refuse;
	size_t size = wanted(v, &refuse);

	need(e, e->faults ? PART_MADE_OR_NULL : PART_MADE);
	if (v->kind == TRACE_CALLOC) {
		need(e, PART_ZEROED);
		fprintf(e->to, "%szeroed(%s, %zu);\n", indent, k, size);
	}
	if (resizes(v) && v->ref == REF_BLOCK) {
		need(e, PART_KEPT);
		fprintf(e->to, "%skept(%s, %u, %zu);\n", indent, k, v->old,
			size);
	}
	fprintf(e->to, "%smade(%s, %zu);\n", indent, k, size);
}

void emit_alloc_text(struct emit *e, const struct call *c, const char *k,
		     const char *indent)
{
	fputs(indent, e->to);
	call_text(e, c->event, k);
	result_text(e, c->event, k, indent);
}

void emit_free_text(struct emit *e, const struct call *c, const char *k,
		    const char *indent)
{
	(void)c;
	need(e, PART_INTACT);
	fprintf(e->to, "%sintact(%s);\n%s%sfree(p[%s]);\n", indent, k, indent,
		e->prefix, k);
}

static void emit_refused(struct emit *e, const struct trace_event *v)
{
	int refuse;
	size_t size = wanted(v, &refuse);

	if (v->misuse)
		line(e, "assert(!p[%u] && errno == EINVAL);", v->block);
	else if (refuse)
		line(e, "assert(!p[%u] && errno == %s);", v->block,
		     refuse == EINVAL ? "EINVAL" : "ENOMEM");
	else
		line(e, "/* NULL: the kernel refused */");
	if (!resizes(v) || v->ref != REF_BLOCK || v->misuse)
		return;
	if (refuse) {
		need(e, PART_INTACT);
		line(e, "intact(%u);", v->old);
	} else {
		need(e, PART_STAYS);
		line(e, "stays(%u, %u, %zu);", v->old, v->block, size);
	}
}

static void emit_block(struct emit *e, const struct call *c, bool last)
{
	const struct trace_event *v = c->event;
	char k[16];

	snprintf(k, sizeof(k), "%u", v->block);
	fputc('\t', e->to);
	call_text(e, v, k);
	if (last && oracle_after(e, c))
		return;
	/* where the process died it may go on, with an allocator that is right */
	if (v->misuse || (v->done && v->null))
		emit_refused(e, v);
	else
		result_text(e, v, k, "\t");
}

static void emit_free(struct emit *e, const struct call *c, bool last)
{
	const struct trace_event *v = c->event;
	char ptr[96], size[64], align[64];
	const char *p = pointer_text(e, v, ptr, sizeof(ptr));

	number_text(e, v->size, size, sizeof(size));
	number_text(e, v->align, align, sizeof(align));
	if (v->ref == REF_BLOCK && !v->delta && !v->misuse) {
		need(e, PART_INTACT);
		line(e, "intact(%u);", v->old);
	}
	if (last)
		oracle_before(e, c);
	if (v->kind == TRACE_FREE || e->o->plain)
		line(e, "%sfree(%s);", e->prefix, p);
	else if (v->kind == TRACE_FREE_SIZED)
		line(e, "apb_free_sized(%s, %s);", p, size);
	else
		line(e, "apb_free_aligned_sized(%s, %s, %s);", p, align, size);
	if (last)
		oracle_after(e, c);
}

/* What a program may leave in a block that it has freed. */
static void emit_scribble(struct emit *e, const struct trace_event *v)
{
	if (v->ref != REF_BLOCK || v->delta)
		return;
	if (v->n == 0)
		line(e, "memset(p[%u], %#x, %zu); /* freed: no matter */",
		     v->old, (unsigned int)(v->seed & 0xff), v->size);
	else if (v->n == 1)
		line(e,
		     "for (size_t i = 0; i < %zu; i++) /* freed: no matter */\n"
		     "\t\t((uintptr_t *)p[%u])[i] = (uintptr_t)p[%u] + %zu;",
		     v->size / sizeof(uintptr_t), v->old, v->old,
		     (size_t)(v->seed % 2) * v->size);
	else
		line(e, "memset(p[%u], 0xc3, %zu); /* freed: no matter */",
		     v->old, v->size);
}

static void emit_fill(struct emit *e, const struct trace_event *v)
{
	need(e, PART_INTACT);
	line(e, "intact(%u);", v->old);
	line(e, "fill(%u, %s(p[%u])); /* all that is usable */", v->old,
	     e->o->plain ? "malloc_usable_size" : "apb_usable_size", v->old);
}

/* ---- what only apb has ------------------------------------------------ */

static const char *const option_name[APB_OPT_NR] = {
	[APB_OPT_SETTLE_PERIOD] = "APB_OPT_SETTLE_PERIOD",
	[APB_OPT_DIRTY_LIMIT] = "APB_OPT_DIRTY_LIMIT",
	[APB_OPT_PURGE_DELAY] = "APB_OPT_PURGE_DELAY",
	[APB_OPT_LARGE_CACHE] = "APB_OPT_LARGE_CACHE",
	[APB_OPT_JUNK] = "APB_OPT_JUNK",
	[APB_OPT_THP] = "APB_OPT_THP",
};

static void emit_option(struct emit *e, const struct trace_event *v)
{
	/* as they are when a program begins */
	static const size_t otherwise[APB_OPT_NR] = {
		[APB_OPT_DIRTY_LIMIT] = APB_DIRTY_AUTO,
		[APB_OPT_PURGE_DELAY] = 500,
		[APB_OPT_LARGE_CACHE] = (size_t)64 << 20,
	};
	bool begin = !e->at || e->call[e->at - 1].event->kind == TRACE_OPTION;

	if (begin && v->op == 0 && !v->null && v->size == otherwise[v->n])
		return;
	if (v->size == APB_DIRTY_AUTO)
		line(e, "assert(!apb_set_option(%s, APB_DIRTY_AUTO));",
		     option_name[v->n]);
	else
		line(e, "assert(!apb_set_option(%s, %zu));", option_name[v->n],
		     v->size);
}

static void emit_time(struct emit *e, const struct trace_event *v)
{
	if (is_scripted(e))
		line(e, "clock_ms += %zu;", v->n);
	else
		line(e, "usleep(%zu); /* %zu ms pass */",
		     1000 * (v->n < SLEEP_MAX ? v->n : (size_t)SLEEP_MAX),
		     v->n);
}

static void emit_own(struct emit *e, const struct call *c, bool last)
{
	const struct trace_event *v = c->event;
	char ptr[96];

	if (last)
		oracle_before(e, c);
	switch (v->kind) {
	case TRACE_USABLE:
		line(e, "assert(!apb_usable_size(%s));",
		     pointer_text(e, v, ptr, sizeof(ptr)));
		break;
	case TRACE_SETTLE:
		line(e, "apb_settle();");
		break;
	case TRACE_TRIM:
		if (!last || !oracle_after(e, c))
			line(e, "apb_trim();");
		return;
	case TRACE_RESET:
		line(e, last || !e->faults ? "assert(!apb_reset());" :
					     "apb_reset();");
		break;
	case TRACE_FAULT:
		emit_fault(e, v);
		break;
	case TRACE_OPTION:
		emit_option(e, v);
		break;
	case TRACE_THREAD:
		need(e, PART_THREADS);
		line(e, "run_as(%zu);", v->n);
		break;
	case TRACE_THREAD_END:
		need(e, PART_THREADS);
		line(e, "apb_thread_end();");
		break;
	case TRACE_SCRIBBLE:
		emit_scribble(e, v);
		break;
	case TRACE_TIME:
		emit_time(e, v);
		break;
	default:
		break;
	}
	if (last)
		oracle_after(e, c);
}

void emit_call(struct emit *e, const struct call *c, bool last)
{
	const struct trace_event *v = c->event;
	bool armed = must_arm(e, c);

	need(e, PART_BLOCKS);
	if (e->turns &&
	    (v->kind == TRACE_THREAD || v->kind == TRACE_THREAD_END))
		next_turn(e, v);
	if (e->o->plain && (v->misuse || (!makes_block(v) && !frees_block(v) &&
					  v->kind != TRACE_FILL)))
		return;
	if (v->misuse) {
		need(e, PART_REPORTS);
		line(e, "reports = 0;");
	}
	if (armed)
		arm(e, c);
	if (makes_block(v)) {
		if (last)
			oracle_before(e, c);
		emit_block(e, c, last);
	} else if (frees_block(v)) {
		emit_free(e, c, last);
	} else if (v->kind == TRACE_FILL) {
		emit_fill(e, v);
	} else {
		emit_own(e, c, last);
	}
	if (armed)
		line(e, "apb_fault_set(NULL);");
	if (v->misuse)
		line(e, "assert(reports == 1);");
	note_call(e, c);
}
