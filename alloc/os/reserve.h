/* SPDX-License-Identifier: MIT */
/*
 * Address space of the allocator itself, reserved once and for good.  Always
 * the real kernel's, whatever the OS table is: it is no memory, only a place
 * for some, and must outlive every reset.
 */
#ifndef APB_RESERVE_H
#define APB_RESERVE_H

#include "config.h"

/*
 * Reserve @size bytes, which can be read (as 0); NULL on failure, or if that
 * were much of what the process may have.
 */
void *apb_os_reserve(size_t size);

/* What was reserved last: nothing else can be mapped there. */
struct apb_reserved {
	uintptr_t start, end;
};

extern struct apb_reserved apb_reserved;

/* Make pages of that writable: 0 or -1. */
int apb_os_open(void *addr, size_t size);

#endif /* APB_RESERVE_H */
