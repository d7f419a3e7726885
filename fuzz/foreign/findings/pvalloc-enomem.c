// SPDX-License-Identifier: MIT
/* aligned-enomem: pvalloc(3): errno is ENOMEM. */
#include "show.h"

int main(void)
{
	void *p;

	free(malloc(1));
	errno = UNTOUCHED;
	p = pvalloc(is(SIZE_MAX));
	SHOW(p || errno == ENOMEM, "pvalloc(SIZE_MAX) = %p, errno %d", p,
	     errno);
}
