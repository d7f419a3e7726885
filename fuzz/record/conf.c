// SPDX-License-Identifier: MIT
/*
 * The recorder's options.  The environment is walked here rather than asked
 * with getenv(): programs such as bash bring a getenv() of their own, which
 * allocates and is not ready when the first allocation happens.
 */
#include "record/conf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops.h"

#define DEFAULT_OUT "apb-record.%p"
#define DEFAULT_MAX 20000

void conf_say(const char *fmt, ...)
{
	/* not on the stack: a thread's may be small */
	static char line[PATH_MAX + 256];
	va_list args;
	int head, n;

	head = snprintf(line, sizeof(line), "apb-record: ");
	va_start(args, fmt);
	n = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	n = (int)strlen(line);
	line[n++] = '\n';
	/* there is nobody to tell that stderr is closed */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

static const char *value_of(char *const env[], const char *name)
{
	size_t len = strlen(name);

	for (; *env; env++)
		if (!strncmp(*env, name, len) && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

/* A decimal number from @min to @max, or @def. */
static uint64_t number(char *const env[], const char *name, uint64_t min,
		       uint64_t max, uint64_t def)
{
	const char *text = value_of(env, name);
	unsigned long long val;
	char *end;

	if (!text)
		return def;
	errno = 0;
	val = strtoull(text, &end, 10);
	/* strtoull() takes spaces and signs: a digit must come first */
	if (text[0] >= '0' && text[0] <= '9' && !*end && !errno && val >= min &&
	    val <= max)
		return val;
	conf_say("%s=%s is not a number from %llu to %llu; %llu is used", name,
		 text, (unsigned long long)min, (unsigned long long)max,
		 (unsigned long long)def);
	return def;
}

static void read_out(struct conf *conf, char *const env[])
{
	const char *out = value_of(env, "APB_RECORD_OUT");
	static char cwd[PATH_MAX];
	int n;

	if (out && (!*out || strlen(out) >= PATH_MAX - 64)) {
		conf_say("APB_RECORD_OUT is %s; %s is used",
			 *out ? "too long" : "empty", DEFAULT_OUT);
		out = NULL;
	}
	if (!out)
		out = DEFAULT_OUT;
	/* the program may change its directory before the file is written */
	if (out[0] != '/' && getcwd(cwd, sizeof(cwd))) {
		n = snprintf(conf->out, sizeof(conf->out), "%s/%s", cwd, out);
		if (n > 0 && (size_t)n < sizeof(conf->out))
			return;
	}
	snprintf(conf->out, sizeof(conf->out), "%s", out);
}

void conf_read(struct conf *conf, char *const env[])
{
	read_out(conf, env);
	conf->max = number(env, "APB_RECORD_MAX", 1, OPS_MAX_OPS, DEFAULT_MAX);
	conf->window = number(env, "APB_RECORD_WINDOW", 0, INT64_MAX, 0);
	conf->profile = number(env, "APB_RECORD_PROFILE", 0, 1, 0);
}

bool conf_path(const struct conf *conf, pid_t pid, bool child, char *buf,
	       size_t len)
{
	const char *s = conf->out;
	size_t at = 0;
	bool named = false;
	char num[24];
	int n;

	n = snprintf(num, sizeof(num), "%d", (int)pid);
	while (*s && at < len) {
		if (s[0] == '%' && s[1] == 'p') {
			if (at + (size_t)n >= len)
				return false;
			memcpy(buf + at, num, (size_t)n);
			at += (size_t)n;
			s += 2;
			named = true;
		} else {
			buf[at++] = *s++;
		}
	}
	if (at >= len)
		return false;
	buf[at] = '\0';
	if (named || !child)
		return true;
	n = snprintf(buf + at, len - at, ".%s", num);
	return n > 0 && (size_t)n < len - at;
}
