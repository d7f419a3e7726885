// SPDX-License-Identifier: MIT
/*
 * fork() while another thread has the lock of locks.so, for which its handler
 * waits, and allocates with it.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

#define NR 200
#define WAIT_US 50000 /* for fork() to have begun */
#define SECONDS 20

extern pthread_mutex_t library_lock;

static pthread_barrier_t barrier;

static void *holder(void *arg)
{
	void *blocks[NR];
	size_t i;

	EXPECT(!pthread_mutex_lock(&library_lock));
	pthread_barrier_wait(&barrier);
	usleep(WAIT_US);
	for (i = 0; i < NR; i++) {
		blocks[i] = malloc(1 + i * 500);
		EXPECT(blocks[i]);
	}
	for (i = 0; i < NR; i++)
		free(blocks[i]);
	EXPECT(!pthread_mutex_unlock(&library_lock));
	return arg;
}

int main(void)
{
	pthread_t id;
	int status;
	pid_t pid;

	/* to wait for ever is what is looked for */
	alarm(SECONDS);
	EXPECT(!pthread_barrier_init(&barrier, NULL, 2));
	EXPECT(!pthread_create(&id, NULL, holder, NULL));
	pthread_barrier_wait(&barrier);
	pid = fork();
	if (!pid) {
		EXPECT(!pthread_mutex_lock(&library_lock));
		free(malloc(10));
		free(malloc(100000));
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && !status);
	EXPECT(!pthread_join(id, NULL));
	return 0;
}
