// SPDX-License-Identifier: MIT
/*
 * What libraries are known not to keep, with the reason; FINDINGS.md has each
 * with a program that shows it.
 */
#include "rules.h"

#include <apb/apb.h>

const struct rule_known rules_known[] = {
	{"glibc", RULE_ALIGNED_VALID,
	 "aligned_alloc() is memalign(), which rounds up"},
	{"libapb", RULE_ALIGNED_VALID, "aligned_alloc() is as in glibc 2.36"},
	{"mimalloc", RULE_ALIGN_16, "up to 8 bytes are aligned to 8"},
	{"mimalloc", RULE_ALIGN_ASKED,
	 "aligned_alloc(256, 256) is aligned to 128"},
	{"mimalloc", RULE_REALLOC_ZERO, "realloc(p, 0) is a block of 0 bytes"},
	{"mimalloc", RULE_ENOMEM, "errno is left alone beyond PTRDIFF_MAX"},
	{"mimalloc", RULE_OVERFLOW_ENOMEM, "errno is left alone"},
	{"mimalloc", RULE_REALLOC_ENOMEM,
	 "errno is left alone beyond PTRDIFF_MAX"},
	{"mimalloc", RULE_ALIGNED_ENOMEM,
	 "errno is left alone beyond PTRDIFF_MAX"},
	{"mimalloc", RULE_ALIGNED_EINVAL, "errno is left alone"},
	{"mimalloc", RULE_ALIGNED_VALID, "an alignment of 0 is as none"},
	{"mimalloc", RULE_FREE_ERRNO_FAULT, "errno is the failed call's"},
	{"jemalloc", RULE_ALIGN_16, "up to 8 bytes are aligned to 8"},
	{"jemalloc", RULE_ALIGNED_ENOMEM,
	 "errno is left alone by valloc(), memalign()"},
	{"jemalloc", RULE_REALLOC_ENOMEM, "errno is left alone"},
	{"jemalloc", RULE_ALIGN_ZERO, "the alignment is forgotten"},
	{"jemalloc", RULE_FREE_ERRNO_FAULT, "errno is the failed call's"},
	{"tcmalloc", RULE_ALIGN_16, "up to 8 bytes are aligned to 8"},
	{"tcmalloc", RULE_OVERFLOW_ENOMEM, "errno is left alone"},
	{"tcmalloc", RULE_ALIGNED_VALID,
	 "aligned_alloc() is memalign(), which rounds up"},
	{"tcmalloc", RULE_MUST_FAIL, "pvalloc() overflows"},
	{"tcmalloc", RULE_FREE_ERRNO_FAULT, "errno is the failed call's"},
	{"tbbmalloc", RULE_ALIGN_16, "up to 8 bytes are aligned to 8"},
	{"tbbmalloc", RULE_ZERO_SIZE,
	 "aligned functions refuse 0 bytes: EINVAL"},
	{"tbbmalloc", RULE_ALIGNED_ENOMEM, "valloc(), pvalloc(): EINVAL"},
	{"tbbmalloc", RULE_MUST_FAIL, "realloc() of a large block overflows"},
	{"scudo", RULE_ALIGNED_SIZE,
	 "as C11 had it, which left that undefined"},
	{"scudo", RULE_ALIGNED_ENOMEM, "errno is left alone"},
	{"scudo", RULE_FREE_ERRNO_FAULT, "errno is the failed call's"},
};
const unsigned int rules_nr_known =
	sizeof(rules_known) / sizeof(rules_known[0]);

const struct rule_deadly rules_deadly[] = {
	{.library = "scudo",
	 .calls = 1u << APB_OS_MAP | 1u << APB_OS_UNMAP | 1u << APB_OS_REMAP,
	 .from = (size_t)1 << 30,
	 .to = (size_t)1 << 40,
	 .why = "calls of the kernel for memory that fail: it ends the "
		"process"},
	{.library = "jemalloc",
	 .from = SIZE_MAX,
	 .first = true,
	 .why = "no memory for a thread's first request: a null pointer is "
		"followed"},
};
const unsigned int rules_nr_deadly =
	sizeof(rules_deadly) / sizeof(rules_deadly[0]);
