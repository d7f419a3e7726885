// SPDX-License-Identifier: MIT
/* realloc-zero: malloc(3): realloc(p, 0) frees and returns NULL. */
#include "show.h"

int main(void)
{
	void *p = realloc(malloc(is(10)), is(0));

	SHOW(!p, "realloc(p, 0) = %p", p);
}
