/* SPDX-License-Identifier: MIT */
/*
 * What cannot be had is NULL in this program, whatever the tool: its options, as
 * it asks for them.  For one file of a program to include.
 */
#ifndef APB_TRACKED_NULLS_H
#define APB_TRACKED_NULLS_H

#include "glue/raw.h"

/* Called before the tool is ready to look at what it calls. */
#define NULLS_ASKED __attribute__((visibility("default"))) APB_RAW

NULLS_ASKED const char *__asan_default_options(void);
NULLS_ASKED const char *__lsan_default_options(void);
NULLS_ASKED const char *__msan_default_options(void);
NULLS_ASKED const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *__lsan_default_options(void)
{
	return __asan_default_options();
}

const char *__msan_default_options(void)
{
	return __asan_default_options();
}

const char *__tsan_default_options(void)
{
	return __asan_default_options();
}

#endif /* APB_TRACKED_NULLS_H */
