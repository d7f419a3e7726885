/* SPDX-License-Identifier: MIT */
/*
 * Misuse: what a pointer is that is not a live block's, and telling it.
 */
#ifndef APB_REPORT_H
#define APB_REPORT_H

#include "arena/pool.h"

/*
 * What @ptr, passed to @call, is; stops all threads to find out.  Fills @m with
 * kind and place and the text; true if it is a misuse, false if @ptr is a live
 * block's start.
 */
bool apb_misuse_find(struct apb_misuse *m, const void *ptr, const char *call);

/* Fill @m for a live block @ptr that was freed with a wrong size or align. */
void apb_misuse_sized(struct apb_misuse *m, const void *ptr, const char *call,
		      enum apb_misuse_kind kind, size_t align, size_t size);

/*
 * Fill @m for a free block @ptr, in junk mode, of which the byte at offset @at
 * is @got.
 */
void apb_misuse_corrupt(struct apb_misuse *m, const void *ptr, size_t at,
			unsigned int got);

/*
 * Hand @m to the handler, or print it and abort.  Called with no lock held;
 * returns only if the handler does.
 */
void apb_misuse_tell(const struct apb_misuse *m);

#endif /* APB_REPORT_H */
