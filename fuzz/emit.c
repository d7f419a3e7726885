// SPDX-License-Identifier: MIT
/*
 * A trace as a program; see emit.h.  The body is written first, into memory:
 * what it uses decides what stands above it.
 */
#define _GNU_SOURCE /* open_memstream() */
#include "emitter.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LOOP_MIN 4 /* calls alike from which on they are a loop */
#define TABLE_MIN 8 /* blocks from which on their numbers are a table */
#define TABLE_COLUMNS 12

void line(struct emit *e, const char *fmt, ...)
{
	va_list ap;

	fputc('\t', e->to);
	va_start(ap, fmt);
	vfprintf(e->to, fmt, ap);
	va_end(ap);
	fputc('\n', e->to);
}

void need(struct emit *e, enum part part)
{
	e->needs |= 1u << part;
}

bool is_scripted(const struct emit *e)
{
	return !e->o->plain && e->o->kernel == EMIT_KERNEL_SCRIPTED;
}

/* ---- the trace -------------------------------------------------------- */

/* What changes the allocator or a block's content. */
static bool is_call(const struct trace_event *v)
{
	return v->kind != TRACE_OS;
}

/* Behind the last reset of an input that passed the harness cleans up. */
static size_t useful(const struct trace *t)
{
	size_t nr = t->nr;

	if (t->ended)
		while (nr && (t->event[nr - 1].kind == TRACE_OPTION ||
			      t->event[nr - 1].kind == TRACE_OS))
			nr--;
	return nr;
}

/* The oracle that judges a NULL settles: the call before it is the last. */
static void drop_settle(struct emit *e)
{
	const struct run_finding *f = e->o->finding;

	if (f && e->nr > 1 && !strcmp(f->oracle, "null-without-cause") &&
	    e->call[e->nr - 1].event->kind == TRACE_SETTLE &&
	    e->call[e->nr - 2].event->kind <= TRACE_ALIGNED)
		e->nr--;
}

static int collect(struct emit *e)
{
	const struct trace *t = e->t;
	size_t nr = useful(t);

	e->call = calloc(nr + 1, sizeof(*e->call));
	e->made = calloc((size_t)t->blocks + 1, sizeof(*e->made));
	if (!e->call || !e->made)
		return -1;
	for (size_t i = 0; i < nr; i++) {
		const struct trace_event *v = &t->event[i];

		if (is_call(v)) {
			e->call[e->nr++].event = v;
			e->faults |= v->kind == TRACE_FAULT && v->n;
			e->misuse |= v->misuse;
			continue;
		}
		e->faults |= v->null;
		if (!e->nr)
			continue;
		if (!e->call[e->nr - 1].nr_os++)
			e->call[e->nr - 1].os = v;
	}
	drop_settle(e);
	return 0;
}

/* ---- loops ------------------------------------------------------------ */

static bool is_quiet(const struct emit *e, size_t i)
{
	const struct trace_event *v = e->call[i].event;

	return i + 1 < e->nr && v->done && !v->misuse &&
	       !must_arm(e, &e->call[i]);
}

static bool is_alike(const struct trace_event *a, const struct trace_event *b)
{
	return a->kind == b->kind && a->n == b->n && a->size == b->size &&
	       a->align == b->align && !a->null && !b->null &&
	       b->block == a->block + 1;
}

/* How many calls from @i on make blocks of one size. */
static size_t allocs_alike(const struct emit *e, size_t i)
{
	const struct trace_event *v = e->call[i].event;
	size_t n = 0;

	if (v->kind != TRACE_MALLOC && v->kind != TRACE_CALLOC &&
	    v->kind != TRACE_ALIGNED)
		return 0;
	while (is_quiet(e, i + n) &&
	       (!n || is_alike(e->call[i + n - 1].event, e->call[i + n].event)))
		n++;
	return v->null ? 0 : n;
}

static bool is_free(const struct emit *e, size_t i)
{
	const struct trace_event *v = e->call[i].event;

	return v->kind == TRACE_FREE && v->ref == REF_BLOCK && !v->delta &&
	       is_quiet(e, i);
}

static size_t frees(const struct emit *e, size_t i)
{
	size_t n = 0;

	while (is_free(e, i + n))
		n++;
	return n;
}

/* How many of @n numbers are in steps of one size. */
static size_t steps(const uint32_t *block, size_t n)
{
	size_t i = 2;

	while (i < n &&
	       (int64_t)block[i] - block[i - 1] == (int64_t)block[1] - block[0])
		i++;
	return i < n ? i : n;
}

static void loop_head(struct emit *e, const uint32_t *block, size_t n)
{
	int64_t step = (int64_t)block[1] - block[0];

	if (step > 0)
		fprintf(e->to, "\tfor (int k = %u; k <= %u; k", block[0],
			block[n - 1]);
	else
		fprintf(e->to, "\tfor (int k = %u; k >= %u; k", block[0],
			block[n - 1]);
	if (step == 1 || step == -1)
		fprintf(e->to, "%s", step > 0 ? "++" : "--");
	else
		fprintf(e->to, " %s= %lld", step > 0 ? "+" : "-",
			(long long)(step > 0 ? step : -step));
	fprintf(e->to, ")");
}

static void table_head(struct emit *e, const uint32_t *block, size_t n)
{
	unsigned int table = e->tables++;

	fprintf(e->to, "\tstatic const int order%u[] = {", table);
	for (size_t i = 0; i < n; i++)
		fprintf(e->to, "%s%u,", i % TABLE_COLUMNS ? " " : "\n\t\t",
			block[i]);
	fprintf(e->to, "\n\t};\n\tfor (size_t i = 0; i < %zu; i++)", n);
}

/*
 * Each of @n blocks in their order: as loops, as tables, or one by one.
 */
static void each(struct emit *e, const uint32_t *block, size_t n,
		 void (*print)(struct emit *e, const char *k,
			       const char *indent, const void *arg),
		 const void *arg)
{
	char k[24];

	while (n) {
		size_t some = n < 2 ? 1 : steps(block, n), odd = 0;

		if (some >= LOOP_MIN) {
			loop_head(e, block, some);
			fputs(" {\n", e->to);
			print(e, "k", "\t\t", arg);
			line(e, "}");
			block += some;
			n -= some;
			continue;
		}
		/* up to where a loop would do */
		while (odd < n &&
		       (n - odd < 2 || steps(block + odd, n - odd) < TABLE_MIN))
			odd++;
		if (odd >= TABLE_MIN) {
			table_head(e, block, odd);
			fputs(" {\n", e->to);
			snprintf(k, sizeof(k), "order%u[i]", e->tables - 1);
			print(e, k, "\t\t", arg);
			line(e, "}");
		}
		for (size_t i = 0; i < odd && odd < TABLE_MIN; i++) {
			snprintf(k, sizeof(k), "%u", block[i]);
			print(e, k, "\t", arg);
		}
		block += odd;
		n -= odd;
	}
}

static void print_alloc(struct emit *e, const char *k, const char *indent,
			const void *arg)
{
	emit_alloc_text(e, arg, k, indent);
}

static void print_free(struct emit *e, const char *k, const char *indent,
		       const void *arg)
{
	emit_free_text(e, arg, k, indent);
}

static void print_line(struct emit *e, const char *k, const char *indent,
		       const void *arg)
{
	const char *fmt = arg, *at = strstr(fmt, "%s");

	fprintf(e->to, "%s%.*s%s%s\n", indent, (int)(at - fmt), fmt, k, at + 2);
}

size_t each_live(struct emit *e, const char *fmt, uint32_t except)
{
	uint32_t *block = calloc((size_t)e->t->blocks + 1, sizeof(*block));
	size_t n = 0;

	for (uint32_t i = 0; block && i < e->t->blocks; i++)
		if (e->made[i].live && i != except)
			block[n++] = i;
	if (block)
		each(e, block, n, print_line, fmt);
	free(block);
	return n;
}

/* Calls that are a loop: how many; 0: the next one is printed by itself. */
static size_t emit_many(struct emit *e)
{
	size_t i = e->at, n = allocs_alike(e, i);
	bool allocs = n >= LOOP_MIN;
	uint32_t *block;

	if (!allocs)
		n = frees(e, i);
	if (n < LOOP_MIN)
		return 0;
	block = calloc(n, sizeof(*block));
	for (size_t k = 0; block && k < n; k++) {
		const struct call *c = &e->call[i + k];

		block[k] = allocs ? c->event->block : c->event->old;
		note_call(e, c);
	}
	if (block)
		each(e, block, n, allocs ? print_alloc : print_free,
		     &e->call[i]);
	free(block);
	return block ? n : 0;
}

/* ---- threads of a plain program --------------------------------------- */

static void open_turn(struct emit *e)
{
	fprintf(e->to, "static void turn%u(void)\n{\n", e->turn);
	fprintf(e->turns, "\ton(%u, turn%u);\n", e->thread, e->turn);
	e->turn++;
}

void next_turn(struct emit *e, const struct trace_event *v)
{
	fputs("}\n\n", e->to);
	if (v->kind == TRACE_THREAD_END)
		fprintf(e->turns, "\tend(%u);\n", e->thread);
	else
		e->thread = (unsigned int)v->n;
	open_turn(e);
}

static bool has_threads(const struct emit *e)
{
	for (size_t i = 0; i < e->nr; i++)
		if (e->call[i].event->kind == TRACE_THREAD ||
		    e->call[i].event->kind == TRACE_THREAD_END)
			return true;
	return false;
}

/* ---- the body --------------------------------------------------------- */

/* A line for each operation of the input would be noise: for what is odd. */
static void emit_body(struct emit *e)
{
	if (e->turns)
		open_turn(e);
	for (e->at = 0; e->at < e->nr;) {
		size_t n = emit_many(e);

		if (!n) {
			emit_call(e, &e->call[e->at], e->at + 1 == e->nr);
			n = 1;
		}
		e->at += n;
	}
	oracle_end(e);
	if (e->turns)
		fputs("}\n\n", e->to);
}

/* ---- the whole -------------------------------------------------------- */

static void emit_comment(const struct emit *e, FILE *to)
{
	const struct run_finding *f = e->o->finding;
	const char *about = e->o->about;

	fputs("/*\n", to);
	while (about && *about) {
		size_t n = strcspn(about, "\n");

		fprintf(to, " * %.*s\n", (int)n, about);
		about += n + (about[n] == '\n');
	}
	if (f)
		fprintf(to, " * %s: %s: %s\n", f->oracle, f->words, f->detail);
	fprintf(to,
		" *\n * Build it with: gcc -std=gnu11 -Wall -Wextra -Werror "
		"%s\n"
		" * It ends by an assertion or a signal where the bug is, else "
		"with status 0.\n"
		" * Verified: no\n */\n",
		e->o->plain ?
			"FILE.c -pthread" :
			"-I alloc/include FILE.c build/libapb.a -pthread");
}

static void emit_includes(const struct emit *e, FILE *to)
{
	fprintf(to, "%s#include <assert.h>\n#include <errno.h>\n",
		e->o->plain ? "#define _GNU_SOURCE\n" :
			      "#define _GNU_SOURCE\n#include <apb/apb.h>\n");
	fprintf(to, "#include <malloc.h>\n#include <stdbool.h>\n"
		    "#include <stdint.h>\n#include <stdlib.h>\n"
		    "#include <string.h>\n");
	if (is_scripted(e))
		fputs("#include <sys/mman.h>\n", to);
	if (e->turns)
		fputs("#include <pthread.h>\n", to);
	if (e->t->head.locked && !e->o->plain)
		fputs("#include <sys/single_threaded.h>\n", to);
	fputs("#include <unistd.h>\n\n", to);
	fprintf(to, "#define BLOCKS %u\n", e->t->blocks ? e->t->blocks : 1);
}

static void emit_main(const struct emit *e, FILE *to, const char *body)
{
	fputs("int main(void)\n{\n", to);
	if (e->o->hangs)
		fputs("\talarm(10); /* it would not end */\n", to);
	if (is_scripted(e))
		fputs("\tassert(!apb_set_os(kernel()));\n", to);
	if (!e->o->plain && e->misuse)
		fputs("\tapb_set_misuse(on_misuse, NULL);\n", to);
	if (!e->o->plain && e->t->head.locked)
		fputs("\t__libc_single_threaded = 0; /* locks are taken */\n",
		      to);
	fputs(body, to);
	fputs("\treturn 0;\n}\n", to);
}

int emit_program(FILE *to, const struct trace *t, const struct emit_options *o)
{
	struct emit e = {.t = t, .o = o, .prefix = o->plain ? "" : "apb_"};
	char *body = NULL, *turns = NULL;
	size_t size, turns_size;
	int err = -1;

	if (t->full) {
		errno = EFBIG;
		return -1;
	}
	if (!collect(&e))
		e.to = open_memstream(&body, &size);
	if (e.to && o->plain && has_threads(&e)) {
		need(&e, PART_PTHREADS);
		e.turns = open_memstream(&turns, &turns_size);
	}
	if (e.to) {
		emit_body(&e);
		err = fclose(e.to);
	}
	if (e.turns && fclose(e.turns))
		err = -1;
	if (!err) {
		emit_comment(&e, to);
		emit_includes(&e, to);
		emit_parts(&e, to);
		if (is_scripted(&e))
			emit_kernel(&e, to);
		if (turns)
			fputs(body, to);
		emit_main(&e, to, turns ? turns : body);
		err = ferror(to) ? -1 : 0;
	}
	free(body);
	free(turns);
	free(e.call);
	free(e.made);
	return err;
}
