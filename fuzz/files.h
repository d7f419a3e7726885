/* SPDX-License-Identifier: MIT */
/* Input files: one, or all below a directory. */
#ifndef APB_FUZZ_FILES_H
#define APB_FUZZ_FILES_H

#include <stddef.h>
#include <stdint.h>

struct file {
	uint8_t *data;
	size_t size;
};

/*
 * Read a file, as far as it is looked at.  Returns 0, or -1 with errno set.
 * file_free() gives it back.
 */
int file_read(const char *path, struct file *file);
void file_free(struct file *file);

/*
 * Write a file, whole or not at all: 0, or -1 with errno set and what was there
 * before.  A device, or what a link leads to, is written as it is.
 */
int file_write(const char *path, const uint8_t *data, size_t size);

/*
 * Call @fn for @path, or if it is a directory for each file below it, in order
 * of name, but for hidden ones and *.md.  Ends at the first call that does not
 * return 0 and returns that; -1 with errno set and *@bad (to be freed) the
 * path if a directory cannot be read.
 */
int files_walk(const char *path, int (*fn)(const char *path, void *arg),
	       void *arg, char **bad);

#endif /* APB_FUZZ_FILES_H */
