/* SPDX-License-Identifier: MIT */
/*
 * What MemorySanitizer and ThreadSanitizer have in common; the functions are
 * described in tool.h.  TOOL_OPTIONS is the name of the tool's variable in the
 * environment.
 */
#ifndef APB_GLUE_TOOL_COMMON_H
#define APB_GLUE_TOOL_COMMON_H

#include <sanitizer/common_interface_defs.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The tool prints its line for a summary to wherever its reports go. */
static inline void tool_say(const char *line)
{
	__sanitizer_report_error_summary(line);
}

static inline void tool_symbol(const void *pc, const char *format, char *buf,
			       size_t size)
{
	memset(buf, 0, size);
	__sanitizer_symbolize_pc((void *)(uintptr_t)pc, format, buf, size - 1);
}

/* Neither tells which thread this is to it. */
static inline uint32_t tool_thread(uint32_t own)
{
	return own;
}

static inline void tool_announce(uint32_t thread)
{
	(void)thread;
}

/* Its reports are seen by nobody, until they are as before again. */
static inline void tool_turn(const char *options, bool loud)
{
	static int nowhere = -1;
	int fd = STDERR_FILENO;
	const char *path = __sanitizer_get_report_path();

	options = getenv(options);
	if (loud && path && *path)
		fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	else if (loud && options && strstr(options, "log_path=stdout"))
		fd = STDOUT_FILENO;
	else if (!loud && nowhere < 0)
		nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	__sanitizer_set_report_fd((void *)(intptr_t)(loud ? fd : nowhere));
}

#define tool_quiet() tool_turn(TOOL_OPTIONS, false)
#define tool_loud() tool_turn(TOOL_OPTIONS, true)

#endif /* APB_GLUE_TOOL_COMMON_H */
