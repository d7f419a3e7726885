/* SPDX-License-Identifier: MIT */
/*
 * Runs an input against the allocator, with the model beside it and all
 * oracles watching.  One input at a time in a process; whatever happens in
 * one leaves nothing behind for the next.
 */
#ifndef APB_FUZZ_RUN_H
#define APB_FUZZ_RUN_H

#include "watch.h"

#include <apb/apb.h>
#include <stdio.h>

/*
 * What is tested: the functions of apb.h, those that play threads, and two
 * that look inside.
 * There for the tests of the oracles, which put faulty ones in their place.
 */
struct apb_heap;
struct apb_api {
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t n, size_t size);
	void *(*realloc)(void *ptr, size_t size);
	void *(*reallocarray)(void *ptr, size_t n, size_t size);
	void *(*aligned_alloc)(size_t align, size_t size);
	void (*free)(void *ptr);
	void (*free_sized)(void *ptr, size_t size);
	void (*free_aligned_sized)(void *ptr, size_t align, size_t size);
	size_t (*usable_size)(const void *ptr);
	void (*settle)(void);
	size_t (*trim)(void);
	int (*reset)(void);
	int (*set_os)(const struct apb_os *os);
	void (*fault_set)(const struct apb_fault *fault);
	void (*fault_get)(struct apb_fault_stats *stats);
	int (*set_option)(enum apb_option opt, size_t value);
	void (*set_misuse)(apb_misuse_fn fn, void *arg);
	int (*check)(struct apb_violation *v);
	void (*stats)(struct apb_stats *stats);
	struct apb_heap *(*thread_swap)(struct apb_heap *heap);
	void (*thread_end)(void);
	const void *(*never_allocated)(size_t skip);
	const void *(*unused_pool)(size_t skip);
};

/* The real one. */
extern const struct apb_api apb_api;

/* What a target tests, if it is linked with something that says so. */
extern const struct apb_api *const target_api __attribute__((weak));

struct run_finding {
	const char *oracle; /* short, stable, a constant */
	size_t op_index; /* from 0; the number of operations: at the end */
	char words[160]; /* the operation */
	char detail[400];
};

/* Is told what an input does beside calling the allocator. */
struct op;
struct run_observer {
	/* operation number @index begins; NULL: the end */
	void (*op)(const struct op *op, size_t index, void *arg);
	/* a freed block is written to; @how and @val as in run_freed.c */
	void (*write)(const void *p, size_t size, unsigned int how,
		      uint32_t val, void *arg);
	void *arg;
};

struct run_options {
	bool allow_real_kernel; /* else such inputs run on the simulated one */
	bool fill; /* SIMOS_FILL: content independent of earlier inputs */
	FILE *describe; /* each operation and its result in words */
	/*
	 * Called at the first violation, before anything is cleaned up.  It
	 * may end the process; if it returns, the input ends.
	 */
	void (*on_finding)(const struct run_finding *f, void *arg);
	void *arg;
	const struct apb_api *api; /* NULL: the real one */
	const struct run_observer *observer; /* or NULL */
	/*
	 * A call of the system that fails beside what the input makes fail;
	 * one with @from ends where the operations do.  Also counted: on the
	 * real kernel failures are known as those of the simulated one are.
	 */
	const struct watch_fault *fault;
};

/* Of the last input: how many calls of the system it made, if that was to be
 * counted; and which one it was that options.fault made fail, or APB_OS_NR. */
uint64_t run_calls(enum apb_os_call *hit);
/* And how many of them failed. */
uint64_t run_failed_calls(void);

/*
 * What the allocator does only once in a process, here and there, done at once,
 * and the options as every input but the first finds them: so that an input goes
 * the same way whatever ran before it.  Before the first input.
 */
void run_prepare(void);

/* Run an input: 0, or 1 after a finding. */
int run_input(const uint8_t *data, size_t size, const struct run_options *o);

/* One line: "FINDING: oracle: op #3 malloc(7), slot 5: detail". */
void run_print_finding(const struct run_finding *f, FILE *to);

#endif /* APB_FUZZ_RUN_H */
