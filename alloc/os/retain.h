/* SPDX-License-Identifier: MIT */
/*
 * How much memory that is not in use is retained instead of given back: one
 * policy, of which the arenas' empty pools and the cache of large mappings
 * have an instance each.
 *
 * A small base may always be retained.  What comes on top is learnt: when
 * memory is needed soon after as much was given back (a page fault or a system
 * call that need not have been), the bound grows by a multiple of that, up to a
 * cap.  So a program that builds and drops the same amount again and again has
 * its bound early in the second round, and makes no system call from then on;
 * one that builds once and drops has no bound to speak of and gives back at
 * once.  A bound that was raised too far is lowered at the end of the epoch.
 *
 * Time runs in *epochs* of the purge delay.  What was retained all through an
 * epoch was not needed in it, and is given back at its end (but for the base
 * and some change if anything was needed); the bound moves half way to what
 * was.  So memory is given back one to two delays after it was needed last.
 * A program that grows gives back sooner: see apb_retain_grow().
 * Nobody wakes up for that: every event, that is a call into the arena or the
 * large layer, looks at the clock.  A table of OS operations without a clock
 * has epochs by the bytes that are put and taken instead.
 *
 * Invariants (checked by apb_check()):
 *   retain.level  of what arenas retain: low <= bytes retained now <= high
 */
#ifndef APB_RETAIN_H
#define APB_RETAIN_H

#include "config.h"

/*
 * Options of it, of the OS layer and of the api; they outlive a reset.  Under
 * the state lock, but for @junk, which is set before there is a heap.
 */
struct apb_policy {
	size_t dirty_limit; /* APB_DIRTY_AUTO */
	uint64_t purge_delay; /* ms; 0: nothing is retained */
	size_t large_cache; /* cap of the large layer's bound */
	unsigned int thp; /* enum apb_thp */
	bool junk;
};

extern struct apb_policy apb_policy;

/* Relaxed: what it says was said before there was anything to be ordered. */
static inline bool apb_junk(void)
{
	return __builtin_expect(
		__atomic_load_n(&apb_policy.junk, __ATOMIC_RELAXED), 0);
}

struct apb_retain {
	size_t extra; /* what was learnt: the bound is this and the base */
	size_t given; /* given back lately and not needed again so far */
	size_t low; /* least and most retained in this epoch, but for what */
	size_t high; /* was given back: differ by what came and was needed */
	size_t moved; /* bytes put and taken in this epoch */
	uint64_t epoch; /* when it began */
};

/* @bytes came, of which @level are retained now. */
static inline void apb_retain_put(struct apb_retain *r, size_t level,
				  size_t bytes)
{
	r->moved += bytes;
	if (level > r->high)
		r->high = level;
}

/* @bytes were needed, @level are left. */
static inline void apb_retain_taken(struct apb_retain *r, size_t level,
				    size_t bytes)
{
	r->moved += bytes;
	if (level < r->low)
		r->low = level;
}

/* @bytes were given back, @level are left. */
static inline void apb_retain_gave(struct apb_retain *r, size_t level,
				   size_t bytes)
{
	r->given += bytes;
	r->high = r->high - level > bytes ? r->high - bytes : level;
	if (level < r->low)
		r->low = level;
}

/* @bytes had to be had anew; the bound's learnt part is @cap at most. */
static inline void apb_retain_missed(struct apb_retain *r, size_t bytes,
				     size_t cap)
{
	if (bytes > r->given)
		bytes = r->given;
	r->given -= bytes;
	if (r->extra >= cap)
		return;
	if (bytes <= (cap - r->extra) / APB_RETAIN_LESSON)
		r->extra += bytes * APB_RETAIN_LESSON;
	else
		r->extra = cap;
}

/*
 * At @now: if an epoch has ended, start the next one.  @level bytes are
 * retained, @bound is the bound.  Returns whether one has; *@target is then
 * what may stay: the rest was not needed.
 */
bool apb_retain_pass(struct apb_retain *r, uint64_t now, size_t level,
		     size_t bound, size_t *target);

/* An event: let time pass in both layers. */
void apb_retain_tick(void);

/*
 * An arena is about to be mapped, as nothing that is retained would do.  It
 * takes the place of as much that is, in both layers, so that what a program
 * grows to is not on top of what it no longer needs.  If it does need it, that
 * costs no more page faults than the arena will.
 */
void apb_retain_grow(void);

/* What may stay of @level bytes then. */
static inline size_t apb_retain_grown(size_t level)
{
	return level > APB_ARENA ? level - APB_ARENA : 0;
}

/*
 * There is no memory: unmap all that is retained as whole mappings, and what
 * could not be unmapped before.  Returns whether that was anything, so that it
 * is worth asking again.
 */
bool apb_retain_drop(void);

/*
 * Set APB_OPT_DIRTY_LIMIT, APB_OPT_PURGE_DELAY, APB_OPT_LARGE_CACHE or
 * APB_OPT_THP, and act on it at once: 0 or an errno.
 */
int apb_retain_set(enum apb_option opt, size_t value);

#endif /* APB_RETAIN_H */
