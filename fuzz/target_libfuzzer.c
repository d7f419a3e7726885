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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
		options.allow_real_kernel = getenv("APB_FUZZ_REAL");
	}
	run_input(data, size, &options);
	return 0;
}
