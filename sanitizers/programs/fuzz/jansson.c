// SPDX-License-Identifier: MIT
/* jansson: a document is parsed and deleted. */
#include "target.h"

#include "jansson.h"

static void *hook_malloc(size_t size)
{
	return target_malloc(size);
}

static void hook_free(void *ptr)
{
	target_free(ptr);
}

void target_run(const char *data, size_t size)
{
	json_error_t error;
	json_t *json;

	json_set_alloc_funcs(hook_malloc, hook_free);
	/* the order of hash tables is the same for all inputs */
	json_object_seed(1);
	json = json_loadb(data, size, JSON_DECODE_ANY, &error);
	if (target_deletes)
		json_decref(json);
}
