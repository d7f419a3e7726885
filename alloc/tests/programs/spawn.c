// SPDX-License-Identifier: MIT
/*
 * Processes made by every means there is, allocating before and after:
 * fork(), also with busy threads and in a tree, vfork(), posix_spawn(),
 * system(), popen().  fork()'s handlers allocate.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "expect.h"

#define NR_THREADS 4
#define NR_FORKS 30

extern char **environ;

static void *kept[64];
static int stop;

/* Random sizes, some blocks kept. */
static void churn(unsigned int n)
{
	static _Thread_local unsigned int seed = 1;
	void *own[64] = {0};
	unsigned int i;

	while (n--) {
		seed = seed * 1664525 + 1013904223;
		i = seed >> 26;
		free(own[i]);
		own[i] = malloc(seed >> 8 & 0x3fff);
		EXPECT(own[i]);
		memset(own[i], 1, seed >> 8 & 0x3ff);
	}
	for (i = 0; i < 64; i++)
		free(own[i]);
}

static void *busy(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		churn(100);
	return arg;
}

static void expect_end(pid_t pid)
{
	int status;

	EXPECT(pid > 0);
	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void handler(void)
{
	free(malloc(1000));
	free(malloc(100000));
}

/* A child that forks too, and one that frees what is its parent's. */
static void fork_tree(unsigned int depth)
{
	pid_t pid = fork();
	unsigned int i;

	if (pid) {
		expect_end(pid);
		return;
	}
	churn(1000);
	for (i = 0; i < 64; i++)
		free(kept[i]);
	if (depth) {
		for (i = 0; i < 64; i++)
			kept[i] = malloc(i * 100);
		fork_tree(depth - 1);
	}
	_exit(0);
}

static void forks(void)
{
	pthread_t id[NR_THREADS];
	unsigned int i;

	EXPECT(!pthread_atfork(handler, handler, handler));
	for (i = 0; i < 64; i++)
		kept[i] = malloc(i * 100);
	fork_tree(3);
	for (i = 0; i < NR_THREADS; i++)
		EXPECT(!pthread_create(&id[i], NULL, busy, NULL));
	for (i = 0; i < NR_FORKS; i++) {
		churn(100);
		fork_tree(i % 10 == 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (i = 0; i < NR_THREADS; i++)
		EXPECT(!pthread_join(id[i], NULL));
	for (i = 0; i < 64; i++)
		free(kept[i]);
}

static void vforks(void)
{
	char *argv[] = {"true", NULL};
	unsigned int i;

	for (i = 0; i < 20; i++) {
		char *p = malloc(i * 1000);
		pid_t pid = vfork();

		if (!pid) {
			execv("/bin/true", argv);
			_exit(1);
		}
		expect_end(pid);
		free(p);
	}
}

static void spawns(void)
{
	char *argv[] = {"sh", "-c", "exit 0", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	unsigned int i;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		EXPECT(!posix_spawn_file_actions_init(&actions));
		EXPECT(!posix_spawn_file_actions_addopen(&actions, 0,
							 "/dev/null", 0, 0));
		EXPECT(!posix_spawnattr_init(&attr));
		EXPECT(!posix_spawnp(&pid, "sh", &actions, &attr, argv,
				     environ));
		EXPECT(!posix_spawn_file_actions_destroy(&actions));
		EXPECT(!posix_spawnattr_destroy(&attr));
		expect_end(pid);
	}
}

static void shells(void)
{
	char line[64] = "";
	FILE *pipe;

	EXPECT(system("exit 7") == 7 << 8);
	pipe = popen("echo some words", "r");
	EXPECT(pipe && fgets(line, sizeof(line), pipe));
	EXPECT(!pclose(pipe) && !strcmp(line, "some words\n"));
}

int main(void)
{
	vforks();
	spawns();
	shells();
	forks();
	vforks();
	shells();
	return 0;
}
