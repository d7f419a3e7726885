/* SPDX-License-Identifier: MIT */
/*
 * The recorder's options, read from the environment once.  Not thread-safe:
 * the recorder's lock covers it.
 */
#ifndef APB_RECORD_CONF_H
#define APB_RECORD_CONF_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct conf {
	char out[PATH_MAX]; /* APB_RECORD_OUT, absolute; %p not yet replaced */
	size_t max; /* APB_RECORD_MAX: operations */
	uint64_t window; /* APB_RECORD_WINDOW: calls before the recording */
	bool profile; /* APB_RECORD_PROFILE */
};

/*
 * Fill @conf from @env.  A value that makes no sense is named in one line on
 * stderr and the default taken: the recorded program goes on in any case.
 */
void conf_read(struct conf *conf, char *const env[]);

/*
 * The name of the file of process @pid, in @buf of @len bytes: %p is the pid.
 * @child: a forked child; a name without %p then gets the pid as suffix, so
 * that it is not that of the parent.  Returns whether it fits.
 */
bool conf_path(const struct conf *conf, pid_t pid, bool child, char *buf,
	       size_t len);

/* One line on stderr, "apb-record: " in front. */
void conf_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* APB_RECORD_CONF_H */
