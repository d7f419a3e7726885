// SPDX-License-Identifier: MIT
/* Reserved address space; see reserve.h. */
#include "uninstrumented.h"

#include "os/reserve.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

struct apb_reserved apb_reserved;

/* A limit on address space (ulimit -v) is for the program to use up. */
static bool would_crowd(size_t size)
{
	struct rlimit limit;

	return !getrlimit(RLIMIT_AS, &limit) &&
	       limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur / 16;
}

/*
 * Read-only private memory is not accounted, so that strict overcommit does
 * not forbid it; what is opened later is.
 */
void *apb_os_reserve(size_t size)
{
	int saved_errno = errno;
	void *p;

	if (would_crowd(size))
		return NULL;
	p = mmap(NULL, size, PROT_READ,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	errno = saved_errno;
	if (p == MAP_FAILED)
		return NULL;
	apb_reserved.start = (uintptr_t)p;
	apb_reserved.end = apb_reserved.start + size;
	return p;
}

int apb_os_open(void *addr, size_t size)
{
	int saved_errno = errno;
	int err = mprotect(addr, size, PROT_READ | PROT_WRITE);

	errno = saved_errno;
	return err;
}

#include "instrumented.h"
