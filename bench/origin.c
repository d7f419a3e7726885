// SPDX-License-Identifier: MIT
/*
 * libbench-origin.so, preloaded behind an allocator: every process checks at
 * its start that malloc, free and realloc are those of the file that
 * APB_BENCH_EXPECT names, and ends with a line and status 2 if one is not.
 *
 * It looks at where the dynamic linker bound its own calls.  The functions'
 * addresses do not tell: in a program that is linked to a fixed address and
 * takes one, they are those of the program's procedure linkage table.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern __attribute__((visibility("hidden"))) ElfW(Dyn) _DYNAMIC[];

static void check(const char *what, void *address, const char *expect)
{
	struct stat is, ought;
	Dl_info info;

	if (!dladdr(address, &info) || !info.dli_fname)
		info.dli_fname = "(unknown)";
	else if (!stat(info.dli_fname, &is) && !stat(expect, &ought) &&
		 is.st_dev == ought.st_dev && is.st_ino == ought.st_ino)
		return;
	dprintf(STDERR_FILENO, "bench: %s is not that of %s but of %s\n", what,
		expect, info.dli_fname);
	_exit(2);
}

/* So that there are calls to bind; volatile, or the pair would be removed. */
static void call_them(void)
{
	void *volatile p = malloc(1);

	p = realloc(p, 2);
	free(p);
}

static __attribute__((constructor)) void init(void)
{
	const char *expect = getenv("APB_BENCH_EXPECT");
	const ElfW(Rela) *rela = NULL;
	const ElfW(Sym) *symbols = NULL;
	const char *strings = NULL;
	size_t bytes = 0, i, seen = 0;
	const ElfW(Dyn) * d;
	Dl_info self;

	if (!expect || !dladdr((void *)init, &self))
		return;
	call_them();
	for (d = _DYNAMIC; d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_JMPREL)
			rela = (const void *)d->d_un.d_ptr;
		else if (d->d_tag == DT_PLTRELSZ)
			bytes = d->d_un.d_val;
		else if (d->d_tag == DT_SYMTAB)
			symbols = (const void *)d->d_un.d_ptr;
		else if (d->d_tag == DT_STRTAB)
			strings = (const void *)d->d_un.d_ptr;
	}
	for (i = 0; rela && symbols && strings && i < bytes / sizeof(*rela);
	     i++) {
		const char *name =
			strings + symbols[ELF64_R_SYM(rela[i].r_info)].st_name;

		if (strcmp(name, "malloc") && strcmp(name, "free") &&
		    strcmp(name, "realloc"))
			continue;
		check(name,
		      *(void **)((char *)self.dli_fbase + rela[i].r_offset),
		      expect);
		seen++;
	}
	if (seen != 3) {
		dprintf(STDERR_FILENO, "bench: %zu of 3 calls are bound\n",
			seen);
		_exit(2);
	}
}
