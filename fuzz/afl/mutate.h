/* SPDX-License-Identifier: MIT */
/*
 * Mutation and trimming of inputs by whole operations.  Pure functions of
 * bytes and of a random state; mutator.c makes a library for AFL++ of them.
 */
#ifndef APB_AFL_MUTATE_H
#define APB_AFL_MUTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An input that is changed: whole records behind a header. */
struct mutation {
	uint8_t *data;
	size_t size, max; /* bytes */
	uint64_t rng;
	char *words; /* what was done, "drop3 splice7"; may be cut short */
	size_t room; /* for them */
};

/*
 * Change @m->data, which holds @m->size of @m->max bytes, once to a few times.
 * @other is another input, from which records may be taken.  The result has a
 * header and no more bytes than @m->max, which has to have room for a header
 * and a record.
 */
void mutate(struct mutation *m, const uint8_t *other, size_t other_size);

/*
 * Trimming: runs of records are left out, of half of them down to one at a
 * time, from the end to the beginning, and stay out if the input still does
 * what it did.  At most @steps tries.
 */
struct trim {
	const uint8_t *data; /* the best so far */
	size_t size;
	size_t run, at; /* records left out next, behind so many */
	unsigned int step, steps;
};

/* @data has to stay until the trim is over.  False: there is nothing to do. */
bool trim_begin(struct trim *t, const uint8_t *data, size_t size,
		unsigned int steps);

/* Write what is to be tried to @out, and return its size. */
size_t trim_try(const struct trim *t, uint8_t *out);

/* Whether that did what the input did; false when it was the last try. */
bool trim_next(struct trim *t, bool kept, uint8_t *data);

#endif /* APB_AFL_MUTATE_H */
