// SPDX-License-Identifier: MIT
/* realloc-enomem: POSIX realloc(): errno is ENOMEM. */
#include "show.h"

int main(void)
{
	void *p = malloc(is(10)), *q;

	errno = UNTOUCHED;
	q = realloc(p, is(SIZE_MAX - 4000));
	SHOW(!q && errno == ENOMEM,
	     "realloc(p, SIZE_MAX - 4000) = %p, errno %d", q, errno);
}
