// SPDX-License-Identifier: MIT
/*
 * Statistics in words, in the layout of CPython's sys._debugmallocstats(): the
 * same lines in the same order, then what pools do not show (large blocks,
 * purging).  Written through a buffer on the stack: nothing here allocates.
 */
#include "uninstrumented.h"

#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct out {
	int fd;
	int err;
	size_t used;
	char buf[2048];
};

static void flush(struct out *o)
{
	const char *at = o->buf;

	while (o->used && !o->err) {
		ssize_t n = write(o->fd, at, o->used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			o->err = n ? errno : EIO;
			break;
		}
		at += n;
		o->used -= (size_t)n;
	}
	o->used = 0;
}

__attribute__((format(printf, 2, 3))) static void put(struct out *o,
						      const char *fmt, ...)
{
	va_list ap;
	int n;

	if (sizeof(o->buf) - o->used < 256)
		flush(o);
	va_start(ap, fmt);
	n = vsnprintf(o->buf + o->used, sizeof(o->buf) - o->used, fmt, ap);
	va_end(ap);
	if (n > 0)
		o->used += (size_t)n;
}

/* @value with a comma before every three digits. */
static const char *commas(size_t value, char buf[32])
{
	char *p = buf + 31;
	int digits = 0;

	*p = '\0';
	do {
		if (digits && digits % 3 == 0)
			*--p = ',';
		*--p = (char)('0' + value % 10);
		value /= 10;
		digits++;
	} while (value);
	return p;
}

/* CPython's printone(): the label padded to 35 columns, the value to 21. */
static size_t line(struct out *o, const char *label, size_t value)
{
	char buf[32];

	put(o, "%-35s=%21s\n", label, commas(value, buf));
	return value;
}

static void print_classes(struct out *o, const struct apb_stats *s)
{
	unsigned int i;

	put(o, "Small block threshold = %zu, in %d size classes.\n\n",
	    APB_MAX_POOLED, APB_NR_CLASSES);
	put(o, "class   size   num pools   blocks in use  avail blocks\n"
	       "-----   ----   ---------   -------------  ------------\n");
	for (i = 0; i < APB_NR_CLASSES; i++) {
		const struct apb_class_stats *c = &s->class_[i];

		if (c->pools)
			put(o, "%5u %6zu %11zu %15zu %13zu\n", i, c->size,
			    c->pools, c->used, c->avail);
	}
	put(o, "\n");
}

static void print_arenas(struct out *o, const struct apb_stats *s)
{
	char label[64];
	unsigned int i;
	size_t total;

	line(o, "# arenas allocated total", s->arenas_total);
	line(o, "# arenas reclaimed", s->arenas_reclaimed);
	line(o, "# arenas highwater mark", s->arenas_highwater);
	line(o, "# arenas allocated current", s->arenas);
	snprintf(label, sizeof(label), "%zu arenas * %zu bytes/arena",
		 s->arenas, s->arena_bytes);
	line(o, label, s->arenas * s->arena_bytes);
	put(o, "\n");
	total = line(o, "# bytes in allocated blocks", s->used_bytes);
	total += line(o, "# bytes in available blocks", s->avail_bytes);
	for (i = 0; i < APB_NR_POOL_SIZES; i++) {
		size_t nr = s->unused_pools[i].nr;
		size_t size = s->unused_pools[i].size;

		/* CPython has one size; further ones show if there are any */
		if (i && !nr)
			continue;
		snprintf(label, sizeof(label), "%zu unused pools * %zu bytes",
			 nr, size);
		total += line(o, label, nr * size);
	}
	total += line(o, "# bytes lost to pool headers", s->header_bytes);
	total += line(o, "# bytes lost to quantization", s->quant_bytes);
	total += line(o, "# bytes lost to arena alignment", s->align_bytes);
	line(o, "Total", total);
	put(o, "\n");
}

static void print_rest(struct out *o, const struct apb_stats *s)
{
	line(o, "# large blocks", s->large);
	line(o, "# bytes in large blocks", s->large_bytes);
	line(o, "# bytes of slack behind them", s->large_slack_bytes);
	line(o, "# bytes of large blocks cached", s->large_cached_bytes);
	line(o, "# bytes of the address map", s->map_bytes);
	line(o, "# heaps", s->heaps);
	line(o, "# bytes of heaps, lists and batches", s->heap_bytes);
	line(o, "# bytes the system did not unmap", s->slop_bytes);
	line(o, "# bytes mapped", s->mapped_bytes);
	line(o, "# bytes mapped, highwater mark", s->mapped_highwater);
	line(o, "# bytes in pools not purged", s->dirty_bytes);
	line(o, "# bytes that may stay so", s->dirty_limit);
	line(o, "# purges", s->purges);
	line(o, "# blocks settled", s->settled);
}

int apb_stats_print(int fd)
{
	struct out o = {.fd = fd};
	struct apb_stats s;

	apb_stats(&s);
	print_classes(&o, &s);
	print_arenas(&o, &s);
	print_rest(&o, &s);
	flush(&o);
	if (o.err)
		errno = o.err;
	return o.err ? -1 : 0;
}

#include "instrumented.h"
