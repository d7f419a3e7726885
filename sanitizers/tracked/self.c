// SPDX-License-Identifier: MIT
/*
 * The harness in builds in which apb's blocks are visible to a tool: apb is
 * driven as any malloc is (fuzz/foreign), as sizes are exact there, realloc()
 * always moves, and misuse is the tool's to report.  In the place of what opens
 * a library and replaces its calls of the kernel stands apb itself, with its
 * own layer for faults; between inputs it is checked and reset.
 */
#include "foreign/any.h"
#include "tracked/nulls.h"

#include <stdlib.h>
#include <string.h>

/* apb_realloc(p, 0) is not free(). */
#define RULES "glibc,-realloc-zero"

struct target target = {
	.name = "apb",
	.path = "apb",
	.malloc = apb_malloc,
	.calloc = apb_calloc,
	.realloc = apb_realloc,
	.reallocarray = apb_reallocarray,
	.aligned_alloc = apb_aligned_alloc,
	.free = apb_free,
	.free_sized = apb_free_sized,
	.free_aligned_sized = apb_free_aligned_sized,
	.errno_location = __errno_location,
	.thread_create = pthread_create,
	.thread_join = pthread_join,
	.hooked = true,
};
const char *target_history;

static size_t usable_size(void *ptr)
{
	return apb_usable_size(ptr);
}

static int trim(size_t pad)
{
	(void)pad;
	return apb_trim() != 0;
}

__attribute__((constructor)) static void start(void)
{
	target.malloc_usable_size = usable_size;
	target.malloc_trim = trim;
	if (rules_set(RULES))
		abort();
}

bool target_is(const char *word)
{
	return !strcmp(target.name, word);
}

/* An input begins; as the first ended, so it would be found here. */
void any_history(const uint8_t *data, size_t size)
{
	(void)data;
	(void)size;
	if (apb_check(NULL))
		abort();
	apb_reset();
}

/* ---- faults ------------------------------------------------------------- */

void hooks_enter(void)
{
}

void hooks_leave(void)
{
}

void hooks_counts(struct hook_counts *counts)
{
	struct apb_fault_stats stats;

	apb_fault_get(&stats);
	counts->all = 0;
	for (int i = 0; i < APB_OS_NR; i++) {
		counts->all += stats.calls[i];
		counts->calls[i] = stats.calls[i];
		counts->failed[i] = stats.failed[i];
	}
}

void hooks_fault(const struct apb_fault *fault)
{
	apb_fault_set(fault);
}

/* A tool wants more addresses than any limit leaves. */
void hooks_limit(size_t slack)
{
	(void)slack;
}

void hooks_lift(bool lift)
{
	(void)lift;
}
