/* SPDX-License-Identifier: MIT */
/*
 * What an allocator is held to: a rule for each thing that a document says, in
 * two levels.  README.md has the table in words.
 *
 *   strict  ISO C11, C17, C23 and POSIX.1-2024
 *   glibc   and what glibc's manual and manual pages say beyond these
 *
 * RULES is a comma-separated list: a level first (strict, glibc, or none), then changes
 * to it, "+rule" and "-rule"; "known" holds a library to those rules too that it
 * is known not to keep (rules_known.c).  A breach that is known is counted and
 * otherwise passed over.
 */
#ifndef APB_FOREIGN_RULES_H
#define APB_FOREIGN_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define RULES_DEFAULT "glibc"

enum rule {
	/* strict */
	RULE_NULL,
	RULE_MUST_FAIL,
	RULE_OVERFLOW,
	RULE_ENOMEM,
	RULE_OVERFLOW_ENOMEM,
	RULE_REALLOC_ENOMEM,
	RULE_ALIGNED_ENOMEM,
	RULE_FREE_ERRNO,
	RULE_FREE_ERRNO_FAULT,
	RULE_ALIGN,
	RULE_ALIGN_ASKED,
	RULE_ALIGN_ZERO,
	RULE_OVERLAP,
	RULE_ZERO,
	RULE_CONTENT,
	RULE_REALLOC_CONTENT,
	RULE_REALLOC_FAILED,
	RULE_ALIGNED_VALID,
	RULE_ALIGNED_EINVAL,
	RULE_ALIGNED_SIZE,
	RULE_MEMALIGN_EINVAL,
	RULE_MEMALIGN_ENOMEM,
	RULE_MEMALIGN_PTR,
	/* glibc */
	RULE_ALIGN_16,
	RULE_USABLE,
	RULE_USABLE_OVERLAP,
	RULE_USABLE_CHANGES,
	RULE_USABLE_NULL,
	RULE_ZERO_SIZE,
	RULE_REALLOC_ZERO,
	RULE_MEMALIGN_SAME,
	RULE_PAGE_ALIGN,
	RULE_PVALLOC_SIZE,
	RULE_TRIM,
	RULE_NR
};

struct rule_words {
	const char *name;
	bool glibc; /* of the second level */
	const char *says; /* the document and what it says */
};
extern const struct rule_words rule_words[RULE_NR];

/* A rule that a library does not keep. */
struct rule_known {
	const char *library; /* target_is() */
	enum rule rule;
	const char *why;
};
extern const struct rule_known rules_known[];
extern const unsigned int rules_nr_known;

/*
 * What a library does not survive: not done to it.
 * @calls: of the kernel, that are not made to fail; a mask of 1u << enum
 *	   apb_os_call
 * @from, @to: sizes that are not asked for
 * @first: calls during a thread's first request are not made to fail
 */
struct rule_deadly {
	const char *library;
	unsigned int calls;
	size_t from, to;
	bool first;
	const char *why;
};
extern const struct rule_deadly rules_deadly[];
extern const unsigned int rules_nr_deadly;

/* Set what holds for the target; an error in words, or NULL. */
const char *rules_set(const char *text);

/* Say what is known of the target. */
void rules_say(FILE *to);

/* Whether the target is held to a rule. */
bool rule_holds(enum rule rule);

/* Kinds of calls that may fail, of those in @calls. */
unsigned int rules_faults(unsigned int calls);

/* Whether the target may be asked for so much. */
bool rules_size(size_t size);

/* Whether a thread is to have had memory before anything fails. */
bool rules_warm_up(void);

/* It was broken, but it does not hold; counted if that is known. */
void rule_passed(enum rule rule);
uint64_t rule_times_passed(enum rule rule);

#endif /* APB_FOREIGN_RULES_H */
