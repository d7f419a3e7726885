// SPDX-License-Identifier: MIT
/*
 * must-fail: a block has the size asked for, and no address space has so much;
 * of a large block the sum of the size and what the library adds wraps.
 */
#include "show.h"

int main(void)
{
	char *p = malloc(is(1228800)), *q = realloc(p, is(SIZE_MAX));

	SHOW(!q, "realloc(p, SIZE_MAX) = %p, %zu bytes usable", (void *)q,
	     malloc_usable_size(q));
}
