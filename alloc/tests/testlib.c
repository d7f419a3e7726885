// SPDX-License-Identifier: MIT
/* What several unit tests need; see testlib.h. */
#define _GNU_SOURCE /* syscall() */
#include "testlib.h"

#include "glue/raw.h"
#include "initialised.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <valgrind/valgrind.h>

#define CHILD_SECONDS 60

const size_t test_class_sizes[APB_NR_CLASSES] = {
	16,    32,    48,    64,    80,	   96,	  112,	128,  144,   160,
	176,   192,   208,   224,   240,   256,	  272,	288,  304,   320,
	336,   352,   368,   384,   400,   416,	  432,	448,  464,   480,
	496,   512,   640,   768,   896,   1024,  1280, 1536, 1792,  2048,
	2560,  3072,  3584,  4096,  5120,  6144,  7168, 8192, 10240, 12288,
	14336, 16384, 20480, 24576, 28672, 32768,
};

size_t test_pool_bytes(unsigned int cls)
{
	size_t size = test_class_sizes[cls - 1];

	if (size <= 1024)
		return 16 * KIB;
	return size <= 8192 ? 64 * KIB : 128 * KIB;
}

size_t test_pool_blocks(unsigned int cls, size_t bytes)
{
	size_t n = bytes / test_class_sizes[cls - 1];

	return n < 512 ? n : 512;
}

/* ---- tools -------------------------------------------------------------- */

bool test_has_tool(void)
{
	return (APB_SAN && !APB_SAN_VALGRIND) || RUNNING_ON_VALGRIND;
}

bool test_on_valgrind(void)
{
	return RUNNING_ON_VALGRIND != 0;
}

static void initialised_arena(struct apb_arena *arena, void *arg)
{
	(void)arg;
	initialised(arena, APB_ARENA);
}

void test_initialised(void)
{
	apb_arena_for_each(initialised_arena, NULL);
}

APB_RAW bool same_bytes(const void *a, const void *b, size_t size)
{
	const char *one = a, *other = b;
	size_t i = 0;

	for (; size - i >= sizeof(uint64_t); i += sizeof(uint64_t))
		if (*(const uint64_t *)(one + i) !=
		    *(const uint64_t *)(other + i))
			return false;
	while (i < size && one[i] == other[i])
		i++;
	return i == size;
}

/* ---- a fresh allocator -------------------------------------------------- */

size_t test_address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	size_t pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu", &pages), 1);
	fclose(f);
	return pages * APB_PAGE;
}

int test_no_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		  void *new_addr)
{
	(void)ctx;
	(void)addr;
	(void)old_size;
	(void)new_size;
	(void)new_addr;
	errno = ENOMEM;
	return -1;
}

static bool on_sim;

void fresh_kernel(void)
{
	apb_set_misuse(NULL, NULL);
	simos_fault(NULL);
	apb_reset();
	assert_int_equal(apb_set_os(NULL), 0);
	assert_int_equal(apb_set_option(APB_OPT_SETTLE_PERIOD, 0), 0);
	assert_int_equal(apb_set_option(APB_OPT_JUNK, 0), 0);
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, APB_DIRTY_AUTO),
			 0);
	/* the real clock may show anything */
	assert_int_equal(apb_set_option(APB_OPT_PURGE_DELAY, SIZE_MAX), 0);
	assert_int_equal(
		apb_set_option(APB_OPT_LARGE_CACHE, APB_LARGE_CACHE_DEFAULT),
		0);
	assert_int_equal(apb_set_option(APB_OPT_THP, APB_THP_SYSTEM), 0);
	on_sim = false;
}

void fresh_sim(uint64_t seed, unsigned int flags)
{
	fresh_kernel();
	/* the table depends on the flags */
	assert_int_equal(simos_reset(seed, flags), 0);
	assert_int_equal(apb_set_os(simos_ops()), 0);
	assert_int_equal(
		apb_set_option(APB_OPT_PURGE_DELAY, APB_PURGE_DELAY_DEFAULT),
		0);
	on_sim = true;
}

int test_teardown(void **ctx)
{
	(void)ctx;
	fresh_kernel();
	return 0;
}

void test_whole(const char *file, int line)
{
	struct apb_violation v;
	struct simos_stats sim;

	if (apb_check(&v)) {
		print_error("%s:%d: apb_check(): %s\n", file, line, v.text);
		_fail(file, line);
	}
	if (!on_sim)
		return;
	if (simos_violation()) {
		print_error("%s:%d: %s\n", file, line, simos_violation());
		_fail(file, line);
	}
	simos_stats(&sim);
	_assert_int_equal(apb_state.os.mapped, sim.mapped, file, line);
}

struct apb_stats stats_now(void)
{
	struct apb_stats s;

	apb_stats(&s);
	return s;
}

struct apb_pool *pool_of(const void *ptr)
{
	return apb_pool_at((uintptr_t)ptr);
}

size_t bin_length(unsigned int cls)
{
	const struct apb_heap *heap = apb_tls;

	if (heap == &apb_empty_heap)
		return 0;
	return (size_t)(heap->bin[cls].top - heap->info[cls].base);
}

uint64_t rnd(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

void fill(void *p, size_t size, uint64_t seed)
{
	uint64_t word = rnd(&seed);
	char *at = p;

	for (; size >= sizeof(word); size -= sizeof(word)) {
		memcpy(at, &word, sizeof(word));
		at += sizeof(word);
		word += UINT64_C(0x9e3779b97f4a7c15);
	}
	memcpy(at, &word, size);
}

bool filled(const void *p, size_t size, uint64_t seed)
{
	uint64_t word = rnd(&seed);
	const char *at = p;

	for (; size >= sizeof(word); size -= sizeof(word)) {
		if (memcmp(at, &word, sizeof(word)))
			return false;
		at += sizeof(word);
		word += UINT64_C(0x9e3779b97f4a7c15);
	}
	return !memcmp(at, &word, size);
}

bool all_bytes(const void *p, size_t size, unsigned char value)
{
	const unsigned char *at = p;

	return !size || (at[0] == value && !memcmp(at, at + 1, size - 1));
}

void fault_arm(enum apb_fault_mode mode, unsigned int calls, uint64_t n)
{
	struct apb_fault fault = {.mode = mode, .calls = calls, .n = n};

	apb_fault_set(&fault);
}

struct write_faults write_faults;

/* In the place of the C library's, for what is linked statically. */
ssize_t write(int fd, const void *buf, size_t size)
{
	if (write_faults.interrupted) {
		write_faults.interrupted--;
		errno = EINTR;
		return -1;
	}
	if (write_faults.refused) {
		write_faults.refused--;
		errno = EIO;
		return -1;
	}
	if (write_faults.nothing) {
		write_faults.nothing--;
		errno = EINTR; /* of no meaning: this is no error */
		return 0;
	}
	if (write_faults.at_most && size > write_faults.at_most)
		size = write_faults.at_most;
	return syscall(SYS_write, fd, buf, size);
}

/* ---- children --------------------------------------------------------- */

static void in_child(int err, void (*fn)(void *arg), void *arg)
{
	/* an abort that is wanted leaves no core file */
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGABRT, SIG_DFL);
	alarm(CHILD_SECONDS);
	dup2(err, STDERR_FILENO);
	fn(arg);
	_exit(0);
}

void run_child(struct child *c, void (*fn)(void *arg), void *arg)
{
	int fds[2];
	pid_t pid;
	ssize_t n;

	memset(c, 0, sizeof(*c));
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		in_child(fds[1], fn, arg);
	close(fds[1]);
	do {
		n = read(fds[0], c->err + c->len, sizeof(c->err) - 1 - c->len);
		if (n > 0)
			c->len += (size_t)n;
	} while (n > 0);
	close(fds[0]);
	assert_int_equal(waitpid(pid, &c->status, 0), pid);
	/* text, and nothing behind it */
	assert_int_equal(strlen(c->err), c->len);
}

bool died_of(const struct child *c, int sig)
{
	return WIFSIGNALED(c->status) && WTERMSIG(c->status) == sig;
}
