// SPDX-License-Identifier: MIT
/* The loop over an input's operations; see any.h and run.h. */
#include "any.h"

#include "states.h"

#include <stdarg.h>
#include <string.h>

/* Operations after which a fault that goes on failing disarms itself. */
#define FAULT_OPS 8
/* From this number on an address space limit leaves some room. */
#define LIMIT_NONE 14
#define LIMIT_STEP ((size_t)1 << 20)

/* Of run.h: none of apb's functions is here. */
const struct apb_api apb_api;

/* 2 MiB; never on a heap. */
static struct any the_run;

/* ---- findings and words ------------------------------------------------ */

const struct any *any_running(void)
{
	return &the_run;
}

bool any_broken(struct any *r, enum rule rule, const char *fmt, ...)
{
	struct run_finding *f = &r->finding;
	va_list ap;

	if (r->failed)
		return true;
	if (!rule_holds(rule)) {
		rule_passed(rule);
		return false;
	}
	r->failed = true;
	any_note(r, "\n");
	f->oracle = rule_words[rule].name;
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
	return true;
}

void run_print_finding(const struct run_finding *f, FILE *to)
{
	fprintf(to, "FINDING: %s: op #%zu %s: %s\n", f->oracle, f->op_index,
		f->words, f->detail);
	for (int i = 0; i < RULE_NR; i++)
		if (!strcmp(rule_words[i].name, f->oracle))
			fprintf(to, "  in %s; %s\n", target.path,
				rule_words[i].says);
	fflush(to);
}

void any_note(struct any *r, const char *fmt, ...)
{
	va_list ap;

	if (!r->opt->describe)
		return;
	va_start(ap, fmt);
	vfprintf(r->opt->describe, fmt, ap);
	va_end(ap);
}

/* Flushed, as the operation may be the last thing the process does. */
static void describe(struct any *r)
{
	char buf[160];

	if (!r->opt->describe)
		return;
	fprintf(r->opt->describe, "#%zu %s", r->index,
		ops_describe(&r->op, buf, sizeof(buf)));
	fflush(r->opt->describe);
}

/* ---- calls and faults -------------------------------------------------- */

void any_leave(struct any *r, size_t size)
{
	struct hook_counts after;

	hooks_leave();
	hooks_counts(&after);
	if (after.all != r->before.all)
		states_kernel(r->op.kind, size, &r->before, &after);
}

bool any_starved(const struct any *r)
{
	struct hook_counts now;

	hooks_counts(&now);
	for (int i = 0; i < APB_OS_NR; i++)
		if (now.failed[i] != r->before.failed[i])
			return true;
	/* nobody can know */
	return r->limited && !target.hooked;
}

static void set_limit(struct any *r, size_t slack)
{
	r->limited = slack != SIZE_MAX;
	hooks_limit(slack);
}

static void disarm(struct any *r)
{
	if (r->limited)
		set_limit(r, SIZE_MAX);
	hooks_fault(NULL);
	r->armed = 0;
	r->left = r->limit_left = 0;
}

/*
 * In the allocator's OS layer: the hooks.  In the simulated kernel: there is
 * none here, so the real one is asked to, by RLIMIT_AS.
 */
static void do_fault(struct any *r)
{
	const struct op *op = &r->op;
	struct apb_fault fault = {
		.mode = (enum apb_fault_mode)op->mode,
		.calls = rules_faults(op->calls),
		.n = op->n,
		.seed = op->val,
	};
	bool off = fault.mode == APB_FAULT_OFF;

	if (!op->in_kernel) {
		hooks_fault(off || !fault.calls ? NULL : &fault);
		r->armed = off ? 0 : fault.calls;
		r->left = fault.mode > APB_FAULT_ONCE ? FAULT_OPS + 1 : 0;
		return;
	}
	if (!off && !rules_faults(1u << APB_OS_MAP))
		return;
	set_limit(r, off		 ? SIZE_MAX :
		     op->n <= LIMIT_NONE ? 0 :
					   (op->n - LIMIT_NONE) * LIMIT_STEP);
	r->limit_left = off ? 0 : FAULT_OPS + 1;
}

static void count_down(struct any *r)
{
	if (r->left && !--r->left) {
		hooks_fault(NULL);
		r->armed = 0;
	}
	if (r->limit_left && !--r->limit_left)
		set_limit(r, SIZE_MAX);
}

/* ---- operations -------------------------------------------------------- */

static void free_all(struct any *r)
{
	while (r->model.live && !r->failed) {
		size_t at = r->head.seed & 1 ? 0 : r->model.live - 1;

		any_free_slot(r, r->model.blocks[at].slot, OP_FREE);
	}
}

/* What is about apb alone: nothing. */
static void do_nothing(struct any *r)
{
	any_note(r, " (left out)");
}

static void (*const run_op[OP_NR])(struct any *r) = {
	[OP_MALLOC] = any_malloc,
	[OP_FREE] = any_free,
	[OP_CALLOC] = any_calloc,
	[OP_REALLOC] = any_realloc,
	[OP_REALLOCARRAY] = any_reallocarray,
	[OP_ALIGNED] = any_aligned,
	[OP_FREE_SIZED] = any_free,
	[OP_FREE_ALIGNED_SIZED] = any_free,
	[OP_BULK_ALLOC] = any_bulk_alloc,
	[OP_BULK_FREE] = any_bulk_free,
	[OP_USABLE] = any_query,
	[OP_VERIFY] = any_verify,
	[OP_SETTLE] = do_nothing,
	[OP_TRIM] = any_trim,
	[OP_CHECK] = any_verify,
	[OP_FAULT] = do_fault,
	[OP_MISUSE] = any_probe,
	[OP_SCRIBBLE] = do_nothing,
	[OP_OPTION] = do_nothing,
	[OP_RESET] = free_all,
	[OP_THREAD_END] = do_nothing,
};

static void tell_observer(const struct any *r, const struct op *op)
{
	const struct run_observer *o = r->opt->observer;

	if (o)
		o->op(op, r->index, o->arg);
}

static void step(struct any *r)
{
	describe(r);
	tell_observer(r, &r->op);
	if (r->op.kind == OP_THREAD_END)
		any_end_thread(r, r->op.thread);
	else
		run_op[r->op.kind](r);
	if (!r->failed && r->head.check_often)
		any_verify(r);
	count_down(r);
	any_note(r, "\n");
	r->index += !r->failed;
}

/* Go on, as thread @me, until it is another one's turn: then false. */
static bool loop(struct any *r, unsigned int me);

static void loop_on(struct any *r, unsigned int me)
{
	if (loop(r, me))
		any_pass(r, 0, NULL);
}

static bool loop(struct any *r, unsigned int me)
{
	while (!r->failed && r->index < r->nr) {
		unsigned int thread;

		ops_decode(r->data, r->size, r->index, &r->op);
		/* no thread can wait for its own end */
		thread = r->op.kind == OP_THREAD_END ? 0 : r->op.thread;
		if (thread != me) {
			any_pass(r, thread, loop_on);
			return false;
		}
		step(r);
	}
	return true;
}

static void free_all_by(struct any *r, unsigned int me)
{
	(void)me;
	free_all(r);
	any_pass(r, 0, NULL);
}

/* ---- begin and end ----------------------------------------------------- */

static void begin(struct any *r, const uint8_t *data, size_t size)
{
	ops_header(data, size, &r->head);
	if (!r->ready)
		model_reset(&r->model);
	r->ready = true;
	r->failed = false;
	r->phase = NULL;
	r->data = data;
	r->size = size;
	r->nr = ops_count(size);
	r->model.thread = 0;
	r->index = 0;
	r->bytes = 0;
	r->touched = 0;
	feedback_begin();
	any_history(data, size);
}

/* The threads go on, but for some inputs; what is left is freed by one. */
static void end(struct any *r)
{
	disarm(r);
	r->phase = "(end)";
	memset(&r->op, 0, sizeof(r->op));
	any_note(r, "(end: free all)\n");
	tell_observer(r, NULL);
	states_live(r->model.live, r->bytes);
	if (r->head.threads > 1 && r->head.seed & 2 && !r->failed) {
		any_pass(r, 1, free_all_by);
		any_await(r);
	}
	free_all(r);
	for (unsigned int t = 1; t < OPS_THREADS && r->head.seed & 4; t++)
		any_end_thread(r, t);
	if (!r->failed && r->head.seed % 8 == 3)
		any_trim(r);
	/* numbers of slots and contents are an input's own */
	model_reset(&r->model);
}

/* Nothing is known of it. */
void run_prepare(void)
{
}

int run_input(const uint8_t *data, size_t size, const struct run_options *o)
{
	struct any *r = &the_run;

	r->opt = o;
	begin(r, data, size);
	while (!loop(r, 0))
		any_await(r);
	end(r);
	feedback_end();
	return r->failed;
}
