// SPDX-License-Identifier: MIT
/*
 * Misuse: frees a block twice, then goes on; prints "still here" if it could.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int outside;

int main(void)
{
	char *volatile p = malloc(100);
	char *volatile q = (char *)&outside;
	char *other;

	free(p);
	free(p);
	free(q);
	other = malloc(100);
	memset(other, 1, 100);
	free(other);
	puts("still here");
	return 0;
}
