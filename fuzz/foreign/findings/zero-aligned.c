// SPDX-License-Identifier: MIT
/* zero-size: malloc(3), posix_memalign(3): of 0 bytes a unique pointer. */
#include "show.h"

int main(void)
{
	void *p;

	errno = 0;
	p = memalign(is(64), is(0));
	SHOW(p, "memalign(64, 0) = NULL, errno %d", errno);
}
