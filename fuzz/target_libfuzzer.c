// SPDX-License-Identifier: MIT
/*
 * The libFuzzer target; the same source with sanitizers and with release
 * flags.
 *
 * Inputs that ask for the real kernel run on the simulated one, unless
 * APB_FUZZ_REAL is set: on the real one an execution costs system calls and
 * depends on the machine.
 */
#include "run.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * libFuzzer watches the memory from a second thread, and with a second thread
 * the allocator leaves its fast paths: nobody would fuzz them.  So the watch is
 * off, unless a later argument puts it on.
 */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char no_watch[] = "-rss_limit_mb=0";
	size_t n = (size_t)*argc;
	char **args = calloc(n + 2, sizeof(*args));

	if (!args)
		abort();
	args[0] = (*argv)[0];
	args[1] = no_watch;
	memcpy(args + 2, *argv + 1, (n - 1) * sizeof(*args));
	*argv = args;
	*argc += 1;
	run_prepare();
	return 0;
}

static void on_finding(const struct run_finding *f, void *arg)
{
	(void)arg;
	run_print_finding(f, stderr);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run_options options;

	if (!options.on_finding) {
		options.on_finding = on_finding;
		options.api = &target_api ? target_api : NULL;
		options.allow_real_kernel = getenv("APB_FUZZ_REAL");
	}
	run_input(data, size, &options);
	return 0;
}
