// SPDX-License-Identifier: MIT
/* A C program for an input; see reproduce.h. */
#define _GNU_SOURCE /* open_memstream() */
#include "reproduce.h"

#include "child.h"
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "apb-replay: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* What is at the top of the program. */
static char *describe(const char *in, const struct child_result *result,
		      const struct emit_options *o)
{
	const char *base = strrchr(in, '/');
	const struct signature *s = &result->signature;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fprintf(f, "What the input %s does", base ? base + 1 : in);
	if (!result->finding)
		fprintf(f, "; nothing is wrong with it.\n");
	else if (!result->has_detail)
		fprintf(f, ", until: %s, in %s.\n%s%s", s->oracle, s->op,
			s->frames, s->frames[0] ? "\n" : "");
	else
		fprintf(f, ", until:\n");
	if (!o->plain && o->kernel == EMIT_KERNEL_SCRIPTED)
		fprintf(f, "The kernel's answers matter: they are played.\n");
	return fclose(f) ? NULL : text;
}

static int write_program(const char *out, const struct trace *t,
			 const struct emit_options *options)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int err;

	if (!f)
		die(out);
	err = emit_program(f, t, options);
	if (fclose(f) && !err)
		die(out);
	if (!err && file_write(out, (const uint8_t *)text, size))
		die(out);
	free(text);
	return err;
}

int reproduce_emit(const char *in, const char *out,
		   const struct emit_options *options, unsigned int timeout)
{
	struct child_options child = {.timeout = timeout, .quiet = true};
	struct emit_options o = *options;
	struct child_result result;
	struct ops_header head;
	struct file file;
	char *about;
	int err;

	if (file_read(in, &file))
		die(in);
	child.trace = trace_new();
	if (!child.trace)
		die(in);
	ops_header(file.data, file.size, &head);
	trace_begin(child.trace, &head);
	if (child_run(file.data, file.size, &child, &result))
		die("fork");
	about = describe(in, &result, &o);
	o.about = about;
	o.finding = result.has_detail ? &result.detail : NULL;
	o.hangs = !strcmp(result.signature.oracle, "timeout");
	err = write_program(out, child.trace, &o);
	if (err)
		fprintf(stderr, "apb-replay: %s: no program: %s\n", in,
			errno == EFBIG ? "too many calls; minimize it first" :
					 strerror(errno));
	free(about);
	trace_free(child.trace);
	file_free(&file);
	return err ? 2 : 0;
}
