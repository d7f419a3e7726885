// SPDX-License-Identifier: MIT
/*
 * Prints whether the process is one whose environment is not to be trusted.
 * Installed as a set-user-ID program it must not listen to APB_OPTIONS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>

int main(void)
{
	free(malloc(100));
	puts(getauxval(AT_SECURE) ? "secure" : "not secure");
	return 0;
}
