// SPDX-License-Identifier: MIT
/* cJSON: a document is parsed, printed if that is wanted, and deleted. */
#include "target.h"

#include "cJSON.h"

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
	static cJSON_Hooks hooks = {hook_malloc, hook_free};
	cJSON *json;
	char *text = NULL;

	cJSON_InitHooks(&hooks);
	json = cJSON_ParseWithLength(data, size);
	if (!json)
		return;
	if (target_more)
		text = cJSON_PrintUnformatted(json);
	if (target_deletes) {
		target_free(text);
		cJSON_Delete(json);
	}
}
