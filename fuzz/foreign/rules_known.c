// SPDX-License-Identifier: MIT
/*
 * What libraries are known not to keep, with the reason; FINDINGS.md has each
 * with a program that shows it.
 */
#include "rules.h"

#include <apb/apb.h>

const struct rule_known rules_known[] = {
	{"none", RULE_NR, ""},
};
const unsigned int rules_nr_known =
	sizeof(rules_known) / sizeof(rules_known[0]);

const struct rule_deadly rules_deadly[] = {
	{"scudo",
	 1u << APB_OS_MAP | 1u << APB_OS_UNMAP | 1u << APB_OS_REMAP,
	 (size_t)1 << 30, (size_t)1 << 40,
	 "calls of the kernel for memory that fail: it ends the process"},
};
const unsigned int rules_nr_deadly =
	sizeof(rules_deadly) / sizeof(rules_deadly[0]);
