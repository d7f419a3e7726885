/* SPDX-License-Identifier: MIT */
/* A run and a finding, for people. */
#ifndef APB_EXPLORE_WORDS_H
#define APB_EXPLORE_WORDS_H

#include "report.h"

#include <stdio.h>

/*
 * The steps of the report's run, a line each, with functions and lines of the
 * program that runs, as far as there is llvm-symbolizer; those that were named
 * (want_names) with names.
 */
void words_steps(const struct report *r, FILE *to);

/* The finding, and where it is. */
void words_finding(const struct report *r, FILE *to);

#endif /* APB_EXPLORE_WORDS_H */
