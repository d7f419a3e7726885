// SPDX-License-Identifier: MIT
/*
 * Unit tests of what the options write: complaints, reports, and the statistics
 * at exit, on a stderr that takes little, is somebody else's by then, or is not
 * there.
 */
#define _GNU_SOURCE /* memfd_create(), program_invocation_short_name */
#include "testlib.h"

#include "api/options.h"
#include "initialised.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define COPY 200 /* the first file descriptor that the copy may have */

/* ---- complaints -------------------------------------------------------- */

static void parse(void *list)
{
	apb_options_parse(list);
}

static void assert_says(char *list, const char *wanted)
{
	struct child c;

	run_child(&c, parse, list);
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, wanted);
}

static void test_complaints(void **ctx)
{
	char list[600], want[600];

	(void)ctx;
	assert_says("foo=1", "apb: APB_OPTIONS: unknown option 'foo'\n");
	assert_says("stats=3", "apb: APB_OPTIONS: bad value: 'stats=3'\n");
	/* of a flag there are no thousands, not even none */
	assert_says("stats=0k", "apb: APB_OPTIONS: bad value: 'stats=0k'\n");
	assert_says("stats", "apb: APB_OPTIONS: no name=value: 'stats'\n");
	/* what is next to the digits */
	assert_says("purge_delay=.",
		    "apb: APB_OPTIONS: bad value: 'purge_delay=.'\n");
	assert_says("purge_delay=:",
		    "apb: APB_OPTIONS: bad value: 'purge_delay=:'\n");
	assert_says("a~ \x7f\x1f\x80=1",
		    "apb: APB_OPTIONS: unknown option 'a~ \?\?\?'\n");
	/* 64 bytes of each are shown */
	memset(list, 'x', 64);
	strcpy(list + 64, "=");
	memset(list + 65, 'y', 64);
	list[129] = '\0';
	snprintf(want, sizeof(want),
		 "apb: APB_OPTIONS: unknown option '%.64s'\n", list);
	assert_says(list, want);
	/* and 63 if there are no more */
	list[63] = '=';
	snprintf(want, sizeof(want),
		 "apb: APB_OPTIONS: unknown option '%.63s'\n", list);
	assert_says(list, want);
	memset(list, 'x', 64);
	strcpy(list + 64, "=");
	memmove(list + 1, list, 65);
	snprintf(want, sizeof(want),
		 "apb: APB_OPTIONS: unknown option '%.64s'\n", list);
	assert_says(list, want);
	strcpy(list, "stats=");
	memset(list + 6, 'y', 100);
	list[106] = '\0';
	snprintf(want, sizeof(want),
		 "apb: APB_OPTIONS: bad value: 'stats=%.64s'\n", list + 6);
	assert_says(list, want);
	list[70] = '\0';
	assert_says(list, want);
	strcpy(want + strlen(want) - 3, "'\n");
	list[69] = '\0';
	assert_says(list, want);
	/* of what follows nothing is shown */
	strcpy(list + 69, ",");
	assert_says(list, want);
}

static void parse_and_keep_errno(void *list)
{
	errno = EILSEQ;
	apb_options_parse(list);
	_exit(errno != EILSEQ);
}

static void parse_in_pieces(void *list)
{
	write_faults.at_most = 5;
	write_faults.interrupted = 3;
	apb_options_parse(list);
	_exit(write_faults.interrupted != 0);
}

/* A write of nothing is the end, whatever errno was before. */
static void parse_to_nobody(void *list)
{
	write_faults.interrupted = 1;
	write_faults.nothing = 1;
	apb_options_parse(list);
	_exit(write_faults.nothing != 0);
}

/* An error is not tried again. */
static void parse_to_a_full_disk(void *list)
{
	write_faults.refused = 2;
	apb_options_parse(list);
	_exit(write_faults.refused != 1);
}

static void report_to_nobody(void *unused)
{
	char *p = apb_malloc(100);

	(void)unused;
	apb_options_parse("misuse=return");
	write_faults.interrupted = 1;
	write_faults.nothing = 1;
	apb_free(p + 1);
	_exit(write_faults.nothing != 0);
}

static void abort_to_nobody(void *p)
{
	write_faults.interrupted = 1;
	write_faults.nothing = 1;
	apb_free((char *)p + 1);
}

static void print_to_nobody(void *unused)
{
	(void)unused;
	write_faults.interrupted = 1;
	write_faults.nothing = 1;
	errno = 0;
	_exit(apb_stats_print(STDERR_FILENO) != -1 || errno != EIO);
}

static void parse_by_bytes(void *list)
{
	write_faults.at_most = 1;
	apb_options_parse(list);
}

static void report_and_go_on(void *list)
{
	void *p = apb_malloc(100);

	apb_options_parse(list);
	apb_free(p);
	apb_free(p);
}

static void report_by_bytes(void *at_most)
{
	void *p = apb_malloc(100);

	write_faults.at_most = *(unsigned int *)at_most;
	apb_free(p);
	apb_free(p);
}

static void test_reports(void **ctx)
{
	unsigned int at_most[] = {0, 1};
	struct child c, by_bytes;

	(void)ctx;
	fresh_sim(2, 0);
	run_child(&c, report_and_go_on, "misuse=return");
	assert_int_equal(c.status, 0);
	assert_non_null(strstr(c.err, "double free"));
	run_child(&c, report_by_bytes, &at_most[0]);
	assert_true(died_of(&c, SIGABRT));
	assert_non_null(strstr(c.err, "double free"));
	run_child(&by_bytes, report_by_bytes, &at_most[1]);
	assert_true(died_of(&by_bytes, SIGABRT));
	assert_string_equal(by_bytes.err, c.err);
	run_child(&c, parse_by_bytes, "foo=1");
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, "apb: APB_OPTIONS: unknown option 'foo'\n");
}

static void read_environment(void *environment)
{
	environ = environment;
	apb_options_read = false;
	apb_options_init();
}

/* As before a constructor has: then a thread's first slow path reads it. */
static void allocate_in(void *environment)
{
	environ = environment;
	apb_options_read = false;
	apb_thread_swap(NULL);
	apb_free(apb_malloc(1));
}

/* Without an environment it is for later. */
static void read_without(void *environment)
{
	environ = NULL;
	apb_options_read = false;
	apb_options_init();
	if (apb_options_read)
		_exit(2);
	environ = environment;
	apb_options_init();
}

/* Only the variable of that very name is read. */
static void test_names(void **ctx)
{
	char *others[] = {"XYZ_OPTIONS=foo=1",	"APB_OPTIONSX=foo=1",
			  "APB_OPTION=foo=1",	"AAPB_OPTIONS=foo=1",
			  "APB_OPTIONS",	"apb_options=foo=1",
			  "APB_OPTIONS =foo=1", NULL};
	char *mine[] = {"A=B", "APB_OPTIONS=foo=1", NULL};
	struct child c;

	(void)ctx;
	run_child(&c, read_environment, others);
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, "");
	run_child(&c, read_environment, mine);
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, "apb: APB_OPTIONS: unknown option 'foo'\n");
	run_child(&c, allocate_in, mine);
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, "apb: APB_OPTIONS: unknown option 'foo'\n");
	run_child(&c, read_without, mine);
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, "apb: APB_OPTIONS: unknown option 'foo'\n");
}

static void test_takes_little(void **ctx)
{
	struct child c;

	(void)ctx;
	fresh_sim(1, 0);
	run_child(&c, parse_and_keep_errno, "settle_period=99999");
	assert_int_equal(c.status, 0);
	run_child(&c, parse_in_pieces, "foo=1");
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, "apb: APB_OPTIONS: unknown option 'foo'\n");
}

static void test_takes_nothing(void **ctx)
{
	struct child c;

	(void)ctx;
	fresh_sim(1, 0);
	run_child(&c, parse_to_nobody, "foo=1");
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, "");
	run_child(&c, parse_to_a_full_disk, "foo=1");
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, "");
	run_child(&c, report_to_nobody, NULL);
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, "");
	run_child(&c, abort_to_nobody, apb_malloc(100));
	assert_true(died_of(&c, SIGABRT));
	assert_string_equal(c.err, "");
	run_child(&c, print_to_nobody, NULL);
	assert_int_equal(c.status, 0);
	assert_string_equal(c.err, "");
}

/* ---- statistics at exit ------------------------------------------------ */

/* What is done between the option and the exit. */
static void (*meanwhile)(void);

static void end_with(void *list)
{
	/* to see it if they went there */
	dup2(STDERR_FILENO, STDIN_FILENO);
	apb_options_parse(list);
	if (meanwhile)
		meanwhile();
	exit(0);
}

/* Whether all of them come, and nothing else. */
static bool has_statistics(char *list, void (*what)(void))
{
	static const char first[] = "apb: statistics of ";
	const char *at, *last = "# blocks settled";
	char name[100];
	struct child c;
	int pid = 0, end = 0;

	meanwhile = what;
	run_child(&c, end_with, list);
	assert_int_equal(c.status, 0);
	if (!c.len)
		return false;
	assert_null(strchr(c.err, '~'));
	assert_int_equal(
		sscanf(c.err,
		       "apb: statistics of %99[^,], process %d, at exit%n",
		       name, &pid, &end),
		2);
	assert_true(!strncmp(c.err, first, strlen(first)) && end > 0 &&
		    pid > 1);
	assert_string_equal(name, program_invocation_short_name);
	assert_int_equal(c.err[end], '\n');
	at = strstr(c.err, last);
	assert_non_null(at);
	assert_null(strchr(strchr(at, '\n') + 1, '\n'));
	return true;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void check_copy(void)
{
	if (!is_open(COPY) || is_open(COPY + 1) ||
	    fcntl(COPY, F_GETFD) != FD_CLOEXEC)
		_exit(2);
}

static void check_no_copy(void)
{
	if (is_open(COPY))
		_exit(2);
}

static void close_stderr(void)
{
	close(STDERR_FILENO);
}

/* The number of the copy, but not its file. */
static void reuse_copy(void)
{
	int fd = memfd_create("other", 0);

	if (fd < 0 || dup2(fd, COPY) != COPY)
		_exit(2);
}

static bool on_another_device;

/* In the place of the C library's, as write() is in testlib.c. */
int fstat(int fd, struct stat *st)
{
	long status = syscall(SYS_fstat, fd, st);

	if (status)
		return -1;
	initialised(st, sizeof(*st));
	st->st_dev += fd == COPY && on_another_device;
	return 0;
}

/* The copy's number is a file of the same number, but of another device. */
static void move_copy(void)
{
	on_another_device = true;
}

static void close_copy(void)
{
	close(COPY);
}

/* The same, of the same device: who writes to it is killed. */
static void reuse_copy_for_pipe(void)
{
	int fds[2];

	if (pipe(fds) || dup2(fds[1], COPY) != COPY)
		_exit(2);
	close(fds[0]);
}

/* What has the copy's number once it is closed is not closed with it. */
static void take_number(void)
{
	reuse_copy();
	apb_options_parse("stats=0");
	if (!is_open(COPY))
		_exit(2);
}

/* What the stack held does not show. */
static void fill_stack(void)
{
	volatile char stack[65536];
	size_t i;

	for (i = 0; i < sizeof(stack); i++)
		stack[i] = '~';
}

static void fill_stack_at_exit(void)
{
	atexit(fill_stack);
}

static void test_at_exit(void **ctx)
{
	(void)ctx;
	assert_false(has_statistics("", NULL));
	assert_false(has_statistics("stats=0", check_no_copy));
	assert_true(has_statistics("stats=1", check_copy));
	assert_true(has_statistics("stats=1,stats=1", check_copy));
	assert_false(has_statistics("stats=1,stats=0", check_no_copy));
	assert_true(has_statistics("stats=1", close_stderr));
	assert_false(has_statistics("stats=1", reuse_copy));
	assert_false(has_statistics("stats=1", reuse_copy_for_pipe));
	assert_false(has_statistics("stats=1", move_copy));
	assert_false(has_statistics("stats=1", close_copy));
	assert_false(has_statistics("stats=1,stats=0", take_number));
	assert_true(has_statistics("stats=1", fill_stack_at_exit));
}

static void end_with_few_files(void *list)
{
	struct rlimit limit = {100, 100};

	if (setrlimit(RLIMIT_NOFILE, &limit))
		_exit(2);
	end_with(list);
}

/* The copy is none of the three that programs expect to find. */
static void copy_without_stdout(void *list)
{
	struct rlimit limit = {100, 100};

	close(STDOUT_FILENO);
	if (setrlimit(RLIMIT_NOFILE, &limit))
		_exit(2);
	apb_options_parse(list);
	_exit(is_open(STDOUT_FILENO) ? 2 : 0);
}

static void end_without_stderr(void *list)
{
	close(STDERR_FILENO);
	end_with(list);
}

/* 64 bytes of the program's name are told. */
static void end_with_name(void *list)
{
	static char name[66];

	/* to be compared with what is told */
	dprintf(STDERR_FILENO, "%d\n", (int)getpid());
	memset(name, 'n', sizeof(name) - 1);
	program_invocation_short_name = name;
	end_with(list);
}

static void test_long_name(void **ctx)
{
	char name[65], *at;
	struct child c;
	int pid;

	(void)ctx;
	meanwhile = NULL;
	run_child(&c, end_with_name, "stats=1");
	assert_int_equal(c.status, 0);
	memset(name, 'n', 64);
	pid = (int)strtol(c.err, &at, 10);
	assert_int_equal(*at++, '\n');
	assert_int_equal(strncmp(at, "apb: statistics of ", 19), 0);
	assert_memory_equal(at + 19, name, 64);
	assert_int_equal(strncmp(at + 83, ", process ", 10), 0);
	assert_int_equal(strtol(at + 93, NULL, 10), pid);
}

static void test_at_exit_few_files(void **ctx)
{
	struct child c;

	(void)ctx;
	/* it keeps files of its own open where none can be opened */
	if (test_on_valgrind())
		skip();
	meanwhile = close_stderr;
	run_child(&c, end_with_few_files, "stats=1");
	assert_int_equal(c.status, 0);
	assert_int_equal(strncmp(c.err, "apb: statistics of ", 19), 0);
	run_child(&c, copy_without_stdout, "stats=1");
	assert_int_equal(c.status, 0);
	meanwhile = NULL;
	run_child(&c, end_without_stderr, "stats=1");
	assert_int_equal(c.status, 0);
	assert_int_equal(c.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_complaints),
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_takes_little),
		cmocka_unit_test(test_takes_nothing),
		cmocka_unit_test(test_at_exit),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_at_exit_few_files),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
