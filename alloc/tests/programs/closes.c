// SPDX-License-Identifier: MIT
/*
 * Closes a library that has an allocator in it while a thread lives that has
 * used it: closes LIBRARY.  Nor are files left open, if it printed statistics.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "expect.h"

static void *lib;
static pthread_barrier_t barrier;

#define FILES 1024

static unsigned int open_files(void)
{
	unsigned int n = 0;
	int fd;

	for (fd = 0; fd < FILES; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void *user(void *arg)
{
	int (*run)(void) = (int (*)(void))dlsym(lib, "inside_run");

	EXPECT(run && !run());
	pthread_barrier_wait(&barrier);
	/* it is closed here */
	pthread_barrier_wait(&barrier);
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t id;
	pid_t pid;
	unsigned int files = open_files();
	int status, i;

	EXPECT(argc == 2);
	EXPECT(!pthread_barrier_init(&barrier, NULL, 2));
	for (i = 0; i < 3; i++) {
		lib = dlopen(argv[1], RTLD_NOW);
		EXPECT(lib);
		EXPECT(!pthread_create(&id, NULL, user, NULL));
		pthread_barrier_wait(&barrier);
		EXPECT(!dlclose(lib));
		EXPECT(!dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD));
		EXPECT(open_files() == files);
		pthread_barrier_wait(&barrier);
		EXPECT(!pthread_join(id, NULL));
		pid = fork();
		if (!pid)
			_exit(0);
		EXPECT(waitpid(pid, &status, 0) == pid && !status);
	}
	return 0;
}
