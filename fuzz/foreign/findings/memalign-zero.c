// SPDX-License-Identifier: MIT
/*
 * align-zero: memalign(3), and ISO C 7.22.3 of aligned_alloc(): a block of 0
 * bytes is as if its size were not 0; so it is aligned as asked for.
 */
#include "show.h"

int main(void)
{
	for (int i = 0; i < 64; i++) {
		char *p = memalign(is(512), is(0)), *q = valloc(is(0));

		if ((uintptr_t)p % 512 && (uintptr_t)q % 4096)
			SHOW(0, "memalign(512, 0) = %p, valloc(0) = %p",
			     (void *)p, (void *)q);
	}
	return 0;
}
