// SPDX-License-Identifier: MIT
/*
 * The custom mutator of AFL++: a library that afl-fuzz loads
 * (AFL_CUSTOM_MUTATOR_LIBRARY).  It changes inputs by whole operations beside
 * what havoc does to their bytes, trims them by whole operations, and says in
 * the names of the files in the queue what was done.
 *
 * The functions are those of AFL++'s documentation, custom_mutators.md; there is
 * no header of it to include in Debian's package.
 */
#include "mutate.h"

#include "ops.h"

#include <stdlib.h>
#include <string.h>

#define SIZE_MAX_INPUT ((size_t)1 << 20) /* what AFL++ ever has */
#define WORDS_MAX 96
#define TRIM_STEPS 64
#define FUZZ_COUNT 96

#define EXPORT __attribute__((visibility("default")))

struct mutator {
	uint64_t rng;
	struct trim trim;
	char words[WORDS_MAX];
	uint8_t mutated[SIZE_MAX_INPUT + OPS_HEADER_SIZE + OPS_RECORD_SIZE];
	uint8_t best[SIZE_MAX_INPUT], tried[SIZE_MAX_INPUT];
};

EXPORT void *afl_custom_init(void *afl, unsigned int seed);
EXPORT void afl_custom_deinit(struct mutator *mu);
EXPORT size_t afl_custom_fuzz(struct mutator *mu, const uint8_t *buf,
			      size_t size, uint8_t **out, const uint8_t *add,
			      size_t add_size, size_t max);
EXPORT unsigned int afl_custom_fuzz_count(struct mutator *mu,
					  const uint8_t *buf, size_t size);
EXPORT const char *afl_custom_describe(struct mutator *mu, size_t most);
EXPORT int afl_custom_init_trim(struct mutator *mu, const uint8_t *buf,
				size_t size);
EXPORT size_t afl_custom_trim(struct mutator *mu, uint8_t **out);
EXPORT int afl_custom_post_trim(struct mutator *mu, unsigned char success);

void *afl_custom_init(void *afl, unsigned int seed)
{
	struct mutator *mu = calloc(1, sizeof(*mu));

	(void)afl;
	if (mu)
		mu->rng = seed;
	return mu;
}

void afl_custom_deinit(struct mutator *mu)
{
	free(mu);
}

size_t afl_custom_fuzz(struct mutator *mu, const uint8_t *buf, size_t size,
		       uint8_t **out, const uint8_t *add, size_t add_size,
		       size_t max)
{
	struct mutation m = {
		.data = mu->mutated,
		.rng = mu->rng,
		.words = mu->words,
		.room = sizeof(mu->words),
	};

	m.max = max < SIZE_MAX_INPUT ? max : SIZE_MAX_INPUT;
	m.size = size < m.max ? size : m.max;
	*out = mu->mutated;
	memcpy(m.data, buf, m.size);
	*mu->words = '\0';
	if (m.max >= OPS_HEADER_SIZE + OPS_RECORD_SIZE)
		mutate(&m, add, add ? add_size : 0);
	mu->rng = m.rng;
	return m.size;
}

/* How often for an input at a time: about a third of what havoc does. */
unsigned int afl_custom_fuzz_count(struct mutator *mu, const uint8_t *buf,
				   size_t size)
{
	(void)mu;
	(void)buf;
	(void)size;
	return FUZZ_COUNT;
}

/* Words of the last change, for a file's name: "ops,drop3@7,splice2@0". */
const char *afl_custom_describe(struct mutator *mu, size_t most)
{
	static char name[WORDS_MAX + 4];
	size_t n = 3;

	memcpy(name, "ops", 4);
	for (const char *p = mu->words; *p && n + 1 < sizeof(name); p++)
		name[n++] = *p == ' ' ? ',' : *p;
	name[n] = '\0';
	/* as many whole words as there is room for */
	while (n > most && n) {
		char *last = strrchr(name, ',');

		n = last ? (size_t)(last - name) : 0;
		name[n] = '\0';
	}
	return name;
}

/* How many steps there may be; 0: none. */
int afl_custom_init_trim(struct mutator *mu, const uint8_t *buf, size_t size)
{
	if (size > SIZE_MAX_INPUT)
		return 0;
	memcpy(mu->best, buf, size);
	return trim_begin(&mu->trim, mu->best, size, TRIM_STEPS) ? TRIM_STEPS :
								   0;
}

size_t afl_custom_trim(struct mutator *mu, uint8_t **out)
{
	*out = mu->tried;
	return trim_try(&mu->trim, mu->tried);
}

/* The number of the next step; TRIM_STEPS: there is none. */
int afl_custom_post_trim(struct mutator *mu, unsigned char success)
{
	if (!trim_next(&mu->trim, success, mu->best))
		return TRIM_STEPS;
	return (int)mu->trim.step;
}
