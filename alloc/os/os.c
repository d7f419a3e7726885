// SPDX-License-Identifier: MIT
/* The OS layer; see os.h. */
#define _GNU_SOURCE /* mremap(), CLOCK_MONOTONIC_COARSE */
#include "uninstrumented.h"

#include "os/os.h"

#include "api/hide.h"
#include "os/told.h"
#include "state.h"
#include "track/track.h"

#include <errno.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>

static void *kernel_map(void *ctx, void *hint, size_t size, bool *zero)
{
	void *p;

	(void)ctx;
	/* a purge must not reach into the next pool */
	if (getauxval(AT_PAGESZ) != APB_PAGE)
		return NULL;
	p = mmap(hint, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	*zero = true;
	return p;
}

static int kernel_unmap(void *ctx, void *addr, size_t size)
{
	(void)ctx;
	return munmap(addr, size);
}

static int kernel_purge(void *ctx, void *addr, size_t size)
{
	(void)ctx;
	return madvise(addr, size, MADV_DONTNEED);
}

static int kernel_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
			void *new_addr)
{
	(void)ctx;
	if (!new_addr) {
		if (mremap(addr, old_size, new_size, 0) == MAP_FAILED)
			return -1;
		apb_tell_remapped(addr, old_size, new_size);
		return 0;
	}
	if (mremap(addr, old_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED,
		   new_addr) != MAP_FAILED) {
		apb_tell_remapped(new_addr, old_size, new_size);
		return 0;
	}
	/*
	 * Many kernels unmap the target before the move; if it is the move that
	 * failed it has to be mapped again (if not, this fails and does no
	 * harm): nothing may have changed.  A process that has more than it may
	 * have since (setrlimit()) does not get it back.
	 */
	if (mmap(new_addr, new_size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		 0) == MAP_FAILED &&
	    errno != EEXIST && msync(new_addr, new_size, MS_ASYNC))
		errno = ENXIO;
	else
		errno = ENOMEM;
	return -1;
}

static uint64_t kernel_now(void *ctx)
{
	struct timespec ts;

	(void)ctx;
	/* some ns, from the vDSO; a tick of the kernel is fine enough */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void kernel_advise(void *ctx, void *addr, size_t size, bool huge)
{
	int saved_errno = errno;

	(void)ctx;
	/* EINVAL if the kernel has no such pages */
	madvise(addr, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	errno = saved_errno;
}

const struct apb_os apb_os_kernel = {
	.map = kernel_map,
	.unmap = kernel_unmap,
	.purge = kernel_purge,
	.remap = kernel_remap,
	.now = kernel_now,
	.advise = kernel_advise,
	.purge_zeroes = true,
};

static inline const struct apb_os *ops(void)
{
	const struct apb_os *os = &apb_state.os.ops;

	return os->map ? os : &APB_OS_DEFAULT;
}

bool apb_os_is_own(void)
{
	return apb_state.os.ops.map;
}

static bool faulty(enum apb_os_call call)
{
	if (!apb_fault_hit(&apb_state.os.fault, call))
		return false;
	errno = ENOMEM;
	return true;
}

static void account(ptrdiff_t delta)
{
	struct apb_os_state *os = &apb_state.os;

	os->mapped += (size_t)delta;
	if (os->mapped > os->mapped_highwater)
		os->mapped_highwater = os->mapped;
}

static void *map_once(uintptr_t hint, size_t size, bool *zero)
{
	void *p;

	*zero = false;
	if (faulty(APB_OS_MAP))
		return NULL;
	p = ops()->map(ops()->ctx, (void *)hint, size, zero);
	if (!p)
		return NULL;
	account((ptrdiff_t)size);
	/* beyond what the map covers; kernels go there only if hinted to */
	if (((uintptr_t)p + size - 1) & ~APB_ADDR_MASK) {
		apb_os_release(p, size);
		return NULL;
	}
	return p;
}

/* A range of @size + @align - a page holds one of @size aligned to @align. */
static void *map_trimmed(size_t size, size_t align, bool *zero)
{
	size_t span = size + align - APB_PAGE;
	uintptr_t raw, p;

	raw = (uintptr_t)map_once(0, span, zero);
	if (!raw)
		return NULL;
	p = (raw + align - 1) & ~(align - 1);
	if (p > raw)
		apb_os_release((void *)raw, p - raw);
	if (raw + span > p + size)
		apb_os_release((void *)(p + size), raw + span - p - size);
	return (void *)p;
}

static void advise(void *addr, size_t size)
{
	unsigned int thp = apb_policy.thp;

	if (thp && size >= APB_ARENA && ops()->advise)
		ops()->advise(ops()->ctx, addr, size, thp == APB_THP_ALWAYS);
}

void *apb_os_map(uintptr_t hint, size_t size, size_t align, bool *zero)
{
	uintptr_t p;

	p = (uintptr_t)map_once(hint, size, zero);
	if (p & (align - 1)) {
		apb_os_release((void *)p, size);
		p = (uintptr_t)map_trimmed(size, align, zero);
	}
	if (!p) {
		errno = ENOMEM;
		return NULL;
	}
	advise((void *)p, size);
	return (void *)p;
}

int apb_os_unmap(void *addr, size_t size)
{
	apb_track_unmap(addr, size);
	if (faulty(APB_OS_UNMAP) || ops()->unmap(ops()->ctx, addr, size)) {
		apb_state.os.unmap_failures++;
		return -1;
	}
	account(-(ptrdiff_t)size);
	return 0;
}

APB_UNINSTRUMENTED void apb_os_release(void *addr, size_t size)
{
	struct apb_os_state *os = &apb_state.os;
	struct apb_orphan *orphan = addr;

	if (!apb_os_unmap(addr, size))
		return;
	apb_os_purge(addr, size);
	orphan->next = os->orphans;
	orphan->size = size;
	os->orphans = orphan;
	os->orphan_bytes += size;
}

int apb_os_purge(void *addr, size_t size)
{
	bool failed;

	apb_track_unmap(addr, size);
	failed = faulty(APB_OS_PURGE) || ops()->purge(ops()->ctx, addr, size);
	apb_track_purged(addr, size);
	if (failed)
		return -1;
	apb_state.os.purges++;
	apb_state.os.purged += size;
	return 0;
}

int apb_os_purge_to_zero(void *addr, size_t size)
{
	return ops()->purge_zeroes ? apb_os_purge(addr, size) : -1;
}

int apb_os_remap(void *addr, size_t old_size, size_t new_size, void *new_addr)
{
	if (faulty(APB_OS_REMAP) ||
	    ops()->remap(ops()->ctx, addr, old_size, new_size, new_addr)) {
		if (new_addr && errno == ENXIO)
			account(-(ptrdiff_t)new_size);
		return -1;
	}
	/* with @new_addr, its @new_size bytes were accounted for before */
	if (new_addr)
		account(-(ptrdiff_t)old_size);
	else
		account((ptrdiff_t)(new_size - old_size));
	return 0;
}

uint64_t apb_os_now(void)
{
	return ops()->now ? ops()->now(ops()->ctx) : 0;
}

bool apb_os_has_clock(void)
{
	return ops()->now;
}

APB_UNINSTRUMENTED void apb_os_retry_orphans(void)
{
	struct apb_os_state *os = &apb_state.os;
	struct apb_orphan *orphan = os->orphans;

	os->orphans = NULL;
	os->orphan_bytes = 0;
	while (orphan) {
		struct apb_orphan *next = orphan->next;

		/* one that stays links itself in again */
		apb_os_release(orphan, orphan->size);
		orphan = next;
	}
}

#include "instrumented.h"
