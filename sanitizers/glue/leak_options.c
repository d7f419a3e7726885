/* SPDX-License-Identifier: MIT */
/*
 * leak_options.c - the tool's options, as far as they matter to the leak check.
 *
 * The tool does not tell them, so they are read where it reads them, in the same
 * order: the later one counts.  "include=" is not followed.
 */
#include <stdlib.h>
#include <string.h>

#include "glue/glue.h"
#include "glue/leak.h"

const char *__asan_default_options(void) __attribute__((weak));
const char *__lsan_default_options(void) __attribute__((weak));
int __lsan_is_turned_off(void) __attribute__((weak));
void __asan_init(void) __attribute__((weak));

static struct leak_options options;

APB_RAW const struct leak_options *apb_leak_options(void)
{
	return &options;
}

APB_RAW static bool truth(const char *value, size_t len)
{
	return !(apb_glue_is(value, len, "0") ||
		 apb_glue_is(value, len, "no") ||
		 apb_glue_is(value, len, "false"));
}

APB_RAW static void take(const char *name, size_t name_len, const char *value,
			 size_t len)
{
	if (apb_glue_is(name, name_len, "detect_leaks"))
		options.detect = truth(value, len);
	else if (apb_glue_is(name, name_len, "leak_check_at_exit"))
		options.at_exit = truth(value, len);
	else if (apb_glue_is(name, name_len, "report_objects"))
		options.report_objects = truth(value, len);
	else if (apb_glue_is(name, name_len, "print_suppressions"))
		options.print_suppressions = truth(value, len);
	else if (apb_glue_is(name, name_len, "allocator_may_return_null"))
		options.may_return_null = truth(value, len);
	else if (apb_glue_is(name, name_len, "new_delete_type_mismatch"))
		options.new_delete_mismatch = truth(value, len);
	else if (apb_glue_is(name, name_len, "exitcode"))
		options.exitcode = (int)strtol(value, NULL, 0);
	else if (apb_glue_is(name, name_len, "max_leaks"))
		options.max_leaks = (size_t)strtoll(value, NULL, 0);
	else if (apb_glue_is(name, name_len, "suppressions") &&
		 len < sizeof(options.suppressions)) {
		memcpy(options.suppressions, value, len);
		options.suppressions[len] = 0;
	}
}

APB_RAW void apb_leak_read_options(void)
{
	options = (struct leak_options){
		.detect = true,
		.at_exit = true,
		.print_suppressions = true,
		.new_delete_mismatch = true,
		.exitcode = __asan_init ? 1 : 23,
	};
	if (__asan_init && __asan_default_options)
		apb_glue_options(__asan_default_options(), take);
	if (__lsan_default_options)
		apb_glue_options(__lsan_default_options(), take);
	if (__asan_init)
		apb_glue_options(getenv("ASAN_OPTIONS"), take);
	apb_glue_options(getenv("LSAN_OPTIONS"), take);
	if (__lsan_is_turned_off && __lsan_is_turned_off())
		options.detect = false;
}
