/* SPDX-License-Identifier: MIT */
/*
 * world.c - stop all threads but one, and read their registers.
 *
 * A thread cannot trace one of its own process, so a task is made that shares
 * nothing but the memory and the files: the tracer.  It seizes and interrupts
 * each thread but the caller, until a look at /proc finds no new one, reads
 * their registers, and waits.  The caller works meanwhile, on its own stack, so
 * it may call functions that know threads; should one of them have to wait for a
 * lock that a stopped thread holds, the tracer lets all go on.
 *
 * The tracer runs on the caller's thread pointer: no libc in it, errno is the
 * caller's.  If the process is killed, the tracer dies, too, and with it the
 * stop of the threads.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "glue/leak_arch.h"
#include "glue/world.h"

#define STACK_BYTES ((size_t)64 << 10)
#define QUIET 3 /* lists without a new thread */
#define STOP_MS 2000 /* a thread that takes longer does not stop */

enum state {
	STARTING, /* the tracer may not trace yet */
	ALLOWED,
	STOPPED,
	FAILED, /* nothing is stopped, the tracer has ended */
	RESUME,
	BROKEN, /* the caller has to wait for a lock: all threads go on */
};

struct dirent64 {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

APB_RAW static bool is_error(long ret)
{
	return ret < 0 && ret > -4096;
}

APB_RAW static uint32_t state_of(struct world *world)
{
	return __atomic_load_n(&world->state, __ATOMIC_ACQUIRE);
}

APB_RAW static bool change(struct world *world, uint32_t from, uint32_t to)
{
	if (!__atomic_compare_exchange_n(&world->state, &from, to, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return false;
	ARCH_CALL(SYS_futex, &world->state, FUTEX_WAKE, 1, 0);
	return true;
}

APB_RAW static void wait_ms(struct world *world, uint32_t while_state,
			    unsigned int ms)
{
	struct timespec time = {ms / 1000, ms % 1000 * 1000000L};

	ARCH_CALL(SYS_futex, &world->state, FUTEX_WAIT, while_state, &time);
}

/* ---- the threads there are ---------------------------------------------- */

APB_RAW static char *put_number(char *to, unsigned int number)
{
	char digits[12];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + number % 10);
	while (number /= 10);
	while (n)
		*to++ = digits[--n];
	*to = 0;
	return to;
}

APB_RAW static char *put(char *to, const char *text)
{
	while (*text)
		*to++ = *text++;
	*to = 0;
	return to;
}

APB_RAW static int number_of(const char *text)
{
	int number = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		number = number * 10 + *text - '0';
	return *text ? 0 : number;
}

/* Calls @fn for each thread; the number of them, or a negative errno. */
APB_RAW static long each_thread(struct world *world,
				long (*fn)(struct world *world, int tid))
{
	char path[64], buf[2048];
	long fd, n, at, found = 0, ret = 0;

	put(put_number(put(path, "/proc/"), (unsigned int)world->pid), "/task");
	fd = ARCH_CALL(SYS_openat, AT_FDCWD, path,
		       O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (is_error(fd))
		return fd;
	while (ret >= 0) {
		n = ARCH_CALL(SYS_getdents64, fd, buf, sizeof(buf), 0);
		if (n <= 0) {
			ret = n;
			break;
		}
		for (at = 0; at < n && ret >= 0;) {
			struct dirent64 *entry = (struct dirent64 *)(buf + at);
			int tid = number_of(entry->name);

			at += entry->len;
			found += tid > 0;
			if (tid > 0 && fn)
				ret = fn(world, tid);
		}
	}
	ARCH_CALL(SYS_close, fd, 0, 0, 0);
	return ret < 0 ? ret : found;
}

/* A thread that has ended, but is still listed: no stack, no registers. */
APB_RAW static bool has_ended(struct world *world, int tid)
{
	char path[96], buf[256];
	const char *end = NULL;
	long fd, n, i;

	put(put_number(put(put_number(put(path, "/proc/"),
				      (unsigned int)world->pid),
			   "/task/"),
		       (unsigned int)tid),
	    "/stat");
	fd = ARCH_CALL(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (is_error(fd))
		return true;
	n = ARCH_CALL(SYS_read, fd, buf, sizeof(buf) - 1, 0);
	ARCH_CALL(SYS_close, fd, 0, 0, 0);
	if (n <= 0)
		return true;
	for (i = 0; i < n; i++)
		if (buf[i] == ')')
			end = buf + i;
	return end && end + 2 < buf + n && (end[2] == 'Z' || end[2] == 'X');
}

/* ---- the tracer ----------------------------------------------------------- */

APB_RAW static struct world_thread *add_thread(struct world *world)
{
	size_t need = (world->count + 1) * sizeof(*world->threads);
	size_t bytes = world->bytes ? world->bytes * 2 : (size_t)1 << 20;
	long ret;

	if (need > world->bytes) {
		if (world->threads)
			ret = ARCH_CALL(SYS_mremap, world->threads,
					world->bytes, bytes, MREMAP_MAYMOVE);
		else
			ret = arch_call(SYS_mmap, 0, (long)bytes,
					PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS |
						MAP_NORESERVE,
					-1, 0);
		if (is_error(ret))
			return NULL;
		world->threads = (struct world_thread *)ret;
		world->bytes = bytes;
	}
	return &world->threads[world->count];
}

/* Wait until @tid stops; 1: it did, 0: it ended, or a negative errno. */
APB_RAW static long await(struct world_thread *thread)
{
	struct timespec pause = {0, 20000};
	unsigned int waited = 0;
	int status;
	long ret;

	for (;;) {
		ret = ARCH_CALL(SYS_wait4, thread->tid, &status,
				__WALL | WNOHANG, 0);
		if (ret == -ECHILD)
			return 0;
		if (is_error(ret) && ret != -EINTR)
			return ret;
		if (ret > 0)
			break;
		if (waited >= STOP_MS * 1000)
			return -ETIMEDOUT;
		ARCH_CALL(SYS_nanosleep, &pause, 0, 0, 0);
		waited += (unsigned int)pause.tv_nsec / 1000;
		if (pause.tv_nsec < 1000000)
			pause.tv_nsec *= 2;
	}
	if (!WIFSTOPPED(status))
		return 0;
	thread->signal = status >> 16 ? 0 : WSTOPSIG(status);
	return 1;
}

APB_RAW static void detach(struct world_thread *thread)
{
	ARCH_CALL(SYS_ptrace, PTRACE_DETACH, thread->tid, 0, thread->signal);
}

APB_RAW static long read_registers(struct world_thread *thread)
{
	struct user_regs_struct general;
	struct iovec area = {&general, sizeof(general)};
	long ret;

	ret = ARCH_CALL(SYS_ptrace, PTRACE_GETREGSET, thread->tid, NT_PRSTATUS,
			&area);
	if (is_error(ret))
		return ret;
	thread->sp = arch_regs_sp(&general);
	thread->tp = arch_regs_tp(&general);
	thread->nregs = sizeof(general) / sizeof(uintptr_t);
	memcpy(thread->regs, &general, sizeof(general));
	area.iov_base = thread->regs + thread->nregs;
	area.iov_len = sizeof(thread->regs) - sizeof(general);
	ret = ARCH_CALL(SYS_ptrace, PTRACE_GETREGSET, thread->tid,
			ARCH_NT_EXTRA, &area);
	if (!is_error(ret))
		thread->nregs += area.iov_len / sizeof(uintptr_t);
	return 0;
}

APB_RAW static long stop_thread(struct world *world, int tid)
{
	struct world_thread *thread;
	size_t i;
	long ret;

	if (tid == world->caller)
		return 0;
	for (i = 0; i < world->count; i++)
		if (world->threads[i].tid == tid)
			return 0;
	thread = add_thread(world);
	if (!thread)
		return -ENOMEM;
	thread->tid = tid;
	thread->signal = 0;
	ret = ARCH_CALL(SYS_ptrace, PTRACE_SEIZE, tid, 0, 0);
	if (is_error(ret))
		return has_ended(world, tid) ? 0 : ret;
	ret = ARCH_CALL(SYS_ptrace, PTRACE_INTERRUPT, tid, 0, 0);
	if (!is_error(ret))
		ret = await(thread);
	else if (ret == -ESRCH)
		ret = 0;
	if (ret > 0)
		ret = read_registers(thread) == 0;
	if (ret > 0)
		world->count++;
	return ret;
}

/*
 * A list ends early if the thread that it has come to ends just then: once
 * nothing new is found, it is looked again whether that is so.
 */
APB_RAW static long stop_all(struct world *world)
{
	unsigned int quiet = 0;
	size_t before;
	long ret;

	do {
		before = world->count;
		ret = each_thread(world, stop_thread);
		quiet = world->count == before ? quiet + 1 : 0;
	} while (ret >= 0 && quiet < QUIET);
	return ret < 0 ? ret : 0;
}

APB_RAW static int tracer(void *arg)
{
	struct world *world = arg;
	uint32_t beat = 0, now, inside;
	size_t i;
	long ret;

	ARCH_CALL(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
	while (state_of(world) == STARTING)
		wait_ms(world, STARTING, 100);
	ret = stop_all(world);
	if (ret == 0)
		change(world, ALLOWED, STOPPED);
	while (ret == 0 && state_of(world) == STOPPED) {
		wait_ms(world, STOPPED, WORLD_PATIENCE_MS);
		now = __atomic_load_n(&world->beat, __ATOMIC_RELAXED);
		inside = WORLD_INSIDE;
		if (now == beat &&
		    __atomic_compare_exchange_n(
			    &world->inside, &inside, WORLD_GOES_ON, false,
			    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			change(world, STOPPED, BROKEN);
		beat = now;
	}
	for (i = 0; i < world->count; i++)
		detach(&world->threads[i]);
	if (ret < 0) {
		world->error = (int)ret;
		change(world, ALLOWED, FAILED);
	}
	for (;;)
		ARCH_CALL(SYS_exit, 0, 0, 0, 0);
	return 0;
}

/* ---- the caller ------------------------------------------------------------ */

APB_RAW static void *map(size_t bytes)
{
	long ret = arch_call(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return is_error(ret) ? NULL : (void *)ret;
}

APB_RAW static void block_signals(struct world *world)
{
	uint64_t all = ~(uint64_t)0;

	/* what an instruction of ours raises must kill, not hang */
	all &= ~(1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1) |
		 1ull << (SIGILL - 1) | 1ull << (SIGFPE - 1) |
		 1ull << (SIGABRT - 1) | 1ull << (SIGTRAP - 1));
	ARCH_CALL(SYS_rt_sigprocmask, SIG_BLOCK, &all, &world->mask, 8);
}

APB_RAW static void unblock_signals(struct world *world)
{
	ARCH_CALL(SYS_rt_sigprocmask, SIG_SETMASK, &world->mask, 0, 8);
}

APB_RAW static int start_tracer(struct world *world)
{
	int pid;

	world->stack = map(STACK_BYTES);
	if (!world->stack)
		return -ENOMEM;
	/* a process that may not be dumped may not be traced either */
	world->dumpable = ARCH_CALL(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0);
	if (world->dumpable == 0)
		ARCH_CALL(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0);
	pid = clone(tracer, (char *)world->stack + STACK_BYTES,
		    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED, world);
	if (pid < 0)
		return -errno;
	world->tracer = pid;
	/* Yama: only ancestors may trace, and who is named */
	ARCH_CALL(SYS_prctl, PR_SET_PTRACER, pid, 0, 0);
	change(world, STARTING, ALLOWED);
	return 0;
}

APB_RAW static void end_tracer(struct world *world)
{
	int status;

	if (world->tracer) {
		while (ARCH_CALL(SYS_wait4, world->tracer, &status, __WALL,
				 0) == -EINTR)
			;
		ARCH_CALL(SYS_prctl, PR_SET_PTRACER, 0, 0, 0);
		world->tracer = 0;
	}
	if (world->dumpable == 0)
		ARCH_CALL(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0);
	if (world->stack)
		ARCH_CALL(SYS_munmap, world->stack, STACK_BYTES, 0, 0);
	if (world->threads)
		ARCH_CALL(SYS_munmap, world->threads, world->bytes, 0, 0);
	world->stack = NULL;
	world->threads = NULL;
	world->count = world->bytes = 0;
	unblock_signals(world);
}

APB_RAW long world_threads(void)
{
	struct world world = {
		.pid = (int)ARCH_CALL(SYS_getpid, 0, 0, 0, 0),
	};

	return each_thread(&world, NULL);
}

APB_RAW int world_stop(struct world *world)
{
	long ret;
	int saved = errno;

	memset(world, 0, sizeof(*world));
	world->pid = (int)ARCH_CALL(SYS_getpid, 0, 0, 0, 0);
	world->caller = (int)ARCH_CALL(SYS_gettid, 0, 0, 0, 0);
	world->dumpable = 1;
	world->state = STARTING;
	block_signals(world);
	ret = each_thread(world, NULL);
	if (ret == 1) {
		/* nobody to stop, and nobody who could make a second thread */
		world->state = STOPPED;
		return 0;
	}
	if (ret > 0)
		ret = ARCH_STOPS ? start_tracer(world) : -ENOSYS;
	if (ret == 0) {
		while (state_of(world) == ALLOWED)
			wait_ms(world, ALLOWED, 100);
		if (state_of(world) == STOPPED) {
			errno = saved;
			return 0;
		}
		ret = world->error;
	}
	end_tracer(world);
	errno = saved;
	return (int)ret;
}

APB_RAW bool world_resume(struct world *world)
{
	int saved = errno;
	bool stopped = change(world, STOPPED, RESUME);

	end_tracer(world);
	errno = saved;
	return stopped;
}
