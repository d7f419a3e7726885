// SPDX-License-Identifier: MIT
/* Runs in words; see words.h. */
#include "words.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYMBOLIZER "llvm-symbolizer-19"
#define PLACE 64

struct place {
	uintptr_t pc;
	char text[PLACE];
};

static int by_pc(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->pc < y->pc ? -1 : x->pc > y->pc;
}

/*
 * Frames of one address: the innermost that is in a .c file; helpers that are
 * inline in headers say nothing that the access does not say.
 */
static void read_frames(FILE *from, struct place *place)
{
	char function[128], file[256];
	bool have = false;

	while (fgets(function, sizeof(function), from) && *function != '\n' &&
	       fgets(file, sizeof(file), from)) {
		const char *base = strrchr(file, '/');
		bool in_c = strstr(file, ".c:");
		char *colon;

		base = base ? base + 1 : file;
		/* file:line:column */
		colon = strrchr(file, ':');
		if (colon)
			*colon = '\0';
		function[strcspn(function, "\n")] = '\0';
		if (!*place->text || (in_c && !have))
			snprintf(place->text, PLACE, "%s %s", function, base);
		have = have || in_c;
	}
}

static FILE *start(pid_t *pid, const struct place *place, size_t nr)
{
	char exe[4096], (*hex)[24] = calloc(nr, sizeof(*hex));
	char **argv = calloc(nr + 4, sizeof(*argv));
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int out[2];

	if (len < 0 || !hex || !argv || pipe(out))
		return NULL;
	exe[len] = '\0';
	argv[0] = SYMBOLIZER;
	argv[1] = "--obj";
	argv[2] = exe;
	for (size_t i = 0; i < nr; i++) {
		/* a call's address is before where it returns to */
		snprintf(hex[i], sizeof(hex[i]), "%#lx",
			 (unsigned long)place[i].pc - 1);
		argv[3 + i] = hex[i];
	}
	*pid = fork();
	if (!*pid) {
		dup2(out[1], 1);
		close(out[0]);
		execvp(SYMBOLIZER, argv);
		_exit(127);
	}
	close(out[1]);
	free(argv);
	free(hex);
	return fdopen(out[0], "r");
}

static void find_places(struct place *place, size_t nr)
{
	pid_t pid = 0;
	FILE *from = start(&pid, place, nr);

	for (size_t i = 0; i < nr; i++) {
		if (from)
			read_frames(from, &place[i]);
		if (!*place[i].text)
			snprintf(place[i].text, PLACE, "%#lx",
				 (unsigned long)place[i].pc);
	}
	if (from)
		fclose(from);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* Of all steps and the finding, each address once. */
static size_t collect(const struct report *r, struct place *place)
{
	size_t n = 0, kept = 0, i;

	for (i = 0; i < r->steps; i++)
		place[n++].pc = r->step[i].access.pc;
	for (i = 0; i < 2; i++)
		if (r->pc[i])
			place[n++].pc = r->pc[i];
	qsort(place, n, sizeof(*place), by_pc);
	for (i = 0; i < n; i++)
		if (!kept || place[i].pc != place[kept - 1].pc)
			place[kept++].pc = place[i].pc;
	find_places(place, kept);
	return kept;
}

static const char *text_of(const struct place *place, size_t nr, uintptr_t pc)
{
	struct place key = {.pc = pc};

	return ((struct place *)bsearch(&key, place, nr, sizeof(key), by_pc))
		->text;
}

static struct place *new_places(const struct report *r, size_t *nr)
{
	struct place *place = calloc(r->steps + 2, sizeof(*place));

	if (!place) {
		perror("apb-explore");
		exit(2);
	}
	*nr = collect(r, place);
	return place;
}

static const char *order_of(const struct access *a)
{
	static const char *const names[] = {
		[__ATOMIC_RELAXED] = " relaxed",
		[__ATOMIC_CONSUME] = " consume",
		[__ATOMIC_ACQUIRE] = " acquire",
		[__ATOMIC_RELEASE] = " release",
		[__ATOMIC_ACQ_REL] = " acq_rel",
		[__ATOMIC_SEQ_CST] = " seq_cst",
	};

	return a->size ? names[a->order % 6] : "";
}

void words_steps(const struct report *r, FILE *to)
{
	size_t nr;
	struct place *place = new_places(r, &nr);

	for (unsigned int i = 0; i < r->steps; i++) {
		const struct report_step *s = &r->step[i];
		char what[48];

		if (s->thread != s->last)
			fprintf(to, "  thread %u%s\n", s->thread,
				s->forced ? "" :
					    " (the one before could go on)");
		snprintf(what, sizeof(what), "%s%s", s->access.what,
			 order_of(&s->access));
		fprintf(to, "    %4u  %-30s %-24s %s\n", i,
			text_of(place, nr, s->access.pc), what,
			r->want_names ? r->name[i] : "");
	}
	free(place);
}

void words_finding(const struct report *r, FILE *to)
{
	size_t nr;
	struct place *place = new_places(r, &nr);

	fprintf(to, "FINDING: %s: %s\n", r->oracle, r->text);
	for (unsigned int i = 0; i < 2; i++)
		if (r->pc[i])
			fprintf(to, "  %s %s\n",
				i ? "and there:" : "here:     ",
				text_of(place, nr, r->pc[i]));
	free(place);
}
