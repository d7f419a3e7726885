// SPDX-License-Identifier: MIT
/*
 * must-fail: a block has the size asked for, and no address space has so much:
 * the size wraps to 0 when it is rounded up to pages.
 */
#include "show.h"

int main(void)
{
	void *p = pvalloc(is(SIZE_MAX - 100));

	SHOW(!p, "pvalloc(SIZE_MAX - 100) = %p, %zu bytes usable", p,
	     malloc_usable_size(p));
}
