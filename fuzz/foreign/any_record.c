// SPDX-License-Identifier: MIT
/* Recording what is called; see any_record.h. */
#include "any_record.h"

#include "any.h"

#include <string.h>
#include <sys/mman.h>

static struct target real;
static struct record *rec;
static struct hook_counts before; /* the call that runs */

/* The newest block there, which is the live one. */
static uint32_t maker_of(const void *ptr)
{
	for (uint32_t i = rec->nr; ptr && i--;)
		if (record_makes(&rec->event[i]) &&
		    rec->event[i].result == (uintptr_t)ptr)
			return i;
	return RECORD_NONE;
}

static struct record_event *open_event(enum record_kind kind, const void *ptr,
				       size_t n, size_t size)
{
	static struct record_event spare; /* of what no longer fits */
	struct record_event *e = &spare;
	const struct any *r = any_running();
	unsigned int may = r->armed;

	if (r->limited)
		may |= 1u << APB_OS_MAP | 1u << APB_OS_REMAP;
	hooks_counts(&before);
	rec->full |= rec->nr == RECORD_MAX;
	if (!rec->full)
		e = &rec->event[rec->nr];
	*e = (struct record_event){
		.kind = kind,
		.thread = r->model.thread,
		.old = maker_of(ptr),
		.n = n,
		.size = size,
	};
	for (int i = 0; i < APB_OS_NR; i++)
		e->failed[i] = may & 1u << i ? RECORD_ALL : 0;
	/* now, as it may be the last one */
	rec->nr += !rec->full;
	return e;
}

static void close_event(struct record_event *e, const void *result)
{
	struct hook_counts after;

	hooks_counts(&after);
	for (int i = 0; i < APB_OS_NR; i++)
		e->failed[i] = (uint32_t)(after.failed[i] - before.failed[i]);
	e->result = (uintptr_t)result;
	e->done = true;
}

/* ---- in the place of the target's --------------------------------------- */

static void *rec_malloc(size_t size)
{
	struct record_event *e = open_event(RECORD_MALLOC, NULL, 0, size);
	void *p = real.malloc(size);

	close_event(e, p);
	return p;
}

static void *rec_calloc(size_t n, size_t size)
{
	struct record_event *e = open_event(RECORD_CALLOC, NULL, n, size);
	void *p = real.calloc(n, size);

	close_event(e, p);
	return p;
}

static void *rec_realloc(void *ptr, size_t size)
{
	struct record_event *e = open_event(RECORD_REALLOC, ptr, 0, size);
	void *p = real.realloc(ptr, size);

	close_event(e, p);
	return p;
}

static void *rec_reallocarray(void *ptr, size_t n, size_t size)
{
	struct record_event *e = open_event(RECORD_REALLOCARRAY, ptr, n, size);
	void *p = real.reallocarray(ptr, n, size);

	close_event(e, p);
	return p;
}

static void *rec_aligned_alloc(size_t align, size_t size)
{
	struct record_event *e =
		open_event(RECORD_ALIGNED_ALLOC, NULL, align, size);
	void *p = real.aligned_alloc(align, size);

	close_event(e, p);
	return p;
}

static void *rec_memalign(size_t align, size_t size)
{
	struct record_event *e = open_event(RECORD_MEMALIGN, NULL, align, size);
	void *p = real.memalign(align, size);

	close_event(e, p);
	return p;
}

static int rec_posix_memalign(void **ptr, size_t align, size_t size)
{
	struct record_event *e =
		open_event(RECORD_POSIX_MEMALIGN, NULL, align, size);
	int err = real.posix_memalign(ptr, align, size);

	close_event(e, err ? NULL : *ptr);
	return err;
}

static void *rec_valloc(size_t size)
{
	struct record_event *e = open_event(RECORD_VALLOC, NULL, 0, size);
	void *p = real.valloc(size);

	close_event(e, p);
	return p;
}

static void *rec_pvalloc(size_t size)
{
	struct record_event *e = open_event(RECORD_PVALLOC, NULL, 0, size);
	void *p = real.pvalloc(size);

	close_event(e, p);
	return p;
}

static void rec_free(void *ptr)
{
	struct record_event *e = open_event(RECORD_FREE, ptr, 0, 0);

	real.free(ptr);
	close_event(e, NULL);
}

static void rec_free_sized(void *ptr, size_t size)
{
	struct record_event *e = open_event(RECORD_FREE_SIZED, ptr, 0, size);

	real.free_sized(ptr, size);
	close_event(e, NULL);
}

static void rec_free_aligned_sized(void *ptr, size_t align, size_t size)
{
	struct record_event *e =
		open_event(RECORD_FREE_ALIGNED_SIZED, ptr, align, size);

	real.free_aligned_sized(ptr, align, size);
	close_event(e, NULL);
}

/* The oracles ask for it after each allocation: that is not the input's. */
static size_t rec_usable_size(void *ptr)
{
	struct record_event *e = NULL;
	size_t usable;

	if (!any_running()->phase &&
	    (any_running()->op.kind == OP_USABLE ||
	     (!ptr && any_running()->op.kind == OP_MISUSE)))
		e = open_event(RECORD_USABLE, ptr, 0, 0);
	usable = real.malloc_usable_size(ptr);
	if (e)
		close_event(e, NULL);
	return usable;
}

static int rec_trim(size_t pad)
{
	struct record_event *e = open_event(RECORD_TRIM, NULL, 0, pad);
	int done = real.malloc_trim(pad);

	close_event(e, NULL);
	return done;
}

/* At an input's end nobody looks any more. */
static int rec_thread_join(pthread_t thread, void **result)
{
	const struct any *r = any_running();
	struct record_event *e = NULL;
	int err;

	if (!r->phase)
		e = open_event(RECORD_THREAD_END, NULL, r->op.thread, 0);
	err = real.thread_join(thread, result);
	if (e)
		close_event(e, NULL);
	return err;
}

#define REPLACE(name, fn)                 \
	do {                              \
		if (target.name)          \
			target.name = fn; \
	} while (0)

struct record *record_start(void)
{
	rec = mmap(NULL, sizeof(*rec), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (rec == MAP_FAILED)
		return NULL;
	/* the target is not to see that the pages are new */
	memset(rec, 0, sizeof(*rec));
	real = target;
	REPLACE(malloc, rec_malloc);
	REPLACE(calloc, rec_calloc);
	REPLACE(realloc, rec_realloc);
	REPLACE(reallocarray, rec_reallocarray);
	REPLACE(aligned_alloc, rec_aligned_alloc);
	REPLACE(memalign, rec_memalign);
	REPLACE(posix_memalign, rec_posix_memalign);
	REPLACE(valloc, rec_valloc);
	REPLACE(pvalloc, rec_pvalloc);
	REPLACE(free, rec_free);
	REPLACE(free_sized, rec_free_sized);
	REPLACE(free_aligned_sized, rec_free_aligned_sized);
	REPLACE(malloc_usable_size, rec_usable_size);
	REPLACE(malloc_trim, rec_trim);
	REPLACE(thread_join, rec_thread_join);
	return rec;
}
