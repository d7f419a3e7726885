// SPDX-License-Identifier: MIT
/*
 * The libFuzzer target: an input with its schedule at the end, its threads
 * run beside each other by that.
 */
#include "input.h"
#include "world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct schedule s;
	static bool warm;

	if (!warm)
		world_warm_up();
	warm = true;
	input_set(data, input_schedule(&s, data, size));
	schedule_run(&s, &input_program);
	return 0;
}
