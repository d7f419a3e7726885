// SPDX-License-Identifier: MIT
/* The list of scenarios; see scenes.h. */
#include "scenes.h"

#include <string.h>

static const struct program *const tables[] = {
	scenes_free,
	scenes_heap,
	scenes_shared,
};

const struct program *scene_nr(unsigned int i)
{
	for (unsigned int k = 0; k < sizeof(tables) / sizeof(tables[0]); k++) {
		const struct program *p = tables[k];

		for (; p->name; p++)
			if (!i--)
				return p;
	}
	return NULL;
}

const struct program *scene_find(const char *name)
{
	const struct program *p;

	for (unsigned int i = 0; (p = scene_nr(i)); i++)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}
