// SPDX-License-Identifier: MIT
/* align-asked: ISO C aligned_alloc(), POSIX posix_memalign(). */
#include "show.h"

int main(void)
{
	void *p = aligned_alloc(is(256), is(256));

	SHOW((uintptr_t)p % 256 == 0, "aligned_alloc(256, 256) = %p", p);
}
