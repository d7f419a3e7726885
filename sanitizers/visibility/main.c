// SPDX-License-Identifier: MIT
/* client --list | NAME: the names of all scenes; or run one. */
#include <stdio.h>
#include <string.h>

#include "client.h"

static const struct scene *const all[] = {
	bounds_scenes,	dead_scenes,	       free_scenes,
	init_scenes,	leak_scenes,	       race_scenes,
	correct_scenes, correct_thread_scenes, refused_scenes,
};

static void list(void)
{
	for (int i = 0; i < LENGTH(all); i++)
		for (const struct scene *s = all[i]; s->name; s++)
			puts(s->name);
}

static const struct scene *find(const char *name)
{
	for (int i = 0; i < LENGTH(all); i++)
		for (const struct scene *s = all[i]; s->name; s++)
			if (strcmp(s->name, name) == 0)
				return s;
	return NULL;
}

int main(int argc, char **argv)
{
	const struct scene *s;

	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		list();
		return 0;
	}
	s = argc == 2 ? find(argv[1]) : NULL;
	if (!s) {
		fprintf(stderr, "usage: client --list | NAME\n");
		return 2;
	}
	s->run(s);
	scrub();
	return 0;
}
