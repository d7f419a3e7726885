/* SPDX-License-Identifier: MIT */
/*
 * Resident memory of this process.  Without stdio: reading must not allocate
 * from what is measured.
 */
#ifndef APB_BENCH_RSS_H
#define APB_BENCH_RSS_H

#include "bench.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Bytes in the line of the file @path that begins with @name, in kB there. */
static inline long rss_read(const char *path, const char *name)
{
	static char buf[8192];
	const char *line;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		bench_die("cannot read %s", path);
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		bench_die("cannot read %s", path);
	buf[n] = '\0';
	line = strstr(buf, name);
	if (!line)
		bench_die("no %s in %s", name, path);
	return strtol(line + strlen(name), NULL, 10) * 1024;
}

/* Exact: the kernel walks the pages. */
static inline long rss_now(void)
{
	return rss_read("/proc/self/smaps_rollup", "\nRss:");
}

/* Of this program; what its process was before exec() does not count. */
static inline long rss_peak(void)
{
	return rss_read("/proc/self/status", "\nVmHWM:");
}

#endif /* APB_BENCH_RSS_H */
