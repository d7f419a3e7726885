// SPDX-License-Identifier: MIT
/* errno-enomem: POSIX malloc(): errno is ENOMEM. */
#include "show.h"

int main(void)
{
	void *p;

	free(malloc(1));
	errno = UNTOUCHED;
	p = malloc(is(SIZE_MAX - 4000));
	SHOW(!p && errno == ENOMEM, "malloc(SIZE_MAX - 4000) = %p, errno %d", p,
	     errno);
}
