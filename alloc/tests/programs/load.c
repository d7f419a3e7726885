// SPDX-License-Identifier: MIT
/*
 * Libraries that come and go: load DIRECTORY APB
 *
 * DIRECTORY holds plugin.so, a C++ library; it is loaded and unloaded, by
 * threads too.  With APB, the path of libapb.so: that is loaded for the
 * program alone, used, unloaded and used again.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "expect.h"

#define NR_ROUNDS 20

static char plugin[4096];

static void *load_once(void *arg)
{
	void *lib = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
	void *(*run)(void);

	EXPECT(lib);
	run = (void *(*)(void))dlsym(lib, "plugin_run");
	EXPECT(run);
	free(run());
	EXPECT(!dlclose(lib));
	return arg;
}

static void *load(void *arg)
{
	int i;

	/* the library's handler and its count are one for all threads */
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	for (i = 0; i < NR_ROUNDS; i++) {
		pthread_mutex_lock(&lock);
		load_once(NULL);
		pthread_mutex_unlock(&lock);
	}
	return arg;
}

/* What a program starts with may be opened and closed, too. */
static void load_others(void)
{
	static const char *const names[] = {"libc.so.6", "libm.so.6",
					    "libresolv.so.2", "no-such.so"};
	unsigned int i, j;

	for (i = 0; i < NR_ROUNDS; i++) {
		for (j = 0; j < 4; j++) {
			void *lib = dlopen(names[j], RTLD_LAZY);

			EXPECT(!lib == (j == 3));
			if (lib)
				EXPECT(!dlclose(lib));
			else
				EXPECT(dlerror());
		}
	}
}

struct apb {
	void *lib;
	void *(*malloc)(size_t);
	void *(*realloc)(void *, size_t);
	void (*free)(void *);
	int (*check)(void *);
};

static void open_apb(struct apb *apb, const char *path)
{
	apb->lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	EXPECT(apb->lib);
	apb->malloc = (void *(*)(size_t))dlsym(apb->lib, "apb_malloc");
	apb->realloc =
		(void *(*)(void *, size_t))dlsym(apb->lib, "apb_realloc");
	apb->free = (void (*)(void *))dlsym(apb->lib, "apb_free");
	apb->check = (int (*)(void *))dlsym(apb->lib, "apb_check");
	EXPECT(apb->malloc && apb->realloc && apb->free && apb->check);
	EXPECT(!dlsym(apb->lib, "apb_state"));
}

static void *in_thread(void *arg)
{
	struct apb *apb = arg;
	char *p = apb->malloc(100);

	memset(p, 1, 100);
	apb->free(apb->malloc(100000));
	return p;
}

static void use_apb(const char *path)
{
	struct apb apb, again;
	pthread_t id;
	void *p;
	int i;

	open_apb(&apb, path);
	p = apb.malloc(1000);
	EXPECT(p);
	EXPECT(!dlclose(apb.lib));
	/* it stays, with the block, and for threads that end later */
	memset(p, 2, 1000);
	EXPECT(!pthread_create(&id, NULL, in_thread, &apb));
	open_apb(&again, path);
	EXPECT(again.malloc == apb.malloc);
	again.free(p);
	EXPECT(!dlclose(again.lib));
	EXPECT(!pthread_join(id, &p));
	apb.free(p);
	for (i = 0; i < 10000; i++)
		apb.free(apb.malloc((size_t)i * 7));
	/* its own malloc, not that of libapb-malloc.so */
	apb.free(apb.realloc(NULL, 100));
	EXPECT(!apb.check(NULL));
}

int main(int argc, char **argv)
{
	pthread_t id[2];
	int i;

	EXPECT(argc == 3);
	snprintf(plugin, sizeof(plugin), "%s/plugin.so", argv[1]);
	for (i = 0; i < NR_ROUNDS; i++)
		load_once(NULL);
	for (i = 0; i < 2; i++)
		EXPECT(!pthread_create(&id[i], NULL, load, NULL));
	for (i = 0; i < 2; i++)
		EXPECT(!pthread_join(id[i], NULL));
	load_others();
	use_apb(argv[2]);
	load_others();
	return 0;
}
