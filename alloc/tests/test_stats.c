// SPDX-License-Identifier: MIT
/*
 * Unit tests of statistics: the sum that has to be exact, in thousands of
 * random states; each number against what the test did; and the print, whose
 * layout is that of CPython 3.11's sys._debugmallocstats().
 */
#define _GNU_SOURCE /* memfd_create() */
#include "testlib.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- sums ------------------------------------------------------------- */

/* What is where must add up, to the byte. */
static void assert_sums(const struct apb_stats *s)
{
	size_t used = 0, avail = 0, unused = 0, pools = 0;
	unsigned int i;

	for (i = 0; i < APB_NR_CLASSES; i++) {
		const struct apb_class_stats *c = &s->class_[i];

		assert_int_equal(c->size, test_class_sizes[i]);
		assert_int_equal(c->pool_size, test_pool_bytes(i + 1));
		used += c->used * c->size;
		avail += c->avail * c->size;
		pools += c->pools * c->pool_size;
		/* no more blocks than fit, no fewer but for colours */
		assert_true((c->used + c->avail) * c->size <=
			    c->pools * c->pool_size);
		assert_true(!c->pools == !(c->used + c->avail));
	}
	for (i = 0; i < APB_NR_POOL_SIZES; i++) {
		unused += s->unused_pools[i].nr * s->unused_pools[i].size;
		assert_int_equal(s->unused_pools[i].size,
				 (size_t)1 << apb_kind_shift(i));
	}
	assert_int_equal(s->used_bytes, used);
	assert_int_equal(s->avail_bytes, avail);
	assert_int_equal(s->unused_pool_bytes, unused);
	assert_int_equal(s->arena_bytes, MIB);
	assert_int_equal(pools, used + avail + s->quant_bytes + s->align_bytes);
	assert_int_equal(s->used_bytes + s->avail_bytes + s->unused_pool_bytes +
				 s->header_bytes + s->quant_bytes +
				 s->align_bytes,
			 s->arenas * s->arena_bytes);
	assert_int_equal(s->arenas * s->arena_bytes + s->large_bytes +
				 s->large_slack_bytes + s->large_cached_bytes +
				 s->map_bytes + s->heap_bytes + s->slop_bytes,
			 s->mapped_bytes);
	assert_int_equal(s->arenas, s->arenas_total - s->arenas_reclaimed);
	assert_true(s->arenas <= s->arenas_highwater);
	assert_true(s->arenas_highwater <= s->arenas_total);
	assert_true(s->mapped_bytes <= s->mapped_highwater);
	assert_true(s->spares <= s->arenas);
	assert_true(s->dirty_bytes <= s->unused_pool_bytes);
	assert_true(!s->large_cached == !s->large_cached_bytes);
}

#define SLOTS 2000
#define STATES 400

static struct slot {
	void *p;
	unsigned int cls; /* 0: large */
	size_t bytes;
} slots[SLOTS];

/* What the program holds, as the test counts it. */
struct held {
	size_t blocks[APB_NR_CLASSES + 1];
	size_t large_bytes;
};

static size_t random_size(uint64_t *r)
{
	uint64_t x = rnd(r);

	if (x % 64 == 0)
		return 32769 + (x >> 8) % 300000;
	if (x % 4 == 0)
		return 1 + (x >> 8) % 32768;
	return 1 + (x >> 8) % 600;
}

static void toggle(struct slot *s, struct held *h, uint64_t *r)
{
	size_t size;

	if (s->p) {
		apb_free(s->p);
		h->blocks[s->cls]--;
		if (!s->cls)
			h->large_bytes -= s->bytes;
		s->p = NULL;
		return;
	}
	size = random_size(r);
	s->p = apb_malloc(size);
	if (!s->p)
		return;
	s->bytes = apb_usable_size(s->p);
	s->cls = size <= 32768 ? apb_class_of(size) : 0;
	h->blocks[s->cls]++;
	if (!s->cls)
		h->large_bytes += s->bytes;
}

static void assert_as_held(const struct held *h)
{
	struct apb_stats s = stats_now();
	unsigned int cls;

	assert_sums(&s);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++)
		assert_int_equal(s.class_[cls - 1].used, h->blocks[cls]);
	assert_int_equal(s.large, h->blocks[0]);
	assert_int_equal(s.large_bytes, h->large_bytes);
}

/* Every kernel, with and without failing calls, growing and shrinking. */
static void test_random_states(void **ctx)
{
	struct held h;
	uint64_t r = 1;
	unsigned int run, state;

	(void)ctx;
	for (run = 0; run < 16; run++) {
		fresh_sim(run, run % 8);
		memset(slots, 0, sizeof(slots));
		memset(&h, 0, sizeof(h));
		apb_set_option(APB_OPT_SETTLE_PERIOD, run % 3);
		apb_set_option(APB_OPT_DIRTY_LIMIT,
			       run % 2 ? 256 * KIB : APB_DIRTY_AUTO);
		for (state = 0; state < STATES; state++) {
			size_t some = state / 40 % 2 ? SLOTS / 10 : SLOTS;
			unsigned int n = rnd(&r) % 60;

			if (run >= 8 && state % 16 == 0) {
				struct apb_fault f = {
					.mode = APB_FAULT_RANDOM,
					.calls = FAULT_ALL,
					.n = 3,
					.seed = state,
				};

				apb_fault_set(state % 32 ? &f : NULL);
			}
			while (n--)
				toggle(&slots[rnd(&r) % some], &h, &r);
			if (rnd(&r) % 50 == 0)
				apb_settle();
			if (rnd(&r) % 50 == 0)
				apb_trim();
			assert_as_held(&h);
		}
		assert_whole();
	}
}

/* ---- counters --------------------------------------------------------- */

static void test_fresh_is_all_zero(void **ctx)
{
	struct apb_stats s, zero;
	unsigned int i;

	(void)ctx;
	fresh_sim(2, 0);
	memset(&zero, 0, sizeof(zero));
	s = stats_now();
	assert_sums(&s);
	for (i = 0; i < APB_NR_CLASSES; i++) {
		s.class_[i].size = 0;
		s.class_[i].pool_size = 0;
	}
	for (i = 0; i < APB_NR_POOL_SIZES; i++)
		s.unused_pools[i].size = 0;
	s.arena_bytes = 0;
	assert_int_equal(s.dirty_limit, MIB);
	s.dirty_limit = 0;
	assert_memory_equal(&s, &zero, sizeof(s));
}

/* One block: where each byte of its arena is. */
static void test_one_block(void **ctx)
{
	struct apb_stats s;

	(void)ctx;
	fresh_sim(3, 0);
	assert_non_null(apb_malloc(48));
	s = stats_now();
	assert_sums(&s);
	assert_int_equal(s.arenas, 1);
	assert_int_equal(s.class_[2].pools, 1);
	assert_int_equal(s.class_[2].used, 1);
	assert_int_equal(s.class_[2].avail, 340);
	assert_int_equal(s.used_bytes, 48);
	assert_int_equal(s.avail_bytes, 340 * 48);
	assert_int_equal(s.unused_pools[0].nr, 60);
	assert_int_equal(s.header_bytes, 48 * KIB);
	/* the first thread's heap is no mapping */
	assert_int_equal(s.heaps, 1);
	assert_int_equal(s.heap_bytes, 0);
	assert_int_equal(s.quant_bytes, 16);
	assert_int_equal(s.align_bytes, 0);
	assert_int_equal(s.map_bytes, APB_LEAF_BYTES);
	assert_int_equal(s.mapped_bytes, MIB + APB_LEAF_BYTES);
	assert_int_equal(s.dirty_bytes, 0);
}

static void test_colours_are_counted(void **ctx)
{
	struct apb_stats s;
	int i;

	(void)ctx;
	fresh_sim(4, 0);
	/* 113 to a pool, and a line more */
	for (i = 0; i < 114; i++)
		apb_malloc(144);
	s = stats_now();
	assert_sums(&s);
	assert_int_equal(s.class_[8].pools, 2);
	assert_int_equal(s.align_bytes, 64);
}

static void test_counters(void **ctx)
{
	struct apb_stats s;
	void *p[2800];
	size_t i, mapped, refilled;

	(void)ctx;
	fresh_sim(5, 0);
	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_malloc(1024);
	s = stats_now();
	assert_int_equal(s.arenas, 3);
	assert_int_equal(s.arenas_highwater, 3);
	assert_int_equal(s.arenas_total, 3);
	mapped = s.mapped_bytes;
	refilled = bin_length(36);
	assert_int_equal(mapped, 3 * MIB + s.map_bytes + s.heap_bytes);
	for (i = 0; i < NR_OF(p); i++)
		apb_free(p[i]);
	apb_settle();
	s = stats_now();
	assert_sums(&s);
	assert_int_equal(s.arenas, s.spares);
	assert_int_equal(s.arenas_reclaimed, 3 - s.arenas);
	assert_int_equal(s.arenas_highwater, 3);
	assert_int_equal(s.settled, NR_OF(p) + refilled);
	assert_true(s.settles >= 2);
	assert_int_equal(s.unmap_failures, 0);
	assert_int_equal(s.recovered, 0);
	apb_trim();
	s = stats_now();
	assert_int_equal(s.arenas_reclaimed, 3);
	assert_int_equal(s.mapped_bytes, 0);
	/* a list may have grown when it took them */
	assert_in_range(s.mapped_highwater, mapped, mapped + 128 * KIB);
	/* purges: pools that are empty in an arena that is not */
	p[0] = apb_malloc(1024);
	p[1] = apb_malloc(512);
	apb_free(p[0]);
	apb_settle();
	assert_int_equal(stats_now().dirty_bytes, 16 * KIB);
	i = stats_now().purges;
	apb_trim();
	assert_int_equal(stats_now().dirty_bytes, 0);
	assert_true(stats_now().purges > i);
	p[0] = apb_malloc(70000);
	assert_int_equal(stats_now().large_bytes, 73728);
	assert_int_equal(stats_now().large_slack_bytes, 0);
	p[1] = apb_malloc(74000);
	assert_int_equal(stats_now().large_bytes, 73728 + 77824);
	assert_int_equal(stats_now().large_slack_bytes, 4096);
	apb_free(p[1]);
	assert_int_equal(stats_now().large_cached, 1);
	assert_int_equal(stats_now().large_cached_bytes, 81920);
	assert_int_equal(stats_now().large_slack_bytes, 0);
	apb_trim();
	assert_int_equal(stats_now().large_cached, 0);
	assert_int_equal(stats_now().large_cached_bytes, 0);
	apb_set_option(APB_OPT_LARGE_CACHE, 0);
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_UNMAP), 1);
	apb_free(p[0]);
	assert_int_equal(stats_now().unmap_failures, 1);
	assert_int_equal(stats_now().slop_bytes, 73728);
	s = stats_now();
	assert_sums(&s);
}

/* ---- the print -------------------------------------------------------- */

static char *print_to_string(void)
{
	static char text[32768];
	int fd = memfd_create("stats", 0);
	ssize_t n;

	assert_true(fd >= 0);
	assert_int_equal(apb_stats_print(fd), 0);
	n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0 && n < (ssize_t)sizeof(text) - 1);
	text[n] = '\0';
	close(fd);
	return text;
}

/* The next line, without its end; NULL at the end of the text. */
static char *next_line(char **at)
{
	char *line = *at, *end;

	if (!*line)
		return NULL;
	end = strchr(line, '\n');
	assert_non_null(end);
	*end = '\0';
	*at = end + 1;
	return line;
}

static size_t without_commas(const char *s)
{
	size_t value = 0;

	for (; *s; s++)
		if (isdigit((unsigned char)*s))
			value = value * 10 + (size_t)(*s - '0');
	return value;
}

/*
 * A line of CPython's: the label in 35 columns, an equals sign, the value
 * with commas in 21 columns.
 */
static void value_line(char **at, const char *label, size_t value)
{
	char *line = next_line(at), padded[64];
	size_t i;

	assert_non_null(line);
	snprintf(padded, sizeof(padded), "%-35s=", label);
	assert_int_equal(strlen(line), 35 + 1 + 21);
	assert_int_equal(strncmp(line, padded, 36), 0);
	assert_int_equal(without_commas(line + 36), value);
	/* a comma before each three digits, and nowhere else */
	for (i = 0; i < 21; i++) {
		char c = line[56 - i];

		if (c == ' ')
			break;
		assert_int_equal(c == ',', i % 4 == 3);
	}
	for (; i < 21; i++)
		assert_int_equal(line[56 - i], ' ');
	assert_int_not_equal(line[36 + 20], ' ');
}

static void text_line(char **at, const char *text)
{
	char *line = next_line(at);

	assert_non_null(line);
	assert_string_equal(line, text);
}

static void class_lines(char **at, const struct apb_stats *s)
{
	unsigned int i;
	char want[128];

	text_line(at, "Small block threshold = 32768, in 56 size classes.");
	text_line(at, "");
	text_line(at, "class   size   num pools   blocks in use  "
		      "avail blocks");
	text_line(at, "-----   ----   ---------   -------------  "
		      "------------");
	for (i = 0; i < APB_NR_CLASSES; i++) {
		const struct apb_class_stats *c = &s->class_[i];

		if (!c->pools)
			continue;
		snprintf(want, sizeof(want), "%5u %6zu %11zu %15zu %13zu", i,
			 c->size, c->pools, c->used, c->avail);
		text_line(at, want);
	}
	text_line(at, "");
}

/* Label by label what CPython 3.11 prints, in its order. */
static void cpython_lines(char **at, const struct apb_stats *s)
{
	char label[64];
	unsigned int i;

	class_lines(at, s);
	value_line(at, "# arenas allocated total", s->arenas_total);
	value_line(at, "# arenas reclaimed", s->arenas_reclaimed);
	value_line(at, "# arenas highwater mark", s->arenas_highwater);
	value_line(at, "# arenas allocated current", s->arenas);
	snprintf(label, sizeof(label), "%zu arenas * 1048576 bytes/arena",
		 s->arenas);
	value_line(at, label, s->arenas * MIB);
	text_line(at, "");
	value_line(at, "# bytes in allocated blocks", s->used_bytes);
	value_line(at, "# bytes in available blocks", s->avail_bytes);
	for (i = 0; i < APB_NR_POOL_SIZES; i++) {
		if (i && !s->unused_pools[i].nr)
			continue;
		snprintf(label, sizeof(label), "%zu unused pools * %zu bytes",
			 s->unused_pools[i].nr, s->unused_pools[i].size);
		value_line(at, label,
			   s->unused_pools[i].nr * s->unused_pools[i].size);
	}
	value_line(at, "# bytes lost to pool headers", s->header_bytes);
	value_line(at, "# bytes lost to quantization", s->quant_bytes);
	value_line(at, "# bytes lost to arena alignment", s->align_bytes);
	value_line(at, "Total", s->arenas * MIB);
	text_line(at, "");
}

static void assert_print(void)
{
	struct apb_stats s = stats_now();
	char *at = print_to_string();

	cpython_lines(&at, &s);
	/* what CPython has not */
	value_line(&at, "# large blocks", s.large);
	value_line(&at, "# bytes in large blocks", s.large_bytes);
	value_line(&at, "# bytes of slack behind them", s.large_slack_bytes);
	value_line(&at, "# bytes of large blocks cached", s.large_cached_bytes);
	value_line(&at, "# bytes of the address map", s.map_bytes);
	value_line(&at, "# heaps", s.heaps);
	value_line(&at, "# bytes of heaps, lists and batches", s.heap_bytes);
	value_line(&at, "# bytes the system did not unmap", s.slop_bytes);
	value_line(&at, "# bytes mapped", s.mapped_bytes);
	value_line(&at, "# bytes mapped, highwater mark", s.mapped_highwater);
	value_line(&at, "# bytes in pools not purged", s.dirty_bytes);
	value_line(&at, "# bytes that may stay so", s.dirty_limit);
	value_line(&at, "# purges", s.purges);
	value_line(&at, "# blocks settled", s.settled);
	assert_null(next_line(&at));
}

static void test_print(void **ctx)
{
	struct held h;
	uint64_t r = 6;
	int state;

	(void)ctx;
	fresh_sim(6, 0);
	assert_print();
	memset(slots, 0, sizeof(slots));
	memset(&h, 0, sizeof(h));
	for (state = 0; state < 60; state++) {
		size_t some = state / 20 % 2 ? SLOTS / 10 : SLOTS;
		int n = 300;

		while (n--)
			toggle(&slots[rnd(&r) % some], &h, &r);
		if (state % 8 == 0)
			apb_settle();
		assert_print();
	}
	apb_free(apb_malloc(1));
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_UNMAP), 1);
	apb_free(apb_malloc(50000));
	assert_print();
}

/* Every class at once: more than one buffer of text. */
static void test_print_of_every_class(void **ctx)
{
	unsigned int cls;

	(void)ctx;
	fresh_sim(7, 0);
	for (cls = 1; cls <= APB_NR_CLASSES; cls++)
		assert_non_null(apb_malloc(test_class_sizes[cls - 1]));
	assert_print();
	assert_whole();
}

static void test_print_changes_nothing(void **ctx)
{
	struct apb_stats before, after;

	(void)ctx;
	fresh_sim(8, 0);
	apb_malloc(100);
	before = stats_now();
	print_to_string();
	after = stats_now();
	assert_memory_equal(&before, &after, sizeof(before));
	assert_whole();
}

/* What write() leaves over is written, and an interruption is no error. */
static void test_short_writes(void **ctx)
{
	static char whole[32768];
	int fd;

	(void)ctx;
	fresh_sim(11, 0);
	apb_malloc(100);
	apb_malloc(100000);
	errno = 77;
	strcpy(whole, print_to_string());
	assert_int_not_equal(errno, 0);
	write_faults.at_most = 7;
	assert_string_equal(print_to_string(), whole);
	write_faults.interrupted = 20;
	assert_string_equal(print_to_string(), whole);
	write_faults.at_most = 0;
	assert_int_equal(write_faults.interrupted, 0);
	/* nothing written, again and again, would take for ever */
	write_faults.nothing = 1000;
	errno = 0;
	assert_int_equal(apb_stats_print(STDOUT_FILENO), -1);
	assert_int_equal(errno, EIO);
	/* after an error nothing more is written */
	write_faults.nothing = 1;
	fd = memfd_create("stats", 0);
	assert_int_equal(apb_stats_print(fd), -1);
	assert_int_equal(write_faults.nothing, 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	close(fd);
}

/* What heaps had counted that are no more is in the sums. */
static void test_heaps_that_went(void **ctx)
{
	struct apb_stats s, t;

	(void)ctx;
	fresh_sim(12, 0);
	apb_free(apb_malloc(1));
	s = stats_now();
	apb_state.heaps.settles += 3;
	apb_state.heaps.settled += 50;
	apb_state.heaps.recovered += 700;
	apb_state.larges.recovered += 9000;
	t = stats_now();
	assert_int_equal(t.settles, s.settles + 3);
	assert_int_equal(t.settled, s.settled + 50);
	assert_int_equal(t.recovered, s.recovered + 9700);
}

static void test_write_errors(void **ctx)
{
	int fd = open("/dev/full", O_WRONLY), pipe_fd[2];

	(void)ctx;
	fresh_sim(9, 0);
	apb_malloc(100);
	assert_true(fd >= 0);
	errno = 0;
	assert_int_equal(apb_stats_print(fd), -1);
	assert_int_equal(errno, ENOSPC);
	close(fd);
	errno = 0;
	assert_int_equal(apb_stats_print(fd), -1);
	assert_int_equal(errno, EBADF);
	errno = 0;
	assert_int_equal(apb_stats_print(-1), -1);
	assert_int_equal(errno, EBADF);
	/* a descriptor that cannot be written to */
	fd = open("/dev/null", O_RDONLY);
	errno = 0;
	assert_int_equal(apb_stats_print(fd), -1);
	assert_int_equal(errno, EBADF);
	close(fd);
	/* one that takes a part, then no more */
	assert_int_equal(pipe(pipe_fd), 0);
	assert_true(fcntl(pipe_fd[1], F_SETPIPE_SZ, 4096) >= 4096);
	assert_int_equal(fcntl(pipe_fd[1], F_SETFL, O_NONBLOCK), 0);
	for (fd = 0; fd < 100 && !apb_stats_print(pipe_fd[1]); fd++)
		;
	assert_in_range(fd, 1, 99);
	assert_int_equal(errno, EAGAIN);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	assert_int_equal(apb_stats_print(open("/dev/null", O_WRONLY)), 0);
}

/* ---- the original ----------------------------------------------------- */

/* A line's label: up to the equals sign, each number a single 0. */
static char *label_of(char *line)
{
	char *from = line, *to = line;

	for (; *from && *from != '=' && *from != '\n'; from++) {
		bool digit = isdigit((unsigned char)*from);

		if (!digit || to == line || to[-1] != '0')
			*to++ = digit ? '0' : *from;
	}
	while (to > line && to[-1] == ' ')
		to--;
	*to = '\0';
	return line;
}

static bool is_class_line(const char *line)
{
	return line[0] == ' ' && line[strspn(line, " 0123456789\n")] == '\0';
}

/* The labels up to and with "Total", one to a line. */
static void interpreters_labels(char *labels, size_t size)
{
	FILE *f = popen("exec /usr/bin/python3 -c 'import sys\n"
			"sys.version_info[:2] == (3, 11) and "
			"sys._debugmallocstats()' 2>&1",
			"r");
	char line[256];
	size_t n = 0;

	labels[0] = '\0';
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (is_class_line(line) || strstr(labels, "Total"))
			continue;
		n += (size_t)snprintf(labels + n, size - n, "%s\n",
				      label_of(line));
		assert_true(n < size);
	}
	pclose(f);
}

/* Beside the labels above: what the interpreter itself prints. */
static void test_same_lines_as_the_interpreter(void **ctx)
{
	char labels[4096], ours[4096] = "", *at, *line;

	(void)ctx;
	interpreters_labels(labels, sizeof(labels));
	if (!strstr(labels, "Total"))
		skip(); /* there is no CPython 3.11 */
	fresh_sim(10, 0);
	apb_malloc(1);
	at = print_to_string();
	do {
		line = next_line(&at);
		assert_non_null(line);
		if (is_class_line(line))
			continue;
		strcat(ours, label_of(line));
		strcat(ours, "\n");
	} while (!strstr(ours, "Total"));
	assert_string_equal(ours, labels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_states),
		cmocka_unit_test(test_fresh_is_all_zero),
		cmocka_unit_test(test_one_block),
		cmocka_unit_test(test_colours_are_counted),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_print_of_every_class),
		cmocka_unit_test(test_print_changes_nothing),
		cmocka_unit_test(test_short_writes),
		cmocka_unit_test(test_heaps_that_went),
		cmocka_unit_test(test_write_errors),
		cmocka_unit_test(test_same_lines_as_the_interpreter),
	};

	return cmocka_run_group_tests_name("stats", tests, NULL, test_teardown);
}
