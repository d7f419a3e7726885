/* SPDX-License-Identifier: MIT */
/*
 * The addresses that a run accesses atomically or locks, numbered in the order
 * in which they are met, so that what is known of each stands in arrays.
 */
#ifndef APB_EXPLORE_OBJECTS_H
#define APB_EXPLORE_OBJECTS_H

#include <stdint.h>

#define OBJECTS_MAX 32768u

/* A run begins: none is known. */
void objects_reset(void);

/* The number of @addr, a new one if need be. */
unsigned int objects_id(uintptr_t addr);

/* How many there are, and their addresses. */
unsigned int objects_nr(void);
uintptr_t objects_addr(unsigned int id);

#endif /* APB_EXPLORE_OBJECTS_H */
