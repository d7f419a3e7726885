/* SPDX-License-Identifier: MIT */
/*
 * State feedback where there is no code to cover: what can be seen of a closed
 * library from outside.  The counters are those of feedback.h, whose functions
 * for engines these implement; which states there are is here.
 */
#ifndef APB_FOREIGN_STATES_H
#define APB_FOREIGN_STATES_H

#include "feedback.h"

#include "hooks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A new block: where it lies, beside those freed and made before. */
void states_block(uintptr_t addr, size_t size, size_t usable);

/* A block was freed. */
void states_freed(uintptr_t addr);

void states_resized(bool moved, size_t from, size_t to);

/* What the kernel was asked for during an operation on @size bytes. */
void states_kernel(enum op_kind op, size_t size,
		   const struct hook_counts *before,
		   const struct hook_counts *after);

/* Live blocks and their bytes. */
void states_live(size_t live, size_t bytes);

void states_probe(unsigned int probe, unsigned int result);

#endif /* APB_FOREIGN_STATES_H */
