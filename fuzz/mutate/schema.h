/* SPDX-License-Identifier: MIT */
/*
 * What a source with all its mutants in it refers to: it is compiled once,
 * and the process chooses one of them when it starts.
 */
#ifndef APB_MUTATE_SCHEMA_H
#define APB_MUTATE_SCHEMA_H

/* The mutant that runs, from 1 up; 0: the original. */
extern unsigned int apb_mutant;

/* A byte for each mutant; there are APB_MUTANTS_MAX at least. */
#define APB_MUTANTS_MAX 65536
extern unsigned char *apb_mutant_marks;

/* The original runs, and mutant @n would have made a difference. */
static inline void apb_mutant_mark(unsigned int n)
{
	/* many threads come by, most of them not for the first time */
	if (!__atomic_load_n(apb_mutant_marks + n, __ATOMIC_RELAXED))
		__atomic_store_n(apb_mutant_marks + n, 1, __ATOMIC_RELAXED);
}

#endif /* APB_MUTATE_SCHEMA_H */
