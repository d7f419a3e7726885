// SPDX-License-Identifier: MIT
/*
 * aligned-size: C17 7.22.3.1 (DR 460), C23: the size need not be a multiple of
 * the alignment.
 */
#include "show.h"

int main(void)
{
	void *p;

	errno = 0;
	p = aligned_alloc(is(64), is(100));
	SHOW(p, "aligned_alloc(64, 100) = NULL, errno %d", errno);
}
