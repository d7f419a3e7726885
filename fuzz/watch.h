/* SPDX-License-Identifier: MIT */
/*
 * A table of OS operations in front of another one.  It counts which calls
 * came back with a failure (injected by the simulated kernel, for want of
 * address space, or because the caller did something wrong), tells what is no
 * longer mapped, and can make a call fail itself, whatever else fails.
 */
#ifndef APB_FUZZ_WATCH_H
#define APB_FUZZ_WATCH_H

#include <apb/apb.h>

/* The call that is to fail. */
struct watch_fault {
	uint64_t call; /* counted from watch_init(), from 1; 0: none */
	bool from; /* all calls behind it as well */
	bool late; /* a purge: it fails, but the content is lost */
};

struct watch {
	const struct apb_os *os; /* the one behind */
	struct apb_os ops; /* the one to hand to apb_set_os() */
	uint64_t failed[APB_OS_NR];
	uint64_t purges; /* that succeeded */
	uint64_t purged; /* bytes */
	struct watch_fault fault;
	uint64_t calls;
	enum apb_os_call hit; /* what call number fault.call was; APB_OS_NR */
	void (*unmapped)(void *arg, uintptr_t addr, size_t size);
	void *arg;
};

/*
 * Put @w in front of @os; the counts start at 0, no call fails.  @unmapped is told of each
 * range that was unmapped or moved away, with @arg.
 */
void watch_init(struct watch *w, const struct apb_os *os,
		void (*unmapped)(void *arg, uintptr_t addr, size_t size),
		void *arg);

#endif /* APB_FUZZ_WATCH_H */
