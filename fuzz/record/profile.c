// SPDX-License-Identifier: MIT
/*
 * The profile of a program: calls by kind, requests by size class.  A
 * realloc() counts as a request for its new size; requests that failed are
 * counted as calls only.
 */
#define _GNU_SOURCE
#include "record/profile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "heap/class.h"

/* One more than the classes: what is larger than all of them. */
#define CLASS_LARGE (APB_NR_CLASSES + 1)
#define BAR_WIDTH 20

struct share {
	uint64_t requests;
	uint64_t bytes;
};

static struct {
	uint64_t calls[PROFILE_NR];
	uint64_t failed;
	struct share class_[CLASS_LARGE + 1];
} prof;

static const char *const call_names[PROFILE_NR] = {
	[PROFILE_MALLOC] = "malloc",   [PROFILE_CALLOC] = "calloc",
	[PROFILE_REALLOC] = "realloc", [PROFILE_ALIGNED] = "aligned",
	[PROFILE_FREE] = "free",       [PROFILE_FREE_NULL] = "free(NULL)",
};

void profile_reset(void)
{
	memset(&prof, 0, sizeof(prof));
}

void profile_request(enum profile_call call, size_t size, bool failed)
{
	unsigned int cls = CLASS_LARGE;

	prof.calls[call]++;
	if (failed) {
		prof.failed++;
		return;
	}
	/* nothing is served as one byte */
	if (size <= APB_MAX_POOLED)
		cls = apb_class_of(size ? size : 1);
	prof.class_[cls].requests++;
	prof.class_[cls].bytes += size;
}

void profile_release(enum profile_call call)
{
	prof.calls[call]++;
}

/* The text grows here: stdio's own buffers would be malloc()ed. */
static char text[16384];
static size_t text_len;

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	size_t room = sizeof(text) - text_len;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text + text_len, room, fmt, args);
	va_end(args);
	if (n > 0)
		text_len += (size_t)n < room ? (size_t)n : room - 1;
}

static double percent(uint64_t part, uint64_t all)
{
	return all ? 100.0 * (double)part / (double)all : 0.0;
}

static struct share sum(unsigned int from, unsigned int to)
{
	struct share s = {0, 0};

	for (; from <= to; from++) {
		s.requests += prof.class_[from].requests;
		s.bytes += prof.class_[from].bytes;
	}
	return s;
}

static void row(const char *name, struct share s, struct share all, bool bar)
{
	static const char marks[] = "####################";
	unsigned int len = 0;

	static_assert(sizeof(marks) == BAR_WIDTH + 1, "a full bar");
	if (bar && all.requests)
		len = (unsigned int)((s.requests * BAR_WIDTH +
				      all.requests / 2) /
				     all.requests);
	say("  %9s %10llu %6.1f %% %12llu %6.1f %%%s%.*s\n", name,
	    (unsigned long long)s.requests, percent(s.requests, all.requests),
	    (unsigned long long)s.bytes, percent(s.bytes, all.bytes),
	    len ? "  " : "", (int)len, marks);
}

static void histogram(struct share all)
{
	char name[24];
	unsigned int cls;

	say("  %9s %10s %8s %12s %8s\n", "class", "requests", "share", "bytes",
	    "share");
	for (cls = 1; cls <= CLASS_LARGE; cls++) {
		if (!prof.class_[cls].requests)
			continue;
		if (cls == CLASS_LARGE)
			snprintf(name, sizeof(name), "larger");
		else
			snprintf(name, sizeof(name), "%zu",
				 apb_class_size(cls));
		row(name, prof.class_[cls], all, true);
	}
	snprintf(name, sizeof(name), "<= %zu", APB_SMALL_MAX);
	row(name, sum(1, APB_NR_SMALL_CLASSES), all, false);
	snprintf(name, sizeof(name), "> %zu", APB_SMALL_MAX);
	row(name, sum(APB_NR_SMALL_CLASSES + 1, CLASS_LARGE), all, false);
	row("all", all, all, false);
}

void profile_print(void)
{
	size_t done = 0;
	unsigned int i;

	text_len = 0;
	say("apb-record: what %s (pid %d) asked for\n ",
	    program_invocation_short_name, (int)getpid());
	for (i = 0; i < PROFILE_NR; i++)
		say(" %s %llu,", call_names[i],
		    (unsigned long long)prof.calls[i]);
	say(" failed %llu\n", (unsigned long long)prof.failed);
	histogram(sum(1, CLASS_LARGE));
	while (done < text_len) {
		ssize_t n = write(STDERR_FILENO, text + done, text_len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		done += (size_t)n;
	}
}
