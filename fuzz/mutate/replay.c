// SPDX-License-Identifier: MIT
/*
 * Inputs run one after the other in one process, up to the first finding:
 *
 *   replay LIST     the inputs named in a file, a line each
 *   replay LIST -   the same; for each its time and the mutants marked
 */
#include "mutate/select.h"

#include "clock.h"
#include "files.h"
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void on_finding(const struct run_finding *f, void *arg)
{
	run_print_finding(f, stderr);
	fprintf(stderr, "in %s\n", (const char *)arg);
	_exit(1);
}

static void print_marks(const char *path, double seconds)
{
	const unsigned char *marks;
	size_t i, n = mutate_marks(&marks);

	printf("%s %.6f", path, seconds);
	for (i = 0; i < n; i++)
		if (marks[i])
			printf(" %zu", i);
	printf("\n");
}

static void run_file(char *path, bool trace)
{
	struct run_options options = {
		.allow_real_kernel = true,
		.fill = true,
		.on_finding = on_finding,
		.arg = path,
	};
	struct file file;
	double begin;

	if (file_read(path, &file)) {
		perror(path);
		exit(2);
	}
	mutate_forget();
	begin = clock_seconds();
	run_input(file.data, file.size, &options);
	if (trace)
		print_marks(path, clock_seconds() - begin);
	file_free(&file);
}

int main(int argc, char **argv)
{
	FILE *f = argc > 1 ? fopen(argv[1], "r") : NULL;
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	if (!f) {
		fprintf(stderr, "usage: replay LIST [-]\n");
		return 2;
	}
	while ((len = getline(&line, &room, f)) > 0) {
		line[len - 1] = '\0';
		run_file(line, argc > 2);
	}
	free(line);
	fclose(f);
	return 0;
}
