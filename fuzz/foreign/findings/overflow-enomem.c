// SPDX-License-Identifier: MIT
/* overflow-enomem: POSIX calloc(): errno is ENOMEM. */
#include "show.h"

int main(void)
{
	void *p;

	free(malloc(1));
	errno = UNTOUCHED;
	p = calloc(is(SIZE_MAX / 2), is(4));
	SHOW(!p && errno == ENOMEM, "calloc(SIZE_MAX / 2, 4) = %p, errno %d", p,
	     errno);
}
