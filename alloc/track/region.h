/* SPDX-License-Identifier: MIT */
/*
 * The OS table of tracking builds: all memory comes from one range of
 * addresses, reserved at the first call and never given up.
 *
 * A range is taken where it fits first, so that the same calls get the same
 * addresses, however often the heap was reset before; and no address that was a
 * block's is ever anything else's, so that the use of a block whose memory was
 * unmapped is seen as what it is.  In a program that uses apb_reset() what is
 * unmapped keeps its pages, up to a bound: mapping it again costs no system call
 * and no page fault.
 *
 * Under the state lock, as all tables.
 *
 *	| bitmaps: used, touched | pages ...
 */
#ifndef APB_REGION_H
#define APB_REGION_H

#include <apb/apb.h>

/* Smaller if there is no room: a quarter each time, down to the least. */
#define APB_REGION_MAX ((size_t)256 << 30)
#define APB_REGION_MIN ((size_t)1 << 30)
/* What a program that calls apb_reset() may keep: see apb_region_keep(). */
#define APB_REGION_KEEP ((size_t)64 << 20)

extern const struct apb_os apb_os_region;

/* At multiples of what a mapping of @size bytes begins, so that the core need
 * not map more to align. */
size_t apb_region_align(size_t size);

/* What all tables of tracking builds do; blocks are never resized there. */
int apb_region_purge(void *ctx, void *addr, size_t size);
int apb_region_remap(void *ctx, void *addr, size_t old_size, size_t new_size,
		     void *new_addr);

/* The range, where blocks can be; 0 bytes before there was any. */
struct apb_region_range {
	uintptr_t start;
	size_t size;
};

extern struct apb_region_range apb_region;

static inline bool apb_region_has(const void *addr)
{
	return (uintptr_t)addr - apb_region.start < apb_region.size;
}

/* From now on so many bytes that are unmapped stay resident; at first none. */
void apb_region_keep(size_t bytes);

/* Give the pages of what is unmapped back to the system: bytes. */
size_t apb_region_trim(void);

#endif /* APB_REGION_H */
