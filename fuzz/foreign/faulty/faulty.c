// SPDX-License-Identifier: MIT
/*
 * A small allocator with a fault of choice, for the tests of the harness: each
 * oracle has one here that it must find.  APB_FAULTY names it; without one the
 * library breaks no rule.
 *
 * Blocks are powers of two, from lists of free ones or the end of a reserved
 * range; those beyond a megabyte are mappings.  A header before each block says
 * where the chunk begins and what was asked for.  One thread at a time.
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))
#define PAGE ((size_t)4096)
#define RANGE ((size_t)8 << 30)
#define SHIFTS 21 /* up to 2^20 */

struct header {
	char *chunk;
	size_t size; /* asked for */
	size_t room; /* bytes of the chunk */
	size_t magic;
};

struct chunk {
	struct chunk *next;
};

static char *range, *at;
static struct chunk *lists[SHIFTS];
static const char *fault;
static unsigned int mallocs;
static char *last; /* block handed out last */
static size_t last_size;

/* The functions of the family; the compiler must not make them of each other */
EXPORT void *malloc(size_t size);
EXPORT void *calloc(size_t n, size_t size);
EXPORT void *realloc(void *ptr, size_t size);
EXPORT void *reallocarray(void *ptr, size_t n, size_t size);
EXPORT void *aligned_alloc(size_t align, size_t size);
EXPORT void *memalign(size_t align, size_t size);
EXPORT int posix_memalign(void **ptr, size_t align, size_t size);
EXPORT void *valloc(size_t size);
EXPORT void *pvalloc(size_t size);
EXPORT size_t malloc_usable_size(void *ptr);
EXPORT void free(void *ptr);
EXPORT void free_sized(void *ptr, size_t size);
EXPORT void free_aligned_sized(void *ptr, size_t align, size_t size);
EXPORT int malloc_trim(size_t pad);

__attribute__((constructor)) static void start(void)
{
	fault = getenv("APB_FAULTY");
	if (!fault)
		fault = "";
	range = mmap(NULL, RANGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	at = range;
}

static bool is(const char *name)
{
	return !strcmp(fault, name);
}

static struct header *header_of(void *ptr)
{
	return (struct header *)ptr - 1;
}

/* ---- chunks ------------------------------------------------------------- */

static unsigned int shift_of(size_t room)
{
	unsigned int shift = 6;

	while ((size_t)1 << shift < room)
		shift++;
	return shift;
}

static char *get_chunk(size_t *room)
{
	unsigned int shift;
	char *chunk;

	if (*room > (size_t)1 << (SHIFTS - 1)) {
		*room = (*room + PAGE - 1) & ~(PAGE - 1);
		chunk = mmap(NULL, *room, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			     0);
		return chunk == MAP_FAILED ? NULL : chunk;
	}
	shift = shift_of(*room);
	*room = (size_t)1 << shift;
	if (lists[shift]) {
		chunk = (char *)lists[shift];
		lists[shift] = lists[shift]->next;
		return chunk;
	}
	if ((size_t)(range + RANGE - at) < *room)
		return NULL;
	chunk = at;
	at += *room;
	return chunk;
}

static void put_chunk(char *chunk, size_t room)
{
	int err = errno;

	if (room > (size_t)1 << (SHIFTS - 1)) {
		munmap(chunk, room);
		if (!is("errno-free-fault"))
			errno = err;
		return;
	}
	((struct chunk *)(void *)chunk)->next = lists[shift_of(room)];
	lists[shift_of(room)] = (struct chunk *)(void *)chunk;
}

/* ---- blocks ------------------------------------------------------------- */

static void *refuse(int err, const char *silent)
{
	if (!is(silent))
		errno = err;
	return NULL;
}

static void *place(size_t align, size_t size, const char *silent)
{
	size_t room = sizeof(struct header) + align + size;
	char *chunk, *block;

	if (size > PTRDIFF_MAX || align > PTRDIFF_MAX || room > PTRDIFF_MAX)
		return refuse(ENOMEM, silent);
	chunk = get_chunk(&room);
	if (!chunk)
		return refuse(ENOMEM, silent);
	block = chunk + sizeof(struct header);
	block += -(uintptr_t)block & (align - 1);
	*header_of(block) = (struct header){chunk, size, room, 0};
	return block;
}

static void *plain(size_t size, const char *silent)
{
	char *block;

	if (is("must-fail") && size > (size_t)1 << 60)
		size = 64;
	if (is("zero-size") && !size)
		return NULL;
	if (is("null-without-cause") && ++mallocs % 100 == 0)
		return refuse(ENOMEM, "");
	if (is("overlap") && ++mallocs % 50 == 0 && last && last_size >= size)
		return last;
	block = place(16, size > PTRDIFF_MAX ? size : size + 16, silent);
	if (!block)
		return NULL;
	header_of(block)->size = size;
	if (is("align") && size >= 16)
		*header_of(block + 8) = *header_of(block), block += 8;
	if (is("align-16") && size <= 8)
		memmove(header_of(block + 8), header_of(block),
			sizeof(struct header)),
			block += 8;
	last = block;
	last_size = size;
	return block;
}

EXPORT void *malloc(size_t size)
{
	char *before = last;
	size_t before_size = last_size;
	void *p = plain(size, "errno-enomem");

	if (is("content") && ++mallocs % 50 == 0 && before && before_size)
		before[before_size - 1] ^= 1;
	if (is("crash") && ++mallocs == 1000)
		*(volatile int *)8 = 0;
	return p;
}

EXPORT void *calloc(size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes) && !is("overflow"))
		return refuse(ENOMEM, "overflow-enomem");
	p = plain(bytes, "errno-enomem");
	if (p && !is("zero"))
		memset(p, 0, bytes);
	return p;
}

EXPORT size_t malloc_usable_size(void *ptr)
{
	static size_t calls;
	const struct header *h;

	if (!ptr)
		return is("usable-null");
	h = header_of(ptr);
	if (is("usable") && h->size > 100)
		return h->size - 1;
	if (is("pvalloc-size"))
		return h->size;
	if (is("usable-changes") && h->size && ++calls % 64 == 0)
		return h->size;
	/* what is up to the chunk's end; the next one's header is behind it */
	return (size_t)(h->chunk + h->room - (char *)ptr) +
	       (is("usable-overlap") ? 40 : 0);
}

EXPORT void free(void *ptr)
{
	const struct header *h = header_of(ptr);

	if (is("errno-free"))
		errno = EAGAIN;
	if (!ptr)
		return;
	if (ptr == last)
		last = NULL;
	put_chunk(h->chunk, h->room);
}

EXPORT void free_sized(void *ptr, size_t size)
{
	(void)size;
	free(ptr);
}

EXPORT void free_aligned_sized(void *ptr, size_t align, size_t size)
{
	(void)align;
	(void)size;
	free(ptr);
}

EXPORT void *realloc(void *ptr, size_t size)
{
	size_t old;
	char *p;

	if (!ptr)
		return plain(size, "errno-enomem");
	if (!size && !is("realloc-zero")) {
		free(ptr);
		return NULL;
	}
	old = header_of(ptr)->size;
	p = plain(size, "realloc-enomem");
	if (!p && is("realloc-failed") && old)
		*(char *)ptr ^= 1;
	if (!p)
		return NULL;
	memcpy(p, ptr,
	       (old < size ? old : size) -
		       (is("realloc-content") && old && size));
	free(ptr);
	return p;
}

EXPORT void *reallocarray(void *ptr, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return refuse(ENOMEM, "overflow-enomem");
	return realloc(ptr, bytes);
}

/* ---- aligned ------------------------------------------------------------ */

static bool is_power(size_t n)
{
	return n && !(n & (n - 1));
}

EXPORT void *memalign(size_t align, size_t size)
{
	if (!is_power(align))
		return refuse(EINVAL, "aligned-einval");
	if (is("align-zero") && !size)
		align = 16;
	if (is("align-asked") && align < PAGE)
		align = 16;
	if (is("page-align") && align == PAGE)
		align = 16;
	return place(align < 16 ? 16 : align, size, "aligned-enomem");
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	if (is("aligned-invalid") && !is_power(align))
		align = 16;
	if (is("aligned-size") && is_power(align) && size % align)
		return refuse(EINVAL, "");
	return memalign(align, size);
}

EXPORT int posix_memalign(void **ptr, size_t align, size_t size)
{
	int err = errno;
	void *p = NULL;

	if (align % sizeof(void *) || !is_power(align)) {
		if (is("posix-memalign-same"))
			*ptr = NULL;
		if (is("posix-memalign-ptr"))
			*ptr = &range;
		return is("posix-memalign-einval") ? ENOMEM : EINVAL;
	}
	p = memalign(align, size);
	errno = err;
	if (!p)
		return is("posix-memalign-enomem") ? -1 : ENOMEM;
	*ptr = p;
	return 0;
}

EXPORT void *valloc(size_t size)
{
	return memalign(PAGE, size);
}

EXPORT void *pvalloc(size_t size)
{
	size_t bytes = (size + PAGE - 1) & ~(PAGE - 1);

	if (bytes < size)
		return refuse(ENOMEM, "aligned-enomem");
	return memalign(PAGE, is("pvalloc-size") ? size : bytes);
}

EXPORT int malloc_trim(size_t pad)
{
	(void)pad;
	return is("trim") ? -1 : 0;
}
