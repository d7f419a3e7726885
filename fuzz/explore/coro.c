// SPDX-License-Identifier: MIT
/* Coroutines; see coro.h. */
#define _GNU_SOURCE /* dl_iterate_phdr(), MAP_STACK */
#include "coro.h"

#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096

static struct {
	void *sp;
	int err;
	char tls[CORO_TLS_MAX];
} coro[CORO_NR];

static struct {
	bool ready;
	unsigned int running; /* its stack */
	unsigned int played; /* its thread-local variables */
	char *stacks;
	char *tls;
	size_t tls_size;
	char fresh[CORO_TLS_MAX]; /* as a thread finds them */
	void (*body)(unsigned int number);
} me;

/* Keeps what a function has to keep, on its stack, and goes on with @to. */
void coro_jump(void **from, void *to);
__asm__(".text\n"
	".type coro_jump, @function\n"
	"coro_jump:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size coro_jump, . - coro_jump\n");

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* The thread-local variables of the program itself, the first object. */
static int find_tls(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_TLS)
			continue;
		me.tls = info->dlpi_tls_data;
		me.tls_size = ph->p_memsz;
		memcpy(me.fresh, (const char *)info->dlpi_addr + ph->p_vaddr,
		       ph->p_filesz < CORO_TLS_MAX ? ph->p_filesz : 0);
	}
	return 1;
}

static void get_ready(void)
{
	size_t each = CORO_STACK + PAGE;

	dl_iterate_phdr(find_tls, NULL);
	if (me.tls_size > CORO_TLS_MAX) {
		fprintf(stderr, "apb-explore: %zu bytes of thread-locals\n",
			me.tls_size);
		exit(2);
	}
	me.stacks = mmap(NULL, CORO_NR * each, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (me.stacks == MAP_FAILED)
		die("apb-explore: stacks");
	for (unsigned int i = 0; i < CORO_NR; i++)
		if (mprotect(me.stacks + i * each, PAGE, PROT_NONE))
			die("apb-explore: stacks");
	me.ready = true;
}

static void first_step(void)
{
	me.body(me.running);
	abort();
}

void coro_reset(void (*body)(unsigned int number))
{
	if (!me.ready)
		get_ready();
	me.body = body;
	for (unsigned int i = 1; i < CORO_NR; i++) {
		void **sp =
			(void **)(me.stacks + (i + 1) * (CORO_STACK + PAGE));

		/* six registers, and where to go; then as after a call */
		sp--;
		*--sp = (void *)(uintptr_t)first_step;
		sp -= 6;
		coro[i].sp = sp;
		coro[i].err = 0;
		memcpy(coro[i].tls, me.fresh, me.tls_size);
	}
}

void coro_play(unsigned int number)
{
	if (number == me.played)
		return;
	memcpy(coro[me.played].tls, me.tls, me.tls_size);
	coro[me.played].err = errno;
	me.played = number;
	memcpy(me.tls, coro[number].tls, me.tls_size);
	errno = coro[number].err;
}

void coro_switch(unsigned int number)
{
	unsigned int from = me.running;

	if (number == from)
		return;
	coro_play(number);
	me.running = number;
	coro_jump(&coro[from].sp, coro[number].sp);
}

bool coro_private(uintptr_t addr)
{
	return addr - (uintptr_t)me.stacks < CORO_NR * (CORO_STACK + PAGE) ||
	       addr - (uintptr_t)me.tls < me.tls_size ||
	       addr == (uintptr_t)&errno;
}
