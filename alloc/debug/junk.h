/* SPDX-License-Identifier: MIT */
/*
 * Junk mode (APB_OPT_JUNK): blocks are filled when they are made and when they
 * are freed, and what was freed is looked at when it is handed out again.  No
 * thread has a heap of its own then: all that is allocated and freed takes the
 * slow paths, and the common heap.
 */
#ifndef APB_JUNK_H
#define APB_JUNK_H

#include "arena/pool.h"

#define APB_JUNK_BORN 0xa5
#define APB_JUNK_DIED 0x5a

/*
 * The block of @entry, @size bytes, is about to be handed out: report if it was
 * written to since it was freed (with no lock held), and fill it.
 */
void apb_junk_born(struct apb_entry entry, size_t size);

#endif /* APB_JUNK_H */
