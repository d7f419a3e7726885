/* SPDX-License-Identifier: MIT */
/*
 * Memory for the layer itself, by the system calls: the tools put themselves
 * before mmap() and would make shadow for all of it, of which most is never
 * touched.
 */
#ifndef APB_GLUE_OS_H
#define APB_GLUE_OS_H

#include "glue/raw.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Zeroed, resident where it is touched; NULL: none. */
APB_RAW static inline void *apb_glue_map(size_t bytes)
{
	long addr =
		syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);

	return addr == -1 ? NULL : (void *)addr;
}

APB_RAW static inline void apb_glue_unmap(void *addr, size_t bytes)
{
	syscall(SYS_munmap, addr, bytes);
}

#endif /* APB_GLUE_OS_H */
