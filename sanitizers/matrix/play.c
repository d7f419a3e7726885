// SPDX-License-Identifier: MIT
/*
 * apb-play: inputs with another header, and random changes of them, in one
 * process and without an engine: what every compiler and tool can do.
 *
 *	apb-play [--kernel real|simulated] [--set NAME] [--fuzz SECONDS]
 *		 [--seed N] [--out FILE] FILE|DIR...
 *
 * The inputs are run as they are, but for the kernel and what --set says; then
 * changed ones (fuzz/afl/mutate.c), at random, for so many seconds of CPU.  At
 * a finding the input is written to FILE, and the status is 1.  A tool that
 * ends the process leaves it there, too: it is written before it is run.
 */
#include "afl/mutate.h"
#include "files.h"
#include "ops.h"
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_INPUT ((size_t)64 << 10)
/* What is run longest is of little use to a short fuzz. */
#define MAX_MUTANT ((size_t)2 << 10)
#define MUTANTS_AT_ONCE 16

/* Settings of the header, by the names in the table of the matrix. */
static const struct setting {
	const char *name;
	bool junk, small_period, no_dirty, locked;
} settings[] = {
	{"as-is", false, false, false, false},
	{"junk", true, false, false, false},
	{"settle", false, true, false, false},
	{"purge", false, false, true, false},
	{"locks", false, false, false, true},
};

struct player {
	const struct setting *setting;
	const char *kernel; /* NULL: as each input says */
	const char *out;
	double fuzz; /* seconds */
	uint64_t rng;
	struct file *inputs;
	size_t nr, room;
	size_t played, mutants;
	uint8_t *last; /* what runs now, in a file that outlives us */
	size_t *last_size;
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "apb-play: %s: %s\n", what, strerror(errno));
	exit(2);
}

__attribute__((noreturn)) static void wrong(const char *what, const char *value)
{
	fprintf(stderr, "apb-play: %s: %s\n", what, value);
	exit(2);
}

static uint64_t next_random(uint64_t *state)
{
	/* xorshift64*, Vigna 2014 */
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static void print_finding(const struct run_finding *f, void *arg)
{
	(void)arg;
	run_print_finding(f, stderr);
}

/* Other settings, where the matrix has them; the rest of the header stays. */
static void set_header(const struct player *p, uint8_t *data, size_t size)
{
	struct ops_header head;

	if (size < OPS_HEADER_SIZE)
		return;
	ops_header(data, size, &head);
	if (p->kernel) {
		head.real_kernel = !strcmp(p->kernel, "real");
		head.junk = p->setting->junk;
	}
	head.small_period |= p->setting->small_period;
	head.no_dirty |= p->setting->no_dirty;
	head.locked |= p->setting->locked;
	ops_encode_header(data, &head);
}

static bool play(struct player *p, size_t size)
{
	struct run_options options = {
		.allow_real_kernel = true,
		.fill = true,
		.on_finding = print_finding,
	};

	set_header(p, p->last, size);
	*p->last_size = size;
	p->played++;
	return run_input(p->last, size, &options);
}

static bool mutant(struct player *p)
{
	const struct file *one = &p->inputs[next_random(&p->rng) % p->nr];
	const struct file *other = &p->inputs[next_random(&p->rng) % p->nr];
	char words[64];
	struct mutation m = {
		.data = p->last,
		.size = one->size < MAX_MUTANT ? one->size : MAX_MUTANT,
		.max = MAX_MUTANT,
		.rng = next_random(&p->rng) | 1,
		.words = words,
		.room = sizeof(words),
	};

	memcpy(p->last, one->data, m.size);
	mutate(&m, other->data, other->size);
	p->mutants++;
	return play(p, m.size);
}

/* Of this process: as much is done however busy the machine is. */
static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static bool play_all(struct player *p)
{
	double end;

	for (size_t i = 0; i < p->nr; i++) {
		if (p->inputs[i].size > MAX_INPUT)
			continue;
		memcpy(p->last, p->inputs[i].data, p->inputs[i].size);
		if (play(p, p->inputs[i].size))
			return true;
	}
	for (end = now() + p->fuzz; p->nr && now() < end;)
		for (int i = 0; i < MUTANTS_AT_ONCE; i++)
			if (mutant(p))
				return true;
	return false;
}

/* ---- files -------------------------------------------------------------- */

static int take(const char *path, void *arg)
{
	struct player *p = arg;

	if (p->nr == p->room) {
		p->room = p->room ? 2 * p->room : 1024;
		p->inputs = realloc(p->inputs, p->room * sizeof(*p->inputs));
		if (!p->inputs)
			die("memory");
	}
	if (file_read(path, &p->inputs[p->nr++]))
		die(path);
	return 0;
}

/* The input that runs is in the file from the start, cut to its size at last. */
static void open_out(struct player *p)
{
	size_t size = MAX_INPUT + sizeof(*p->last_size);
	int fd = p->out ? open(p->out, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
			       0666) :
			  -1;
	void *at;

	if (p->out && (fd < 0 || ftruncate(fd, (off_t)size)))
		die(p->out);
	at = mmap(NULL, size, PROT_READ | PROT_WRITE,
		  p->out ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
	if (at == MAP_FAILED)
		die("mmap");
	if (fd >= 0)
		close(fd);
	p->last = at;
	p->last_size = (size_t *)(void *)(p->last + MAX_INPUT);
}

static void close_out(const struct player *p, bool found)
{
	if (!p->out)
		return;
	if (found ? truncate(p->out, (off_t)*p->last_size) : unlink(p->out))
		die(p->out);
	if (found)
		fprintf(stderr, "apb-play: in %s\n", p->out);
}

/* ---- main --------------------------------------------------------------- */

static const struct setting *find_setting(const char *name)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (!strcmp(settings[i].name, name))
			return &settings[i];
	wrong("--set: must be as-is, junk, settle, purge or locks", name);
}

static double number(const char *option, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= 0 && value <= 1e6))
		wrong(option, text);
	return value;
}

static void parse(struct player *p, int argc, char **argv)
{
	static const struct option options[] = {
		{"kernel", required_argument, NULL, 'k'},
		{"set", required_argument, NULL, 's'},
		{"fuzz", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 'r'},
		{"out", required_argument, NULL, 'o'},
		{0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'k':
			if (strcmp(optarg, "real") != 0 &&
			    strcmp(optarg, "simulated") != 0)
				wrong("--kernel: must be real or simulated",
				      optarg);
			p->kernel = optarg;
			break;
		case 's':
			p->setting = find_setting(optarg);
			break;
		case 'f':
			p->fuzz = number("--fuzz: not a number", optarg);
			break;
		case 'r':
			p->rng = (uint64_t)number("--seed: not a number",
						  optarg) +
				 1;
			break;
		case 'o':
			p->out = optarg;
			break;
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct player p = {.setting = &settings[0], .rng = 1};
	char *bad;
	bool found;

	parse(&p, argc, argv);
	for (argv += optind; *argv; argv++)
		if (files_walk(*argv, take, &p, &bad))
			die(bad);
	if (!p.nr)
		wrong("no input", "name files or folders");
	open_out(&p);
	run_prepare();
	found = play_all(&p);
	printf("%zu inputs, %zu changed ones, %d finding%s\n",
	       p.played - p.mutants, p.mutants, found, found ? "" : "s");
	close_out(&p, found);
	for (size_t i = 0; i < p.nr; i++)
		file_free(&p.inputs[i]);
	free(p.inputs);
	munmap(p.last, MAX_INPUT + sizeof(*p.last_size));
	return found;
}
