/* SPDX-License-Identifier: MIT */
/*
 * State feedback: what coverage of code does not tell an engine.  Each state
 * that an input reaches (bucketed: how many arenas, a class all of whose
 * pools are full, a fault that hit a realloc, ...) is a counter that the
 * engine sees like an edge.
 *
 * libFuzzer finds the counters by their section; the AFL++ target copies them
 * into the map (feedback_nr_hit(), feedback_hit_at()).  If the environment
 * names a file in APB_FEATURES_OUT, it always holds the number of distinct
 * states that the process has seen.
 */
#ifndef APB_FUZZ_FEEDBACK_H
#define APB_FUZZ_FEEDBACK_H

#include "ops.h"

#include <apb/apb.h>

#define FEEDBACK_NR 2048

/* A new input begins. */
void feedback_begin(void);

/* An input has ended. */
void feedback_end(void);

/* The statistics at some moment, and the model's number of live blocks. */
void feedback_stats(const struct apb_stats *s, size_t live);

/* An OS call failed during an operation. */
void feedback_fault(enum op_kind op, enum apb_os_call call);

/* A misuse of a kind was reported when it came through an entry point. */
void feedback_misuse(enum apb_misuse_kind kind, unsigned int call);

/* A thread has ended; @others: others go on; @live blocks there are. */
void feedback_thread_end(bool others, size_t live);

/* A thread frees a block of another one. */
void feedback_remote(unsigned int from, unsigned int to, unsigned int cls);

/* An operation could not be served. */
void feedback_refused(enum op_kind op);

/* The states of the current input: how many, and which. */
unsigned int feedback_nr_hit(void);
unsigned int feedback_hit_at(unsigned int i);

/* Distinct states since the process began. */
unsigned int feedback_seen(void);

#endif /* APB_FUZZ_FEEDBACK_H */
