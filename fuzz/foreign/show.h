/* SPDX-License-Identifier: MIT */
/* What stands above the calls in a program of any_emit.c. */
#ifndef APB_FOREIGN_SHOW_H
#define APB_FOREIGN_SHOW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * For so many blocks; @usable: the target tells usable sizes; @sized: it has
 * free_sized() and free_aligned_sized(), and they are called.
 */
void show_top(FILE *to, uint32_t blocks, bool usable, bool sized);

/* Calls of the kernel that fail; by a limit. */
void show_refusals(FILE *to);
void show_limit(FILE *to);

/* Threads that pass a baton. */
void show_threads(FILE *to);

#endif /* APB_FOREIGN_SHOW_H */
