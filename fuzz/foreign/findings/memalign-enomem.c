// SPDX-License-Identifier: MIT
/* aligned-enomem: memalign(3): errno is ENOMEM. */
#include "show.h"

int main(void)
{
	void *p;

	free(malloc(1));
	errno = UNTOUCHED;
	p = memalign(is(64), is(SIZE_MAX - 100));
	SHOW(!p && errno == ENOMEM,
	     "memalign(64, SIZE_MAX - 100) = %p, errno %d", p, errno);
}
