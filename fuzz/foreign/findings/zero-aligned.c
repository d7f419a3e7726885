// SPDX-License-Identifier: MIT
/* zero-size: malloc(3), posix_memalign(3): of 0 bytes a unique pointer. */
#include "show.h"

int main(void)
{
	void *a = aligned_alloc(is(64), is(0)), *m = memalign(is(64), is(0));
	void *v;

	errno = 0;
	v = valloc(is(0));
	SHOW(a && m && v,
	     "aligned_alloc(64, 0) = %p, memalign(64, 0) = %p, valloc(0) = %p, "
	     "errno %d",
	     a, m, v, errno);
}
