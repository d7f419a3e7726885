// SPDX-License-Identifier: MIT
/* Input files; see files.h. */
#define _GNU_SOURCE /* asprintf() */
#include "files.h"

#include "ops.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_SIZE (OPS_HEADER_SIZE + (size_t)OPS_MAX_OPS * OPS_RECORD_SIZE)

int file_read(const char *path, struct file *file)
{
	FILE *f = fopen(path, "rb");
	size_t room = 4096, n;

	if (!f)
		return -1;
	file->size = 0;
	file->data = NULL;
	do {
		uint8_t *data = realloc(file->data, room);

		if (!data)
			break;
		file->data = data;
		n = fread(data + file->size, 1, room - file->size, f);
		file->size += n;
		if (file->size < room || file->size >= MAX_SIZE)
			break;
		room *= 2;
	} while (n);
	if (file->data && !ferror(f)) {
		fclose(f);
		return 0;
	}
	n = (size_t)errno;
	fclose(f);
	file_free(file);
	errno = (int)n;
	return -1;
}

void file_free(struct file *file)
{
	free(file->data);
	file->data = NULL;
}

static int write_all(const char *path, const uint8_t *data, size_t size)
{
	FILE *f = fopen(path, "wb");
	bool ok;

	if (!f)
		return -1;
	ok = fwrite(data, 1, size, f) == size;
	return fclose(f) || !ok ? -1 : 0;
}

/* What is renamed takes the place of a link or a device: these are written to. */
static bool replaceable(const char *path)
{
	struct stat st;

	return lstat(path, &st) || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
}

int file_write(const char *path, const uint8_t *data, size_t size)
{
	char *name;
	int err;

	if (!replaceable(path))
		return write_all(path, data, size);
	if (asprintf(&name, "%s.tmp-%d", path, (int)getpid()) < 0)
		return -1;
	err = write_all(name, data, size);
	if (!err)
		err = rename(name, path);
	if (err)
		unlink(name);
	free(name);
	return err;
}

static int wanted(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return entry->d_name[0] != '.' && (!dot || strcmp(dot, ".md"));
}

static int walk_dir(const char *path, int (*fn)(const char *path, void *arg),
		    void *arg, char **bad)
{
	struct dirent **entries;
	int n = scandir(path, &entries, wanted, alphasort), err = 0;

	if (n < 0) {
		*bad = strdup(path);
		return -1;
	}
	for (int i = 0; i < n; i++) {
		char *name;

		if (!err &&
		    asprintf(&name, "%s/%s", path, entries[i]->d_name) >= 0) {
			err = files_walk(name, fn, arg, bad);
			free(name);
		}
		free(entries[i]);
	}
	free(entries);
	return err;
}

int files_walk(const char *path, int (*fn)(const char *path, void *arg),
	       void *arg, char **bad)
{
	struct stat st;

	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return walk_dir(path, fn, arg, bad);
	return fn(path, arg);
}
