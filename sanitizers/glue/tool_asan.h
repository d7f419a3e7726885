/* SPDX-License-Identifier: MIT */
/*
 * AddressSanitizer; the functions are described in tool.h.
 *
 * Its shadow has a byte for every 8 of memory.  It is written here, with the
 * values that the tool itself uses for malloc's blocks, so that it finds the
 * same words for an error: what the public interface would write (0xf7) it
 * calls use-after-poison.  Where its shadow is, it tells; that this holds is
 * tried once (tool_start()), and if it does not the public interface is used.
 */
#ifndef APB_GLUE_TOOL_ASAN_H
#define APB_GLUE_TOOL_ASAN_H

#include "glue/glue.h"
#include "glue/leak.h"

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TOOL_NAME "AddressSanitizer"
#define TOOL_OPTIONS "ASAN_OPTIONS"
#define TOOL_DEFAULTS __asan_default_options
#define TOOL_STACKS 1
#define TOOL_QUARANTINE ((size_t)256 << 20)
#define TOOL_REFUSES
#define TOOL_COMPARES

#ifdef __clang__
#define TOOL_CLOSED_HEADER 1
#define TOOL_BEFORE "before"
#define TOOL_AFTER "after"
#else
#define TOOL_CLOSED_HEADER 0
#define TOOL_BEFORE "to the left of"
#define TOOL_AFTER "to the right of"
#endif

#define ASAN_GAP 0xfa
#define ASAN_DEAD 0xfd
#define ASAN_SHIFT 3
#define ASAN_GRANULE ((size_t)1 << ASAN_SHIFT)

/* Where the shadow of address 0 is; 0: not tried yet. */
extern uintptr_t apb_asan_shadow;
/* The shadow is not where it is said to be. */
extern bool apb_asan_public;

/* A block of the tool's own malloc of each thread, by its number. */
#define ASAN_THREADS 4096
extern void *apb_asan_witness[ASAN_THREADS];

/* What a thread prints instead of the tool's next report of it. */
struct asan_instead {
	void (*print)(void *arg); /* NULL: it has */
	void *arg;
	pthread_t thread;
};
extern struct asan_instead apb_asan_instead;

#define TOOL_STATE                            \
	uintptr_t apb_asan_shadow;            \
	bool apb_asan_public;                 \
	void *apb_asan_witness[ASAN_THREADS]; \
	struct asan_instead apb_asan_instead;

typedef uint64_t
	__attribute__((vector_size(16), may_alias, aligned(1))) apb_asan_vector;
typedef uint64_t __attribute__((may_alias, aligned(1))) apb_asan_u64;
typedef uint32_t __attribute__((may_alias, aligned(1))) apb_asan_u32;
typedef uint16_t __attribute__((may_alias, aligned(1))) apb_asan_u16;

/* ---- the shadow ------------------------------------------------------- */

APB_RAW static inline uint8_t *asan_shadow(const void *p)
{
	return (uint8_t *)(((uintptr_t)p >> ASAN_SHIFT) + apb_asan_shadow);
}

/*
 * A memset that is none: that would be the tool's.  Stores overlap rather than
 * be counted; volatile, lest the compiler see what the loop is.
 */
APB_RAW static inline void asan_fill(uint8_t *s, uint8_t value, size_t n)
{
	const uint64_t v = value * 0x0101010101010101u;
	const apb_asan_vector vv = {v, v};
	size_t i;

	if (n >= 16) {
		if (n > 2048) {
			__asm__ volatile("rep stosb"
					 : "+D"(s), "+c"(n)
					 : "a"(value)
					 : "memory");
			return;
		}
		for (i = 0; i < n - 16; i += 16)
			*(volatile apb_asan_vector *)(s + i) = vv;
		*(volatile apb_asan_vector *)(s + n - 16) = vv;
	} else if (n >= 8) {
		*(volatile apb_asan_u64 *)s = v;
		*(volatile apb_asan_u64 *)(s + n - 8) = v;
	} else if (n >= 4) {
		*(volatile apb_asan_u32 *)s = (uint32_t)v;
		*(volatile apb_asan_u32 *)(s + n - 4) = (uint32_t)v;
	} else if (n >= 2) {
		*(volatile apb_asan_u16 *)s = (uint16_t)v;
		*(volatile apb_asan_u16 *)(s + n - 2) = (uint16_t)v;
	} else if (n) {
		*(volatile uint8_t *)s = value;
	}
}

/* Whole granules, whatever of the first and last is in the range. */
APB_RAW static inline void asan_mark(const void *p, uint8_t value, size_t n)
{
	uint8_t *s = asan_shadow(p);

	asan_fill(s, value,
		  (size_t)(asan_shadow((const char *)p + n + ASAN_GRANULE - 1) -
			   s));
}

/*
 * The granules that are all in the range: what shares one with a pool's first or
 * last byte is not the pool's.
 */
APB_RAW static inline void asan_mark_inside(const void *p, uint8_t value,
					    size_t n)
{
	uint8_t *s = asan_shadow((const char *)p + ASAN_GRANULE - 1);
	uint8_t *end = asan_shadow((const char *)p + n);

	if (s < end)
		asan_fill(s, value, (size_t)(end - s));
}

/* Find out where the shadow is, and try it. */
APB_RAW __attribute__((noinline, cold, unused)) static void tool_start(void)
{
	static uint64_t probe[2] __attribute__((aligned(16)));
	size_t scale, offset;
	uint8_t *s;
	bool good;

	if (apb_asan_shadow)
		return;
	__asan_get_shadow_mapping(&scale, &offset);
	apb_asan_shadow = offset;
	if (scale != ASAN_SHIFT) {
		apb_asan_public = true;
		return;
	}
	s = asan_shadow(probe);
	asan_fill(s, ASAN_DEAD, 1);
	good = __asan_address_is_poisoned(probe) &&
	       !__asan_address_is_poisoned(probe + 1);
	asan_fill(s, 5, 1);
	good = good && !__asan_address_is_poisoned((char *)probe + 4) &&
	       __asan_address_is_poisoned((char *)probe + 5);
	asan_fill(s, 0, 1);
	apb_asan_public = !good || __asan_address_is_poisoned(probe);
}

/* Whether the shadow is written directly. */
APB_RAW static inline bool asan_direct(void)
{
	if (__builtin_expect(!apb_asan_shadow, 0))
		tool_start();
	return __builtin_expect(!apb_asan_public, 1);
}

/* ---- marks ------------------------------------------------------------ */

static inline void tool_heap(void *p, size_t n)
{
	apb_leak_heap_made(p, n);
}

APB_RAW static inline void tool_enter(void)
{
}

APB_RAW static inline void tool_leave(void)
{
}

APB_RAW static inline void tool_pool_made(void *p, size_t n)
{
	apb_leak_heap_used(p, n);
	if (asan_direct())
		asan_mark_inside(p, ASAN_GAP, n);
	else
		__asan_poison_memory_region(p, n);
}

APB_RAW static inline void tool_pool_gone(void *p, size_t n)
{
	uintptr_t end = (uintptr_t)p + n;
	uint8_t rest = end % ASAN_GRANULE;
	uint8_t *last = asan_shadow((const void *)end);

	if (!asan_direct()) {
		__asan_unpoison_memory_region(p, n);
		return;
	}
	asan_mark_inside(p, 0, n);
	/* closed by a block that was there */
	if (rest && *last && (*last < rest || *last >= ASAN_GRANULE))
		*last = 0;
}

/* What was accessible is dead; gaps remain gaps. */
APB_RAW static inline void tool_reset(void *p, size_t n)
{
	size_t i, bytes;
	uint8_t *s;
	uint64_t v;

	if (!asan_direct()) {
		__asan_poison_memory_region(p, n);
		return;
	}
	if (n < ASAN_GRANULE)
		return;
	s = asan_shadow((char *)p + ASAN_GRANULE - 1);
	bytes = (((uintptr_t)p + n) >> ASAN_SHIFT) -
		(((uintptr_t)p + ASAN_GRANULE - 1) >> ASAN_SHIFT);
	for (i = 0; i + 8 <= bytes; i += 8) {
		v = *(apb_asan_u64 *)(s + i);
		if (v == 0xfafafafafafafafau || v == 0xfdfdfdfdfdfdfdfdu)
			continue;
		for (size_t k = i; k < i + 8; k++)
			if (s[k] < ASAN_GRANULE)
				s[k] = ASAN_DEAD;
	}
	for (; i < bytes; i++)
		if (s[i] < ASAN_GRANULE)
			s[i] = ASAN_DEAD;
}

/* Bytes of the shadow for which it is worth a system call to have no pages. */
#define ASAN_SHADOW_DROP ((size_t)32 << 10)
#define ASAN_SHADOW_PAGE ((uintptr_t)4096)

/*
 * Zeroes, of which whole pages are not there, as the tool does it: the shadow
 * of what lives is only read.  Where a block has died there are pages, and this
 * one will need them when it dies: they stay.
 */
APB_RAW static inline void asan_clear(uint8_t *s, size_t n)
{
	uint8_t *from = (uint8_t *)(((uintptr_t)s + ASAN_SHADOW_PAGE - 1) &
				    -ASAN_SHADOW_PAGE);
	uint8_t *to = (uint8_t *)((uintptr_t)(s + n) & -ASAN_SHADOW_PAGE);

	if (__builtin_expect(n < ASAN_SHADOW_DROP, 1) || *from == ASAN_DEAD ||
	    madvise(from, (size_t)(to - from), MADV_DONTNEED)) {
		asan_fill(s, 0, n);
		return;
	}
	asan_fill(s, 0, (size_t)(from - s));
	asan_fill(to, 0, (size_t)(s + n - to));
}

APB_RAW static inline void tool_born(void *p, size_t n, unsigned int flags)
{
	uint8_t *s;

	(void)flags;
	if (!asan_direct()) {
		__asan_unpoison_memory_region(p, n);
		return;
	}
	s = asan_shadow(p);
	asan_clear(s, n >> ASAN_SHIFT);
	s += n >> ASAN_SHIFT;
	if (n % ASAN_GRANULE)
		*s++ = n % ASAN_GRANULE;
	/* a larger one that was here before: what is beyond is a gap now */
	while (__builtin_expect(*(volatile uint8_t *)s == ASAN_DEAD, 0))
		*(volatile uint8_t *)s++ = ASAN_GAP;
}

APB_RAW static inline void tool_died(void *p, size_t n)
{
	if (asan_direct())
		asan_mark(p, ASAN_DEAD, n);
	else
		__asan_poison_memory_region(p, n);
}

APB_RAW static inline void tool_resized(void *p, size_t old, size_t size)
{
	uint8_t *s, *end;

	if (!asan_direct()) {
		if (size > old)
			__asan_unpoison_memory_region(p, size);
		else
			__asan_poison_memory_region((char *)p + size,
						    old - size);
		return;
	}
	s = asan_shadow(p) + (size >> ASAN_SHIFT);
	end = asan_shadow((char *)p + old + ASAN_GRANULE - 1);
	if (size > old)
		asan_fill(asan_shadow((char *)p + old), 0,
			  (size >> ASAN_SHIFT) - (old >> ASAN_SHIFT));
	if (size % ASAN_GRANULE)
		*s++ = size % ASAN_GRANULE;
	if (s < end)
		asan_fill(s, ASAN_GAP, (size_t)(end - s));
}

/* ---- reports ---------------------------------------------------------- */

/* The tool prints its line for a summary to wherever its reports go. */
static inline void tool_say(const char *line)
{
	__sanitizer_report_error_summary(line);
}

static inline void tool_symbol(const void *pc, const char *format, char *buf,
			       size_t size)
{
	memset(buf, 0, size);
	__sanitizer_symbolize_pc((void *)(uintptr_t)pc, format, buf, size - 1);
}

/*
 * Its reports go elsewhere, until asan_loud().  Where they went before is the
 * file that it has opened, of which it tells the name, unless it is a standard
 * one.
 */
static inline void asan_quiet(int fd)
{
	__sanitizer_get_report_path(); /* the file is open now, if it is one */
	__sanitizer_set_report_fd((void *)(intptr_t)fd);
}

static inline void asan_loud(void)
{
	static char known[4096]; /* a child that was forked has another */
	static int log = STDERR_FILENO;
	const char *path = __sanitizer_get_report_path();
	const char *options = getenv("ASAN_OPTIONS");
	int fd;

	if (path && *path && strcmp(path, known) != 0) {
		fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
		if (fd >= 0) {
			log = fd;
			strncpy(known, path, sizeof(known) - 1);
		}
	} else if (options && strstr(options, "log_path=stdout")) {
		log = STDOUT_FILENO;
	}
	__sanitizer_set_report_fd((void *)(intptr_t)log);
}

/* Its malloc and free, also if the program has put others in their place. */
__attribute__((weak)) void *__interceptor_malloc(size_t size);
__attribute__((weak)) void __interceptor_free(void *ptr);

/*
 * The tool has numbers for threads, and does not tell the calling thread's.  It
 * does tell who allocated a block of its own.
 */
static inline uint32_t tool_thread(uint32_t own)
{
	void *witness, *pc;
	int thread = -1;

	if (!__interceptor_malloc || !__interceptor_free)
		return own;
	witness = __interceptor_malloc(1);
	if (!witness)
		return own;
	__asan_get_alloc_stack(witness, &pc, 1, &thread);
	if (thread >= 0 && thread < ASAN_THREADS)
		apb_asan_witness[thread] = witness;
	else
		__interceptor_free(witness);
	return thread < 0 ? own : (uint32_t)thread;
}

/*
 * It introduces a thread, unless it has, when it describes what the thread has
 * to do with: of all that, only the introduction is wanted.
 */
static inline void tool_announce(uint32_t thread)
{
	static char text[16384];
	char *line, *end;
	ssize_t n;
	int fd;

	if (thread >= ASAN_THREADS || !apb_asan_witness[thread])
		return;
	fd = (int)syscall(SYS_memfd_create, "report", 0);
	if (fd < 0)
		return;
	asan_quiet(fd);
	__asan_describe_address(apb_asan_witness[thread]);
	asan_loud();
	n = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	text[n < 0 ? 0 : n] = 0;
	line = strstr(text, "\nThread T");
	for (line = line ? line + 1 : NULL; line && *line; line = end) {
		end = strchr(line, '\n');
		if (!end)
			break;
		*end++ = 0;
		tool_say(line);
	}
}

/* What the report being made is about. */
static inline const void *asan_report_address(const char *text)
{
	const void *addr = __asan_get_report_address();
	const char *at;

	if (addr)
		return addr;
	/* it does not tell for each kind, but each says it first of all */
	at = strstr(text, "ERROR: ");
	at = at ? strstr(at, "0x") : NULL;
	return at ? (const void *)strtoul(at, NULL, 16) : NULL;
}

/* The report of another thread went where nobody sees it. */
static inline void asan_again(const char *text)
{
	size_t n;

	for (; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		apb_glue_say("%.*s", (int)n, text);
	}
}

/* Called at the end of each report, before the tool ends the process. */
static inline void asan_reported(const char *text)
{
	struct asan_instead *instead = &apb_asan_instead;
	void (*print)(void *arg) =
		__atomic_load_n(&instead->print, __ATOMIC_ACQUIRE);

	if (print)
		asan_loud();
	if (print && pthread_equal(instead->thread, pthread_self())) {
		instead->print = NULL;
		print(instead->arg);
		return;
	}
	if (print)
		asan_again(text);
	apb_glue_reported(asan_report_address(text),
			  __asan_get_report_access_size(),
			  strstr(text, "is a wild pointer"));
}

static inline void tool_listen(void)
{
	__asan_set_error_report_callback(asan_reported);
}

/*
 * It has no function to end as after a report, so a report is made of which
 * nothing is seen.  In its stead @print is called, by the callback, while the
 * tool has its lock on reports; should that not come, the tool did not want to
 * see a report of the same place again, and goes on.
 */
static inline void tool_report(void (*print)(void *arg), void *arg)
{
	static char nobody[64] __attribute__((aligned(64)));
	struct asan_instead *instead = &apb_asan_instead;
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	void *frame = __builtin_frame_address(0);

	instead->arg = arg;
	instead->thread = pthread_self();
	__atomic_store_n(&instead->print, print, __ATOMIC_RELEASE);
	asan_quiet(fd);
	__asan_report_error(__builtin_return_address(0), frame, frame, nobody,
			    0, 1);
	asan_loud();
	if (instead->print) {
		instead->print = NULL;
		print(arg);
	}
	close(fd);
}

/* Its own malloc is not asked whether there is memory: it fills its shadow. */
static inline bool asan_has_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, size);
	return true;
}

/* The options are read here, as this may be before all else. */
static inline bool tool_refuse(enum apb_glue_refusal kind, size_t n,
			       size_t size, uint32_t stack)
{
	(void)stack;
	(void)n;
	if (kind == APB_GLUE_MEMORY && asan_has_memory(size))
		return false;
	apb_leak_read_options();
	return !apb_leak_options()->may_return_null;
}

static inline bool tool_compares_sizes(void)
{
	apb_leak_read_options();
	return apb_leak_options()->new_delete_mismatch;
}

static inline void tool_bad_free(const struct apb_glue_free *bad)
{
	apb_glue_report_free(bad);
}

#endif /* APB_GLUE_TOOL_ASAN_H */
