// SPDX-License-Identifier: MIT
/* Which rules hold; see rules.h. */
#include "rules.h"

#include "target.h"

#include <string.h>

const struct rule_words rule_words[RULE_NR] = {
	[RULE_NULL] = {"null-without-cause", false,
		       "POSIX malloc: ENOMEM is for insufficient storage"},
	[RULE_MUST_FAIL] = {"must-fail", false,
			    "ISO C: a block has the size asked for; no "
			    "address space has that much"},
	[RULE_OVERFLOW] = {"overflow", false,
			   "C23 7.24.3.2, POSIX calloc, reallocarray: a "
			   "product that overflows is refused"},
	[RULE_ENOMEM] = {"errno-enomem", false,
			 "POSIX malloc, calloc: errno is ENOMEM"},
	[RULE_OVERFLOW_ENOMEM] = {"overflow-enomem", false,
				  "POSIX calloc, reallocarray: errno is "
				  "ENOMEM, also of a product that overflows"},
	[RULE_REALLOC_ENOMEM] = {"realloc-enomem", false,
				 "POSIX realloc, reallocarray: errno is "
				 "ENOMEM"},
	[RULE_ALIGNED_ENOMEM] = {"aligned-enomem", false,
				 "POSIX.1-2024 aligned_alloc, memalign(3): "
				 "errno is ENOMEM"},
	[RULE_FREE_ERRNO] = {"errno-free", false,
			     "POSIX.1-2024 free: errno is not modified"},
	[RULE_FREE_ERRNO_FAULT] = {"errno-free-fault", false,
				   "POSIX.1-2024 free: errno is not modified; "
				   "here a call of the kernel failed"},
	[RULE_ALIGN] = {"align", false,
			"C23 7.24.3.1: aligned for any object of at most the "
			"size: min(16, largest power of two <= n)"},
	[RULE_ALIGN_ASKED] = {"align-asked", false,
			      "ISO C aligned_alloc, POSIX posix_memalign: "
			      "aligned as asked for"},
	[RULE_ALIGN_ZERO] = {"align-zero", false,
			     "ISO C 7.22.3: a block of 0 bytes is as one of "
			     "some other size, so aligned as asked for"},
	[RULE_OVERLAP] = {"overlap", false,
			  "ISO C 7.22.3: objects disjoint from all others"},
	[RULE_ZERO] = {"zero", false, "ISO C calloc: all bits zero"},
	[RULE_CONTENT] = {"content", false,
			  "ISO C 6.2.4: an object retains its last-stored "
			  "value"},
	[RULE_REALLOC_CONTENT] = {"realloc-content", false,
				  "ISO C realloc: the same up to the lesser "
				  "size"},
	[RULE_REALLOC_FAILED] = {"realloc-failed", false,
				 "ISO C realloc: if it fails the old object is "
				 "unchanged"},
	[RULE_ALIGNED_VALID] = {"aligned-invalid", false,
				"C17 7.22.3.1 (DR 460), C23: aligned_alloc "
				"fails for an alignment that is not valid"},
	[RULE_ALIGNED_EINVAL] = {"aligned-einval", false,
				 "POSIX.1-2024 aligned_alloc: EINVAL for an "
				 "alignment that is not valid"},
	[RULE_ALIGNED_SIZE] = {"aligned-size", false,
			       "C17 7.22.3.1 (DR 460), C23: the size need not "
			       "be a multiple of the alignment"},
	[RULE_MEMALIGN_EINVAL] = {"posix-memalign-einval", false,
				  "POSIX posix_memalign: EINVAL unless a power "
				  "of two times sizeof(void *)"},
	[RULE_MEMALIGN_ENOMEM] = {"posix-memalign-enomem", false,
				  "POSIX posix_memalign: ENOMEM"},
	[RULE_MEMALIGN_PTR] = {"posix-memalign-ptr", false,
			       "POSIX posix_memalign: if it fails *memptr is "
			       "unmodified or null"},
	[RULE_ALIGN_16] = {"align-16", true,
			   "C11 7.22.3, glibc manual 3.2.3.6: every block "
			   "is aligned to 16 on 64-bit systems"},
	[RULE_USABLE] = {"usable", true,
			 "malloc_usable_size(3): at least the size asked for"},
	[RULE_USABLE_OVERLAP] = {"usable-overlap", true,
				 "malloc_usable_size(3): the bytes are the "
				 "block's"},
	[RULE_USABLE_CHANGES] = {"usable-changes", true,
				 "malloc_usable_size(3): of a block that "
				 "nobody touched it is what it was"},
	[RULE_USABLE_NULL] = {"usable-null", true,
			      "malloc_usable_size(3): 0 of NULL"},
	[RULE_ZERO_SIZE] = {"zero-size", true,
			    "malloc(3): of 0 bytes a unique pointer, not NULL"},
	[RULE_REALLOC_ZERO] = {"realloc-zero", true,
			       "malloc(3): realloc(p, 0) frees and returns "
			       "NULL"},
	[RULE_MEMALIGN_SAME] = {"posix-memalign-same", true,
				"posix_memalign(3): if it fails *memptr is "
				"unmodified"},
	[RULE_PAGE_ALIGN] = {"page-align", true,
			     "valloc(3), pvalloc(3): a multiple of the page "
			     "size"},
	[RULE_PVALLOC_SIZE] = {"pvalloc-size", true,
			       "pvalloc(3): the size is rounded up to pages"},
	[RULE_TRIM] = {"trim", true, "malloc_trim(3): returns 1 or 0"},
};

static bool holds[RULE_NR], passes[RULE_NR];
static uint64_t passed[RULE_NR];
static bool strictly; /* known breaches are findings, too */
static const struct rule_deadly *deadly; /* the target's, or NULL */

bool rule_holds(enum rule rule)
{
	return holds[rule] && !passes[rule];
}

void rule_passed(enum rule rule)
{
	passed[rule] += passes[rule];
}

uint64_t rule_times_passed(enum rule rule)
{
	return passed[rule];
}

unsigned int rules_faults(unsigned int calls)
{
	return deadly ? calls & ~deadly->calls : calls;
}

bool rules_size(size_t size)
{
	return !deadly || size < deadly->from || size >= deadly->to;
}

bool rules_warm_up(void)
{
	return deadly && deadly->first;
}

/* ---- what is asked for -------------------------------------------------- */

static void set_level(bool glibc)
{
	for (int i = 0; i < RULE_NR; i++)
		holds[i] = glibc || !rule_words[i].glibc;
}

static bool set_rule(const char *name, size_t len, bool on)
{
	for (int i = 0; i < RULE_NR; i++) {
		if (strlen(rule_words[i].name) != len ||
		    strncmp(rule_words[i].name, name, len))
			continue;
		holds[i] = on;
		return true;
	}
	return false;
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && !strncmp(text, word, len);
}

static bool set_word(const char *text, size_t len)
{
	if (is_word(text, len, "strict"))
		set_level(false);
	else if (is_word(text, len, "glibc"))
		set_level(true);
	else if (is_word(text, len, "none"))
		memset(holds, 0, sizeof(holds));
	else if (is_word(text, len, "known"))
		strictly = true;
	else if (*text == '+' || *text == '-')
		return set_rule(text + 1, len - 1, *text == '+');
	else
		return false;
	return true;
}

const char *rules_set(const char *text)
{
	set_level(false);
	strictly = false;
	while (*text) {
		size_t len = strcspn(text, ",");

		if (!set_word(text, len))
			return "must be a list of strict, glibc, none, +rule, "
			       "-rule, known";
		text += len + (text[len] == ',');
	}
	memset(passes, 0, sizeof(passes));
	for (unsigned int i = 0; i < rules_nr_known && !strictly; i++)
		if (target_is(rules_known[i].library))
			passes[rules_known[i].rule] = true;
	deadly = NULL;
	for (unsigned int i = 0; i < rules_nr_deadly && !strictly; i++)
		if (target_is(rules_deadly[i].library))
			deadly = &rules_deadly[i];
	return NULL;
}

void rules_say(FILE *to)
{
	for (unsigned int i = 0; i < rules_nr_known && !strictly; i++)
		if (target_is(rules_known[i].library) &&
		    holds[rules_known[i].rule])
			fprintf(to, "apb:   known, passed over: %s: %s\n",
				rule_words[rules_known[i].rule].name,
				rules_known[i].why);
	if (deadly)
		fprintf(to, "apb:   known, not done to it: %s\n", deadly->why);
}
