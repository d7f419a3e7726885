/* SPDX-License-Identifier: MIT */
/*
 * What tests of policies need: how much is retained, and what goes when, said a
 * second time in the plainest way there is (os/retain.h tells why), to be
 * compared with what the allocator does, call by call; and a log of the calls
 * that it makes to the system, which may be made to refuse them.
 */
#ifndef APB_POLICYLIB_H
#define APB_POLICYLIB_H

#include "testlib.h"

/* ---- the bound -------------------------------------------------------- */

/* Retained memory of one kind, as struct apb_retain should have it. */
struct policy {
	size_t extra, given, low, high, moved;
	uint64_t epoch;
};

void policy_came(struct policy *p, size_t level, size_t bytes);
void policy_needed(struct policy *p, size_t level, size_t bytes);
void policy_gave(struct policy *p, size_t level, size_t bytes);
void policy_missed(struct policy *p, size_t bytes, size_t cap);

/* Whether an epoch is over; *@target is what may stay. */
bool policy_epoch(struct policy *p, uint64_t now, size_t level, size_t bound,
		  size_t *target);

/* The options, as they were set by policy_option(). */
struct policy_options {
	size_t dirty_limit, delay, large_cache;
	bool clock;
};

extern struct policy_options policy_options;

void policy_option(enum apb_option opt, size_t value);

#define assert_policy(p, r) test_policy(p, r, __FILE__, __LINE__)
void test_policy(const struct policy *p, const struct apb_retain *r,
		 const char *file, int line);

/* ---- calls to the system ---------------------------------------------- */

/* An unmap, purge or remap (@to) of a range. */
struct policy_call {
	enum apb_os_call call;
	uintptr_t addr;
	size_t size, new_size;
	uintptr_t to;
	int err; /* of one that failed */
};

#define POLICY_CALLS 4096

/* What was called since policy_fresh() or policy_forget(). */
extern struct policy_call policy_log[POLICY_CALLS];
extern unsigned int policy_logged;

/* Mask of the calls that are refused from now on. */
extern unsigned int policy_refuse;

/* What of it the system did, in all. */
extern struct policy_done {
	uint64_t purges, refused_unmaps;
	size_t purged;
} policy_done;

/* A fresh allocator over the simulated kernel, with a log. */
void policy_fresh(uint64_t seed, unsigned int flags);

void policy_forget(void);

#endif /* APB_POLICYLIB_H */
