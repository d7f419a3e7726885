// SPDX-License-Identifier: MIT
/* Junk mode; see junk.h. */
#include "uninstrumented.h"

#include "debug/junk.h"

#include "debug/report.h"
#include "fill.h"

/* Offset of the first byte that is not as it was left, or @size. */
static size_t first_change(const unsigned char *block, size_t size)
{
	size_t i = 0;

	while (i < size && block[i] == APB_JUNK_DIED)
		i++;
	return i;
}

void apb_junk_born(struct apb_entry entry, size_t size)
{
	size_t at = size;
	struct apb_misuse m;

	if (apb_entry_freed(entry))
		at = first_change(entry.block, size);
	if (at < size) {
		apb_misuse_corrupt(&m, entry.block, at,
				   ((unsigned char *)entry.block)[at]);
		apb_misuse_tell(&m);
	}
	apb_fill(entry.block, APB_JUNK_BORN, size);
}

#include "instrumented.h"
