/* SPDX-License-Identifier: MIT */
/*
 * What helgrind and DRD have to be told of a word that threads sleep on: they
 * know of no atomics and no futex.  In builds for valgrind; elsewhere nothing is
 * left of the calls.
 */
#ifndef APB_FOREIGN_BATON_H
#define APB_FOREIGN_BATON_H

#include <apb/sanitize.h>

#if APB_SAN_VALGRIND
#include <valgrind/drd.h>
/* Both headers have macros of these names. */
#undef ANNOTATE_HAPPENS_BEFORE
#undef ANNOTATE_HAPPENS_AFTER
#include <valgrind/helgrind.h>

static inline void baton_given(void *word)
{
	VALGRIND_HG_DISABLE_CHECKING(word, 4);
	VALGRIND_DO_CLIENT_REQUEST_STMT(VG_USERREQ__DRD_START_SUPPRESSION, word,
					4, 0, 0, 0);
	ANNOTATE_HAPPENS_BEFORE(word);
	VALGRIND_DO_CLIENT_REQUEST_STMT(VG_USERREQ__DRD_ANNOTATE_HAPPENS_BEFORE,
					word, 0, 0, 0, 0);
}

static inline void baton_taken(void *word)
{
	ANNOTATE_HAPPENS_AFTER(word);
	VALGRIND_DO_CLIENT_REQUEST_STMT(VG_USERREQ__DRD_ANNOTATE_HAPPENS_AFTER,
					word, 0, 0, 0, 0);
}
#else
static inline void baton_given(void *word)
{
	(void)word;
}

static inline void baton_taken(void *word)
{
	(void)word;
}
#endif

#endif /* APB_FOREIGN_BATON_H */
