/* SPDX-License-Identifier: MIT */
/* What the allocator's addresses are called. */
#ifndef APB_EXPLORE_NAMES_H
#define APB_EXPLORE_NAMES_H

#include <stddef.h>
#include <stdint.h>

/* In words, as things are now. */
void names_of(uintptr_t addr, char *buf, size_t len);

#endif /* APB_EXPLORE_NAMES_H */
