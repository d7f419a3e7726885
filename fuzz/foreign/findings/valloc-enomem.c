// SPDX-License-Identifier: MIT
/* aligned-enomem: valloc(3): errno is ENOMEM. */
#include "show.h"

int main(void)
{
	void *p;

	free(malloc(1));
	errno = UNTOUCHED;
	p = valloc(is(SIZE_MAX / 2 + 1));
	SHOW(!p && errno == ENOMEM, "valloc(SIZE_MAX / 2 + 1) = %p, errno %d",
	     p, errno);
}
