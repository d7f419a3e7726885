// SPDX-License-Identifier: MIT
/* aligned-enomem: POSIX.1-2024 aligned_alloc(): errno is ENOMEM. */
#include "show.h"

int main(void)
{
	void *p;

	free(malloc(1));
	errno = UNTOUCHED;
	p = aligned_alloc(is(64), is(SIZE_MAX / 2 + 1));
	SHOW(!p && errno == ENOMEM,
	     "aligned_alloc(64, SIZE_MAX / 2 + 1) = %p, errno %d", p, errno);
}
