// SPDX-License-Identifier: MIT
/*
 * Stacks with names; see frames.h.  The symbol table is read from the program's
 * file and kept sorted by address.
 */
#define _GNU_SOURCE /* dl_iterate_phdr() */
#include "frames.h"

#include <elf.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct symbol {
	uintptr_t at;
	size_t size;
	const char *name; /* in the file, which stays mapped */
};

static struct {
	bool tried;
	uintptr_t bias;
	struct symbol *symbol;
	size_t nr;
} table;

/* ---- the symbol table ------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

static void add_symbols(const char *file, const Elf64_Shdr *symtab,
			const char *names)
{
	const Elf64_Sym *sym = (const void *)(file + symtab->sh_offset);
	size_t nr = symtab->sh_size / sizeof(*sym);

	table.symbol = calloc(nr, sizeof(*table.symbol));
	for (size_t i = 0; table.symbol && i < nr; i++) {
		if (ELF64_ST_TYPE(sym[i].st_info) != STT_FUNC ||
		    !sym[i].st_size)
			continue;
		table.symbol[table.nr++] =
			(struct symbol){sym[i].st_value, sym[i].st_size,
					names + sym[i].st_name};
	}
	if (table.nr)
		qsort(table.symbol, table.nr, sizeof(*table.symbol),
		      by_address);
}

static void read_symbols(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	const Elf64_Ehdr *head;
	const Elf64_Shdr *section;
	struct stat st;
	char *file;

	if (fd < 0)
		return;
	if (fstat(fd, &st))
		st.st_size = 0;
	file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		return;
	head = (const void *)file;
	section = (const void *)(file + head->e_shoff);
	for (int i = 0; i < head->e_shnum; i++)
		if (section[i].sh_type == SHT_SYMTAB)
			add_symbols(
				file, &section[i],
				file + section[section[i].sh_link].sh_offset);
}

static int first_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(uintptr_t *)arg = info->dlpi_addr;
	return 1; /* the program itself comes first */
}

void frames_prepare(void)
{
	void *pc[1];

	if (table.tried)
		return;
	table.tried = true;
	dl_iterate_phdr(first_object, &table.bias);
	read_symbols();
	backtrace(pc, 1); /* loads what it needs */
}

static const struct symbol *find(uintptr_t at)
{
	size_t low = 0, high = table.nr;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (table.symbol[mid].at <= at)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || at - table.symbol[low - 1].at >= table.symbol[low - 1].size)
		return NULL;
	return &table.symbol[low - 1];
}

/* ---- stacks ----------------------------------------------------------- */

void frames_capture(struct frames *f)
{
	void *pc[FRAMES_MAX];
	int n = backtrace(pc, FRAMES_MAX);

	f->nr = 0;
	/* a return address is behind its call */
	for (int i = 0; i < n; i++)
		f->at[f->nr++] = (uintptr_t)pc[i] - table.bias - 1;
}

/* What is on top of every stack that is looked at: handlers, sanitizers. */
static bool is_noise(const char *name)
{
	static const char *const noise[] = {"_", "on_death", "on_signal",
					    "frames_", "sigaction"};

	for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
		if (!strncmp(name, noise[i], strlen(noise[i])))
			return true;
	return false;
}

char *frames_top(const struct frames *f, char *buf, size_t len)
{
	const char *name[FRAMES_MAX];
	unsigned int nr = 0, end = 0;
	size_t used = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; i < f->nr; i++) {
		const struct symbol *s = find(f->at[i]);

		if (!s || is_noise(s->name))
			continue;
		name[nr++] = s->name;
		/* the outermost of the allocator's: its callers do not count */
		if (!strncmp(s->name, "apb_", 4))
			end = nr;
	}
	if (!end)
		end = nr ? 1 : 0;
	for (unsigned int i = 0; i < end && i < FRAMES_TOP && used < len; i++)
		used += (size_t)snprintf(buf + used, len - used, "%s%s",
					 i ? " < " : "", name[i]);
	return buf;
}

void frames_print(const struct frames *f, int fd)
{
	for (unsigned int i = 0, n = 0; i < f->nr; i++) {
		const struct symbol *s = find(f->at[i]);

		if (s && !is_noise(s->name))
			dprintf(fd, "    #%u %s+%#zx\n", n++, s->name,
				(size_t)(f->at[i] - s->at));
	}
}
