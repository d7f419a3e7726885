// SPDX-License-Identifier: MIT
/*
 * The target for AFL++ behind its driver for libFuzzer's interface, as services
 * link it: the driver has main(), persistent mode and the fork server.
 *
 * The states of feedback.h become guards like those of edges, and some inputs
 * run before the fork server starts, for the reasons that target_afl.c gives.
 */
#include "feedback.h"
#include "initialised.h"
#include "run.h"

#include <stdlib.h>

#define WARM_UPS 64
#define SEED_AT 4 /* in the header */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of the instrumentation's run time. */
void __sanitizer_cov_trace_pc_guard(uint32_t *guard);
void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);

static uint32_t guards[FEEDBACK_NR];

/* Before the run time tells the fuzzer how big the map is. */
__attribute__((constructor(110))) static void register_guards(void)
{
	__sanitizer_cov_trace_pc_guard_init(guards, guards + FEEDBACK_NR);
}

static void on_finding(const struct run_finding *f, void *arg)
{
	(void)arg;
	run_print_finding(f, stderr);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run_options options = {.on_finding = on_finding};

	initialised(data, size); /* the driver is not instrumented */
	run_input(data, size, &options);
	for (unsigned int i = 0; i < feedback_nr_hit(); i++)
		__sanitizer_cov_trace_pc_guard(&guards[feedback_hit_at(i)]);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	uint8_t warm_up[OPS_HEADER_SIZE + 8 * OPS_RECORD_SIZE] = {0};

	(void)argc;
	(void)argv;
	for (int i = 0; i < WARM_UPS; i++) {
		warm_up[SEED_AT] = (uint8_t)i;
		LLVMFuzzerTestOneInput(warm_up, sizeof(warm_up));
	}
	run_prepare();
	return 0;
}
