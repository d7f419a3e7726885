// SPDX-License-Identifier: MIT
/*
 * fork() by threads, others busy, with the handlers of handlers.so: in a
 * thread that never allocated, too.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "expect.h"

#define NR_FORKS 40
#define NR_SHORT 8

int handlers_called(void);

static int stop;

static void *busy(void *arg)
{
	unsigned int seed = 1;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		seed = seed * 1664525 + 1013904223;
		free(malloc(seed >> 16 & 0x1fff));
	}
	return arg;
}

static void *brief(void *barrier)
{
	free(malloc(10));
	pthread_barrier_wait(barrier);
	return NULL;
}

/* What these threads had is nobody's when they have ended. */
static void short_threads(void)
{
	pthread_barrier_t barrier;
	pthread_t id[NR_SHORT];
	int i;

	EXPECT(!pthread_barrier_init(&barrier, NULL, NR_SHORT));
	for (i = 0; i < NR_SHORT; i++)
		EXPECT(!pthread_create(&id[i], NULL, brief, &barrier));
	for (i = 0; i < NR_SHORT; i++)
		EXPECT(!pthread_join(id[i], NULL));
}

static void *forker(void *arg)
{
	int before = handlers_called(), status;
	pid_t pid = fork();

	if (!pid) {
		EXPECT(handlers_called() == before + 2);
		free(malloc(10));
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && !status);
	EXPECT(handlers_called() == before + 2);
	return arg;
}

int main(void)
{
	pthread_t busy_id, id;
	int i;

	forker(NULL);
	short_threads();
	forker(NULL);
	EXPECT(!pthread_create(&busy_id, NULL, busy, NULL));
	for (i = 0; i < NR_FORKS; i++) {
		EXPECT(!pthread_create(&id, NULL, forker, NULL));
		EXPECT(!pthread_join(id, NULL));
		forker(NULL);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	EXPECT(!pthread_join(busy_id, NULL));
	return 0;
}
