// SPDX-License-Identifier: MIT
/* aligned-einval: POSIX.1-2024 aligned_alloc(): EINVAL. */
#include "show.h"

int main(void)
{
	void *p;

	errno = UNTOUCHED;
	p = aligned_alloc(is(24), 240);
	SHOW(p || errno == EINVAL, "aligned_alloc(24, 240) = NULL, errno %d",
	     errno);
}
