// SPDX-License-Identifier: MIT
/* align-16: C11 7.22.3, glibc manual 3.2.3.6: every block is aligned to 16. */
#include "show.h"

int main(void)
{
	char *p = NULL;

	for (int i = 0; i < 64 && !((uintptr_t)p % 16); i++)
		p = malloc(is(8));
	SHOW((uintptr_t)p % 16 == 0, "malloc(8) = %p", (void *)p);
}
