// SPDX-License-Identifier: MIT
/*
 * dies: ISO C free() has no failure; here the kernel refuses to unmap, as it may
 * at the limit of mappings.
 */
#include "show.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int refuse;

int munmap(void *addr, size_t size)
{
	if (!refuse)
		return (int)syscall(SYS_munmap, addr, size);
	errno = ENOMEM;
	return -1;
}

int main(void)
{
	int status = 0;

	if (!fork()) {
		char *p[64];

		for (int i = 0; i < 64; i++)
			p[i] = malloc((size_t)16 << 20);
		refuse = 1;
		for (int i = 0; i < 64; i++)
			free(p[i]);
		_exit(0);
	}
	wait(&status);
	SHOW(WIFEXITED(status), "free of 16 MiB: signal %d", WTERMSIG(status));
}
