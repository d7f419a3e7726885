// SPDX-License-Identifier: MIT
/*
 * dies: ISO C malloc(), POSIX: without memory it returns a null pointer; here
 * to a new thread, in a process that may not map any more.
 */
#include "show.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void *use(void *arg)
{
	struct rlimit none = {0, RLIM_INFINITY};

	(void)arg;
	setrlimit(RLIMIT_AS, &none);
	for (size_t size = 1; size < (size_t)1 << 20; size *= 2)
		free(malloc(is(size)));
	return NULL;
}

int main(void)
{
	int status = 0;
	pthread_t thread;

	if (!fork()) {
		free(malloc(is(1)));
		if (!pthread_create(&thread, NULL, use, NULL))
			pthread_join(thread, NULL);
		_exit(0);
	}
	wait(&status);
	SHOW(WIFEXITED(status), "malloc() in a new thread: signal %d",
	     WTERMSIG(status));
}
