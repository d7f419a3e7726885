// SPDX-License-Identifier: MIT
/*
 * Recording; see trace.h.  Pointers are looked up in a hash of chains, newest
 * block first, so that one that was handed out twice means the later block.
 */
#include "trace.h"

#include "simos.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA ((uintptr_t)1 << 20)
#define HEADER ((uintptr_t)1 << 16) /* what is so near is told from the MiB */
#define CHAINS 65536u
#define NO_THREAD OPS_THREADS

static struct {
	struct trace *t;
	const struct apb_api *real;
	struct apb_api api;
	struct apb_os os, real_os;
	uint32_t chain[CHAINS]; /* the newest block */
	uint32_t *next; /* of each block, older */
	uintptr_t *where; /* each block, or 0: refused */
	size_t *usable;
	unsigned int thread; /* that runs */
	struct apb_heap *heap[OPS_THREADS]; /* of the others */
} rec;

static void *table(size_t size)
{
	void *p = mmap(NULL, TRACE_MAX * size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct trace *trace_new(void)
{
	struct trace *t =
		mmap(NULL, sizeof(*t) + TRACE_MAX * sizeof(t->event[0]),
		     PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return t == MAP_FAILED ? NULL : t;
}

void trace_free(struct trace *t)
{
	munmap(t, sizeof(*t) + TRACE_MAX * sizeof(t->event[0]));
}

void trace_begin(struct trace *t, const struct ops_header *head)
{
	t->nr = 0;
	t->blocks = 0;
	t->ops = 0;
	t->op_kind = OP_NR;
	t->full = t->ended = t->stopped = false;
	t->suspect = TRACE_NONE;
	t->head = *head;
}

struct trace_event *trace_add(struct trace *t, const struct trace_event *e)
{
	if (t->stopped)
		return NULL;
	if (t->nr == TRACE_MAX) {
		t->full = true;
		return NULL;
	}
	t->event[t->nr] = *e;
	t->event[t->nr].op = t->ops;
	return &t->event[t->nr++];
}

/* ---- pointers --------------------------------------------------------- */

static uint32_t *chain_of(uintptr_t ptr)
{
	return &rec.chain[(ptr >> 4 ^ ptr >> 20) % CHAINS];
}

static void remember(uint32_t block, void *ptr)
{
	uint32_t *chain = chain_of((uintptr_t)ptr);

	rec.where[block] = (uintptr_t)ptr;
	if (!ptr)
		return;
	rec.usable[block] = 1;
	rec.next[block] = *chain;
	*chain = block;
}

static uint32_t lookup(uintptr_t ptr)
{
	uint32_t block = *chain_of(ptr);

	while (block != TRACE_NONE && rec.where[block] != ptr)
		block = rec.next[block];
	return block;
}

/* The newest block for which @close holds; slow, for misuse only. */
static uint32_t search(uintptr_t ptr,
		       bool (*close)(uint32_t block, uintptr_t ptr))
{
	for (uint32_t i = rec.t->blocks; i-- > 0;)
		if (rec.where[i] && close(i, ptr))
			return i;
	return TRACE_NONE;
}

static bool inside(uint32_t block, uintptr_t ptr)
{
	return ptr - rec.where[block] < rec.usable[block];
}

static bool beside(uint32_t block, uintptr_t ptr)
{
	return ptr / ARENA == rec.where[block] / ARENA;
}

static bool behind(uint32_t block, uintptr_t ptr)
{
	return ptr - rec.where[block] < rec.usable[block] + 2 * 4096;
}

static bool one_bit(uint32_t block, uintptr_t ptr)
{
	uintptr_t diff = ptr ^ rec.where[block];

	return diff >> 47 && !(diff & (diff - 1));
}

static void refer(struct trace_event *e, const void *p)
{
	uintptr_t ptr = (uintptr_t)p;

	e->delta = 0;
	e->old = TRACE_NONE;
	e->ref = REF_BLOCK;
	if (!ptr) {
		e->ref = REF_NULL;
		return;
	}
	e->old = lookup(ptr);
	if (e->old == TRACE_NONE)
		e->old = search(ptr, inside);
	if (e->old == TRACE_NONE && ptr % ARENA < HEADER) {
		e->old = search(ptr, beside);
		if (e->old != TRACE_NONE) {
			e->ref = REF_ARENA;
			e->delta = (int64_t)(ptr % ARENA);
			return;
		}
	}
	if (e->old == TRACE_NONE)
		e->old = search(ptr, beside);
	if (e->old == TRACE_NONE)
		e->old = search(ptr, behind);
	if (e->old != TRACE_NONE) {
		e->delta = (int64_t)(ptr - rec.where[e->old]);
		return;
	}
	e->old = search(ptr, one_bit);
	if (e->old != TRACE_NONE) {
		e->ref = REF_BIT;
		e->delta = __builtin_ctzl(ptr ^ rec.where[e->old]);
	} else if (ptr - SIMOS_BASE < SIMOS_SPACE) {
		e->ref = REF_SPACE;
		e->delta = (int64_t)(ptr - SIMOS_BASE);
	} else if (ptr < 4096) {
		e->ref = REF_NUMBER;
		e->delta = (int64_t)ptr;
	} else {
		e->ref = REF_OTHER;
		e->delta = (int64_t)(ptr % 64);
	}
}

/* ---- calls ------------------------------------------------------------ */

static struct trace_event *open_event(enum trace_kind kind, const void *ptr,
				      size_t n, size_t size, size_t align)
{
	struct trace_event e = {
		.kind = kind,
		.misuse = rec.t->op_kind == OP_MISUSE && kind <= TRACE_USABLE,
		.block = TRACE_NONE,
		.n = n,
		.size = size,
		.align = align,
	};

	refer(&e, ptr);
	return trace_add(rec.t, &e);
}

static struct trace_event *open_block(enum trace_kind kind, const void *ptr,
				      size_t n, size_t size, size_t align)
{
	struct trace_event *e = open_event(kind, ptr, n, size, align);

	if (e) {
		e->block = rec.t->blocks++;
		rec.where[e->block] = 0;
	}
	return e;
}

static void close_event(struct trace_event *e)
{
	if (!e)
		return;
	e->done = true;
	e->error = errno;
}

static void *close_block(struct trace_event *e, void *p)
{
	int error = errno;

	close_event(e);
	if (e)
		e->null = !p;
	if (e)
		remember(e->block, p);
	errno = error;
	return p;
}

static void *rec_malloc(size_t size)
{
	struct trace_event *e = open_block(TRACE_MALLOC, NULL, 1, size, 0);

	return close_block(e, rec.real->malloc(size));
}

static void *rec_calloc(size_t n, size_t size)
{
	struct trace_event *e = open_block(TRACE_CALLOC, NULL, n, size, 0);

	return close_block(e, rec.real->calloc(n, size));
}

static void *rec_realloc(void *ptr, size_t size)
{
	struct trace_event *e = open_block(TRACE_REALLOC, ptr, 1, size, 0);

	return close_block(e, rec.real->realloc(ptr, size));
}

static void *rec_reallocarray(void *ptr, size_t n, size_t size)
{
	struct trace_event *e = open_block(TRACE_REALLOCARRAY, ptr, n, size, 0);

	return close_block(e, rec.real->reallocarray(ptr, n, size));
}

static void *rec_aligned(size_t align, size_t size)
{
	struct trace_event *e = open_block(TRACE_ALIGNED, NULL, 1, size, align);

	return close_block(e, rec.real->aligned_alloc(align, size));
}

static void rec_free(void *ptr)
{
	struct trace_event *e = open_event(TRACE_FREE, ptr, 0, 0, 0);

	rec.real->free(ptr);
	close_event(e);
}

static void rec_free_sized(void *ptr, size_t size)
{
	struct trace_event *e = open_event(TRACE_FREE_SIZED, ptr, 0, size, 0);

	rec.real->free_sized(ptr, size);
	close_event(e);
}

static void rec_free_aligned_sized(void *ptr, size_t align, size_t size)
{
	struct trace_event *e =
		open_event(TRACE_FREE_ALIGNED_SIZED, ptr, 0, size, align);

	rec.real->free_aligned_sized(ptr, align, size);
	close_event(e);
}

/* The oracles ask for it after each allocation: that is not the input's. */
static size_t rec_usable_size(const void *ptr)
{
	uint32_t block = lookup((uintptr_t)ptr);
	struct trace_event *e = NULL;
	size_t size;

	if (rec.t->op_kind == OP_MISUSE || rec.t->op_kind == OP_USABLE)
		e = open_event(TRACE_USABLE, ptr, 0, 0, 0);
	size = rec.real->usable_size(ptr);
	close_event(e);
	if (block != TRACE_NONE)
		rec.usable[block] = size;
	if (e && rec.t->op_kind == OP_USABLE) {
		e->kind = TRACE_FILL;
		e->size = size;
	}
	return size;
}

static void rec_settle(void)
{
	struct trace_event *e = open_event(TRACE_SETTLE, NULL, 0, 0, 0);

	rec.real->settle();
	close_event(e);
}

static size_t rec_trim(void)
{
	struct trace_event *e = open_event(TRACE_TRIM, NULL, 0, 0, 0);
	size_t size = rec.real->trim();

	close_event(e);
	if (e)
		e->size = size;
	return size;
}

static int rec_reset(void)
{
	struct trace_event *e = open_event(TRACE_RESET, NULL, 0, 0, 0);
	int err = rec.real->reset();

	close_event(e);
	if (e)
		e->null = err;
	return err;
}

static void rec_fault_set(const struct apb_fault *fault)
{
	struct apb_fault off = {.mode = APB_FAULT_OFF};
	struct trace_event *e;

	if (!fault)
		fault = &off;
	e = open_event(TRACE_FAULT, NULL, fault->mode, fault->n, fault->calls);
	if (e)
		e->seed = fault->seed;
	rec.real->fault_set(fault);
	close_event(e);
}

static int rec_set_option(enum apb_option opt, size_t value)
{
	struct trace_event *e = open_event(TRACE_OPTION, NULL, opt, value, 0);
	int err = rec.real->set_option(opt, value);

	close_event(e);
	if (e)
		e->null = err;
	return err;
}

/* ---- threads ---------------------------------------------------------- */

/*
 * A swap names heaps, not threads.  One that has no heap is as good as another
 * one that has none.
 */
static unsigned int thread_of(const struct apb_heap *heap)
{
	unsigned int i, none = NO_THREAD;

	for (i = 0; i < OPS_THREADS; i++) {
		if (heap && rec.heap[i] == heap)
			return i;
		if (!rec.heap[i] && none == NO_THREAD && i != rec.thread)
			none = i;
	}
	return none;
}

static struct apb_heap *rec_thread_swap(struct apb_heap *heap)
{
	unsigned int to = thread_of(heap);
	struct apb_heap *old = rec.real->thread_swap(heap);

	if (to == NO_THREAD || (!heap && !old))
		return old;
	rec.heap[to] = NULL;
	rec.heap[rec.thread] = old;
	rec.thread = to;
	close_event(open_event(TRACE_THREAD, NULL, to, 0, 0));
	return old;
}

static void rec_thread_end(void)
{
	struct trace_event *e = open_event(TRACE_THREAD_END, NULL, 0, 0, 0);

	rec.real->thread_end();
	close_event(e);
}

/* ---- the kernel ------------------------------------------------------- */

static void os_event(enum apb_os_call call, size_t size, bool failed, bool zero,
		     const void *addr)
{
	struct trace_event e = {
		.kind = TRACE_OS,
		.done = true,
		.null = failed,
		.block = TRACE_NONE,
		.old = TRACE_NONE,
		.delta = (int64_t)((uintptr_t)addr - SIMOS_BASE),
		.n = call,
		.size = size,
		.align = zero,
	};
	int error = errno;

	trace_add(rec.t, &e);
	errno = error;
}

static void *os_map(void *ctx, void *hint, size_t size, bool *zero)
{
	void *p = rec.real_os.map(ctx, hint, size, zero);

	os_event(APB_OS_MAP, size, !p, *zero, p);
	return p;
}

static int os_unmap(void *ctx, void *addr, size_t size)
{
	int err = rec.real_os.unmap(ctx, addr, size);

	os_event(APB_OS_UNMAP, size, err, false, addr);
	return err;
}

static int os_purge(void *ctx, void *addr, size_t size)
{
	int err = rec.real_os.purge(ctx, addr, size);

	os_event(APB_OS_PURGE, size, err, false, addr);
	return err;
}

static int os_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		    void *new_addr)
{
	int err = rec.real_os.remap(ctx, addr, old_size, new_size, new_addr);

	os_event(APB_OS_REMAP, new_size, err, false, addr);
	return err;
}

static int rec_set_os(const struct apb_os *os)
{
	if (!os)
		return rec.real->set_os(NULL);
	rec.real_os = rec.os = *os;
	rec.os.map = os_map;
	rec.os.unmap = os_unmap;
	rec.os.purge = os_purge;
	rec.os.remap = os_remap;
	return rec.real->set_os(&rec.os);
}

/* ---- from outside ----------------------------------------------------- */

const struct apb_api *trace_api(struct trace *t, const struct apb_api *real)
{
	rec.t = t;
	rec.real = real;
	rec.api = *real;
	rec.api.malloc = rec_malloc;
	rec.api.calloc = rec_calloc;
	rec.api.realloc = rec_realloc;
	rec.api.reallocarray = rec_reallocarray;
	rec.api.aligned_alloc = rec_aligned;
	rec.api.free = rec_free;
	rec.api.free_sized = rec_free_sized;
	rec.api.free_aligned_sized = rec_free_aligned_sized;
	rec.api.usable_size = rec_usable_size;
	rec.api.settle = rec_settle;
	rec.api.trim = rec_trim;
	rec.api.reset = rec_reset;
	rec.api.set_os = rec_set_os;
	rec.api.fault_set = rec_fault_set;
	rec.api.set_option = rec_set_option;
	rec.api.thread_swap = rec_thread_swap;
	rec.api.thread_end = rec_thread_end;
	if (!rec.next) {
		rec.next = table(sizeof(*rec.next));
		rec.where = table(sizeof(*rec.where));
		rec.usable = table(sizeof(*rec.usable));
	}
	if (!rec.next || !rec.where || !rec.usable) {
		perror("trace");
		_Exit(2);
	}
	memset(rec.chain, 0xff, sizeof(rec.chain));
	memset(rec.heap, 0, sizeof(rec.heap));
	rec.thread = 0;
	return &rec.api;
}

void trace_found(struct trace *t, const struct run_finding *f)
{
	const char *at = f->detail;

	t->stopped = true;
	while ((at = strstr(at, "0x"))) {
		uint32_t block = lookup(strtoull(at, NULL, 16));

		if (block != TRACE_NONE)
			t->suspect = block;
		at += 2;
	}
}

void trace_op(struct trace *t, const struct op *op, size_t index)
{
	struct trace_event e = {
		.kind = TRACE_TIME,
		.done = true,
		.block = TRACE_NONE,
		.old = TRACE_NONE,
	};

	t->ops = (uint32_t)index;
	t->op_kind = op ? op->kind : OP_NR;
	t->ended = !op;
	if (!op || op->kind != OP_OPTION || op->option != OPTION_TIME)
		return;
	e.n = op->value;
	trace_add(t, &e);
}

void trace_write(struct trace *t, const void *p, size_t size, unsigned int how,
		 uint32_t val)
{
	struct trace_event *e = open_event(TRACE_SCRIBBLE, p, how, size, 0);

	(void)t;
	if (!e)
		return;
	e->seed = val;
	close_event(e);
}
