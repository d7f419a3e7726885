// SPDX-License-Identifier: MIT
/*
 * The log of calls: slots, the table from address to slot, the records.
 *
 * All of it is one private mapping, so that a forked child drops it with one
 * call and an unused part of it costs nothing.
 */
#include "record/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Four times the slots: chains stay short. */
#define TABLE_SIZE (OPS_SLOTS * 4)

#define MODE_HUGE 5
#define SHAPE_OVERFLOW 3
#define ALIGN_SHIFT_MAX 22
#define ALIGN_CODE_ZERO 23
#define ALIGN_CODE_INVALID 25
#define HUGE_SPAN 4095

struct entry {
	void *ptr; /* NULL: unused */
	uint16_t slot;
};

struct log {
	uint64_t window; /* calls still to be passed over */
	struct log_left_out left;
	size_t clipped;
	size_t count;
	/* Slots freed, the last one on top; below them: never used ones. */
	size_t nr_freed;
	size_t nr_fresh; /* slots used at least once: [0, nr_fresh) */
	uint16_t freed[OPS_SLOTS];
	struct entry table[TABLE_SIZE];
	uint8_t records[][OPS_RECORD_SIZE];
};

static struct log *log_;
static size_t log_size;
static size_t log_max;
static uint64_t log_window;

static size_t hash(const void *ptr)
{
	/* Fibonacci hashing; the low four bits of an address say nothing */
	return (size_t)(((uintptr_t)ptr >> 4) * 0x9e3779b97f4a7c15u >> 32) %
	       TABLE_SIZE;
}

/* The entry of @ptr, or the unused one where it belongs. */
static struct entry *find(const void *ptr)
{
	size_t i = hash(ptr);

	while (log_->table[i].ptr && log_->table[i].ptr != ptr)
		i = (i + 1) % TABLE_SIZE;
	return &log_->table[i];
}

/* Remove @e, closing the gap so that no chain is cut. */
static void drop(struct entry *e)
{
	size_t gap = (size_t)(e - log_->table);
	size_t i = gap;

	for (;;) {
		struct entry *next;

		i = (i + 1) % TABLE_SIZE;
		next = &log_->table[i];
		if (!next->ptr)
			break;
		/* may it move to the gap, or would that be before its place? */
		if ((i - hash(next->ptr)) % TABLE_SIZE >=
		    (i - gap) % TABLE_SIZE) {
			log_->table[gap] = *next;
			gap = i;
		}
	}
	log_->table[gap].ptr = NULL;
}

/* The slot that the next block gets; OPS_SLOTS when there is none. */
static unsigned int next_slot(void)
{
	if (log_->nr_freed)
		return log_->freed[log_->nr_freed - 1];
	return (unsigned int)log_->nr_fresh;
}

static void take_slot(void)
{
	if (log_->nr_freed)
		log_->nr_freed--;
	else
		log_->nr_fresh++;
}

bool log_open(size_t max, uint64_t window)
{
	size_t size = sizeof(*log_) + max * OPS_RECORD_SIZE;
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return false;
	log_ = mem;
	log_size = size;
	log_max = max;
	log_window = window;
	log_->window = window;
	return true;
}

void log_restart(void)
{
	/* of a private mapping without a file: all zeroes afterwards */
	if (madvise(log_, log_size, MADV_DONTNEED))
		memset(log_, 0, log_size);
	log_->window = log_window;
}

bool log_full(void)
{
	return log_->count == log_max;
}

size_t log_count(void)
{
	return log_->count;
}

size_t log_clipped(void)
{
	return log_->clipped;
}

void log_left_out(struct log_left_out *left)
{
	*left = log_->left;
}

/* Whether this call is to be recorded; counts those before the window. */
static bool wanted(void)
{
	if (log_full())
		return false;
	if (!log_->window)
		return true;
	log_->window--;
	log_->left.window++;
	return false;
}

static void append(enum op_kind kind, uint8_t arg, unsigned int slot,
		   uint32_t val)
{
	/* a stale block's free can fill the log just before the call's own */
	if (log_full())
		return;
	ops_encode(log_->records[log_->count], kind, arg, (uint16_t)slot, val);
	log_->count++;
}

static uint32_t exact(size_t size)
{
	if (size > OPS_EXACT_MAX) {
		log_->clipped++;
		size = OPS_EXACT_MAX;
	}
	return ops_exact_size(size);
}

static uint8_t align_code(const struct call *call, bool ok)
{
	size_t align = call->align;
	unsigned int shift = 0;

	if (!ok && !align)
		return ALIGN_CODE_ZERO;
	if (!ok && align & (align - 1))
		return ALIGN_CODE_INVALID;
	/* memalign() may have rounded up: to the next power of two */
	while (shift < ALIGN_SHIFT_MAX && (size_t)1 << shift < align)
		shift++;
	if ((size_t)1 << shift < align)
		log_->clipped++;
	return (uint8_t)shift;
}

static uint8_t arg_of(const struct call *call, bool ok)
{
	unsigned int high = 0;

	if (call->kind == OP_ALIGNED)
		high = align_code(call, ok);
	else if (call->overflow)
		high = SHAPE_OVERFLOW;
	return (uint8_t)(high << 3 | OPS_MODE_EXACT);
}

/* A size that no system has, as near to @size as the encoding comes. */
static uint32_t huge(size_t size)
{
	size_t off, form;

	if (size >= SIZE_MAX - HUGE_SPAN) {
		form = 2;
		off = SIZE_MAX - size;
	} else if (size > PTRDIFF_MAX) {
		form = 1;
		off = size - PTRDIFF_MAX - 1;
	} else {
		form = 0;
		off = PTRDIFF_MAX - size;
	}
	if (off > HUGE_SPAN)
		off = HUGE_SPAN;
	return (uint32_t)(off << 2 | form);
}

/*
 * A call that failed is recorded if it fails in every replay too: then it
 * changes neither slots nor blocks.
 */
static void append_failed(const struct call *call, unsigned int slot)
{
	uint8_t arg = arg_of(call, false);
	bool invalid = call->kind == OP_ALIGNED && arg >> 3 >= ALIGN_CODE_ZERO;

	if (call->overflow || invalid)
		append(call->kind, arg, slot, exact(call->size));
	else if (call->size > OPS_EXACT_MAX)
		append(call->kind, (uint8_t)((arg & ~7u) | MODE_HUGE), slot,
		       huge(call->size));
	else
		log_->left.failed++;
}

/* The block of @e is gone. */
static void release(enum op_kind kind, struct entry *e)
{
	uint16_t slot = e->slot;

	append(kind, 0, slot, 0);
	drop(e);
	log_->freed[log_->nr_freed++] = slot;
}

/*
 * The program was given an address that is live in the log: the block there
 * was freed in a way that is not seen from here.
 */
static void drop_stale(void *ptr)
{
	struct entry *e = find(ptr);

	if (e->ptr)
		release(OP_FREE, e);
}

static void make(const struct call *call, void *ptr)
{
	unsigned int slot;
	struct entry *e;

	if (!ptr) {
		slot = next_slot();
		append_failed(call, slot < OPS_SLOTS ? slot : 0);
		return;
	}
	drop_stale(ptr);
	slot = next_slot();
	if (slot == OPS_SLOTS) {
		log_->left.no_slot++;
		return;
	}
	append(call->kind, arg_of(call, true), slot, exact(call->size));
	e = find(ptr);
	e->ptr = ptr;
	e->slot = (uint16_t)slot;
	take_slot();
}

void log_make(const struct call *call, void *ptr)
{
	if (wanted())
		make(call, ptr);
}

void log_move(const struct call *call, void *old, void *ptr)
{
	struct entry *e;
	uint16_t slot;

	if (!wanted())
		return;
	e = find(old);
	if (!e->ptr) {
		/* what it became is a block like any other from now on */
		struct call made = *call;

		made.kind = OP_MALLOC;
		if (ptr)
			make(&made, ptr);
		else
			log_->left.unknown++;
		return;
	}
	slot = e->slot;
	if (!ptr) {
		append_failed(call, slot);
		return;
	}
	if (ptr != old) {
		drop(e);
		drop_stale(ptr);
		e = find(ptr);
		e->ptr = ptr;
		e->slot = slot;
	}
	append(call->kind, arg_of(call, true), slot, exact(call->size));
}

void log_free(enum op_kind kind, void *ptr)
{
	struct entry *e;

	if (!wanted())
		return;
	e = find(ptr);
	if (e->ptr)
		release(kind, e);
	else
		log_->left.unknown++;
}

static int write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

int log_write(const char *path)
{
	struct ops_header header = {.version = OPS_VERSION};
	uint8_t head[OPS_HEADER_SIZE];
	static char tmp[PATH_MAX];
	int fd, err;

	/* the pid: programs of a pipeline may have been given the same name */
	if (snprintf(tmp, sizeof(tmp), "%s.%d.tmp", path, (int)getpid()) >=
	    (int)sizeof(tmp))
		return -ENAMETOOLONG;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	ops_encode_header(head, &header);
	err = write_all(fd, head, sizeof(head));
	if (!err)
		err = write_all(fd, log_->records,
				log_->count * OPS_RECORD_SIZE);
	if (close(fd) && !err)
		err = -errno;
	if (!err && rename(tmp, path))
		err = -errno;
	if (err)
		unlink(tmp);
	return err;
}
