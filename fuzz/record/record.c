// SPDX-License-Identifier: MIT
/*
 * libapb-record.so: preloaded into a program, it turns the program's calls of
 * the malloc family into an input file of the harness.
 *
 * Every function forwards to the allocator that the program would have had
 * (the next definition in search order) and notes the call.  One lock is held
 * over both, so that the order in the file is the order in which the
 * allocator saw the calls, and no block is reused before its free is noted.
 * What the allocator, the dynamic linker or this library itself allocate
 * meanwhile on the same thread is forwarded without a note; `inside` says so.
 *
 * Looking the next definitions up may itself allocate.  Until they are known
 * such calls are served from a small static buffer, never given back.
 *
 * fork(): the child starts a recording of its own.  vfork(): the child runs
 * in its parent's memory, and what it allocates is its parent's.  exec():
 * what was recorded is lost, unless it was complete; the new program records
 * for itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "record/conf.h"
#include "record/log.h"
#include "record/profile.h"

#define EXPORT __attribute__((visibility("default")))

/* C23; no header of the C library declares them yet. */
void free_sized(void *ptr, size_t size);
void free_aligned_sized(void *ptr, size_t align, size_t size);

struct family {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*reallocarray)(void *, size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	void *(*memalign)(size_t, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void *(*valloc)(size_t);
	void *(*pvalloc)(size_t);
	void (*free)(void *);
};

/* Where calls are forwarded to, from the moment that `resolved` is set on. */
static struct family real;
static atomic_bool resolved;

static _Thread_local bool inside __attribute__((tls_model("initial-exec")));

/* Under the lock, except that `stopped` is read without it for a hint. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct conf conf;
static bool started; /* configured, the log is mapped */
static bool written; /* the file is */
static bool child; /* of a fork */
static pid_t owner; /* the process that `started` speaks of */
static atomic_bool stopped; /* nothing more to note */

/* ---- before the next definitions are known ---------------------------- */

struct boot {
	size_t size;
	_Alignas(16) char data[];
};

static _Alignas(16) char boot_mem[64 * 1024];
static atomic_size_t boot_used;

static bool is_boot(const void *ptr)
{
	uintptr_t at = (uintptr_t)ptr;

	return at >= (uintptr_t)boot_mem &&
	       at < (uintptr_t)boot_mem + sizeof(boot_mem);
}

/* Zeroed, as it is handed out once. */
static void *boot_alloc(size_t size)
{
	size_t want = (size + 15) & ~(size_t)15;
	struct boot *b;
	size_t at;

	if (want < size || want > sizeof(boot_mem))
		goto fail;
	want += sizeof(*b);
	at = atomic_fetch_add(&boot_used, want);
	if (at > sizeof(boot_mem) - want)
		goto fail;
	b = (struct boot *)(boot_mem + at);
	b->size = size;
	return b->data;
fail:
	errno = ENOMEM;
	return NULL;
}

static size_t boot_size(void *ptr)
{
	return ((struct boot *)((char *)ptr - sizeof(struct boot)))->size;
}

static bool ready(void)
{
	return atomic_load_explicit(&resolved, memory_order_acquire);
}

/*
 * Every thread that comes here before the first one is through does the same
 * work, outside of the lock: what dlsym() calls is not known.
 */
static void resolve(void)
{
	struct family found;

#define NEXT(name) (*(void **)&found.name = dlsym(RTLD_NEXT, #name))
	NEXT(malloc);
	NEXT(calloc);
	NEXT(realloc);
	NEXT(reallocarray);
	NEXT(aligned_alloc);
	NEXT(memalign);
	NEXT(posix_memalign);
	NEXT(valloc);
	NEXT(pvalloc);
	NEXT(free);
#undef NEXT
	pthread_mutex_lock(&lock);
	if (!ready()) {
		real = found;
		atomic_store(&resolved, true);
	}
	pthread_mutex_unlock(&lock);
}

/* ---- start and end ---------------------------------------------------- */

/* In a forked child, where the lock may have been held by a thread lost. */
static void restart(void)
{
	static const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;

	lock = unlocked;
	if (!started)
		return;
	log_restart();
	profile_reset();
	child = true;
	written = false;
	owner = getpid();
	atomic_store(&stopped, false);
}

static void start(void)
{
	conf_read(&conf, environ);
	started = true;
	owner = getpid();
	if (!log_open(conf.max, conf.window)) {
		conf_say("no memory for %zu operations: nothing is recorded",
			 conf.max);
		conf.profile = false;
		atomic_store(&stopped, true);
		return;
	}
	if (pthread_atfork(NULL, NULL, restart))
		conf_say("forked children will not be recorded");
}

static void write_file(void)
{
	static char path[PATH_MAX];
	int err;

	written = true;
	if (!log_count()) {
		if (conf.window && !child)
			conf_say("nothing recorded: all calls came before the "
				 "window");
		return;
	}
	if (!conf_path(&conf, owner, child, path, sizeof(path))) {
		conf_say("the file name is too long: nothing written");
		return;
	}
	err = log_write(path);
	if (err)
		conf_say("cannot write %s: %s", path, strerror(-err));
}

/* With the profile: how much of what the program did is in the file. */
static void summarize(void)
{
	struct log_left_out left;

	log_left_out(&left);
	conf_say("recorded %zu operations, %zu of them clipped; left out: "
		 "%llu before the window, %llu without a slot, %llu of blocks "
		 "unknown, %llu that failed",
		 log_count(), log_clipped(), (unsigned long long)left.window,
		 (unsigned long long)left.no_slot,
		 (unsigned long long)left.unknown,
		 (unsigned long long)left.failed);
}

/*
 * The process ends.  In a signal handler that interrupted this library on the
 * same thread the lock cannot be had; the log is whole at every moment.
 */
static void finish(void)
{
	bool locked = !inside;
	int err = errno;

	inside = true;
	if (locked)
		pthread_mutex_lock(&lock);
	/* a child of vfork() must leave its parent's recording alone */
	if (started && owner == getpid()) {
		if (!written && !atomic_load(&stopped))
			write_file();
		if (conf.profile) {
			profile_print();
			summarize();
		}
		conf.profile = false;
		atomic_store(&stopped, true);
	}
	if (locked) {
		pthread_mutex_unlock(&lock);
		inside = false;
	}
	errno = err;
}

static __attribute__((constructor)) void init(void)
{
	inside = true;
	pthread_mutex_lock(&lock);
	if (!started && environ)
		start();
	pthread_mutex_unlock(&lock);
	/* registered before all of the program's own: runs after them */
	at_quick_exit(finish);
	inside = false;
}

static __attribute__((destructor)) void fini(void)
{
	finish();
}

EXPORT void _exit(int status)
{
	finish();
	for (;;)
		syscall(SYS_exit_group, status);
}

EXPORT void _Exit(int status)
{
	_exit(status);
}

/* ---- around every call ------------------------------------------------ */

/* Whether the call is to be noted: the lock is held then. */
static bool enter(void)
{
	int err;

	if (inside)
		return false;
	err = errno;
	inside = true;
	if (!ready())
		resolve();
	if (atomic_load_explicit(&stopped, memory_order_relaxed))
		goto out;
	pthread_mutex_lock(&lock);
	/* before init(); without an environment it is the linker that calls */
	if (!started && environ)
		start();
	errno = err;
	if (started && !atomic_load(&stopped))
		return true;
	pthread_mutex_unlock(&lock);
out:
	inside = false;
	errno = err;
	return false;
}

static void leave(void)
{
	int err = errno;

	if (!written && log_full()) {
		write_file();
		if (!conf.profile)
			atomic_store(&stopped, true);
	}
	pthread_mutex_unlock(&lock);
	inside = false;
	errno = err;
}

static void note_make(enum profile_call kind, const struct call *call,
		      void *ptr)
{
	profile_request(kind, call->size, !ptr);
	log_make(call, ptr);
}

/* The size in @call of @n elements of @size bytes. */
static void set_product(struct call *call, size_t n, size_t size)
{
	call->overflow = __builtin_mul_overflow(n, size, &call->size);
	if (call->overflow)
		call->size = size;
}

static void note_realloc(const struct call *call, void *old, void *ptr)
{
	if (!ptr && !call->size && !call->overflow && old) {
		/* that is how the C library says that it has freed @old */
		profile_release(PROFILE_REALLOC);
		log_free(OP_FREE, old);
		return;
	}
	profile_request(PROFILE_REALLOC, call->size, !ptr);
	if (old) {
		log_move(call, old, ptr);
	} else {
		struct call made = *call;

		/* reallocarray() is kept for its overflow */
		if (!made.overflow)
			made.kind = OP_MALLOC;
		log_make(&made, ptr);
	}
}

/* ---- the malloc family ------------------------------------------------ */

EXPORT void *malloc(size_t size)
{
	struct call call = {.kind = OP_MALLOC, .size = size};
	void *ptr;

	if (!enter())
		return ready() ? real.malloc(size) : boot_alloc(size);
	ptr = real.malloc(size);
	note_make(PROFILE_MALLOC, &call, ptr);
	leave();
	return ptr;
}

EXPORT void *calloc(size_t n, size_t size)
{
	struct call call = {.kind = OP_CALLOC};
	void *ptr;

	set_product(&call, n, size);
	if (!enter()) {
		if (ready())
			return real.calloc(n, size);
		return boot_alloc(call.overflow ? SIZE_MAX : call.size);
	}
	ptr = real.calloc(n, size);
	note_make(PROFILE_CALLOC, &call, ptr);
	leave();
	return ptr;
}

/* Move a block out of the static buffer. */
static void *boot_realloc(void *old, size_t size)
{
	size_t keep = boot_size(old);
	void *ptr = malloc(size);

	if (ptr)
		memcpy(ptr, old, keep < size ? keep : size);
	return ptr;
}

EXPORT void *realloc(void *old, size_t size)
{
	struct call call = {.kind = OP_REALLOC, .size = size};
	void *ptr;

	if (is_boot(old))
		return boot_realloc(old, size);
	if (!enter())
		return ready() ? real.realloc(old, size) : boot_alloc(size);
	ptr = real.realloc(old, size);
	note_realloc(&call, old, ptr);
	leave();
	return ptr;
}

EXPORT void *reallocarray(void *old, size_t n, size_t size)
{
	struct call call = {.kind = OP_REALLOCARRAY};
	void *ptr;

	set_product(&call, n, size);
	if (is_boot(old))
		return boot_realloc(old, call.overflow ? SIZE_MAX : call.size);
	if (!enter()) {
		if (ready())
			return real.reallocarray(old, n, size);
		return boot_alloc(call.overflow ? SIZE_MAX : call.size);
	}
	ptr = real.reallocarray(old, n, size);
	note_realloc(&call, old, ptr);
	leave();
	return ptr;
}

static void note_aligned(size_t align, size_t size, void *ptr)
{
	struct call call = {
		.kind = OP_ALIGNED,
		.size = size,
		.align = align,
	};

	note_make(PROFILE_ALIGNED, &call, ptr);
	leave();
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	void *ptr;

	if (!enter())
		return ready() ? real.aligned_alloc(align, size) : NULL;
	ptr = real.aligned_alloc(align, size);
	note_aligned(align, size, ptr);
	return ptr;
}

EXPORT void *memalign(size_t align, size_t size)
{
	void *ptr;

	if (!enter())
		return ready() ? real.memalign(align, size) : NULL;
	ptr = real.memalign(align, size);
	note_aligned(align, size, ptr);
	return ptr;
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
	int err;

	if (!enter())
		return ready() ? real.posix_memalign(out, align, size) : ENOMEM;
	err = real.posix_memalign(out, align, size);
	note_aligned(align, size, err ? NULL : *out);
	return err;
}

EXPORT void *valloc(size_t size)
{
	void *ptr;

	if (!enter())
		return ready() ? real.valloc(size) : NULL;
	ptr = real.valloc(size);
	note_aligned((size_t)getpagesize(), size, ptr);
	return ptr;
}

EXPORT void *pvalloc(size_t size)
{
	size_t page = (size_t)getpagesize();
	void *ptr;

	if (!enter())
		return ready() ? real.pvalloc(size) : NULL;
	ptr = real.pvalloc(size);
	if (size <= SIZE_MAX - page)
		size = (size + page - 1) & ~(page - 1);
	note_aligned(page, size, ptr);
	return ptr;
}

static void give_back(enum op_kind kind, void *ptr)
{
	if (is_boot(ptr))
		return;
	if (!enter()) {
		if (ready())
			real.free(ptr);
		return;
	}
	real.free(ptr);
	profile_release(ptr ? PROFILE_FREE : PROFILE_FREE_NULL);
	if (ptr)
		log_free(kind, ptr);
	leave();
}

EXPORT void free(void *ptr)
{
	give_back(OP_FREE, ptr);
}

EXPORT void free_sized(void *ptr, size_t size)
{
	(void)size;
	give_back(OP_FREE_SIZED, ptr);
}

EXPORT void free_aligned_sized(void *ptr, size_t align, size_t size)
{
	(void)align;
	(void)size;
	give_back(OP_FREE_ALIGNED_SIZED, ptr);
}
