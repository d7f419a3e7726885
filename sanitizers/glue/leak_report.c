/* SPDX-License-Identifier: MIT */
/*
 * leak_report.c - the report of leaks, as the tool's own check words it.
 *
 * Blocks born at the same place are one leak.  The world goes on by now, so
 * memory is allocated as usual; what leaked nobody can give back meanwhile.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "glue/glue.h"
#include "glue/leak.h"

const char *__lsan_default_suppressions(void) __attribute__((weak));
void __sanitizer_symbolize_pc(void *pc, const char *fmt, char *buf, size_t size)
	__attribute__((weak));

#define RULE "================================================================="
#define THIN "-----------------------------------------------------"

struct leak {
	uint32_t stack;
	bool indirect, suppressed;
	size_t bytes, count;
};

struct suppression {
	struct suppression *next;
	size_t bytes, count;
	char pattern[];
};

/* ---- suppressions ---------------------------------------------------------- */

static struct suppression *suppressions;

APB_RAW static void add_suppression(const char *text, size_t len)
{
	struct suppression *item, **at = &suppressions;

	if (len < 5 || memcmp(text, "leak:", 5) != 0)
		return;
	text += 5;
	len -= 5;
	item = calloc(1, sizeof(*item) + len + 1);
	if (!item)
		return;
	memcpy(item->pattern, text, len);
	while (*at)
		at = &(*at)->next;
	*at = item;
}

APB_RAW static void add_suppressions(const char *text)
{
	while (*text) {
		size_t len, line = strcspn(text, "\n");

		len = line;
		while (len && strchr(" \t\r", text[len - 1]))
			len--;
		while (len && strchr(" \t", *text)) {
			text++;
			line--;
			len--;
		}
		if (len && *text != '#')
			add_suppression(text, len);
		text += line;
		text += *text == '\n';
	}
}

APB_RAW static void read_suppressions(void)
{
	const char *path = apb_leak_options()->suppressions;
	char *text;
	ssize_t n;
	int fd;

	if (__lsan_default_suppressions)
		add_suppressions(__lsan_default_suppressions());
	/* the tool has complained already if it cannot be read */
	fd = *path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	text = malloc(1 << 20);
	if (text) {
		n = read(fd, text, (1 << 20) - 1);
		text[n < 0 ? 0 : n] = 0;
		add_suppressions(text);
		free(text);
	}
	close(fd);
}

APB_RAW static void free_suppressions(void)
{
	while (suppressions) {
		struct suppression *next = suppressions->next;

		free(suppressions);
		suppressions = next;
	}
}

/*
 * A pattern is somewhere in the text, unless it begins with ^ or ends with $;
 * a * stands for anything.
 */
APB_RAW static bool matches(const char *pattern, const char *text)
{
	bool anchored = *pattern == '^';
	const char *found;
	char part[256];
	size_t len;

	pattern += anchored;
	while (*pattern) {
		if (*pattern == '*') {
			pattern++;
			anchored = false;
			continue;
		}
		if (*pattern == '$' && !pattern[1])
			return anchored ? !*text : true;
		len = strcspn(pattern, "*$");
		if (pattern[len] == '$' && pattern[len + 1])
			len++;
		if (len >= sizeof(part))
			return false;
		memcpy(part, pattern, len);
		part[len] = 0;
		pattern += len;
		if (pattern[0] == '$' && !pattern[1]) {
			size_t rest = strlen(text);

			return rest >= len && (!anchored || rest == len) &&
			       strcmp(text + rest - len, part) == 0;
		}
		found = strstr(text, part);
		if (!found || (anchored && found != text))
			return false;
		text = found + len;
		anchored = false;
	}
	return true;
}

/* Function, file or module of any frame, inlined ones, too. */
APB_RAW static bool frame_matches(const char *pattern, uintptr_t pc)
{
	static const char *const what[] = {"%f", "%s", "%m"};
	char text[2048];
	const char *part;
	size_t i;

	for (i = 0; i < 3; i++) {
		memset(text, 0, sizeof(text));
		__sanitizer_symbolize_pc((void *)pc, what[i], text,
					 sizeof(text) - 1);
		for (part = text; *part; part += strlen(part) + 1)
			if (matches(pattern, part))
				return true;
	}
	return false;
}

APB_RAW static struct suppression *suppressed_by(uint32_t stack)
{
	struct suppression *item;
	const uintptr_t *pcs;
	unsigned int i, count;

	count = suppressions && __sanitizer_symbolize_pc ?
			apb_stack_get(stack, &pcs) :
			0;
	for (i = 0; i < count; i++)
		for (item = suppressions; item; item = item->next)
			if (frame_matches(item->pattern, pcs[i]))
				return item;
	return NULL;
}

APB_RAW static void print_suppressions(void)
{
	struct suppression *item;
	bool any = false;

	for (item = suppressions; item; item = item->next)
		any |= item->count != 0;
	if (!any || !apb_leak_options()->print_suppressions)
		return;
	apb_glue_say(THIN);
	apb_glue_say("Suppressions used:");
	apb_glue_say("  count      bytes template");
	for (item = suppressions; item; item = item->next)
		if (item->count)
			apb_glue_say("%7zu %10zu %s", item->count, item->bytes,
				     item->pattern);
	apb_glue_say(THIN);
	apb_glue_say("%s", "");
}

/* ---- leaks ------------------------------------------------------------------ */

/* Blocks of one leak side by side. */
APB_RAW static int by_stack(const void *first, const void *second)
{
	const struct leak_block *a = *(struct leak_block *const *)first;
	const struct leak_block *b = *(struct leak_block *const *)second;

	if (a->stack != b->stack)
		return a->stack < b->stack ? -1 : 1;
	if (a->indirect != b->indirect)
		return a->indirect - b->indirect;
	return a->addr < b->addr ? -1 : 1;
}

/* Direct ones first, then large ones. */
APB_RAW static int by_weight(const void *first, const void *second)
{
	const struct leak *a = first, *b = second;

	if (a->indirect != b->indirect)
		return a->indirect - b->indirect;
	if (a->bytes != b->bytes)
		return a->bytes > b->bytes ? -1 : 1;
	return a->stack < b->stack ? -1 : a->stack > b->stack;
}

APB_RAW static void print_leak(const struct leak *leak,
			       struct leak_block *const *blocks, size_t count)
{
	size_t i;

	apb_glue_say("%s leak of %zu byte(s) in %zu object(s) allocated from:",
		     leak->indirect ? "Indirect" : "Direct", leak->bytes,
		     leak->count);
	apb_glue_print_stack(leak->stack);
	if (!apb_leak_options()->report_objects)
		return;
	apb_glue_say("Objects leaked above:");
	for (i = 0; i < count; i++)
		if (blocks[i]->stack == leak->stack &&
		    blocks[i]->indirect == leak->indirect)
			apb_glue_say("%p (%zu bytes)", (void *)blocks[i]->addr,
				     blocks[i]->size);
	apb_glue_say("%s", "");
}

APB_RAW static void print_leaks(const struct leak *leaks, size_t nleaks,
				struct leak_block *const *blocks, size_t count)
{
	size_t most = apb_leak_options()->max_leaks;
	size_t i, shown = 0, total = 0, bytes = 0, number = 0;

	for (i = 0; i < nleaks; i++) {
		if (leaks[i].suppressed)
			continue;
		total++;
		bytes += leaks[i].bytes;
		number += leaks[i].count;
	}
	if (!total)
		return;
	apb_glue_say("%s", "");
	apb_glue_say(RULE);
	apb_glue_say("==%d==ERROR: LeakSanitizer: detected memory leaks",
		     (int)getpid());
	apb_glue_say("%s", "");
	if (most && most < total)
		apb_glue_say("The %zu top leak(s):", most);
	for (i = 0; i < nleaks && (!most || shown < most); i++) {
		if (leaks[i].suppressed)
			continue;
		print_leak(&leaks[i], blocks, count);
		shown++;
	}
	if (shown < total)
		apb_glue_say("Omitting %zu more leak(s).", total - shown);
	print_suppressions();
	apb_glue_say("SUMMARY: %s: %zu byte(s) leaked in %zu allocation(s).",
		     leak_tool_name(), bytes, number);
}

APB_RAW static size_t group(struct leak_block *const *blocks, size_t count,
			    struct leak *leaks)
{
	struct leak *leak = NULL;
	size_t i, nleaks = 0;

	for (i = 0; i < count; i++) {
		if (!leak || leak->stack != blocks[i]->stack ||
		    leak->indirect != blocks[i]->indirect) {
			leak = &leaks[nleaks++];
			*leak = (struct leak){.stack = blocks[i]->stack,
					      .indirect = blocks[i]->indirect};
		}
		leak->bytes += blocks[i]->size;
		leak->count++;
	}
	return nleaks;
}

APB_RAW static size_t suppress(struct leak *leaks, size_t nleaks)
{
	size_t i, left = 0;

	for (i = 0; i < nleaks; i++) {
		struct suppression *by = suppressed_by(leaks[i].stack);

		leaks[i].suppressed = by != NULL;
		if (by) {
			by->bytes += leaks[i].bytes;
			by->count += leaks[i].count;
		} else {
			left += leaks[i].count;
		}
	}
	return left;
}

APB_RAW size_t leak_report(struct leak_check *check)
{
	struct leak_block **blocks, *all = leak_blocks(check);
	struct leak *leaks;
	size_t i, count = 0, nleaks, left;

	blocks = calloc(check->unreached, sizeof(struct leak_block *));
	leaks = calloc(check->unreached, sizeof(*leaks));
	for (i = 0; blocks && leaks && i < check->blocks.count; i++)
		if (!all[i].reached)
			blocks[count++] = &all[i];
	if (count < check->unreached) {
		apb_glue_say("==%d==%s: %zu block(s) leaked; no memory to "
			     "tell which",
			     (int)getpid(), leak_tool_name(), check->unreached);
		left = check->unreached;
	} else {
		qsort(blocks, count, sizeof(struct leak_block *), by_stack);
		nleaks = group(blocks, count, leaks);
		qsort(leaks, nleaks, sizeof(*leaks), by_weight);
		read_suppressions();
		left = suppress(leaks, nleaks);
		print_leaks(leaks, nleaks, blocks, count);
		if (!left)
			print_suppressions();
		free_suppressions();
	}
	free(blocks);
	free(leaks);
	return left;
}
