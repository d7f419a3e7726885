/* SPDX-License-Identifier: MIT */
/*
 * APB_OPTIONS, the environment variable: read once, at the first slow path or
 * in a constructor, whichever comes first and finds an environment (what the
 * dynamic linker allocates before libc is initialised does not).
 */
#ifndef APB_OPTIONS_H
#define APB_OPTIONS_H

#include <stdbool.h>

/* Whether the variable was looked at; only ever goes from false to true. */
extern bool apb_options_read;

/*
 * Read it, if it was not read before.  Called with no lock held, as it calls
 * apb_set_option(); allocates nothing.
 */
void apb_options_init(void);

static inline void apb_options_want(void)
{
	if (__builtin_expect(
		    !__atomic_load_n(&apb_options_read, __ATOMIC_RELAXED), 0))
		apb_options_init();
}

/*
 * Apply a list as APB_OPTIONS holds it.  What is unknown or malformed is told
 * on stderr, a line each, and ignored.
 */
void apb_options_parse(const char *list);

#endif /* APB_OPTIONS_H */
