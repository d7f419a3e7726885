// SPDX-License-Identifier: MIT
/* Threads that really run beside each other; see worker.h. */
#include "worker.h"

#include "content.h"
#include "model.h"

#include <apb/apb.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Sizes that take long to touch are cut to this. */
#define SIZE_CAP ((size_t)300 << 10)
#define SENTINEL 4711

void worker_fail(const char *oracle, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "FINDING: %s: %s\n", oracle, text);
	fflush(stderr);
	_exit(1);
}

static uint64_t draw(struct worker *w)
{
	/* xorshift64*, Vigna 2014 */
	w->rng ^= w->rng >> 12;
	w->rng ^= w->rng << 25;
	w->rng ^= w->rng >> 27;
	return w->rng * UINT64_C(0x2545f4914f6cdd1d);
}

/* ---- blocks ----------------------------------------------------------- */

static void check(const struct piece *b, const char *when)
{
	size_t at = content_check(b->ptr, b->size, b->seed, false, SIZE_MAX);

	if (b->size && at != CONTENT_OK)
		worker_fail("content", "%p, %zu bytes: byte %zu is %#x, %s",
			    (void *)b->ptr, b->size, at, b->ptr[at], when);
}

/* A new block is in @b->ptr, or NULL. */
static bool made(struct worker *w, struct piece *b)
{
	unsigned int cls;
	size_t usable;

	if (!b->ptr) {
		if (errno != ENOMEM)
			worker_fail("errno", "%d, not ENOMEM", errno);
		if (!w->round->faults)
			worker_fail("null-without-cause", "%zu bytes", b->size);
		w->refused++;
		return false;
	}
	cls = b->align > 16 ? model_class_aligned(b->align, b->size) :
			      model_class(b->size);
	usable = apb_usable_size(b->ptr);
	if ((uintptr_t)b->ptr & (b->align - 1))
		worker_fail("align", "%p is not aligned to %zu", (void *)b->ptr,
			    b->align);
	if (usable != model_usable(cls, b->size))
		worker_fail("usable", "%p: %zu, not %zu", (void *)b->ptr,
			    usable, model_usable(cls, b->size));
	b->seed = content_seed(w->index, ++w->gen);
	if (b->size)
		content_write(b->ptr, b->size, b->seed, false);
	return true;
}

static void drop(struct piece *b, enum op_kind how)
{
	if (!b->ptr)
		return;
	check(b, "before its free");
	errno = SENTINEL;
	if (how == OP_FREE_ALIGNED_SIZED)
		apb_free_aligned_sized(b->ptr, b->align, b->size);
	else if (how == OP_FREE_SIZED && b->align == 16)
		apb_free_sized(b->ptr, b->size);
	else
		apb_free(b->ptr);
	if (errno != SENTINEL)
		worker_fail("errno", "free changed it to %d", errno);
	b->ptr = NULL;
}

static void resize(struct worker *w, struct piece *b, size_t size)
{
	size_t keep = b->size < size ? b->size : size, at;
	struct piece new = {.size = size, .align = 16};

	check(b, "before its realloc");
	if (keep && b->size > CONTENT_WHOLE)
		content_write(b->ptr, keep, b->seed, false);
	errno = SENTINEL;
	new.ptr = apb_realloc(b->ptr, size);
	if (new.ptr && keep) {
		at = content_check(new.ptr, keep, b->seed, false, keep);
		if (at != CONTENT_OK)
			worker_fail("realloc-content",
				    "%p: byte %zu of %zu was not kept",
				    (void *)new.ptr, at, keep);
	}
	/* an aligned block that stays is as aligned as it was */
	if (made(w, &new))
		*b = new;
	else if (keep)
		content_write(b->ptr, b->size, b->seed, false);
}

static struct piece *pick(struct worker *w, unsigned int slot)
{
	return &w->share[slot % WORKER_SHARE];
}

/* ---- from one to the other -------------------------------------------- */

/* Whether there was room. */
static bool give(struct worker *w, unsigned int to, const struct piece *b)
{
	struct ring *ring = &w->round->worker[to].in[w->index];
	unsigned int tail =
		atomic_load_explicit(&ring->tail, memory_order_relaxed);

	if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) ==
	    RING_BLOCKS)
		return false;
	ring->piece[tail % RING_BLOCKS] = *b;
	atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
	w->handed++;
	return true;
}

static bool get(struct ring *ring, struct piece *b)
{
	unsigned int head =
		atomic_load_explicit(&ring->head, memory_order_relaxed);

	if (head == atomic_load_explicit(&ring->tail, memory_order_acquire))
		return false;
	*b = ring->piece[head % RING_BLOCKS];
	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
	return true;
}

/* Some of what came is freed at once, some kept, in the place of others. */
static void receive(struct worker *w)
{
	struct piece b;

	for (unsigned int from = 0; from < w->round->nr; from++) {
		while (get(&w->in[from], &b)) {
			uint64_t r = draw(w);
			struct piece *place = pick(w, (unsigned int)(r >> 8));

			if (!(r & 3)) {
				drop(place, OP_FREE);
				*place = b;
			} else {
				drop(&b, r & 4 ? OP_FREE : OP_FREE_SIZED);
			}
		}
	}
}

/* A new block goes where its record says, or into the share. */
static void place(struct worker *w, const struct op *op, struct piece *b)
{
	unsigned int to = op->thread % w->round->nr;
	struct piece *mine;

	if (!made(w, b))
		return;
	if (to != w->index && give(w, to, b))
		return;
	mine = pick(w, op->slot);
	drop(mine, OP_FREE);
	*mine = *b;
}

/* ---- operations ------------------------------------------------------- */

static size_t cap(size_t size)
{
	return size < SIZE_CAP ? size : size % SIZE_CAP;
}

static void do_malloc(struct worker *w, const struct op *op)
{
	struct piece b = {.size = cap(op->size), .align = 16};

	errno = SENTINEL;
	b.ptr = apb_malloc(b.size);
	place(w, op, &b);
}

static void do_calloc(struct worker *w, const struct op *op)
{
	struct piece b = {.align = 16};

	if (__builtin_mul_overflow(op->n, op->size, &b.size))
		return;
	b.size = cap(b.size);
	errno = SENTINEL;
	b.ptr = apb_calloc(1, b.size);
	if (b.ptr && b.size && content_check_zero(b.ptr, b.size) != CONTENT_OK)
		worker_fail("zero", "%p, %zu bytes", (void *)b.ptr, b.size);
	place(w, op, &b);
}

static void do_aligned(struct worker *w, const struct op *op)
{
	struct piece b = {.size = cap(op->size), .align = op->align};

	if (!b.align || (b.align & (b.align - 1)) || b.align > 1 << 16)
		return;
	if (b.align < 16)
		b.align = 16;
	errno = SENTINEL;
	b.ptr = apb_aligned_alloc(b.align, b.size);
	place(w, op, &b);
}

static void do_bulk(struct worker *w, const struct op *op)
{
	struct op one = *op;
	size_t n = op->n % WORKER_SHARE;

	if (one.size > 4096)
		one.size %= 4096;
	for (size_t i = 0; i < n; i++, one.slot++) {
		if (op->kind == OP_BULK_ALLOC)
			do_malloc(w, &one);
		else
			drop(pick(w, one.slot), OP_FREE);
	}
}

/*
 * One worker's fault hits whoever makes the call.  Where all calls fail, all
 * threads may have no memory: until this one has done some more operations.
 */
static void do_fault(struct worker *w, const struct op *op)
{
	struct apb_fault fault = {
		.mode = op->mode,
		.calls = op->calls,
		.n = op->n + 2,
		.seed = op->val,
	};

	if (!w->round->faults)
		return;
	apb_fault_set(op->mode == APB_FAULT_OFF ? NULL : &fault);
	w->faulty = op->mode == APB_FAULT_FROM ? FAULTY_OPS + 1 : 0;
}

/* After an operation; at the end of the last one in any case. */
static void end_fault(struct worker *w)
{
	if (w->faulty && (!--w->faulty || !w->left)) {
		w->faulty = 0;
		apb_fault_set(NULL);
	}
}

/* Some things take long: seldom. */
static void do_other(struct worker *w, const struct op *op)
{
	struct piece *b = pick(w, op->slot);
	struct apb_stats stats;

	switch (op->kind) {
	case OP_USABLE:
		if (b->ptr && apb_usable_size(b->ptr) < b->size)
			worker_fail("usable", "%p: less than %zu",
				    (void *)b->ptr, b->size);
		break;
	case OP_VERIFY:
		for (size_t i = 0; i < WORKER_SHARE; i++)
			if (w->share[i].ptr)
				check(&w->share[i], "now");
		break;
	case OP_SETTLE:
		apb_settle();
		break;
	case OP_TRIM:
		apb_trim();
		break;
	case OP_CHECK:
		apb_stats(&stats);
		if (stats.used_bytes > stats.arenas * stats.arena_bytes)
			worker_fail("accounting", "%zu of %zu arenas used",
				    stats.used_bytes, stats.arenas);
		break;
	case OP_FAULT:
		do_fault(w, op);
		break;
	case OP_OPTION:
		if (op->option == OPTION_PERIOD)
			apb_set_option(APB_OPT_SETTLE_PERIOD, op->value);
		else if (op->option == OPTION_DIRTY)
			apb_set_option(APB_OPT_DIRTY_LIMIT,
				       op->value == OPS_AUTO ? APB_DIRTY_AUTO :
							       op->value);
		else if (op->option == OPTION_LARGE_CACHE)
			apb_set_option(APB_OPT_LARGE_CACHE, op->value);
		else if (op->option == OPTION_PURGE_DELAY)
			apb_set_option(APB_OPT_PURGE_DELAY, op->value);
		break;
	default:
		break;
	}
}

static void operate(struct worker *w, const struct op *op)
{
	struct piece *b = pick(w, op->slot);

	switch (op->kind) {
	case OP_MALLOC:
		do_malloc(w, op);
		break;
	case OP_CALLOC:
		do_calloc(w, op);
		break;
	case OP_ALIGNED:
		do_aligned(w, op);
		break;
	case OP_REALLOC:
	case OP_REALLOCARRAY:
		if (b->ptr)
			resize(w, b, cap(op->size));
		break;
	case OP_FREE:
	case OP_FREE_SIZED:
	case OP_FREE_ALIGNED_SIZED:
		drop(b, op->kind);
		break;
	case OP_BULK_ALLOC:
	case OP_BULK_FREE:
		do_bulk(w, op);
		break;
	default:
		do_other(w, op);
		break;
	}
}

/* A record of the input, or a random one, under a header of eight threads. */
static void next_op(struct worker *w, struct op *op)
{
	const struct round *r = w->round;
	uint8_t data[OPS_HEADER_SIZE + OPS_RECORD_SIZE] = {0};
	size_t n = ops_count(r->size);
	uint64_t word = draw(w);

	data[2] = 0xe0;
	memcpy(data + 4, &r->seed, 4);
	if (n) {
		memcpy(data + 4, r->data + 4, 4);
		memcpy(&word,
		       r->data + OPS_HEADER_SIZE +
			       w->at++ % n * OPS_RECORD_SIZE,
		       sizeof(word));
	}
	memcpy(data + OPS_HEADER_SIZE, &word, sizeof(word));
	ops_decode(data, sizeof(data), 0, op);
	/* what an input's slots were to one thread are shares to several */
	op->slot = (uint16_t)(op->slot + draw(w) % 8);
}

/* ---- lives ------------------------------------------------------------ */

static pthread_key_t at_exit_key;
static pthread_once_t at_exit_once = PTHREAD_ONCE_INIT;

/* Runs when the thread's own data go: perhaps after the allocator's. */
static void at_thread_exit(void *arg)
{
	void *p = apb_malloc(100);

	apb_free(arg);
	apb_free(p);
}

static void make_key(void)
{
	if (pthread_key_create(&at_exit_key, at_thread_exit))
		worker_fail("setup", "no key");
}

static void *live(void *arg);

static void start(struct worker *w)
{
	pthread_t thread; /* the new one says itself who it is */

	if (pthread_create(&thread, NULL, live, w))
		worker_fail("setup", "no thread");
}

/* The last life of a worker. */
static void finish(struct worker *w)
{
	struct round *r = w->round;

	pthread_mutex_lock(&r->lock);
	if (!--r->running)
		pthread_cond_signal(&r->done);
	pthread_mutex_unlock(&r->lock);
}

/*
 * A thread that ends leaves its share and its rings to the one it starts, which
 * waits for its end.
 */
static void *live(void *arg)
{
	struct worker *w = arg;
	struct op op;

	if (!w->first)
		pthread_join(w->before, NULL);
	w->first = false;
	w->thread = pthread_self();
	pthread_setspecific(at_exit_key, apb_malloc(200));
	while (w->left) {
		w->left--;
		next_op(w, &op);
		receive(w);
		if (op.kind == OP_THREAD_END && w->left) {
			w->lives++;
			w->before = w->thread;
			start(w);
			return NULL;
		}
		operate(w, &op);
		end_fault(w);
	}
	finish(w);
	return NULL;
}

void round_start(struct round *r)
{
	pthread_once(&at_exit_once, make_key);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->done, NULL);
	r->running = r->nr;
	for (unsigned int i = 0; i < r->nr; i++) {
		struct worker *w = &r->worker[i];

		w->round = r;
		w->index = i;
		w->first = true;
		w->lives = 1;
		w->left = r->ops;
		w->rng = content_seed(i, (uint32_t)r->seed);
		w->at = r->size ? (size_t)draw(w) % (r->size + 1) : 0;
	}
	for (unsigned int i = 0; i < r->nr; i++)
		start(&r->worker[i]);
}

void round_join(struct round *r, unsigned int seconds)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	pthread_mutex_lock(&r->lock);
	while (r->running && !err)
		err = pthread_cond_timedwait(&r->done, &r->lock, &until);
	if (r->running)
		worker_fail("hang", "%u of %u threads after %u s", r->running,
			    r->nr, seconds);
	pthread_mutex_unlock(&r->lock);
	for (unsigned int i = 0; i < r->nr; i++)
		pthread_join(r->worker[i].thread, NULL);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->done);
}

void round_free(struct round *r)
{
	struct piece b;

	for (unsigned int i = 0; i < r->nr; i++) {
		struct worker *w = &r->worker[i];

		for (size_t k = 0; k < WORKER_SHARE; k++)
			drop(&w->share[k], OP_FREE);
		for (unsigned int from = 0; from < r->nr; from++)
			while (get(&w->in[from], &b))
				drop(&b, OP_FREE);
	}
}

/* ---- fork ------------------------------------------------------------- */

struct order {
	struct piece *pieces;
	size_t nr;
};

static void *make_pieces(void *arg)
{
	const struct order *o = arg;

	for (size_t i = 0; i < o->nr; i++) {
		struct piece *b = &o->pieces[i];

		*b = (struct piece){
			.size = (size_t)16 << i % 13,
			.align = 16,
			.seed = content_seed((uint32_t)i, 1),
		};
		b->ptr = apb_malloc(b->size);
		if (b->ptr)
			content_write(b->ptr, b->size, b->seed, false);
	}
	return NULL;
}

void pieces_make(struct piece *pieces, size_t nr)
{
	struct order order = {pieces, nr};
	pthread_t thread;

	if (pthread_create(&thread, NULL, make_pieces, &order))
		worker_fail("setup", "no thread");
	pthread_join(thread, NULL);
}

void pieces_drop(struct piece *pieces, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		drop(&pieces[i], i & 1 ? OP_FREE : OP_FREE_SIZED);
}

void pieces_in_child(struct piece *pieces, size_t nr, bool faults)
{
	void *p[96];

	pieces_drop(pieces, nr);
	for (size_t n = 0; n < 8; n++) {
		for (size_t i = 0; i < 96; i++) {
			p[i] = apb_malloc((size_t)16 << (i + n) % 13);
			if (!p[i] && !faults)
				worker_fail("null-without-cause", "in a child");
			if (p[i])
				memset(p[i], 0x5a, 16);
		}
		for (size_t i = 0; i < 96; i++)
			apb_free(p[i]);
	}
	apb_settle();
	apb_trim();
}
