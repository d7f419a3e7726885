// SPDX-License-Identifier: MIT
/* Misuse reports as they are expected; see testreport.h. */
#include "testreport.h"

#include <signal.h>

/* ---- the calls -------------------------------------------------------- */

static const char *const entry_names[NR_ENTRIES] = {
	"apb_free",    "apb_free_sized",   "apb_free_aligned_sized",
	"apb_realloc", "apb_reallocarray", "apb_usable_size",
};

void do_call(const struct call *c)
{
	errno = 4321;
	switch (c->entry) {
	case FREE:
		apb_free(c->ptr);
		break;
	case FREE_SIZED:
		apb_free_sized(c->ptr, c->size);
		break;
	case FREE_ALIGNED_SIZED:
		apb_free_aligned_sized(c->ptr, c->align, c->size);
		break;
	case REALLOC:
		assert_null(apb_realloc(c->ptr, c->size));
		assert_int_equal(errno, EINVAL);
		return;
	case REALLOCARRAY:
		assert_null(apb_reallocarray(c->ptr, 1, c->size));
		assert_int_equal(errno, EINVAL);
		return;
	case USABLE_SIZE:
		assert_int_equal(apb_usable_size(c->ptr), 0);
		return;
	case NR_ENTRIES:
		break;
	}
	assert_int_equal(errno, 4321);
}

/* ---- what is expected ------------------------------------------------- */

void report_say(struct report *r, const char *fmt, ...)
{
	size_t used = strlen(r->place);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->place + used, sizeof(r->place) - used, fmt, ap);
	va_end(ap);
}

void report_nowhere(struct report *r, const void *ptr)
{
	memset(r, 0, sizeof(*r));
	r->m.kind = APB_MISUSE_FOREIGN;
	r->m.ptr = ptr;
	r->m.pool = -1;
	r->m.block = -1;
}

/* In the pool of @cls whose first block is @first. */
void report_in_pool(struct report *r, enum apb_misuse_kind kind,
		    const void *ptr, unsigned int cls, const void *first,
		    unsigned int out)
{
	size_t bytes = test_pool_bytes(cls), size = test_class_sizes[cls - 1];
	uintptr_t base = (uintptr_t)first, start = base & ~(bytes - 1);
	size_t count = test_pool_blocks(cls, start + bytes - base);
	ptrdiff_t at = (ptrdiff_t)((uintptr_t)ptr - base);

	report_nowhere(r, ptr);
	r->m.kind = kind;
	r->m.arena = arena_at(ptr);
	r->m.pool = (int)((start - r->m.arena) / bytes);
	r->m.class_size = size;
	report_say(r, "apb:   arena: 0x%lx, pool %d, in use\n", r->m.arena,
		   r->m.pool);
	report_say(r,
		   "apb:   pool: class %u (%zu bytes), %zu blocks, %u of them "
		   "out\n",
		   cls, size, count, out);
	if (at < 0) {
		report_say(r, "apb:   block: none here, before the first\n");
	} else if ((size_t)at >= count * size) {
		report_say(r, "apb:   block: none here, behind the last\n");
	} else {
		r->m.block = (int)((size_t)at / size);
		report_say(
			r,
			"apb:   block: %d of the pool, at 0x%lx, offset %zu\n",
			r->m.block, base + (size_t)r->m.block * size,
			(size_t)at % size);
	}
}

void report_in_arena(struct report *r, enum apb_misuse_kind kind,
		     const void *ptr, size_t pool_bytes)
{
	report_nowhere(r, ptr);
	r->m.kind = kind;
	r->m.arena = arena_at(ptr);
	r->m.pool = (int)(((uintptr_t)ptr - r->m.arena) / pool_bytes);
	report_say(r, "apb:   arena: 0x%lx, pool %d, %s\n", r->m.arena,
		   r->m.pool,
		   kind == APB_MISUSE_METADATA ? "the header" : "unused");
}

void report_in_large(struct report *r, enum apb_misuse_kind kind,
		     const void *ptr, const void *large, size_t size)
{
	report_nowhere(r, ptr);
	r->m.kind = kind;
	r->m.arena = (uintptr_t)large;
	r->m.class_size = size;
	report_say(r, "apb:   large block: 0x%lx, %zu bytes, offset %zu\n",
		   r->m.arena, size, (uintptr_t)ptr - r->m.arena);
}

static const char *const kind_words[APB_MISUSE_NR] = {
	"double free",
	"pointer that is not the start of a block",
	"block that was never allocated",
	"pointer into an unused pool",
	"pointer into an arena's header",
	"pointer to no memory of this allocator",
	"wrong size",
	"wrong alignment",
	"free block was written to",
};

void report_finish(struct report *r, const char *call)
{
	snprintf(r->m.text, sizeof(r->m.text), "apb: %s: %p, in %s()\n%s",
		 kind_words[r->m.kind], r->m.ptr, call, r->place);
}

/* ---- trying it -------------------------------------------------------- */

struct apb_misuse told;
int times_told;

void note_misuse(const struct apb_misuse *m, void *arg)
{
	(void)arg;
	told = *m;
	times_told++;
	errno = 99;
}

/* All there is in memory: the state, and arenas, of which there are few. */
struct image {
	struct apb_heap main, common;
	struct apb_heaps heaps;
	struct apb_meta meta;
	struct apb_larges larges;
	struct apb_arenas arenas;
	struct apb_os_state os;
	size_t nr;
	struct {
		struct apb_arena *arena;
		char bytes[APB_ARENA];
	} arena[4];
};

static void copy_arena(struct apb_arena *arena, void *arg)
{
	struct image *im = arg;

	assert_true(im->nr < NR_OF(im->arena));
	im->arena[im->nr].arena = arena;
	memcpy(im->arena[im->nr++].bytes, arena, APB_ARENA);
}

static void take_image(struct image *im)
{
	im->main = apb_state.main;
	im->common = apb_state.common;
	im->heaps = apb_state.heaps;
	im->meta = apb_state.meta;
	im->larges = apb_state.larges;
	im->arenas = apb_state.arenas;
	im->os = apb_state.os;
	im->nr = 0;
	apb_arena_for_each(copy_arena, im);
}

static void assert_unchanged(const struct image *im)
{
	size_t i;

	assert_memory_equal(&im->main, &apb_state.main, sizeof(im->main));
	assert_memory_equal(&im->common, &apb_state.common, sizeof(im->common));
	assert_memory_equal(&im->heaps, &apb_state.heaps, sizeof(im->heaps));
	assert_memory_equal(&im->meta, &apb_state.meta, sizeof(im->meta));
	assert_memory_equal(&im->larges, &apb_state.larges, sizeof(im->larges));
	assert_memory_equal(&im->arenas, &apb_state.arenas, sizeof(im->arenas));
	assert_memory_equal(&im->os, &apb_state.os, sizeof(im->os));
	for (i = 0; i < im->nr; i++)
		assert_true(same_bytes(im->arena[i].bytes, im->arena[i].arena,
				       APB_ARENA));
}

void assert_told(const struct report *want)
{
	assert_int_equal(times_told, 1);
	assert_string_equal(told.text, want->m.text);
	assert_int_equal(told.kind, want->m.kind);
	assert_ptr_equal(told.ptr, want->m.ptr);
	assert_int_equal(told.arena, want->m.arena);
	assert_int_equal(told.pool, want->m.pool);
	assert_int_equal(told.block, want->m.block);
	assert_int_equal(told.class_size, want->m.class_size);
}

static struct image image;

void assert_noted(struct report *want, const struct call *c)
{
	report_finish(want, entry_names[c->entry]);
	times_told = 0;
	apb_set_misuse(note_misuse, NULL);
	/* this leaves its scratch words as the check below will */
	assert_whole();
	take_image(&image);
	do_call(c);
	assert_unchanged(&image);
	assert_told(want);
	assert_whole();
}

static void do_call_in_child(void *arg)
{
	do_call(arg);
}

void assert_reported(struct report *want, const struct call *c)
{
	struct child child;
	struct call copy = *c;

	assert_noted(want, c);
	apb_set_misuse(NULL, NULL);
	run_child(&child, do_call_in_child, &copy);
	assert_string_equal(child.err, want->m.text);
	assert_true(died_of(&child, SIGABRT));
	assert_unchanged(&image);
}

static struct call call_with(const struct report *want, size_t size)
{
	return (struct call){
		.ptr = (void *)(uintptr_t)want->m.ptr,
		.align = 16,
		.size = size,
	};
}

void assert_misuse_noted(struct report *want, size_t size)
{
	struct call c = call_with(want, size);

	for (c.entry = 0; c.entry < NR_ENTRIES; c.entry++)
		assert_noted(want, &c);
}

void assert_misuse(struct report *want, size_t size)
{
	struct call c = call_with(want, size);

	for (c.entry = 0; c.entry < NR_ENTRIES; c.entry++)
		assert_reported(want, &c);
}
