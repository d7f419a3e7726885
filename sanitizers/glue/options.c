/* SPDX-License-Identifier: MIT */
/*
 * options.c - the tool's options: a list of name=value, read as the tool does.
 *
 * It does not tell what it has read, so the layer reads what matters to it where
 * the tool does, in the same order: what the program says (__asan_default_options()
 * and the like), then the environment; the later one counts.  "include=" is not
 * followed.
 */
#include <stdlib.h>
#include <string.h>

#include "glue/glue.h"
#include "glue/tool.h"

const char *TOOL_DEFAULTS(void) __attribute__((weak));

APB_RAW bool apb_glue_is(const char *name, size_t len, const char *what)
{
	return strlen(what) == len && memcmp(name, what, len) == 0;
}

#define BETWEEN " ,:\n\t\r"

APB_RAW void apb_glue_options(const char *text, apb_glue_take_fn *take)
{
	const char *name, *value;
	size_t name_len, len;

	while (text && *text) {
		text += strspn(text, BETWEEN);
		name = text;
		name_len = strcspn(name, "=");
		if (!name[name_len])
			return;
		value = name + name_len + 1;
		if (*value == '"' || *value == '\'') {
			char quote[2] = {*value++, 0};

			len = strcspn(value, quote);
			text = value + len + (value[len] != 0);
		} else {
			len = strcspn(value, BETWEEN);
			text = value + len;
		}
		take(name, name_len, value, len);
	}
}

/* ---- how large a block may be ------------------------------------------ */

static size_t largest; /* 0: not read yet */
static size_t reading;

APB_RAW static void take_largest(const char *name, size_t name_len,
				 const char *value, size_t len)
{
	size_t mb;

	(void)len;
	if (!apb_glue_is(name, name_len, "max_allocation_size_mb"))
		return;
	mb = strtoul(value, NULL, 0);
	if (mb && mb < TOOL_LARGEST >> 20)
		__atomic_store_n(&reading, mb << 20, __ATOMIC_RELAXED);
}

APB_RAW size_t apb_glue_largest(void)
{
	size_t now = __atomic_load_n(&largest, __ATOMIC_RELAXED);

	if (now)
		return now;
	__atomic_store_n(&reading, TOOL_LARGEST, __ATOMIC_RELAXED);
	if (TOOL_DEFAULTS)
		apb_glue_options(TOOL_DEFAULTS(), take_largest);
	apb_glue_options(getenv(TOOL_OPTIONS), take_largest);
	now = __atomic_load_n(&reading, __ATOMIC_RELAXED);
	__atomic_store_n(&largest, now, __ATOMIC_RELAXED);
	return now;
}
