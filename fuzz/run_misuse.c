// SPDX-License-Identifier: MIT
/*
 * Misuse on purpose: it must be reported, exactly once, as what it is, and
 * change nothing.
 */
#include "runner.h"

#include "feedback.h"
#include "simos.h"

#include <errno.h>
#include <string.h>

#define SENTINEL 4711
#define ARENA ((uintptr_t)1 << 20)
#define BIT(kind) (1u << (kind))

/* Where stacks are.  The real one is somewhere else in each process, and how far
 * the allocator looks for an arena below it would be, too. */
#define STACK ((uintptr_t)0x7ffc12345680)

enum entry {
	BY_FREE,
	BY_FREE_SIZED,
	BY_REALLOC,
	BY_USABLE_SIZE,
	BY_FREE_ALIGNED_SIZED,
};

static const char *const entry_words[] = {
	"free", "free_sized", "realloc", "usable_size", "free_aligned_sized",
};

/* A misuse to be made. */
struct misuse {
	uintptr_t ptr;
	size_t size, align;
	enum entry entry;
	unsigned int kinds; /* mask of the reports that are right */
	int slot; /* whose content has to survive, or -1 */
};

/* Called by the allocator. */
void run_on_misuse(const struct apb_misuse *m, void *arg)
{
	struct run *r = arg;

	r->reports++;
	r->report = *m;
	/* the allocator aborts when this returns: the last chance to tell */
	if (m->kind == APB_MISUSE_CORRUPT)
		run_fail(r, "corrupt", "%p is said to be corrupt", m->ptr);
	if (!m->text[0])
		run_fail(r, "misuse-wrong", "a report without text");
}

/* ---- choosing the pointer --------------------------------------------- */

static bool pick_double_free(struct run *r, struct misuse *u)
{
	bool just_now = r->freed.index + 1 == r->index;

	u->ptr = r->freed.ptr;
	u->size = r->freed.size;
	if (!u->ptr || cover_any(&r->model.cover, u->ptr, 1))
		return false;
	u->kinds = BIT(APB_MISUSE_DOUBLE_FREE) | BIT(APB_MISUSE_UNUSED_POOL) |
		   BIT(APB_MISUSE_FOREIGN);
	/* since then its place may have become something else */
	if (!just_now)
		u->kinds |= BIT(APB_MISUSE_INTERIOR) |
			    BIT(APB_MISUSE_NEVER_ALLOCATED) |
			    BIT(APB_MISUSE_METADATA);
	if (!r->real && !simos_is_mapped((void *)u->ptr, 1))
		u->kinds = BIT(APB_MISUSE_FOREIGN);
	else if (!r->real && just_now && !r->kept && !r->freed.large)
		u->kinds &= ~BIT(APB_MISUSE_FOREIGN);
	return true;
}

/* The live block that the record names, with a size that suits it. */
static struct block *pick_block(struct run *r, struct misuse *u)
{
	struct block *b;

	u->slot = model_slot_to_take(&r->model, r->op.slot);
	if (u->slot < 0)
		return NULL;
	b = model_block(&r->model, (unsigned int)u->slot);
	u->ptr = (uintptr_t)b->ptr;
	u->size = b->size;
	return b;
}

static bool pick_interior(struct run *r, struct misuse *u, uint32_t where)
{
	const struct block *b = pick_block(r, u);
	size_t off;

	if (!b)
		return false;
	switch (where % 4) {
	case 0:
		off = 1 + where / 4 % (b->usable - 1);
		break;
	case 1:
		off = 8;
		break;
	case 2:
		off = b->usable - 1;
		break;
	default:
		off = b->usable / 2;
		break;
	}
	u->ptr += off;
	u->kinds = BIT(APB_MISUSE_INTERIOR);
	return true;
}

static bool pick_metadata(struct run *r, struct misuse *u, uint32_t where)
{
	const struct block *b = pick_block(r, u);

	if (!b || b->cls == MODEL_LARGE)
		return false;
	u->ptr = (u->ptr & ~(ARENA - 1)) + where % 4096;
	u->kinds = BIT(APB_MISUSE_METADATA);
	return true;
}

static bool pick_foreign(struct run *r, struct misuse *u, uint32_t where)
{
	static char static_byte[64];
	const struct block *b;
	uint32_t kind = where % 8;

	u->kinds = BIT(APB_MISUSE_FOREIGN);
	where /= 8;
	switch (kind) {
	case 0:
		u->ptr = (r->real ? (uintptr_t)&u : STACK) + where % 64;
		return true;
	case 1:
		u->ptr = (uintptr_t)static_byte + where % sizeof(static_byte);
		return true;
	case 2:
		u->ptr = 1 + where % 4095;
		return true;
	case 3: /* what could be mapped, but is not */
		u->ptr = SIMOS_BASE + (uintptr_t)where * 16 % SIMOS_SPACE;
		return r->real ||
		       !simos_is_mapped((void *)(u->ptr & ~(uintptr_t)4095), 1);
	case 4: /* behind a large block */
		b = pick_block(r, u);
		if (!b || b->cls != MODEL_LARGE)
			return false;
		u->ptr += b->usable + where % 4096;
		return !r->real &&
		       !simos_is_mapped((void *)(u->ptr & ~(uintptr_t)4095), 1);
	default: /* a block's address with a bit set that no address has */
		if (!pick_block(r, u))
			return false;
		u->ptr ^= (uintptr_t)1 << (47 + where % 17);
		return true;
	}
}

/* A size that belongs to another class, or to another number of pages. */
static bool pick_wrong_size(struct run *r, struct misuse *u, uint32_t where)
{
	const struct block *b = pick_block(r, u);
	unsigned int cls;

	if (!b)
		return false;
	u->entry = where & 1 ? BY_FREE_ALIGNED_SIZED : BY_FREE_SIZED;
	u->align = 16;
	u->kinds = BIT(APB_MISUSE_WRONG_SIZE);
	where /= 2;
	if (where % 16 == 0) {
		u->size = SIZE_MAX - where;
	} else if (b->cls == MODEL_LARGE) {
		/* a page too few, a byte or a page too many */
		u->size = (where & 3) == 3 ?
				  b->usable - MODEL_PAGE :
				  b->usable + (where & 1 ? 1 : MODEL_PAGE);
	} else {
		cls = 1 + where % (OPS_CLASSES + 1);
		if (cls == b->cls)
			cls++;
		u->size = cls > OPS_CLASSES ? MODEL_MAX_POOLED + 1 :
					      ops_class_size(cls);
	}
	return true;
}

static bool pick_wrong_align(struct run *r, struct misuse *u, uint32_t where)
{
	static const size_t invalid[] = {0, 3, 24, SIZE_MAX};

	if (!pick_block(r, u))
		return false;
	u->entry = BY_FREE_ALIGNED_SIZED;
	u->kinds = BIT(APB_MISUSE_WRONG_ALIGN);
	u->align = (u->ptr & -u->ptr) << (1 + where / 4 % 4);
	if (where % 4 == 0)
		u->align = invalid[where / 4 % 4];
	return true;
}

static bool pick(struct run *r, struct misuse *u)
{
	uint32_t where = r->op.val / 4;

	*u = (struct misuse){
		.slot = -1,
		.entry = r->op.val % 4,
		.size = 1,
		.align = 16,
	};
	switch ((enum misuse_op)(r->op.arg % MISUSE_NR)) {
	case MISUSE_DOUBLE_FREE:
		return pick_double_free(r, u);
	case MISUSE_INTERIOR:
		return pick_interior(r, u, where);
	case MISUSE_NEVER_ALLOCATED:
		u->ptr = (uintptr_t)r->api->never_allocated(where);
		u->kinds = BIT(APB_MISUSE_NEVER_ALLOCATED);
		return u->ptr;
	case MISUSE_UNUSED_POOL:
		u->ptr = (uintptr_t)r->api->unused_pool(where % 1024);
		u->kinds = BIT(APB_MISUSE_UNUSED_POOL);
		if (!u->ptr)
			return false;
		u->ptr += where / 1024 % 16384;
		return true;
	case MISUSE_METADATA:
		return pick_metadata(r, u, where);
	case MISUSE_FOREIGN:
		return pick_foreign(r, u, where);
	case MISUSE_WRONG_SIZE:
		return pick_wrong_size(r, u, where);
	case MISUSE_WRONG_ALIGN:
		return pick_wrong_align(r, u, where);
	case MISUSE_NR:
		break;
	}
	return false;
}

/* ---- making it -------------------------------------------------------- */

static void call(struct run *r, const struct misuse *u)
{
	void *ptr = (void *)u->ptr;

	errno = SENTINEL;
	switch (u->entry) {
	case BY_FREE:
		r->api->free(ptr);
		break;
	case BY_FREE_SIZED:
		r->api->free_sized(ptr, u->size);
		break;
	case BY_FREE_ALIGNED_SIZED:
		r->api->free_aligned_sized(ptr, u->align, u->size);
		break;
	case BY_REALLOC:
		if (r->api->realloc(ptr, u->size) || errno != EINVAL)
			run_fail(r, "misuse-result",
				 "realloc: not NULL with errno EINVAL");
		return;
	case BY_USABLE_SIZE:
		if (r->api->usable_size(ptr))
			run_fail(r, "misuse-result", "usable_size: not 0");
		return;
	}
	if (errno != SENTINEL)
		run_fail(r, "errno", "%s changed errno to %d",
			 entry_words[u->entry], errno);
}

/* Of a live block the report says which it is, and where in it; in @place. */
static bool tells_place(struct run *r, const struct misuse *u, char *place,
			size_t size)
{
	const unsigned int kinds = BIT(APB_MISUSE_INTERIOR) |
				   BIT(APB_MISUSE_WRONG_SIZE) |
				   BIT(APB_MISUSE_WRONG_ALIGN);
	const struct apb_misuse *m = &r->report;
	const struct block *b;
	uintptr_t addr;

	if (u->slot < 0 || u->kinds & ~kinds)
		return true;
	b = model_block(&r->model, (unsigned int)u->slot);
	addr = (uintptr_t)b->ptr;
	if (b->cls == MODEL_LARGE)
		snprintf(place, size,
			 "large block: %#lx, %zu bytes, offset %zu\n",
			 (unsigned long)addr, b->usable, u->ptr - addr);
	else
		snprintf(place, size,
			 "block: %d of the pool, at %#lx, offset %zu\n",
			 m->block, (unsigned long)addr, u->ptr - addr);
	return strstr(m->text, place) && m->class_size == b->usable &&
	       m->arena == (addr & ~(ARENA - 1));
}

static void judge(struct run *r, const struct misuse *u)
{
	const char *by = entry_words[u->entry];
	void *ptr = (void *)u->ptr;
	char place[128];

	if (!r->reports)
		run_fail(r, "misuse-missed",
			 "%s(%p), size %zu, align %zu: no report", by, ptr,
			 u->size, u->align);
	else if (r->reports > 1)
		run_fail(r, "misuse-wrong", "%s(%p): %u reports", by, ptr,
			 r->reports);
	else if (!(u->kinds & BIT(r->report.kind)) || r->report.ptr != ptr)
		run_fail(r, "misuse-wrong",
			 "%s(%p), size %zu, align %zu: reported as kind %d, "
			 "%p; right are %#x",
			 by, ptr, u->size, u->align, (int)r->report.kind,
			 r->report.ptr, u->kinds);
	else if (!tells_place(r, u, place, sizeof(place)))
		run_fail(r, "misuse-wrong", "%s(%p): not said to be in %s", by,
			 ptr, place);
}

void run_misuse(struct run *r)
{
	struct apb_stats before, after;
	/* seldom, as it takes long: what it broke, the next check sees too */
	bool compare = r->op.val >> 29 == 0 || r->head.check_often;
	struct misuse u;

	if (!pick(r, &u)) {
		run_note(r, " (not possible now)");
		return;
	}
	run_note(r, " -> %s(%p), size %zu, align %zu", entry_words[u.entry],
		 (void *)u.ptr, u.size, u.align);
	if (compare)
		r->api->stats(&before);
	call(r, &u);
	judge(r, &u);
	if (r->failed)
		return;
	run_note(r, ": reported as kind %d", (int)r->report.kind);
	feedback_misuse(r->report.kind, u.entry);
	r->reports = 0;
	if (compare)
		r->api->stats(&after);
	if (compare && memcmp(&before, &after, sizeof(before)))
		run_fail(r, "misuse-effect", "%s(%p) changed the statistics",
			 entry_words[u.entry], (void *)u.ptr);
	else if (u.slot >= 0)
		run_verify_slot(r, (unsigned int)u.slot, "misuse-effect",
				"after a misuse");
}
