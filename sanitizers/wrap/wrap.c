// SPDX-License-Identifier: MIT
/*
 * A whole program's malloc, in builds where malloc() itself is a tool's.
 *
 * A program that is linked with @wrap.rsp calls what is here where it says
 * malloc(), free() and so on: its blocks are apb's.  The libraries that it is
 * linked to dynamically, and libc, call the tool's functions as before.  So
 * blocks of both kinds come here; those that are not apb's are passed on.
 *
 * The other way round, a block of apb's must not be freed or resized by a
 * library that took it from the program.  libc does so in getdelim() and its
 * like alone, which therefore stand here, too.
 *
 * All functions that only allocate are jumps to apb's, so that in a stack the
 * program's function is the one that called it.
 */
#include "uninstrumented.h"

#include "wrap.h"

#include <apb/apb.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define NOTNULL(...) __attribute__((nonnull(__VA_ARGS__)))

void __real_free(void *ptr);
void *__real_realloc(void *ptr, size_t size);
size_t __real_malloc_usable_size(void *ptr);
ssize_t __real_getdelim(char **line, size_t *size, int end, FILE *file);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void *__wrap_reallocarray(void *ptr, size_t n, size_t size);
void __wrap_free(void *ptr);
void __wrap_cfree(void *ptr);
void apb_wrap_delete(void *ptr, size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void *__wrap_memalign(size_t align, size_t size);
int __wrap_posix_memalign(void **out, size_t align, size_t size) NOTNULL(1);
void *__wrap_valloc(size_t size);
void *__wrap_pvalloc(size_t size);
size_t __wrap_malloc_usable_size(void *ptr);
char *__wrap_strdup(const char *text) NOTNULL(1);
char *__wrap_strndup(const char *text, size_t max) NOTNULL(1);
ssize_t __wrap_getdelim(char **line, size_t *size, int end, FILE *file)
	NOTNULL(1, 2, 4);
ssize_t __wrap___getdelim(char **line, size_t *size, int end, FILE *file)
	NOTNULL(1, 2, 4);
ssize_t __wrap_getline(char **line, size_t *size, FILE *file) NOTNULL(1, 2, 3);

/* ---- blocks ----------------------------------------------------------- */

void *__wrap_malloc(size_t size)
{
	return apb_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return apb_calloc(n, size);
}

/* As glibc and the tools have it: to a size of 0 is to free. */
void *__wrap_realloc(void *ptr, size_t size)
{
	if (ptr && !apb_wrap_owns(ptr))
		return __real_realloc(ptr, size);
	if (ptr && !size) {
		apb_free(ptr);
		return NULL;
	}
	return apb_realloc(ptr, size);
}

void *__wrap_reallocarray(void *ptr, size_t n, size_t size)
{
	size_t bytes;

	/* apb's to report, or to refuse */
	if (__builtin_mul_overflow(n, size, &bytes))
		return apb_reallocarray(NULL, n, size);
	return __wrap_realloc(ptr, bytes);
}

void __wrap_free(void *ptr)
{
	if (!ptr)
		return;
	if (apb_wrap_owns(ptr))
		apb_free(ptr);
	else
		__real_free(ptr);
}

void __wrap_cfree(void *ptr)
{
	__wrap_free(ptr);
}

/* What C++ deletes with its size, which AddressSanitizer compares. */
void apb_wrap_delete(void *ptr, size_t align, size_t size)
{
	if (APB_TRACK && APB_SAN_ADDRESS && ptr && apb_wrap_owns(ptr))
		apb_free_aligned_sized(ptr, align, size);
	else
		__wrap_free(ptr);
}

size_t __wrap_malloc_usable_size(void *ptr)
{
	if (!ptr || apb_wrap_owns(ptr))
		return apb_usable_size(ptr);
	return __real_malloc_usable_size(ptr);
}

/* ---- alignment -------------------------------------------------------- */

/* What kind of request that is refused, by the function that this is in. */
#define REFUSE(kind, n, size, fn) \
	apb_wrap_refuse(kind, n, size, fn, __builtin_frame_address(0))

/* The tools want a size that is a multiple, as C11 did. */
void *__wrap_aligned_alloc(size_t align, size_t size)
{
	if (align && (size & (align - 1)) &&
	    REFUSE(APB_GLUE_ALIGN, align, size, __wrap_aligned_alloc)) {
		errno = EINVAL;
		return NULL;
	}
	return apb_aligned_alloc(align, size);
}

/* glibc takes the next power of two, which to the tools is a mistake. */
void *__wrap_memalign(size_t align, size_t size)
{
	size_t power = 1;

	if (align & (align - 1))
		REFUSE(APB_GLUE_MEMALIGN, align, size, __wrap_memalign);
	while (power < align && power <= SIZE_MAX / 2)
		power *= 2;
	return apb_aligned_alloc(power, size);
}

int __wrap_posix_memalign(void **out, size_t align, size_t size)
{
	int saved_errno = errno;
	void *p;

	if (!align || align % sizeof(void *) || (align & (align - 1))) {
		REFUSE(APB_GLUE_POSIX_MEMALIGN, align, size,
		       __wrap_posix_memalign);
		errno = saved_errno;
		return EINVAL;
	}
	p = apb_aligned_alloc(align, size);
	errno = saved_errno;
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

void *__wrap_valloc(size_t size)
{
	return apb_aligned_alloc(page_size(), size);
}

void *__wrap_pvalloc(size_t size)
{
	size_t mask = page_size() - 1;

	if (size > SIZE_MAX - mask) {
		REFUSE(APB_GLUE_PVALLOC, 1, size, __wrap_pvalloc);
		errno = ENOMEM;
		return NULL;
	}
	return apb_aligned_alloc(mask + 1, (size + mask) & ~mask);
}

/* ---- strings ---------------------------------------------------------- */

static char *copy(const char *text, size_t len)
{
	char *p = apb_malloc(len + 1);

	if (!p)
		return NULL;
	memcpy(p, text, len);
	p[len] = '\0';
	return p;
}

char *__wrap_strdup(const char *text)
{
	return copy(text, strlen(text));
}

char *__wrap_strndup(const char *text, size_t max)
{
	return copy(text, strnlen(text, max));
}

/* Make *@line a block of ours that has @need bytes; false: no memory. */
static bool make_room(char **line, size_t *size, size_t need)
{
	char *p;

	if (*line && *size >= need && apb_wrap_owns(*line))
		return true;
	/* half as much again, as lines tend to grow */
	need += need / 2 < 120 ? 120 : need / 2;
	p = *line && !apb_wrap_owns(*line) ? apb_malloc(need) :
					     apb_realloc(*line, need);
	if (!p)
		return false;
	if (*line && !apb_wrap_owns(*line))
		__real_free(*line);
	*line = p;
	*size = need;
	return true;
}

/* The line is read into a block of libc's, and moved into the program's. */
ssize_t __wrap_getdelim(char **line, size_t *size, int end, FILE *file)
{
	size_t own_size = 0;
	char *own = NULL;
	ssize_t n = __real_getdelim(&own, &own_size, end, file);
	int saved_errno = errno;

	if (!make_room(line, size, n < 0 ? 1 : (size_t)n + 1)) {
		saved_errno = ENOMEM;
		n = -1;
	} else if (n >= 0) {
		memcpy(*line, own, (size_t)n + 1);
	}
	__real_free(own);
	errno = saved_errno;
	return n;
}

ssize_t __wrap_getline(char **line, size_t *size, FILE *file)
{
	return __wrap_getdelim(line, size, '\n', file);
}

/* What getline() is in libc's header when the compiler optimises. */
ssize_t __wrap___getdelim(char **line, size_t *size, int end, FILE *file)
{
	return __wrap_getdelim(line, size, end, file);
}

#include "instrumented.h"
