// SPDX-License-Identifier: MIT
/*
 * APB_OPTIONS; see options.h, and alloc/shim/README.md for the list.
 *
 * Nothing here allocates or uses stdio, and the environment is walked rather
 * than asked with getenv(): all of it may happen within the first malloc() of
 * the process, and programs such as bash bring a getenv() of their own.
 */
#define _GNU_SOURCE /* environ, program_invocation_short_name */
#include "uninstrumented.h"

#include "api/options.h"

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#define VARIABLE "APB_OPTIONS"
/* Where the copy of stderr goes that outlives a program's closing of it. */
#define STATS_FD_MIN 200

bool apb_options_read;

/* ---- a line on stderr ------------------------------------------------- */

struct line {
	size_t used;
	char text[256];
};

/* At most @len bytes; what a terminal would not show becomes a '?'. */
static void add(struct line *line, const char *s, size_t len)
{
	/* room for the newline */
	for (; len && *s && line->used < sizeof(line->text) - 1; len--, s++)
		line->text[line->used++] = *s < ' ' || *s > '~' ? '?' : *s;
}

static void add_number(struct line *line, unsigned long value)
{
	char digits[24];
	char *end = digits + sizeof(digits), *p = end;

	do {
		*--p = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	add(line, p, (size_t)(end - p));
}

static void write_all(int fd, const char *s, size_t len)
{
	ssize_t n;

	while (len) {
		n = write(fd, s, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* there is nobody to tell */
		s += n;
		len -= (size_t)n;
	}
}

static void end_line(struct line *line, int fd)
{
	line->text[line->used++] = '\n';
	write_all(fd, line->text, line->used);
}

/* A piece of the list, not terminated. */
struct span {
	const char *at;
	size_t len;
};

static bool equals(struct span s, const char *word)
{
	return strlen(word) == s.len && !memcmp(s.at, word, s.len);
}

static void complain(const char *what, struct span name,
		     const struct span *value)
{
	struct line line = {0};

	add(&line, "apb: " VARIABLE ": ", SIZE_MAX);
	add(&line, what, SIZE_MAX);
	add(&line, " '", 2);
	add(&line, name.at, name.len < 64 ? name.len : 64);
	if (value) {
		add(&line, "=", 1);
		add(&line, value->at, value->len < 64 ? value->len : 64);
	}
	add(&line, "'", 1);
	end_line(&line, STDERR_FILENO);
}

/* ---- values ----------------------------------------------------------- */

/*
 * A decimal number, with @units in bytes also one followed by k, m or g.  All
 * below SIZE_MAX, which means a default to some options.
 */
static bool parse_number(struct span s, bool units, size_t *value)
{
	unsigned int shift = 0;
	size_t n = 0;

	if (units && s.len) {
		switch (s.at[s.len - 1] | 0x20) {
		case 'k':
			shift = 10;
			break;
		case 'm':
			shift = 20;
			break;
		case 'g':
			shift = 30;
			break;
		}
		s.len -= shift != 0;
	}
	if (!s.len)
		return false;
	for (; s.len; s.len--, s.at++) {
		if (*s.at < '0' || *s.at > '9' ||
		    __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (size_t)(*s.at - '0'), &n))
			return false;
	}
	if (__builtin_mul_overflow(n, (size_t)1 << shift, &n) || n == SIZE_MAX)
		return false;
	*value = n;
	return true;
}

static bool parse_flag(struct span s, size_t *value)
{
	return parse_number(s, false, value) && *value <= 1;
}

/* The index of @s among @words, which end with NULL. */
static bool parse_word(struct span s, const char *const *words, size_t *value)
{
	for (*value = 0; words[*value]; ++*value) {
		if (equals(s, words[*value]))
			return true;
	}
	return false;
}

/* ---- statistics at exit ----------------------------------------------- */

/*
 * Programs close stderr before the last destructor runs, and what is opened
 * then gets its number.  So there is a copy, and its file is compared before
 * it is written to.
 */
static struct {
	int fd; /* 0: none */
	dev_t dev;
	ino_t ino;
} stats_to;

static void want_stats(bool on)
{
	struct stat st;
	int fd;

	if (stats_to.fd)
		close(stats_to.fd);
	stats_to.fd = 0;
	if (!on)
		return;
	fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STATS_FD_MIN);
	if (fd < 0)
		fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (fd < 0 || fstat(fd, &st))
		return;
	stats_to.fd = fd;
	stats_to.dev = st.st_dev;
	stats_to.ino = st.st_ino;
}

/* After all other destructors of the object. */
__attribute__((destructor(101))) static void print_stats(void)
{
	struct line line = {0};
	struct stat st;

	if (!stats_to.fd || fstat(stats_to.fd, &st) ||
	    st.st_dev != stats_to.dev || st.st_ino != stats_to.ino)
		return;
	add(&line, "apb: statistics of ", SIZE_MAX);
	add(&line, program_invocation_short_name, 64);
	add(&line, ", process ", SIZE_MAX);
	add_number(&line, (unsigned long)getpid());
	add(&line, ", at exit", SIZE_MAX);
	end_line(&line, stats_to.fd);
	apb_stats_print(stats_to.fd);
	/* the process may go on: it is a library that is closed */
	want_stats(false);
}

/* ---- options ---------------------------------------------------------- */

static void report_and_return(const struct apb_misuse *m, void *arg)
{
	(void)arg;
	write_all(STDERR_FILENO, m->text, strlen(m->text));
}

/* Each of these: false if @value is none. */
static bool set_stats(struct span value)
{
	size_t n;

	if (!parse_flag(value, &n))
		return false;
	want_stats(n);
	return true;
}

static bool set_misuse(struct span value)
{
	static const char *const words[] = {"abort", "return", NULL};
	size_t n;

	if (!parse_word(value, words, &n))
		return false;
	apb_set_misuse(n ? report_and_return : NULL, NULL);
	return true;
}

static bool set_settle_period(struct span value)
{
	size_t n;

	return parse_number(value, false, &n) &&
	       !apb_set_option(APB_OPT_SETTLE_PERIOD, n);
}

static bool set_dirty_limit(struct span value)
{
	size_t n = APB_DIRTY_AUTO;

	return (equals(value, "auto") || parse_number(value, true, &n)) &&
	       !apb_set_option(APB_OPT_DIRTY_LIMIT, n);
}

static bool set_purge_delay(struct span value)
{
	size_t n;

	return parse_number(value, false, &n) &&
	       !apb_set_option(APB_OPT_PURGE_DELAY, n);
}

static bool set_large_cache(struct span value)
{
	size_t n;

	return parse_number(value, true, &n) &&
	       !apb_set_option(APB_OPT_LARGE_CACHE, n);
}

static bool set_quarantine(struct span value)
{
	size_t n;

	return parse_number(value, true, &n) &&
	       !apb_set_option(APB_OPT_QUARANTINE, n);
}

static bool set_junk(struct span value)
{
	size_t n;

	return parse_flag(value, &n) && !apb_set_option(APB_OPT_JUNK, n);
}

static bool set_thp(struct span value)
{
	static const char *const words[] = {"default", "never", "always", NULL};
	size_t n;

	return parse_word(value, words, &n) && !apb_set_option(APB_OPT_THP, n);
}

static const struct option {
	const char *name;
	bool (*set)(struct span value);
} options[] = {
	{"stats", set_stats},
	{"settle_period", set_settle_period},
	{"dirty_limit", set_dirty_limit},
	{"purge_delay", set_purge_delay},
	{"large_cache", set_large_cache},
	{"junk", set_junk},
	{"misuse", set_misuse},
	{"thp", set_thp},
	{"quarantine", set_quarantine},
};

static void set(struct span name, struct span value)
{
	const struct option *o = options;
	const struct option *end = o + sizeof(options) / sizeof(options[0]);

	while (o < end && !equals(name, o->name))
		o++;
	if (o == end)
		complain("unknown option", name, NULL);
	else if (!o->set(value))
		complain("bad value:", name, &value);
}

void apb_options_parse(const char *list)
{
	int saved_errno = errno;

	while (*list) {
		struct span item = {list, strcspn(list, ",")};
		const char *is = memchr(item.at, '=', item.len);

		list += item.len;
		list += *list == ',';
		if (is) {
			struct span name = {item.at, (size_t)(is - item.at)};
			struct span value = {is + 1, item.len - name.len - 1};

			set(name, value);
		} else if (item.len) {
			complain("no name=value:", item, NULL);
		}
	}
	errno = saved_errno;
}

static void read_from(char **env)
{
	const size_t len = sizeof(VARIABLE) - 1;

	/* before libc is initialised, or after clearenv(): not now */
	if (!env ||
	    __atomic_exchange_n(&apb_options_read, true, __ATOMIC_RELAXED))
		return;
	/* whoever starts a set-user-ID program does not set its options */
	if (getauxval(AT_SECURE))
		return;
	for (; *env; env++) {
		if (!strncmp(*env, VARIABLE, len) && (*env)[len] == '=')
			apb_options_parse(*env + len + 1);
	}
}

void apb_options_init(void)
{
	read_from(environ);
}

/*
 * At the latest, and before the program's own calls.  In libapb-malloc.so it is
 * before libc's own constructor, which sets environ.
 */
__attribute__((constructor(101))) static void
read_options(int argc, char **argv, char **env)
{
	(void)argc;
	(void)argv;
	read_from(environ ? environ : env);
}

#include "instrumented.h"
