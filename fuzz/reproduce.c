// SPDX-License-Identifier: MIT
/* Small inputs; see reproduce.h. */
#include "reproduce.h"

#include "child.h"
#include "clock.h"
#include "files.h"
#include "minimize.h"
#include "ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HANG_TIMEOUT 2 /* seconds for what becomes of one that hangs */
#define FIRST_TRIES 4
#define SAVE_PERIOD 0.5 /* seconds */

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "apb-replay: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void run_or_die(const uint8_t *data, size_t size,
		       const struct child_options *options,
		       struct child_result *result)
{
	if (child_run(data, size, options, result))
		die("fork");
}

/* ---- minimize --------------------------------------------------------- */

struct shrinking {
	struct child_options options;
	struct signature signature;
	const char *out;
	double end; /* when time is out */
	double saved;
	size_t runs;
};

static void save(const struct shrinking *sh, const uint8_t *data, size_t size)
{
	if (file_write(sh->out, data, size))
		die(sh->out);
}

static bool fails_alike(const uint8_t *data, size_t size, void *arg)
{
	struct shrinking *sh = arg;
	struct child_result result;

	sh->runs++;
	run_or_die(data, size, &sh->options, &result);
	if (!result.finding ||
	    !signature_same(&result.signature, &sh->signature))
		return false;
	/* whatever ends us now, this is not lost */
	if (clock_seconds() > sh->saved + SAVE_PERIOD) {
		save(sh, data, size);
		sh->saved = clock_seconds();
	}
	return true;
}

static bool time_left(void *arg)
{
	return clock_seconds() < ((struct shrinking *)arg)->end;
}

static void print_words(const struct file *file)
{
	struct op op;
	char buf[160];

	for (size_t i = 0; i < ops_count(file->size); i++) {
		ops_decode(file->data, file->size, i, &op);
		printf("  #%zu %s\n", i, ops_describe(&op, buf, sizeof(buf)));
	}
}

/* What follows the operation that failed has no part in it. */
static void cut_tail(struct file *file, const struct child_result *result,
		     struct shrinking *sh)
{
	size_t size =
		OPS_HEADER_SIZE + (result->op_index + 1) * OPS_RECORD_SIZE;

	if (size < file->size && fails_alike(file->data, size, sh))
		file->size = size;
}

int reproduce_minimize(const char *in, const char *out, unsigned int seconds,
		       unsigned int timeout)
{
	struct shrinking sh = {
		.options = {.timeout = timeout, .quiet = true},
		.out = out,
	};
	double begin = clock_seconds();
	struct child_result result;
	uint8_t *scratch;
	size_t before;
	struct file file;

	if (file_read(in, &file))
		die(in);
	scratch = malloc(file.size + 1);
	if (!scratch)
		die(in);
	/* on the real kernel addresses are chance */
	for (int i = 0; i < FIRST_TRIES; i++) {
		run_or_die(file.data, file.size, &sh.options, &result);
		if (result.finding)
			break;
	}
	if (!result.finding) {
		fprintf(stderr, "apb-replay: %s: no finding to minimize\n", in);
		return 2;
	}
	sh.signature = result.signature;
	sh.options.timeout = HANG_TIMEOUT;
	if (strcmp(sh.signature.oracle, "timeout"))
		sh.options.timeout +=
			(unsigned int)(2 * (clock_seconds() - begin));
	sh.end = clock_seconds() + seconds;
	sh.saved = clock_seconds();
	save(&sh, file.data, file.size);
	before = ops_count(file.size);
	cut_tail(&file, &result, &sh);
	minimize(file.data, &file.size, scratch, fails_alike, time_left, &sh);
	save(&sh, file.data, file.size);
	printf("%s: %s: %zu operations -> %zu, %zu runs, %.1f s\n", out,
	       sh.signature.oracle, before, ops_count(file.size), sh.runs,
	       clock_seconds() - begin);
	print_words(&file);
	free(scratch);
	file_free(&file);
	return 0;
}
