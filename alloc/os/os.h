/* SPDX-License-Identifier: MIT */
/*
 * The OS layer: the only one that asks the system for memory.
 *
 * Every call goes through the fault layer to a table of operations, by
 * default the real kernel's.  On top of them stand two services: mappings
 * aligned beyond a page, and a release that cannot fail.  A range that the
 * system refuses to unmap becomes an *orphan*: its pages are purged, its
 * first bytes link it into a list, and trim, reset and a lack of memory try
 * again.
 *
 * Invariants (checked by apb_check()):
 *   os.mapped  what the table has handed out and not got back: arenas, large
 *              blocks with their slack, the large cache, leaves of the map,
 *              heaps, chunks of metadata, and orphans
 */
#ifndef APB_OS_H
#define APB_OS_H

#include "config.h"
#include "os/fault.h"

struct apb_orphan {
	struct apb_orphan *next;
	size_t size;
};

struct apb_os_state {
	struct apb_os ops; /* ops.map NULL: the real kernel's */
	struct apb_fault_state fault;
	struct apb_orphan *orphans;
	size_t orphan_bytes;
	size_t mapped; /* bytes mapped now, orphans included */
	size_t mapped_highwater;
	uint64_t purges;
	size_t purged; /* bytes, in all */
	uint64_t unmap_failures;
};

/* The table of the real kernel. */
extern const struct apb_os apb_os_kernel;

/* The table that is used if none was set. */
#if APB_TRACK && APB_SAN_VALGRIND
extern const struct apb_os apb_os_client; /* track/client.c */
#define APB_OS_DEFAULT apb_os_client
#elif APB_TRACK
extern const struct apb_os apb_os_region; /* track/region.h */
#define APB_OS_DEFAULT apb_os_region
#else
#define APB_OS_DEFAULT apb_os_kernel
#endif

/*
 * Map @size bytes aligned to @align, a power of two, at @hint (a multiple of
 * @align, or 0) if the system is so kind: then one call does.  *@zero tells
 * whether they are zeroes.  NULL with errno ENOMEM, whatever the table said.
 */
void *apb_os_map(uintptr_t hint, size_t size, size_t align, bool *zero);

/* One unmap call: 0, or -1 and the range is still mapped. */
int apb_os_unmap(void *addr, size_t size);

/* Unmap, or keep as an orphan. */
void apb_os_release(void *addr, size_t size);

/* One purge call: 0 or -1. */
int apb_os_purge(void *addr, size_t size);

/* Purge what is mapped to make it zeroes: 0, or -1 if it need not be. */
int apb_os_purge_to_zero(void *addr, size_t size);

/*
 * One remap call: 0 or -1; see struct apb_os.  If errno is ENXIO, @new_addr is
 * not mapped any more, nor counted.
 */
int apb_os_remap(void *addr, size_t old_size, size_t new_size, void *new_addr);

/* The table's clock, in milliseconds; 0 if it has none. */
uint64_t apb_os_now(void);
bool apb_os_has_clock(void);

/* Whether it is a caller's table. */
bool apb_os_is_own(void);

/* Try to unmap the orphans. */
void apb_os_retry_orphans(void);

#endif /* APB_OS_H */
