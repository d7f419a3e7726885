// SPDX-License-Identifier: MIT
/*
 * apb-replay: runs inputs, says what they do and what was found; shrinks a
 * failing one, writes it as a C program; measures the speed of the harness.
 */
#include "child.h"
#include "eachfault.h"
#include "files.h"
#include "number.h"
#include "ops.h"
#include "reproduce.h"
#include "run.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REPLAY_TIMEOUT 300 /* seconds for an input */
#define SECONDS_MAX 1000000
#define BENCH_MAX (1ul << 40)
#define BENCH_OPS 64
#define BENCH_WARM_UP 1000 /* inputs */

static const char usage_text[] =
	"usage: apb-replay [-v] [--no-fork] [--timeout N] FILE|DIR...\n"
	"       apb-replay --minimize IN -o OUT [--seconds N] "
	"[--timeout N]\n"
	"       apb-replay --emit-c IN -o OUT.c [--plain] "
	"[--kernel real|scripted]\n"
	"       apb-replay --bench N [--threads T]\n"
	"       apb-replay --each-fault [options] FILE|DIR...\n"
	"  -v           each operation and its result in words\n"
	"  --timeout    seconds after which an input hangs (300)\n"
	"  --no-fork    all in this process, for debuggers and valgrind\n"
	"  --minimize   shrink a failing input, at most N seconds (30)\n"
	"  --emit-c     write what an input does as a C program\n"
	"  --plain      with the standard functions, for any malloc\n"
	"  --kernel     the program runs on the real kernel (default), or "
	"brings along\n"
	"               the answers that the simulated one gave\n"
	"  --each-fault with each call of the system failing in turn\n"
	"  --bench      run N random inputs of 64 operations, print the "
	"speed\n"
	"  --threads    played by T threads (1, 2, 4 or 8)\n";

struct settings {
	bool verbose;
	bool fork;
	const char *minimize, *emit, *out;
	struct emit_options program;
	unsigned int seconds, timeout;
	unsigned long bench;
	unsigned int threads;
	size_t inputs, findings;
};

static double seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "apb-replay: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* ---- replay ----------------------------------------------------------- */

static void print_finding(const struct run_finding *f, void *arg)
{
	(void)arg;
	fflush(stdout);
	run_print_finding(f, stderr);
}

static bool run_here(const struct settings *s, const struct file *file)
{
	struct run_options options = {
		.allow_real_kernel = true,
		.fill = true,
		.describe = s->verbose ? stdout : NULL,
		.on_finding = print_finding,
	};

	return run_input(file->data, file->size, &options);
}

static bool run_forked(const struct settings *s, const struct file *file)
{
	struct child_options options = {
		.timeout = s->timeout,
		.describe = s->verbose ? stdout : NULL,
	};
	struct child_result result;

	if (child_run(file->data, file->size, &options, &result))
		die("fork");
	/* an oracle has told, a sanitizer too; of a signal nobody has */
	if (result.finding && !result.has_detail)
		fprintf(stderr, "FINDING: %s: op #%zu %s\n",
			result.signature.oracle, result.op_index,
			result.signature.op);
	if (result.finding)
		signature_print(&result.signature, stderr);
	return result.finding;
}

static int replay_file(const char *path, void *arg)
{
	struct settings *s = arg;
	struct file file;
	bool finding;

	if (file_read(path, &file))
		die(path);
	if (s->verbose)
		printf("%s: %zu operations\n", path, ops_count(file.size));
	finding = s->fork ? run_forked(s, &file) : run_here(s, &file);
	file_free(&file);
	s->inputs++;
	s->findings += finding;
	if (finding)
		fprintf(stderr, "in %s\n", path);
	return 0;
}

static int replay(struct settings *s, char **paths)
{
	char *bad;

	for (; *paths; paths++)
		if (files_walk(*paths, replay_file, s, &bad))
			die(bad);
	if (!s->inputs) {
		fputs("apb-replay: no inputs\n", stderr);
		return 2;
	}
	printf("%zu input%s, %zu finding%s\n", s->inputs,
	       s->inputs == 1 ? "" : "s", s->findings,
	       s->findings == 1 ? "" : "s");
	return s->findings ? 1 : 0;
}

/* ---- bench ------------------------------------------------------------ */

static uint64_t next_random(uint64_t *state)
{
	/* xorshift64*, Vigna 2014 */
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static void random_input(uint64_t *state, unsigned int threads, uint8_t *data,
			 size_t size)
{
	struct ops_header header = {
		.threads = threads,
		.small_period = next_random(state) >> 61 == 0,
		.no_dirty = next_random(state) >> 61 == 0,
		.sim_flags = next_random(state) >> 32 & 0x1f,
		.seed = (uint32_t)(next_random(state) >> 32),
	};

	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = next_random(state);

		memcpy(data + i, &word, sizeof(word));
	}
	ops_encode_header(data, &header);
}

/* Run a random input; one that fails is kept. */
static bool bench_one(uint64_t *state, unsigned int threads)
{
	static const char name[] = "bench-finding";
	struct run_options options = {.on_finding = print_finding};
	uint8_t data[OPS_HEADER_SIZE + BENCH_OPS * OPS_RECORD_SIZE];

	random_input(state, threads, data, sizeof(data));
	if (!run_input(data, sizeof(data), &options))
		return true;
	if (file_write(name, data, sizeof(data)))
		die(name);
	fprintf(stderr, "in a random input, written to %s\n", name);
	return false;
}

static int bench(unsigned long n, unsigned int threads)
{
	uint64_t state = 1;
	double begin, time;

	/* the first touch of the simulated kernel's memory is not counted */
	for (int i = 0; i < BENCH_WARM_UP; i++)
		if (!bench_one(&state, threads))
			return 1;
	/* of this process, whatever else the machine does */
	begin = seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned long i = 0; i < n; i++)
		if (!bench_one(&state, threads))
			return 1;
	time = seconds(CLOCK_PROCESS_CPUTIME_ID) - begin;
	printf("%lu inputs of %d operations, %.2f s of CPU, "
	       "%.0f executions/s\n",
	       n, BENCH_OPS, time, (double)n / time);
	return 0;
}

/* ---- main ------------------------------------------------------------- */

__attribute__((noreturn)) static void usage(FILE *to, int status)
{
	fputs(usage_text, to);
	exit(status);
}

static unsigned long number(const char *text, const char *option,
			    unsigned long most)
{
	unsigned long n;

	if (!number_read(text, 1, most, &n)) {
		fprintf(stderr,
			"apb-replay: %s: not a number from 1 to %lu: %s\n",
			option, most, text);
		exit(2);
	}
	return n;
}

static unsigned int threads_number(const char *text)
{
	unsigned long n;

	if (!number_read(text, 1, OPS_THREADS, &n) || (n & (n - 1))) {
		fprintf(stderr,
			"apb-replay: --threads: must be 1, 2, 4 or 8: %s\n",
			text);
		exit(2);
	}
	return (unsigned int)n;
}

static enum emit_kernel kernel_name(const char *text)
{
	if (!strcmp(text, "real"))
		return EMIT_KERNEL_REAL;
	if (!strcmp(text, "scripted"))
		return EMIT_KERNEL_SCRIPTED;
	fprintf(stderr, "apb-replay: --kernel: must be real or scripted: %s\n",
		text);
	exit(2);
}

enum {
	OPT_NO_FORK = 256,
	OPT_MINIMIZE,
	OPT_EMIT,
	OPT_PLAIN,
	OPT_KERNEL,
	OPT_SECONDS,
	OPT_TIMEOUT,
	OPT_BENCH,
	OPT_THREADS,
};

static void parse(struct settings *s, int argc, char **argv)
{
	static const struct option options[] = {
		{"no-fork", no_argument, NULL, OPT_NO_FORK},
		{"minimize", required_argument, NULL, OPT_MINIMIZE},
		{"emit-c", required_argument, NULL, OPT_EMIT},
		{"plain", no_argument, NULL, OPT_PLAIN},
		{"kernel", required_argument, NULL, OPT_KERNEL},
		{"seconds", required_argument, NULL, OPT_SECONDS},
		{"timeout", required_argument, NULL, OPT_TIMEOUT},
		{"bench", required_argument, NULL, OPT_BENCH},
		{"threads", required_argument, NULL, OPT_THREADS},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "vo:h", options, NULL)) != -1) {
		switch (opt) {
		case 'v':
			s->verbose = true;
			break;
		case 'o':
			s->out = optarg;
			break;
		case OPT_NO_FORK:
			s->fork = false;
			break;
		case OPT_MINIMIZE:
			s->minimize = optarg;
			break;
		case OPT_EMIT:
			s->emit = optarg;
			break;
		case OPT_PLAIN:
			s->program.plain = true;
			break;
		case OPT_KERNEL:
			s->program.kernel = kernel_name(optarg);
			break;
		case OPT_SECONDS:
			s->seconds = (unsigned int)number(optarg, "--seconds",
							  SECONDS_MAX);
			break;
		case OPT_TIMEOUT:
			s->timeout = (unsigned int)number(optarg, "--timeout",
							  SECONDS_MAX);
			break;
		case OPT_BENCH:
			s->bench = number(optarg, "--bench", BENCH_MAX);
			break;
		case OPT_THREADS:
			s->threads = threads_number(optarg);
			break;
		case 'h':
			usage(stdout, 0);
		default:
			usage(stderr, 2);
		}
	}
}

static int act(int argc, char **argv)
{
	struct settings s = {
		.fork = true,
		.seconds = 30,
		.timeout = REPLAY_TIMEOUT,
		.threads = 1,
	};
	bool files;

	if (argc > 1 && each_fault_main && !strcmp(argv[1], "--each-fault"))
		return each_fault_main(argc - 1, argv + 1);
	parse(&s, argc, argv);
	files = optind < argc;
	if (!!s.minimize + !!s.emit + (s.bench != 0) + files != 1 ||
	    (s.minimize || s.emit) != (s.out != NULL))
		usage(stderr, 2);
	if (s.minimize)
		return reproduce_minimize(s.minimize, s.out, s.seconds,
					  s.timeout);
	if (s.emit)
		return reproduce_emit(s.emit, s.out, &s.program, s.timeout);
	if (s.bench)
		return bench(s.bench, s.threads);
	return replay(&s, argv + optind);
}

/* What is not there to be read has not been said. */
int main(int argc, char **argv)
{
	int status = act(argc, argv);

	if (!fflush(stdout) && !ferror(stdout))
		return status;
	perror("apb-replay: standard output");
	return status ? status : 2;
}
