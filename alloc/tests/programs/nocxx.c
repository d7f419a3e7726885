// SPDX-License-Identifier: MIT
/*
 * The operators new where no C++ library is loaded: those that do not throw
 * return NULL, one that does can but end the process.  The argument says which
 * one: "aligned", or the plain one; "other": there are another library's, and
 * these are asked.  As this allocates nothing before main(), it also sees what
 * mallopt() does then.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"
#include "othernew.h"

#define HUGE_SIZE ((size_t)PTRDIFF_MAX + 1)

typedef void *(*new_fn)(size_t size);
typedef void *(*new_aligned_fn)(size_t size, size_t align);
typedef void *(*nothrow_fn)(size_t size, const void *nothrow);
typedef void *(*nothrow_aligned_fn)(size_t size, size_t align,
				    const void *nothrow);

static void *find(const char *name)
{
	void *fn = dlsym(RTLD_DEFAULT, name);

	if (!fn)
		printf("no %s\n", name);
	EXPECT(fn);
	return fn;
}

static void nothrow(const char *name)
{
	nothrow_fn fn = (nothrow_fn)find(name);
	void *p = fn(10, "");

	EXPECT(p);
	free(p);
	EXPECT(!fn(HUGE_SIZE, ""));
}

static void nothrow_aligned(const char *name)
{
	nothrow_aligned_fn fn = (nothrow_aligned_fn)find(name);
	void *p = fn(10, 64, "");

	EXPECT(p && !((uintptr_t)p % 64));
	free(p);
	EXPECT(!fn(HUGE_SIZE, 64, ""));
}

static int all_are(const unsigned char *p, size_t n, unsigned char c)
{
	while (n--) {
		if (*p++ != c)
			return 0;
	}
	return 1;
}

/* Before there is a block it is not too late to have them filled. */
static void perturb(int on)
{
	unsigned char *p;

	EXPECT(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1);
	EXPECT(!on || mallopt(M_PERTURB, on) == 1);
	p = malloc(100);
	EXPECT(all_are(p, 100, p[0]) && (on ? p[0] : !p[0]));
	free(p);
}

static int others(new_fn plain, new_aligned_fn aligned)
{
	static const char *const names[] = {"_ZnwmRKSt9nothrow_t",
					    "_ZnamRKSt9nothrow_t"};
	static const char *const with_align[] = {
		"_ZnwmSt11align_val_tRKSt9nothrow_t",
		"_ZnamSt11align_val_tRKSt9nothrow_t"};
	int i;

	EXPECT(plain(HUGE_SIZE) == OTHER_POINTER);
	EXPECT(aligned(HUGE_SIZE, 64) == OTHER_POINTER);
	for (i = 0; i < 2; i++) {
		EXPECT(((nothrow_fn)find(names[i]))(HUGE_SIZE, "") ==
		       OTHER_POINTER);
		EXPECT(((nothrow_aligned_fn)find(with_align[i]))(
			       HUGE_SIZE, 64, "") == OTHER_POINTER);
	}
	return 0;
}

int main(int argc, char **argv)
{
	new_fn plain = (new_fn)find("_Znwm");
	new_aligned_fn aligned = (new_aligned_fn)find("_ZnwmSt11align_val_t");

	perturb(argc > 1 && !strcmp(argv[1], "aligned") ? 3 : 0);
	if (argc > 1 && !strcmp(argv[1], "other"))
		return others(plain, aligned);
	nothrow("_ZnwmRKSt9nothrow_t");
	nothrow("_ZnamRKSt9nothrow_t");
	nothrow_aligned("_ZnwmSt11align_val_tRKSt9nothrow_t");
	nothrow_aligned("_ZnamSt11align_val_tRKSt9nothrow_t");
	free(plain(10));
	free(aligned(10, 64));
	EXPECT(!dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD));
	printf("so far\n");
	fflush(stdout);
	if (argc > 1 && !strcmp(argv[1], "aligned"))
		aligned(HUGE_SIZE, 64);
	else
		plain(HUGE_SIZE);
	return 0;
}
