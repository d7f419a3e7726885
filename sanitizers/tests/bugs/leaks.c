// SPDX-License-Identifier: MIT
/*
 * Programs for the leak check: leaks NAME [pool].  Those that leak do so from
 * lose(); in those that do not, there is one pointer to each block, in a place
 * where the check has to look.  Blocks are apb's, or of a pool of its own.
 */
#define _GNU_SOURCE
#include <apb/apb.h>
#include <apb/sanitize.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define POOL_BYTES ((size_t)64 << 20)

static struct apb_san_pool pool = {.name = "bump", .size = POOL_BYTES};
static bool own_pool;
static size_t used;
static pthread_barrier_t met;

/* ---- blocks ---------------------------------------------------------------- */

__attribute__((noinline)) static void *take(size_t size)
{
	char *block;

	if (!own_pool)
		return apb_malloc(size);
	block = (char *)pool.addr +
		__atomic_fetch_add(&used, (size + APB_SAN_GAP + 15) & ~15ul,
				   __ATOMIC_RELAXED);
	apb_san_born(&pool, block, size, 0);
	return block;
}

static void give(void *block, size_t size)
{
	if (own_pool)
		apb_san_died(&pool, block, size);
	else
		apb_free(block);
}

static void make_pool(void)
{
	char *memory = mmap(NULL, POOL_BYTES + 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	/* nobody else has the address of the first block */
	pool.addr = memory + 64;
	apb_san_pool_made(&pool);
}

/* What was on the stack below, or in registers, is no more. */
__attribute__((noinline)) static void wipe(void)
{
	char below[16384];

	memset(below, 0, sizeof(below));
	__asm__ volatile("" : : "r"(below) : "memory");
}

/* Call @fn so that nothing of it is left behind. */
__attribute__((noinline)) static void clean(void (*fn)(void))
{
	fn();
	wipe();
}

/* ---- leaks ------------------------------------------------------------------ */

__attribute__((noinline)) static void *lose(size_t size)
{
	return take(size);
}

static void direct(void)
{
	/* one place, also if the loop is unrolled */
	for (volatile int i = 0; i < 3; i++)
		lose(40);
}

static void indirect(void)
{
	void **a = lose(48);

	a[0] = take(24);
	a[1] = a;
}

static void cycle(void)
{
	void **a = lose(48), **b = lose(56);

	a[5] = (char *)b + 50;
	b[6] = a;
}

static void *volatile from_dead;

/* A dead block keeps nothing, and nobody keeps what only it knew. */
static void dead(void)
{
	void **a = take(64);

	a[3] = lose(33);
	from_dead = a;
	give(a, 64);
}

/* malloc's block hangs on a leaked one, and one of the pool on that. */
static void through(void)
{
	void **a = lose(72), **b = malloc(99);

	a[0] = b;
	b[1] = take(25);
}

static void chain(void)
{
	void **list = NULL;

	for (int i = 0; i < 1000; i++) {
		void **next = lose(32);

		next[0] = list;
		list = next;
	}
}

/* ---- no leaks ---------------------------------------------------------------- */

/* volatile: what is only written is no variable to a compiler */
static void *volatile global, *volatile others[4];
static __thread void *volatile local __attribute__((tls_model("initial-exec")));

static void variable(void)
{
	global = take(40);
	others[0] = (char *)take(100) + 99;
	others[1] = take(0);
}

static void thread_local(void)
{
	local = take(40);
}

static void key(void)
{
	static pthread_key_t keys[40];

	for (int i = 0; i < 40; i++) {
		pthread_key_create(&keys[i], NULL);
		pthread_setspecific(keys[i], take(40));
	}
}

/* malloc's in the pool's in malloc's in the pool's */
static void mixed(void)
{
	void **block = malloc(48);

	global = block;
	for (int i = 0; i < 100; i++) {
		void **next = i % 2 ? malloc(56) : take(40);

		block[i % 5] = next;
		block = next;
	}
}

static void *on_stack(void *arg)
{
	void *volatile block[4] = {take(40), take(40)};

	wipe();
	pthread_barrier_wait(&met);
	pause();
	give(block[0], 40);
	return arg;
}

/* The only pointer is in a vector register. */
static void *in_register(void *arg)
{
	static int ready, go;
	uintptr_t block = (uintptr_t)take(40);

	(void)arg;
	wipe();
	__asm__ volatile("movq %0, %%xmm5\n\t"
			 "xor %0, %0\n\t"
			 "movl $1, %1\n"
			 "1:\tpause\n\t"
			 "cmpl $0, %2\n\t"
			 "je 1b\n\t"
			 "movq %%xmm5, %0"
			 : "+r"(block), "+m"(ready)
			 : "m"(go)
			 : "xmm5", "memory");
	return (void *)block;
}

static void *in_tls(void *arg)
{
	local = take(40);
	key();
	wipe();
	pthread_barrier_wait(&met);
	pause();
	return arg;
}

static void start(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fn, arg))
		abort();
}

static void threads(void)
{
	pthread_barrier_init(&met, NULL, 3);
	start(on_stack, NULL);
	start(in_tls, NULL);
	pthread_barrier_wait(&met);
}

static void registers(void)
{
	start(in_register, NULL);
	usleep(50000);
}

static void *keeps(void *arg)
{
	return arg;
}

/* It has ended, nobody has joined it, and this is what it returned. */
static volatile pthread_t returned_by;

static void returned(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, keeps, take(40)))
		abort();
	returned_by = thread;
	usleep(50000);
}

static void handler(int sig)
{
	(void)sig;
	pthread_barrier_wait(&met);
	pause();
}

/* In a signal handler, on a stack of its own. */
static void *in_handler(void *arg)
{
	void *volatile block = take(40);
	stack_t stack = {.ss_sp = arg, .ss_size = 65536};
	struct sigaction action = {.sa_handler = handler,
				   .sa_flags = SA_ONSTACK};

	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	wipe();
	raise(SIGUSR1);
	give(block, 40);
	return NULL;
}

static void in_handlers(void)
{
	pthread_barrier_init(&met, NULL, 3);
	start(in_handler, malloc(65536));
	start(in_handler, take(65536));
	pthread_barrier_wait(&met);
}

/* A coroutine's stack is a block, and so may a thread's be. */
static ucontext_t before, inside;

static void coroutine(void)
{
	void *volatile block = take(40);

	wipe();
	swapcontext(&inside, &before);
	give(block, 40);
}

static void coroutines(void)
{
	getcontext(&inside);
	inside.uc_stack.ss_size = 65536;
	inside.uc_stack.ss_sp = take(inside.uc_stack.ss_size);
	inside.uc_link = &before;
	makecontext(&inside, coroutine, 0);
	swapcontext(&before, &inside);
}

static void own_stack(void)
{
	size_t size = (size_t)1 << 20;
	pthread_attr_t attr;
	pthread_t thread;

	pthread_barrier_init(&met, NULL, 2);
	pthread_attr_init(&attr);
	pthread_attr_setstack(
		&attr,
		(void *)(((uintptr_t)take(size + 4096) + 4095) & ~4095ul),
		size);
	if (pthread_create(&thread, &attr, on_stack, NULL))
		abort();
	pthread_barrier_wait(&met);
}

/* exit() is called elsewhere; this thread goes on. */
static void *exits(void *arg)
{
	pthread_barrier_wait(&met);
	exit(0);
	return arg;
}

static void other_exits(void)
{
	pthread_barrier_init(&met, NULL, 2);
	start(exits, NULL);
	on_stack(NULL);
}

/* The first thread has ended before. */
static void *exits_later(void *arg)
{
	usleep(100000);
	exit(0);
	return arg;
}

static void first_ends(void)
{
	global = take(40);
	start(exits_later, NULL);
	pthread_exit(NULL);
}

static void wait_for(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		abort();
	printf("child: %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/* A child has what its parent had, and leaks on its own account. */
static void forks(void)
{
	void *volatile block = take(40);
	pid_t child = fork();

	if (child == 0) {
		clean(direct);
		exit(0);
	}
	wait_for(child);
	give(block, 40);
}

/* What only threads knew that the child has not. */
static void forks_threads(void)
{
	pid_t child;

	threads();
	child = fork();
	if (child == 0) {
		printf("in the child: %zu\n", apb_san_leak_check());
		fflush(stdout);
		_exit(0);
	}
	wait_for(child);
}

static void leaves(void)
{
	clean(direct);
	_exit(0);
}

/* ---- under load --------------------------------------------------------------- */

static void *passed[64];
static bool stop;

/* Blocks go from thread to thread, through malloc's and through arguments. */
static void *works(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)&arg;
	pthread_t child;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		void **block = take(40),
		     **holder = malloc(rand_r(&seed) % 300000 + 8);
		void **old;

		holder[0] = block;
		block[0] = take(24);
		old = __atomic_exchange_n(&passed[rand_r(&seed) % 64], holder,
					  __ATOMIC_ACQ_REL);
		if (old) {
			block = old[0];
			if (rand_r(&seed) % 64 == 0 &&
			    !pthread_create(&child, NULL, keeps, block[0]))
				pthread_join(child, block);
			give(block[0], 24);
			give(block, 40);
			free(old);
		}
	}
	return NULL;
}

static void load(void)
{
	pthread_t workers[3];
	size_t leaks = 0;

	for (int i = 0; i < 3; i++)
		pthread_create(&workers[i], NULL, works, NULL);
	for (int i = 0; i < 6; i++) {
		usleep(10000);
		leaks += apb_san_leak_check();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(workers[i], NULL);
	printf("found: %zu\n", leaks);
}

static long ms_since(const struct timespec *from)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - from->tv_sec) * 1000 +
	       (now.tv_nsec - from->tv_nsec) / 1000000;
}

/* How long it takes with 100,000 blocks, and when some of them have leaked. */
static void many(void)
{
	struct timespec from;
	void **list = NULL;
	size_t leaks;

	for (int i = 0; i < 100000; i++) {
		void **next = take((size_t)(16 + i % 500));

		next[0] = list;
		list = next;
	}
	global = list;
	list = NULL;
	clock_gettime(CLOCK_MONOTONIC, &from);
	leaks = apb_san_leak_check();
	printf("found: %zu in %ld ms\n", leaks, ms_since(&from));
	others[0] = global;
	global = NULL;
	others[0] = *(void **)others[0];
	clock_gettime(CLOCK_MONOTONIC, &from);
	leaks = apb_san_leak_check();
	printf("found: %zu in %ld ms\n", leaks, ms_since(&from));
	fflush(stdout);
	_exit(0);
}

/* ---- without ptrace ------------------------------------------------------------- */

static void no_ptrace(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {4, code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0))
		abort();
	clean(direct);
	printf("alone: %zu\n", apb_san_leak_check());
	clean(threads);
	printf("with threads: %zu\n", apb_san_leak_check());
	fflush(stdout);
	_exit(0);
}

static void demand(void)
{
	clean(direct);
	printf("first: %zu\n", apb_san_leak_check());
	printf("second: %zu\n", apb_san_leak_check());
	fflush(stdout);
	_exit(0);
}

/* ---- which ------------------------------------------------------------------------ */

static const struct {
	const char *name;
	void (*fn)(void);
} programs[] = {
	{"direct", direct},
	{"indirect", indirect},
	{"cycle", cycle},
	{"dead", dead},
	{"through", through},
	{"chain", chain},
	{"variable", variable},
	{"thread_local", thread_local},
	{"key", key},
	{"mixed", mixed},
	{"threads", threads},
	{"registers", registers},
	{"returned", returned},
	{"in_handlers", in_handlers},
	{"coroutines", coroutines},
	{"own_stack", own_stack},
	{"other_exits", other_exits},
	{"first_ends", first_ends},
	{"forks", forks},
	{"forks_threads", forks_threads},
	{"leaves", leaves},
	{"load", load},
	{"many", many},
	{"no_ptrace", no_ptrace},
	{"demand", demand},
};

int main(int argc, char **argv)
{
	own_pool = argc > 2 && strcmp(argv[2], "pool") == 0;
	if (own_pool)
		make_pool();
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (argc < 2 || strcmp(argv[1], programs[i].name) != 0)
			continue;
		clean(programs[i].fn);
		fflush(stdout);
		return 0;
	}
	fprintf(stderr, "leaks: what is %s?\n", argc > 1 ? argv[1] : "wanted");
	return 2;
}
