/* SPDX-License-Identifier: MIT */
/*
 * Looking inside, for tests and fuzzers that aim at a particular spot.  Not
 * part of the public interface.
 */
#ifndef APB_INSPECT_H
#define APB_INSPECT_H

#include <stddef.h>
#include <stdint.h>

/*
 * The start of a block that was never handed out, of an unused pool: number
 * @skip of those there are, modulo their number; NULL if there are none.
 */
const void *apb_inspect_never_allocated(size_t skip);
const void *apb_inspect_unused_pool(size_t skip);

#endif /* APB_INSPECT_H */
