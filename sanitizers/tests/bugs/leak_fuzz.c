// SPDX-License-Identifier: MIT
/*
 * A target for libFuzzer, which asks the tool for leaks after an input that
 * made more of malloc's blocks than it freed, and knows of no others: so the
 * target asks.  It leaks a block if the input begins with an L.
 */
#include <apb/apb.h>
#include <apb/sanitize.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void **volatile kept;

__attribute__((noinline)) static void work(const uint8_t *data, size_t size)
{
	/* of malloc's, on a block of apb's: reached, and freed later */
	if (!kept)
		kept = apb_malloc(40);
	free(kept[2]);
	kept[2] = malloc(30);
	if (size && data[0] == 'L')
		apb_malloc(21);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char below[4096];

	work(data, size);
	memset(below, 0, sizeof(below));
	__asm__ volatile("" : : "r"(below) : "memory");
	if (apb_san_leak_check())
		abort();
	return 0;
}
