/* SPDX-License-Identifier: MIT */
/*
 * Inputs of the fuzzers (fuzz/README.md) as programs: the threads of an input,
 * at least two, each do their records in order, but really beside each other,
 * as a schedule says.
 *
 * A slot is a word that threads exchange: who takes a block out of it has it,
 * whoever made it.  What an input can say of faults, misuse and the kernel is
 * left out; sizes and counts are cut.
 *
 * An input may have its schedule with it, at its end: the last byte, modulo
 * INPUT_PARTS, is the number of parts, in front of it stand these, three bytes
 * each: how many steps less one (16 bits, modulo 1024), and the thread.
 */
#ifndef APB_EXPLORE_INPUT_H
#define APB_EXPLORE_INPUT_H

#include "schedule.h"

#define INPUT_RECORDS 192u /* more are not looked at */
#define INPUT_PARTS 48u

/* Runs what input_set() was called with, which has to stay. */
extern struct program input_program;

void input_set(const uint8_t *data, size_t size);

/* The schedule at the input's end; returns the size of the rest. */
size_t input_schedule(struct schedule *s, const uint8_t *data, size_t size);

#endif /* APB_EXPLORE_INPUT_H */
