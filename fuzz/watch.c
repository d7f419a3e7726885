// SPDX-License-Identifier: MIT
/* Counting failures of OS calls; see watch.h. */
#include "watch.h"

#include <errno.h>

/* Count a call; whether it has to fail. */
static bool has_to_fail(struct watch *w, enum apb_os_call call)
{
	const struct watch_fault *f = &w->fault;

	w->calls++;
	if (!f->call || w->calls < f->call)
		return false;
	if (w->calls == f->call)
		w->hit = call;
	else if (!f->from)
		return false;
	errno = ENOMEM;
	return true;
}

static void *watch_map(void *ctx, void *hint, size_t size, bool *zero)
{
	struct watch *w = ctx;
	void *p = NULL;

	if (!has_to_fail(w, APB_OS_MAP))
		p = w->os->map(w->os->ctx, hint, size, zero);
	w->failed[APB_OS_MAP] += !p;
	return p;
}

static int watch_unmap(void *ctx, void *addr, size_t size)
{
	struct watch *w = ctx;
	int err = -1;

	if (!has_to_fail(w, APB_OS_UNMAP))
		err = w->os->unmap(w->os->ctx, addr, size);
	w->failed[APB_OS_UNMAP] += err != 0;
	if (!err)
		w->unmapped(w->arg, (uintptr_t)addr, size);
	return err;
}

static int watch_purge(void *ctx, void *addr, size_t size)
{
	struct watch *w = ctx;
	int err = -1;

	if (!has_to_fail(w, APB_OS_PURGE)) {
		err = w->os->purge(w->os->ctx, addr, size);
	} else if (w->fault.late) {
		w->os->purge(w->os->ctx, addr, size);
		errno = ENOMEM;
	}
	w->failed[APB_OS_PURGE] += err != 0;
	w->purges += !err;
	w->purged += err ? 0 : size;
	return err;
}

static int watch_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		       void *new_addr)
{
	struct watch *w = ctx;
	int err = -1;

	if (!has_to_fail(w, APB_OS_REMAP))
		err = w->os->remap(w->os->ctx, addr, old_size, new_size,
				   new_addr);
	w->failed[APB_OS_REMAP] += err != 0;
	if (!err && (new_addr || new_size < old_size))
		w->unmapped(w->arg, (uintptr_t)addr, old_size);
	return err;
}

static uint64_t watch_now(void *ctx)
{
	struct watch *w = ctx;

	return w->os->now(w->os->ctx);
}

static void watch_advise(void *ctx, void *addr, size_t size, bool huge)
{
	struct watch *w = ctx;

	w->os->advise(w->os->ctx, addr, size, huge);
}

void watch_init(struct watch *w, const struct apb_os *os,
		void (*unmapped)(void *arg, uintptr_t addr, size_t size),
		void *arg)
{
	*w = (struct watch){
		.os = os,
		.unmapped = unmapped,
		.arg = arg,
		.hit = APB_OS_NR,
		.ops =
			{
				.ctx = w,
				.map = watch_map,
				.unmap = watch_unmap,
				.purge = watch_purge,
				.remap = watch_remap,
			},
	};
	if (!os)
		return;
	w->ops.now = os->now ? watch_now : NULL;
	w->ops.advise = os->advise ? watch_advise : NULL;
	w->ops.purge_zeroes = os->purge_zeroes;
}
