// SPDX-License-Identifier: MIT
/*
 * What an input does to the target as a plain C program: the calls, the faults
 * that hit them, and assertions; the last one is of the rule that was broken.
 * It needs nothing of the harness: run it with the library preloaded.
 */
#define _GNU_SOURCE /* open_memstream() */
#include "any_record.h"

#include "any.h"
#include "child.h"
#include "files.h"
#include "reproduce.h"
#include "show.h"

#include <stdlib.h>
#include <string.h>

struct emit {
	FILE *to;
	const struct record *rec;
	const struct child_result *result;
	uint32_t block[RECORD_MAX]; /* numbers of blocks, by call */
	bool live[RECORD_MAX]; /* by call, as far as it was printed */
	uint32_t nr_blocks, nr_parts;
	unsigned int fails; /* kinds of calls of the kernel that failed */
	bool threads, sized;
	bool libc; /* the target: its calls of the kernel are not replaced */
};

static const char *const names[] = {
	"malloc",
	"calloc",
	"realloc",
	"reallocarray",
	"aligned_alloc",
	"memalign",
	"posix_memalign",
	"valloc",
	"pvalloc",
	"free",
	"free_sized",
	"free_aligned_sized",
	"",
	"",
	"",
};

/* ---- what there is ------------------------------------------------------ */

static void scan(struct emit *e)
{
	for (uint32_t i = 0; i < e->rec->nr; i++) {
		const struct record_event *v = &e->rec->event[i];

		if (record_makes(v))
			e->block[i] = e->nr_blocks++;
		e->threads |= v->thread || v->kind == RECORD_THREAD_END;
		e->sized |= v->kind == RECORD_FREE_SIZED ||
			    v->kind == RECORD_FREE_ALIGNED_SIZED;
		for (int k = 0; k < APB_OS_NR; k++)
			if (v->failed[k])
				e->fails |= 1u << k;
	}
	e->libc = !strcmp(target.name, "glibc");
}

static const struct run_finding *finding(const struct emit *e)
{
	return e->result->has_detail ? &e->result->detail : NULL;
}

static bool is(const struct emit *e, const char *rule)
{
	return finding(e) && !strcmp(finding(e)->oracle, rule);
}

/* ---- the assertions of a rule ------------------------------------------- */

static void print_rule(struct emit *e, uint32_t b, const char *assertion)
{
	for (const char *c = assertion; *c; c++)
		if (*c == '$')
			fprintf(e->to, "%u", b);
		else
			fputc(*c, e->to);
}

/* By rule; $ is the number of the block that the last call was to make. */
static const struct {
	const char *rule, *says;
} rules[] = {
	{"null-without-cause", "assert(p[$])"},
	{"zero-size", "assert(p[$])"},
	{"aligned-size", "assert(p[$])"},
	{"must-fail", "assert(!p[$])"},
	{"overflow", "assert(!p[$])"},
	{"realloc-zero", "assert(!p[$])"},
	{"aligned-invalid", "assert(!p[$])"},
	{"aligned-einval", "assert(p[$] || error == EINVAL)"},
	{"posix-memalign-einval", "assert(result == EINVAL)"},
	{"posix-memalign-enomem", "assert(!result || result == ENOMEM)"},
	{"posix-memalign-ptr", "assert(!result || given == (void *)p)"},
	{"posix-memalign-same", "assert(!result || given == (void *)p)"},
	{"errno-enomem", "assert(p[$] || error == ENOMEM)"},
	{"overflow-enomem", "assert(p[$] || error == ENOMEM)"},
	{"realloc-enomem", "assert(p[$] || error == ENOMEM)"},
	{"aligned-enomem", "assert(p[$] || error == ENOMEM)"},
	{"errno-free", "assert(error == UNTOUCHED)"},
	{"errno-free-fault", "assert(error == UNTOUCHED)"},
	{"overlap", "alone($, false)"},
	{"usable-overlap", "alone($, true)"},
	{"usable", "assert(malloc_usable_size(p[$]) >= size[$])"},
	{"usable-null", "assert(!malloc_usable_size(NULL))"},
	{"trim", "assert(result == 0 || result == 1)"},
};

static void print_alignment(struct emit *e, uint32_t b)
{
	const char *at = strstr(finding(e)->detail, "not aligned to ");

	if (at)
		fprintf(e->to, "\tassert((uintptr_t)p[%u] %% %lu == 0);\n", b,
			strtoul(at + strlen("not aligned to "), NULL, 10));
}

static void intact_all(struct emit *e)
{
	for (uint32_t i = 0; i < e->rec->nr; i++)
		if (e->live[i])
			fprintf(e->to, "\tintact(%u);\n", e->block[i]);
}

/* ---- calls -------------------------------------------------------------- */

static void print_size(struct emit *e, size_t n)
{
	if (n > SIZE_MAX - ((size_t)1 << 32))
		fprintf(e->to, "is(SIZE_MAX - %zu)", SIZE_MAX - n);
	else
		fprintf(e->to, "is(%zuu)", n);
}

static void print_block(struct emit *e, uint32_t maker)
{
	if (maker == RECORD_NONE)
		fputs("NULL", e->to);
	else
		fprintf(e->to, "p[%u]", e->block[maker]);
}

static bool takes_two(enum record_kind kind)
{
	return kind == RECORD_CALLOC || kind == RECORD_REALLOCARRAY ||
	       (kind >= RECORD_ALIGNED_ALLOC &&
		kind <= RECORD_POSIX_MEMALIGN) ||
	       kind == RECORD_FREE_ALIGNED_SIZED;
}

static bool takes_block(enum record_kind kind)
{
	return kind == RECORD_REALLOC || kind == RECORD_REALLOCARRAY ||
	       kind == RECORD_FREE || kind == RECORD_FREE_SIZED ||
	       kind == RECORD_FREE_ALIGNED_SIZED;
}

static void print_call(struct emit *e, uint32_t i)
{
	const struct record_event *v = &e->rec->event[i];

	fputc('\t', e->to);
	if (v->kind == RECORD_POSIX_MEMALIGN)
		fputs("given = p;\n\tresult = ", e->to);
	else if (record_makes(v))
		fprintf(e->to, "p[%u] = ", e->block[i]);
	fprintf(e->to, "%s(", names[v->kind]);
	if (v->kind == RECORD_POSIX_MEMALIGN)
		fputs("&given, ", e->to);
	if (takes_block(v->kind))
		print_block(e, v->old);
	if (v->kind != RECORD_FREE) {
		if (takes_block(v->kind))
			fputs(", ", e->to);
		if (takes_two(v->kind)) {
			print_size(e, v->n);
			fputs(", ", e->to);
		}
		print_size(e, v->size);
	}
	fputs(");\n", e->to);
	if (v->kind == RECORD_POSIX_MEMALIGN)
		fprintf(e->to, "\tp[%u] = result ? NULL : given;\n",
			e->block[i]);
}

/* Its calls of the kernel are to fail as they did, or not any more. */
static void print_faults(struct emit *e, uint32_t i, bool on)
{
	static const char *const kind[APB_OS_NR] = {
		[APB_OS_MAP] = "map",
		[APB_OS_UNMAP] = "unmap",
		[APB_OS_PURGE] = "purge",
		[APB_OS_REMAP] = "remap",
	};
	const struct record_event *v = &e->rec->event[i];

	for (int k = 0; k < APB_OS_NR; k++) {
		if (!v->failed[k])
			continue;
		if (!e->libc)
			fprintf(e->to, "\trefuse_%s = %u;\n", kind[k],
				on ? v->failed[k] : 0);
		else if (k == APB_OS_MAP)
			fprintf(e->to, "\tlimit(%s);\n", on ? "true" : "false");
	}
}

/* The block that a call passed is gone. */
static void gone(struct emit *e, const struct record_event *v)
{
	if (v->old == RECORD_NONE)
		return;
	e->live[v->old] = false;
	if (is(e, "overlap") || is(e, "usable-overlap"))
		fprintf(e->to, "\tp[%u] = NULL;\n", e->block[v->old]);
}

/* What is known of a block that was made. */
static void print_made(struct emit *e, uint32_t i)
{
	const struct record_event *v = &e->rec->event[i];
	bool array = v->kind == RECORD_CALLOC || v->kind == RECORD_REALLOCARRAY;
	bool resizes = takes_block(v->kind) && v->old != RECORD_NONE;
	size_t size = array ? v->n * v->size : v->size;

	if (v->kind == RECORD_CALLOC)
		fprintf(e->to, "\tzero(%u, %zu);\n", e->block[i], size);
	if (resizes)
		fprintf(e->to, "\tkept(%u, %u, %zu);\n", e->block[i],
			e->block[v->old], size);
	fprintf(e->to, "\tmade(%u, %zu);\n", e->block[i], size);
	gone(e, v);
	e->live[i] = true;
}

/* Behind the last call, which was printed: what the rule says. */
static void print_last(struct emit *e, bool served)
{
	uint32_t last = e->rec->nr - 1, b = e->block[last];
	const struct record_event *v = &e->rec->event[last];

	if (served && record_makes(v))
		fprintf(e->to, "\tsize[%u] = %zuu;\n", b, v->size);
	if (finding(e) && strstr(finding(e)->detail, "not aligned to "))
		print_alignment(e, b);
	if (is(e, "pvalloc-size"))
		fprintf(e->to, "\tassert(malloc_usable_size(p[%u]) >= %zuu);\n",
			b, (v->size + 4095) & ~(size_t)4095);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (!is(e, rules[i].rule))
			continue;
		fputc('\t', e->to);
		print_rule(e, b, rules[i].says);
		fputs(";\n", e->to);
	}
	if (is(e, "realloc-failed"))
		fprintf(e->to, "\tif (!p[%u])\n\t\tintact(%u);\n", b,
			e->block[v->old]);
	/* another library may have done something else by now: no more */
	if (!is(e, "content") && !is(e, "zero") && !is(e, "realloc-content"))
		return;
	if (served && record_makes(v))
		print_made(e, last);
	else
		gone(e, v);
	intact_all(e);
}

static void print_event(struct emit *e, uint32_t i)
{
	const struct record_event *v = &e->rec->event[i];
	bool last = i + 1 == e->rec->nr && finding(e);
	bool served = v->done && v->result;

	if (v->kind == RECORD_USABLE) {
		if (v->old != RECORD_NONE)
			fprintf(e->to, "\tall(%u);\n", e->block[v->old]);
		if (last)
			print_last(e, false);
		return;
	}
	if (v->kind == RECORD_THREAD_END) {
		fprintf(e->to, "\tend_thread(%zu);\n", v->n);
		return;
	}
	if (takes_block(v->kind) && v->old != RECORD_NONE)
		fprintf(e->to, "\tintact(%u);\n", e->block[v->old]);
	print_faults(e, i, true);
	if (v->kind == RECORD_TRIM) {
		fprintf(e->to, "\tresult = malloc_trim(%zu);\n", v->size);
	} else {
		if (last)
			fputs("\terrno = UNTOUCHED;\n", e->to);
		print_call(e, i);
		if (last)
			fputs("\terror = errno;\n", e->to);
	}
	print_faults(e, i, false);
	if (last)
		print_last(e, served);
	else if (record_makes(v) && served && v->size < ANY_IMPOSSIBLE)
		print_made(e, i);
	else if (v->kind >= RECORD_FREE || (v->done && !v->size))
		gone(e, v);
	else if (takes_block(v->kind) && v->old != RECORD_NONE && v->done)
		fprintf(e->to, "\tintact(%u);\n", e->block[v->old]);
}

/* ---- the program -------------------------------------------------------- */

/* The end of the part that thread @thread goes through, at call @i. */
static uint32_t part_end(const struct emit *e, uint32_t i)
{
	const struct record_event *v = e->rec->event;
	uint32_t end = i + 1;

	if (v[i].kind == RECORD_THREAD_END)
		return end;
	while (end < e->rec->nr && v[end].thread == v[i].thread &&
	       v[end].kind != RECORD_THREAD_END)
		end++;
	return end;
}

static void print_parts(struct emit *e)
{
	uint32_t i = 0, end;

	for (; e->threads && i < e->rec->nr; i = end) {
		end = part_end(e, i);
		fprintf(e->to, "static void part_%u(void)\n{\n", e->nr_parts++);
		for (; i < end; i++)
			print_event(e, i);
		fputs("}\n\n", e->to);
	}
}

static void print_main(struct emit *e)
{
	uint32_t i, end, part = 0;

	fputs("int main(void)\n{\n", e->to);
	if (!e->threads)
		for (i = 0; i < e->rec->nr; i++)
			print_event(e, i);
	for (i = 0; e->threads && i < e->rec->nr; i = end) {
		const struct record_event *v = &e->rec->event[i];

		end = part_end(e, i);
		fprintf(e->to, "\tplay(%u, part_%u);\n",
			v->kind == RECORD_THREAD_END ? 0 : v->thread, part++);
	}
	fputs("\treturn 0;\n}\n", e->to);
}

/* Nothing that would end the comment. */
static void print_words(FILE *to, const char *words)
{
	for (; *words; words++)
		fputc(*words == '*' || *words == '\n' ? ' ' : *words, to);
}

static void print_about(struct emit *e, const char *in)
{
	const char *base = strrchr(in, '/');
	const struct child_result *result = e->result;

	fprintf(e->to,
		"// SPDX-License-Identifier: MIT\n/*\n * What the input %s "
		"does to %s",
		base ? base + 1 : in, target.path);
	if (!result->finding) {
		fputs("; nothing is wrong with it.\n", e->to);
	} else if (!result->has_detail) {
		fprintf(e->to, ", until: %s, in %s.\n",
			result->signature.oracle, result->signature.op);
	} else {
		fputs(", until:\n * ", e->to);
		print_words(e->to, result->detail.oracle);
		fputs(": ", e->to);
		print_words(e->to, result->detail.detail);
		fputc('\n', e->to);
	}
	fputs(" *\n * Verified: no\n */\n", e->to);
}

static void print_program(struct emit *e, const char *in)
{
	scan(e);
	print_about(e, in);
	show_top(e->to, e->nr_blocks, target.malloc_usable_size, e->sized);
	if (e->fails && !e->libc)
		show_refusals(e->to);
	if (e->fails & 1u << APB_OS_MAP && e->libc)
		show_limit(e->to);
	if (e->threads)
		show_threads(e->to);
	print_parts(e);
	print_main(e);
}

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "apb-replay: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* Of reproduce.h: the kernel is the real one, the functions are the standard's. */
int reproduce_emit(const char *in, const char *out,
		   const struct emit_options *options, unsigned int timeout)
{
	static struct emit e;
	struct child_options child = {.timeout = timeout, .quiet = true};
	struct child_result result;
	char *text = NULL;
	struct file file;
	size_t size;

	(void)options;
	e.rec = record_start();
	if (!e.rec || file_read(in, &file) ||
	    child_run(file.data, file.size, &child, &result))
		die(in);
	file_free(&file);
	if (e.rec->full) {
		fprintf(stderr,
			"apb-replay: %s: no program: too many calls; minimize "
			"it first\n",
			in);
		return 2;
	}
	e.result = &result;
	e.to = open_memstream(&text, &size);
	if (!e.to)
		die(out);
	print_program(&e, in);
	if (fclose(e.to) || file_write(out, (const uint8_t *)text, size))
		die(out);
	free(text);
	return 0;
}
