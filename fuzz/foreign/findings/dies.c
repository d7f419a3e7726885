// SPDX-License-Identifier: MIT
/*
 * dies: ISO C malloc(), POSIX: without memory it returns a null pointer; ENOMEM.
 */
#include "show.h"

#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int status = 0;

	if (!fork()) {
		void *p = malloc(is((size_t)1 << 38)); /* 256 GiB */

		_exit(p || errno == ENOMEM ? 0 : 1);
	}
	wait(&status);
	SHOW(WIFEXITED(status), "malloc(2^38): signal %d", WTERMSIG(status));
}
