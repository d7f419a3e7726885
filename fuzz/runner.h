/* SPDX-License-Identifier: MIT */
/*
 * What run.c and the parts of it share: the state of the input that runs.
 * Private to them.
 *
 *   run.c       the loop: header, operations one after the other, the end
 *   run_alloc.c operations on blocks, with the oracles for their results
 *   run_misuse.c misuse on purpose
 *   run_state.c statistics and the simulated kernel against the model
 *   run_thread.c the played threads
 *   run_freed.c writes to freed blocks
 */
#ifndef APB_FUZZ_RUNNER_H
#define APB_FUZZ_RUNNER_H

#include "model.h"
#include "run.h"
#include "watch.h"

enum layer {
	LAYER_ALLOCATOR, /* apb_fault_set() */
	LAYER_KERNEL, /* simos_fault() */
	LAYER_NR
};

/* So many of the blocks freed last are remembered; a power of two. */
#define FREED_BLOCKS 256

/* A freed block that is still mapped, as it was when it was freed. */
struct freed_block {
	uintptr_t ptr; /* 0: none */
	size_t usable;
};

/* Operations after which a fault that goes on failing disarms itself. */
#define FAULT_OPS 8

struct run {
	const struct apb_api *api;
	const struct run_options *opt;
	struct ops_header head;
	bool real; /* on the real kernel */
	bool ready; /* the model has been reset */
	bool failed; /* a finding: stop */
	const char *phase; /* beside the operations: "(begin)", "(end)"; NULL */
	struct op op;
	size_t index;

	bool armed[LAYER_NR];
	unsigned int
		left[LAYER_NR]; /* operations until it is disarmed; 0: no */
	struct watch watch; /* in front of the simulated kernel */
	uint64_t recovered; /* as last seen in the statistics */
	bool kept; /* an unmap failed since everything was given back */
	bool unpurged; /* the same for a purge */

	/* what the statistics do not count, as they start anew with a reset */
	bool was_reset;
	uint64_t old_purges, old_unmap_failures;
	/* and what is no longer counted by the allocator's layer of faults */
	uint64_t layer_unmap_failures;
	size_t option[OPTION_NR]; /* as they are set */

	/* reports of misuse since the operation began */
	unsigned int reports;
	struct apb_misuse report; /* the last one */

	/* the block freed last; ptr 0: none */
	struct {
		uintptr_t ptr;
		size_t size;
		bool large;
		size_t index; /* of the operation */
	} freed;

	/*
	 * Played threads: the heap of each but the one that runs, which has
	 * its own in the allocator.  NULL: has not begun, has ended, or never
	 * had one.
	 */
	unsigned int thread; /* that runs */
	struct apb_heap *heap[OPS_THREADS];

	/* pooled blocks freed last, a ring; nr counts all of the input */
	struct {
		size_t nr;
		struct freed_block block[FREED_BLOCKS];
	} ring;

	struct run_finding finding;
	struct model model;
};

/* Failures of OS calls so far, by call. */
struct failures {
	uint64_t n[APB_OS_NR];
};

/* ---- run.c */

/* A violation; only the first one of an input counts. */
__attribute__((format(printf, 3, 4))) void
run_fail(struct run *r, const char *oracle, const char *fmt, ...);

/* Words about an operation's result, if anyone listens. */
#define run_note(r, ...)                                          \
	do {                                                      \
		if ((r)->opt->describe)                           \
			fprintf((r)->opt->describe, __VA_ARGS__); \
	} while (0)

void run_failures(const struct run *r, struct failures *f);
/* What was refused since @before is not given back. */
void run_learn_failures(struct run *r, const struct failures *before);

/* ---- run_alloc.c */

void run_malloc(struct run *r);
void run_calloc(struct run *r);
void run_realloc(struct run *r);
void run_reallocarray(struct run *r);
void run_aligned(struct run *r);
void run_free(struct run *r); /* and sized frees */
void run_bulk_alloc(struct run *r);
void run_bulk_free(struct run *r);
void run_usable(struct run *r);
void run_verify(struct run *r);
void run_free_slot(struct run *r, unsigned int slot, enum op_kind how);
bool run_verify_slot(struct run *r, unsigned int slot, const char *oracle,
		     const char *when);

/* ---- run_misuse.c */

void run_misuse(struct run *r);
void run_on_misuse(const struct apb_misuse *m, void *arg);

/* ---- run_thread.c */

/* An input begins: thread 0 runs, there are no others. */
void run_threads_begin(struct run *r);
/* From now on @thread runs. */
void run_switch(struct run *r, unsigned int thread);
void run_thread_end(struct run *r);
/* All but the one that runs end. */
void run_end_others(struct run *r);
/* Whether no other thread has a heap. */
bool run_alone(const struct run *r);
/* After a finding: as run_threads_begin(), by the real allocator. */
void run_threads_abandon(struct run *r);

/* ---- run_freed.c */

/* A pooled block is free from now on; a range is no longer mapped. */
void run_freed_add(struct run *r, uintptr_t ptr, size_t usable);
void run_freed_unmapped(void *run, uintptr_t addr, size_t size);
void run_freed_reset(struct run *r);
void run_scribble(struct run *r);
/* Over everything that is remembered. */
void run_scribble_all(struct run *r);

/* ---- run_state.c */

/* apb_check(), the statistics against the model and the kernel. */
void run_check(struct run *r);
void run_settle(struct run *r);
void run_trim(struct run *r);
void run_reset(struct run *r);
/* Free, settle, trim, reset, with what must hold after each. */
void run_end(struct run *r);
/* The allocator's own check only. */
void run_self_check(struct run *r);

#endif /* APB_FUZZ_RUNNER_H */
