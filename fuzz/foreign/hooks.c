// SPDX-License-Identifier: MIT
/* The target's calls of the kernel for memory; see hooks.h. */
#define _GNU_SOURCE /* mremap(), MADV_FREE, RLIMIT_AS */
#include "hooks.h"

#include "arch.h"
#include "target.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE ((uintptr_t)4096)

static bool inside;
static struct hook_counts now;
static struct apb_fault armed; /* mode OFF: none */
static uint64_t counted; /* calls of the kinds named, since it was armed */
static uint64_t rng;
static size_t limit = SIZE_MAX;

/* ---- whether a call fails ---------------------------------------------- */

static uint64_t next_random(void)
{
	/* xorshift64*, Vigna 2014 */
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return rng * UINT64_C(0x2545f4914f6cdd1d) >> 32;
}

static bool is_hit(enum apb_os_call call)
{
	if (!armed.mode || !(armed.calls & 1u << call))
		return false;
	counted++;
	switch (armed.mode) {
	case APB_FAULT_ONCE:
		return counted == armed.n;
	case APB_FAULT_FROM:
		return counted >= armed.n;
	default:
		return next_random() % armed.n == 0;
	}
}

/* Before a call: whether it is to fail, with errno ENOMEM. */
static bool fails(enum apb_os_call call)
{
	if (!inside)
		return false;
	now.calls[call]++;
	now.all++;
	if (!is_hit(call))
		return false;
	now.failed[call]++;
	target_errno = ENOMEM;
	return true;
}

/* After a system call of the harness's C library: its result. */
static long done(enum apb_os_call call, long result)
{
	if (result != -1)
		return result;
	if (inside)
		now.failed[call]++;
	target_errno = errno;
	return result;
}

/* A call that has no kind. */
static long plain(long result)
{
	if (result == -1)
		target_errno = errno;
	return result;
}

/* ---- the calls --------------------------------------------------------- */

static void *hook_mmap(void *addr, size_t size, int prot, int flags, int fd,
		       off_t at)
{
	if (fails(APB_OS_MAP))
		return MAP_FAILED;
	return (void *)done(APB_OS_MAP,
			    syscall(SYS_mmap, addr, size, prot, flags, fd, at));
}

static int hook_munmap(void *addr, size_t size)
{
	if (fails(APB_OS_UNMAP))
		return -1;
	return (int)done(APB_OS_UNMAP, syscall(SYS_munmap, addr, size));
}

static void *hook_mremap(void *addr, size_t size, size_t to, int flags, ...)
{
	void *place = NULL;
	va_list ap;

	va_start(ap, flags);
	if (flags & MREMAP_FIXED)
		place = va_arg(ap, void *);
	va_end(ap);
	if (fails(APB_OS_REMAP))
		return MAP_FAILED;
	return (void *)done(APB_OS_REMAP,
			    syscall(SYS_mremap, addr, size, to, flags, place));
}

static int hook_madvise(void *addr, size_t size, int advice)
{
	if (advice != MADV_DONTNEED && advice != MADV_FREE)
		return (int)plain(syscall(SYS_madvise, addr, size, advice));
	if (fails(APB_OS_PURGE))
		return -1;
	return (int)done(APB_OS_PURGE,
			 syscall(SYS_madvise, addr, size, advice));
}

static int hook_mprotect(void *addr, size_t size, int prot)
{
	if (!(prot & PROT_WRITE))
		return (int)plain(syscall(SYS_mprotect, addr, size, prot));
	if (fails(APB_OS_MAP))
		return -1;
	return (int)done(APB_OS_MAP, syscall(SYS_mprotect, addr, size, prot));
}

/* The break is one for the whole process: by the harness's C library. */
static void *hook_sbrk(intptr_t by)
{
	enum apb_os_call call = by < 0 ? APB_OS_UNMAP : APB_OS_MAP;

	if (!by)
		return sbrk(0);
	if (fails(call))
		return (void *)-1;
	return (void *)done(call, (long)sbrk(by));
}

static long hook_syscall(long number, long a, long b, long c, long d, long e,
			 long f)
{
	switch (number) {
	case SYS_mmap:
		return (long)hook_mmap((void *)a, (size_t)b, (int)c, (int)d,
				       (int)e, f);
	case SYS_munmap:
		return hook_munmap((void *)a, (size_t)b);
	case SYS_mremap:
		return (long)hook_mremap((void *)a, (size_t)b, (size_t)c,
					 (int)d, (void *)e);
	case SYS_madvise:
		return hook_madvise((void *)a, (size_t)b, (int)c);
	case SYS_mprotect:
		return hook_mprotect((void *)a, (size_t)b, (int)c);
	default:
		return plain(syscall(number, a, b, c, d, e, f));
	}
}

static const struct hook {
	const char *name;
	void *fn;
} hooks[] = {
	{"mmap", hook_mmap},	     {"mmap64", hook_mmap},
	{"munmap", hook_munmap},     {"mremap", hook_mremap},
	{"madvise", hook_madvise},   {"__madvise", hook_madvise},
	{"mprotect", hook_mprotect}, {"sbrk", hook_sbrk},
	{"__sbrk", hook_sbrk},	     {"syscall", hook_syscall},
};

#define NR_HOOKS (sizeof(hooks) / sizeof(hooks[0]))

static const struct hook *hook_named(const char *name)
{
	for (size_t i = 0; i < NR_HOOKS; i++)
		if (!strcmp(hooks[i].name, name))
			return &hooks[i];
	return NULL;
}

/* ---- an object's tables ------------------------------------------------- */

static bool make_writable(uintptr_t from, uintptr_t to, int prot)
{
	from &= ~(PAGE - 1);
	return !mprotect((void *)from, (to - from + PAGE - 1) & ~(PAGE - 1),
			 prot);
}

struct tables {
	const ElfW(Sym) * symbols;
	const char *strings;
	const ElfW(Rela) * rela, *jump;
	size_t nr_rela, nr_jump;
};

static void find_tables(const struct link_map *map, struct tables *t)
{
	memset(t, 0, sizeof(*t));
	for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
		const void *p = (const void *)d->d_un.d_ptr;

		switch (d->d_tag) {
		case DT_SYMTAB:
			t->symbols = p;
			break;
		case DT_STRTAB:
			t->strings = p;
			break;
		case DT_RELA:
			t->rela = p;
			break;
		case DT_RELASZ:
			t->nr_rela = d->d_un.d_val / sizeof(*t->rela);
			break;
		case DT_JMPREL:
			t->jump = p;
			break;
		case DT_PLTRELSZ:
			t->nr_jump = d->d_un.d_val / sizeof(*t->jump);
			break;
		}
	}
}

static unsigned int patch_slots(const struct link_map *map,
				const struct tables *t, const ElfW(Rela) * rela,
				size_t nr)
{
	unsigned int patched = 0;

	for (size_t i = 0; i < nr; i++) {
		uintptr_t at = map->l_addr + rela[i].r_offset;
		const ElfW(Sym) *symbol =
			&t->symbols[ELF64_R_SYM(rela[i].r_info)];
		const struct hook *hook;

		/* what it defines itself it makes of other calls */
		if (!ARCH_IS_SLOT(ELF64_R_TYPE(rela[i].r_info)) ||
		    symbol->st_shndx != SHN_UNDEF)
			continue;
		hook = hook_named(t->strings + symbol->st_name);
		if (!hook || !make_writable(at, at + sizeof(void *),
					    PROT_READ | PROT_WRITE))
			continue;
		*(void **)at = hook->fn;
		patched++;
	}
	return patched;
}

unsigned int hooks_object(const struct link_map *map)
{
	struct tables t;

	find_tables(map, &t);
	if (!t.symbols || !t.strings)
		return 0;
	return patch_slots(map, &t, t.rela, t.nr_rela) +
	       patch_slots(map, &t, t.jump, t.nr_jump);
}

unsigned int hooks_libc(void *handle)
{
	unsigned int patched = 0;

	for (size_t i = 0; i < NR_HOOKS; i++) {
		uint8_t *at = dlsym(handle, hooks[i].name), code[16];
		size_t size = arch_jump(code, (uintptr_t)hooks[i].fn);

		if (!at || !size ||
		    !make_writable((uintptr_t)at, (uintptr_t)at + size,
				   PROT_READ | PROT_WRITE | PROT_EXEC))
			continue;
		memcpy(at, code, size);
		__builtin___clear_cache((char *)at, (char *)at + size);
		make_writable((uintptr_t)at, (uintptr_t)at + size,
			      PROT_READ | PROT_EXEC);
		patched++;
	}
	return patched;
}

/* ---- from outside ------------------------------------------------------ */

static void set_limit(size_t bytes)
{
	static struct rlimit r = {.rlim_max = 0};

	if (!r.rlim_max)
		getrlimit(RLIMIT_AS, &r);
	r.rlim_cur = bytes < r.rlim_max ? bytes : r.rlim_max;
	setrlimit(RLIMIT_AS, &r);
}

void hooks_enter(void)
{
	inside = true;
}

void hooks_leave(void)
{
	inside = false;
}

void hooks_lift(bool lift)
{
	if (limit != SIZE_MAX)
		set_limit(lift ? RLIM_INFINITY : limit);
}

void hooks_counts(struct hook_counts *counts)
{
	*counts = now;
}

void hooks_fault(const struct apb_fault *fault)
{
	armed.mode = APB_FAULT_OFF;
	if (!fault)
		return;
	armed = *fault;
	if (!armed.n)
		armed.n = 1;
	counted = 0;
	rng = fault->seed | 1;
}

/* Bytes that the process has mapped.  Not by stdio, which would map more. */
static size_t mapped_now(void)
{
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[32] = "";

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strtoul(text, NULL, 10) * PAGE;
}

void hooks_limit(size_t slack)
{
	/* none: less than there is will do */
	limit = slack && slack != SIZE_MAX ? mapped_now() + slack : slack;
	set_limit(limit == SIZE_MAX ? RLIM_INFINITY : limit);
}
