// SPDX-License-Identifier: MIT
/* The states that an input reached; see hits.h. */
#include "hits.h"

#include "feedback.h"

__attribute__((section("__libfuzzer_extra_counters"),
	       used)) static uint8_t counters[FEEDBACK_NR];

static uint16_t hits[FEEDBACK_NR];
static bool seen[FEEDBACK_NR];
static unsigned int nr_hits, nr_seen;

void hits_add(unsigned int state)
{
	if (counters[state])
		return;
	counters[state] = 1;
	hits[nr_hits++] = (uint16_t)state;
	nr_seen += !seen[state];
	seen[state] = true;
}

void hits_clear(void)
{
	while (nr_hits)
		counters[hits[--nr_hits]] = 0;
}

unsigned int feedback_nr_hit(void)
{
	return nr_hits;
}

unsigned int feedback_hit_at(unsigned int i)
{
	return hits[i];
}

unsigned int feedback_seen(void)
{
	return nr_seen;
}
