// SPDX-License-Identifier: MIT
/* The loop over an input's operations; see run.h and runner.h. */
#include "runner.h"

#include "arena/flat.h"
#include "debug/inspect.h"
#include "feedback.h"
#include "heap/thread.h"
#include "os/os.h"
#include "simos.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>

const struct apb_api apb_api = {
	.malloc = apb_malloc,
	.calloc = apb_calloc,
	.realloc = apb_realloc,
	.reallocarray = apb_reallocarray,
	.aligned_alloc = apb_aligned_alloc,
	.free = apb_free,
	.free_sized = apb_free_sized,
	.free_aligned_sized = apb_free_aligned_sized,
	.usable_size = apb_usable_size,
	.settle = apb_settle,
	.trim = apb_trim,
	.reset = apb_reset,
	.set_os = apb_set_os,
	.fault_set = apb_fault_set,
	.fault_get = apb_fault_get,
	.set_option = apb_set_option,
	.set_misuse = apb_set_misuse,
	.check = apb_check,
	.stats = apb_stats,
	.thread_swap = apb_thread_swap,
	.thread_end = apb_thread_end,
	.never_allocated = apb_inspect_never_allocated,
	.unused_pool = apb_inspect_unused_pool,
};

/* What an input begins with: small enough to be full now and then. */
#define LARGE_CACHE ((size_t)1 << 20)
#define PURGE_DELAY 500

/* 2 MiB; never on a heap. */
static struct run the_run;

/* ---- findings and words ----------------------------------------------- */

void run_fail(struct run *r, const char *oracle, const char *fmt, ...)
{
	struct run_finding *f = &r->finding;
	va_list ap;

	if (r->failed)
		return;
	r->failed = true;
	f->oracle = oracle;
	f->op_index = r->index;
	if (r->phase)
		snprintf(f->words, sizeof(f->words), "%s", r->phase);
	else
		ops_describe(&r->op, f->words, sizeof(f->words));
	va_start(ap, fmt);
	vsnprintf(f->detail, sizeof(f->detail), fmt, ap);
	va_end(ap);
	if (r->opt->on_finding)
		r->opt->on_finding(f, r->opt->arg);
}

void run_print_finding(const struct run_finding *f, FILE *to)
{
	fprintf(to, "FINDING: %s: op #%zu %s: %s\n", f->oracle, f->op_index,
		f->words, f->detail);
	fflush(to);
}

/* Flushed, as the operation may be the last thing the process does. */
static void describe(struct run *r)
{
	char buf[160];

	if (!r->opt->describe)
		return;
	fprintf(r->opt->describe, "#%zu %s", r->index,
		ops_describe(&r->op, buf, sizeof(buf)));
	fflush(r->opt->describe);
}

static void observe(struct run *r, const struct op *op)
{
	const struct run_observer *o = r->opt->observer;

	if (o)
		o->op(op, r->index, o->arg);
}

/* ---- faults ----------------------------------------------------------- */

void run_failures(const struct run *r, struct failures *f)
{
	struct apb_fault_stats stats;

	memcpy(f->n, r->watch.failed, sizeof(f->n));
	if (!r->armed[LAYER_ALLOCATOR])
		return;
	r->api->fault_get(&stats);
	for (int i = 0; i < APB_OS_NR; i++)
		f->n[i] += stats.failed[i];
}

void run_learn_failures(struct run *r, const struct failures *before)
{
	struct failures now;

	run_failures(r, &now);
	if (now.n[APB_OS_UNMAP] > before->n[APB_OS_UNMAP])
		r->kept = true;
	if (now.n[APB_OS_PURGE] > before->n[APB_OS_PURGE])
		r->unpurged = true;
}

static void set_fault(struct run *r, enum layer layer,
		      const struct apb_fault *fault)
{
	struct apb_fault_stats stats;

	if (layer == LAYER_ALLOCATOR && r->armed[layer]) {
		r->api->fault_get(&stats);
		r->layer_unmap_failures += stats.failed[APB_OS_UNMAP];
	}
	r->armed[layer] = fault;
	if (layer == LAYER_KERNEL)
		simos_fault(fault);
	else
		r->api->fault_set(fault);
}

static void disarm(struct run *r)
{
	if (r->watch.fault.from)
		r->watch.fault.call = 0;
	simos_lift_limit();
	for (int i = 0; i < LAYER_NR; i++) {
		r->left[i] = 0;
		if (r->armed[i])
			set_fault(r, i, NULL);
	}
}

static void do_fault(struct run *r)
{
	const struct op *op = &r->op;
	enum layer layer = op->in_kernel ? LAYER_KERNEL : LAYER_ALLOCATOR;
	struct apb_fault fault = {
		.mode = (enum apb_fault_mode)op->mode,
		.calls = op->calls,
		.n = op->n,
		.seed = op->val,
	};

	/* the real kernel cannot be told to fail, our layer can */
	if (r->real)
		layer = LAYER_ALLOCATOR;
	set_fault(r, layer, fault.mode == APB_FAULT_OFF ? NULL : &fault);
	r->left[layer] =
		fault.mode == APB_FAULT_FROM || fault.mode == APB_FAULT_RANDOM ?
			FAULT_OPS + 1 :
			0;
}

static void count_down(struct run *r)
{
	for (int i = 0; i < LAYER_NR; i++)
		if (r->left[i] && !--r->left[i])
			set_fault(r, i, NULL);
}

/* ---- operations ------------------------------------------------------- */

static void set_option(struct run *r, enum ops_option which, size_t value)
{
	static const enum apb_option option[OPTION_NR] = {
		[OPTION_PERIOD] = APB_OPT_SETTLE_PERIOD,
		[OPTION_DIRTY] = APB_OPT_DIRTY_LIMIT,
		[OPTION_LARGE_CACHE] = APB_OPT_LARGE_CACHE,
		[OPTION_PURGE_DELAY] = APB_OPT_PURGE_DELAY,
	};

	r->option[which] = value;
	if (which == OPTION_DIRTY && value == OPS_AUTO)
		value = APB_DIRTY_AUTO;
	if (r->api->set_option(option[which], value))
		run_fail(r, "option", "refused with errno %d", errno);
}

/* Only while nobody has a heap: between inputs. */
static void set_junk(struct run *r, bool junk)
{
	if (r->api->set_option(APB_OPT_JUNK, junk))
		run_fail(r, "option", "junk: refused with errno %d", errno);
}

static void do_option(struct run *r)
{
	if (r->op.option == OPTION_TIME)
		simos_pass(r->op.value);
	else
		set_option(r, r->op.option, r->op.value);
}

static void (*const run_op[OP_NR])(struct run *r) = {
	[OP_MALLOC] = run_malloc,
	[OP_FREE] = run_free,
	[OP_CALLOC] = run_calloc,
	[OP_REALLOC] = run_realloc,
	[OP_REALLOCARRAY] = run_reallocarray,
	[OP_ALIGNED] = run_aligned,
	[OP_FREE_SIZED] = run_free,
	[OP_FREE_ALIGNED_SIZED] = run_free,
	[OP_BULK_ALLOC] = run_bulk_alloc,
	[OP_BULK_FREE] = run_bulk_free,
	[OP_USABLE] = run_usable,
	[OP_VERIFY] = run_verify,
	[OP_SETTLE] = run_settle,
	[OP_TRIM] = run_trim,
	[OP_CHECK] = run_check,
	[OP_FAULT] = do_fault,
	[OP_MISUSE] = run_misuse,
	[OP_SCRIBBLE] = run_scribble,
	[OP_OPTION] = do_option,
	[OP_RESET] = run_reset,
	[OP_THREAD_END] = run_thread_end,
};

/* What every operation must leave behind, whatever it was. */
static void after_op(struct run *r, const struct failures *before)
{
	struct failures now;
	const char *violation;
	bool hit = false;

	if (r->reports)
		run_fail(r, "misuse-false",
			 "a correct call was reported as misuse of kind %d, %p",
			 (int)r->report.kind, r->report.ptr);
	violation = r->real ? NULL : simos_violation();
	if (violation)
		run_fail(r, "os-violation", "%s", violation);
	/* arming starts the allocator's counters anew */
	if (r->failed || r->op.kind == OP_FAULT)
		return;
	run_failures(r, &now);
	for (int i = 0; i < APB_OS_NR; i++) {
		if (now.n[i] <= before->n[i])
			continue;
		hit = true;
		feedback_fault(r->op.kind, (enum apb_os_call)i);
	}
	run_learn_failures(r, before);
	if (hit && r->op.kind != OP_CHECK)
		run_check(r);
	else if (r->head.check_often)
		run_self_check(r);
}

static void step(struct run *r, const uint8_t *data, size_t size)
{
	struct failures before;

	ops_decode(data, size, r->index, &r->op);
	describe(r);
	observe(r, &r->op);
	run_switch(r, r->op.thread);
	r->reports = 0;
	run_failures(r, &before);
	run_op[r->op.kind](r);
	if (!r->failed)
		after_op(r, &before);
	count_down(r);
	run_note(r, "\n");
}

/* ---- begin and end ---------------------------------------------------- */

static void begin_kernel(struct run *r)
{
	const struct apb_os *os = NULL;

	r->real = r->head.real_kernel && r->opt->allow_real_kernel;
	if (!r->real) {
		unsigned int flags = r->head.sim_flags;

		if (r->opt->fill)
			flags |= SIMOS_FILL;
		if (simos_reset(r->head.seed, flags)) {
			perror("simulated kernel");
			_Exit(2);
		}
		os = simos_ops();
	} else if (r->opt->fault) {
		os = &apb_os_kernel;
	}
	watch_init(&r->watch, os, run_freed_unmapped, r);
	if (r->opt->fault)
		r->watch.fault = *r->opt->fault;
	if (r->api->set_os(os ? &r->watch.ops : NULL))
		run_fail(r, "leak-mapping",
			 "memory is mapped before the input begins");
}

/*
 * Options as an input finds them.  Set at the end of each, so that what the
 * next one does when it sets its own does not depend on this one's: an engine
 * that compares two runs of an input would call that unstable.
 */
static void plain_options(struct run *r)
{
	set_junk(r, false);
	set_option(r, OPTION_PERIOD, 0);
	set_option(r, OPTION_DIRTY, OPS_AUTO);
	set_option(r, OPTION_LARGE_CACHE, LARGE_CACHE);
	set_option(r, OPTION_PURGE_DELAY, PURGE_DELAY);
}

static void begin(struct run *r, const uint8_t *data, size_t size)
{
	ops_header(data, size, &r->head);
	r->failed = false;
	r->index = 0;
	r->recovered = 0;
	r->kept = false;
	r->unpurged = false;
	r->was_reset = false;
	r->old_purges = r->old_unmap_failures = r->layer_unmap_failures = 0;
	r->reports = 0;
	r->freed.ptr = 0;
	memset(&r->op, 0, sizeof(r->op));
	r->phase = "(begin)";
	feedback_begin();
	run_threads_begin(r);
	run_freed_reset(r);
	begin_kernel(r);
	/*
	 * Not what the C library found, which depends on the engine
	 * (libFuzzer has a thread that watches the memory): nobody but this
	 * thread calls the allocator.
	 */
	__libc_single_threaded = !r->head.locked;
	r->api->set_misuse(run_on_misuse, r);
	set_junk(r, r->head.junk);
	set_option(r, OPTION_PERIOD, r->head.small_period ? 4 : 0);
	set_option(r, OPTION_DIRTY, r->head.no_dirty ? 0 : OPS_AUTO);
	/* as the last input left them, but for the first one */
	set_option(r, OPTION_LARGE_CACHE, LARGE_CACHE);
	set_option(r, OPTION_PURGE_DELAY, PURGE_DELAY);
	r->phase = NULL;
}

/* A finding in-process: nothing is known to hold; drop all there was. */
static void abandon(struct run *r)
{
	run_threads_abandon(r);
	model_reset(&r->model);
	r->api->reset();
}

uint64_t run_calls(enum apb_os_call *hit)
{
	*hit = the_run.watch.hit;
	return the_run.watch.calls;
}

uint64_t run_failed_calls(void)
{
	uint64_t n = 0;

	for (int i = 0; i < APB_OS_NR; i++)
		n += the_run.watch.failed[i];
	return n;
}

void run_prepare(void)
{
	struct run *r = &the_run;

	for (size_t at = 0; at < SIMOS_SPACE; at += (size_t)1 << 20)
		apb_flat_open(SIMOS_BASE + at);
	apb_thread_attach();
	apb_thread_end();
	apb_reset();
	r->api = &apb_api;
	plain_options(r);
}

int run_input(const uint8_t *data, size_t size, const struct run_options *o)
{
	struct run *r = &the_run;
	char single_threaded = __libc_single_threaded;
	size_t n = ops_count(size);

	if (!r->ready)
		model_reset(&r->model);
	r->ready = true;
	r->opt = o;
	r->api = o->api ? o->api : &apb_api;
	begin(r, data, size);
	while (!r->failed && r->index < n) {
		step(r, data, size);
		r->index += !r->failed;
	}
	disarm(r);
	if (!r->failed) {
		r->op.kind = OP_CHECK;
		r->phase = "(end)";
		observe(r, NULL);
		run_note(r, "(end: free all, settle, trim)");
		run_end(r);
		run_note(r, "\n");
	}
	if (r->failed)
		abandon(r);
	plain_options(r);
	r->api->set_misuse(NULL, NULL);
	__libc_single_threaded = single_threaded;
	feedback_end();
	return r->failed;
}
