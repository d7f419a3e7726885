// SPDX-License-Identifier: MIT
/*
 * align-zero: memalign(3), and ISO C 7.22.3 of aligned_alloc(): a block of 0
 * bytes is as if its size were not 0; so it is aligned as asked for.
 */
#include "show.h"

int main(void)
{
	void *p = NULL;

	for (int i = 0; i < 64 && !((uintptr_t)p % 512); i++)
		p = memalign(is(512), is(0));
	SHOW((uintptr_t)p % 512 == 0, "memalign(512, 0) = %p", p);
}
