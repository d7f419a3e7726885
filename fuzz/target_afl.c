// SPDX-License-Identifier: MIT
/*
 * The AFL++ target: persistent mode, input in shared memory.
 *
 * AFL++ 4.04c knows no counters but those of its own instrumentation.  So the
 * states of feedback.h get guards as edges have them, and are hit through the
 * same function that the instrumentation calls.
 *
 * Some inputs run before the fork server starts: what happens only once in a
 * process (the first touch of a table, a lazy initialisation) would else look
 * like an unstable edge.  Their seeds differ, so that arenas come to lie in both
 * slices of the simulated kernel's space.  What they find is not reported: a
 * target that ends before the fork server is there has no input to show.
 */
#include "feedback.h"
#include "run.h"

#include <stdlib.h>
#include <unistd.h>

#define LOOPS 100000
#define WARM_UPS 64
#define SEED_AT 4 /* in the header */

__AFL_FUZZ_INIT();

/* Of the instrumentation's run time. */
void __sanitizer_cov_trace_pc_guard(uint32_t *guard);
void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);

static uint32_t guards[FEEDBACK_NR];

/* Before the run time tells the fuzzer how big the map is. */
__attribute__((constructor(110))) static void register_guards(void)
{
	__sanitizer_cov_trace_pc_guard_init(guards, guards + FEEDBACK_NR);
}

static bool warming = true;

static void on_finding(const struct run_finding *f, void *arg)
{
	(void)arg;
	if (warming)
		return;
	run_print_finding(f, stderr);
	abort();
}

static void run(const uint8_t *data, size_t size)
{
	static struct run_options options = {.on_finding = on_finding};

	options.api = &target_api ? target_api : NULL;
	run_input(data, size, &options);
	for (unsigned int i = 0; i < feedback_nr_hit(); i++)
		__sanitizer_cov_trace_pc_guard(&guards[feedback_hit_at(i)]);
}

int main(void)
{
	uint8_t warm_up[OPS_HEADER_SIZE + 8 * OPS_RECORD_SIZE] = {0};
	const uint8_t *data;

	for (int i = 0; i < WARM_UPS; i++) {
		warm_up[SEED_AT] = (uint8_t)i;
		run(warm_up, sizeof(warm_up));
	}
	run_prepare();
	warming = false;
	__AFL_INIT();
	data = __AFL_FUZZ_TESTCASE_BUF;
	while (__AFL_LOOP(LOOPS))
		run(data, (size_t)__AFL_FUZZ_TESTCASE_LEN);
	return 0;
}
