// SPDX-License-Identifier: MIT
/* Threads of the scenes, and what they know of each other. */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client.h"

void *in_thread(void *(*fn)(void *arg), void *arg)
{
	pthread_t thread;
	void *result;

	if (pthread_create(&thread, NULL, fn, arg) != 0 ||
	    pthread_join(thread, &result) != 0)
		abort();
	return result;
}

void turn_init(struct turn *turn)
{
	if (pipe(turn->fds) != 0)
		abort();
}

/* By syscall(): read() and write() are an order that TSan knows of. */
void turn_give(struct turn *turn, void *p)
{
	if (syscall(SYS_write, turn->fds[1], &p, sizeof(p)) != sizeof(p))
		abort();
}

void *turn_wait(struct turn *turn)
{
	void *p = NULL;

	if (syscall(SYS_read, turn->fds[0], &p, sizeof(p)) != sizeof(p))
		abort();
	return p;
}

void turn_fini(struct turn *turn)
{
	close(turn->fds[0]);
	close(turn->fds[1]);
}

NOINLINE void scrub(void)
{
	char dead[8192];

	memset(hide(dead), 0, sizeof(dead));
	__asm__ volatile("" : : : "memory", "rbx", "r12", "r13", "r14", "r15");
}
