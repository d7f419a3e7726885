/* SPDX-License-Identifier: MIT */
/*
 * leak_roots.c - where reaching begins.
 *
 * The writable data of all modules; of each thread its registers, its stack from
 * the stack pointer on, its thread-local variables.  Where a thread's stack ends
 * is not asked of libc, which has locks: its structure, which the thread pointer
 * leads to, is at the upper end of the stack, with the static thread-local
 * variables below it.  Only the first thread has these elsewhere.
 */
#define _GNU_SOURCE
#include <link.h>

#include "glue/leak.h"
#include "glue/leak_arch.h"

/* ---- modules --------------------------------------------------------------- */

struct modules {
	struct leak_check *check;
	uintptr_t tp;
	uintptr_t tls; /* bytes of thread-local variables below it */
};

APB_RAW static int module(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct modules *modules = arg;
	uintptr_t tls = (uintptr_t)info->dlpi_tls_data;
	size_t i;

	(void)size;
	/* what is farther away was allocated for a module loaded later */
	if (tls && tls < modules->tp && modules->tp - tls < (1ul << 20) &&
	    modules->tp - tls > modules->tls)
		modules->tls = modules->tp - tls;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type == PT_LOAD && segment->p_flags & PF_W)
			leak_root(modules->check, start,
				  start + segment->p_memsz);
	}
	return 0;
}

/* ---- threads --------------------------------------------------------------- */

struct thread {
	uintptr_t sp, tp;
	const uintptr_t *regs;
	size_t nregs;
	bool first;
};

/* All of what @addr is in, if that is a block: a stack of the program's own. */
APB_RAW static bool in_block(struct leak_check *check, uintptr_t addr)
{
	return leak_word(check, addr) || leak_find(check, addr);
}

/* From @from, up to what @addr is in. */
APB_RAW static void read_stack(struct leak_check *check, uintptr_t from,
			       uintptr_t end)
{
	if (from < end && !in_block(check, from))
		leak_root(check, from, end);
}

/* The array of what was allocated for modules loaded later. */
APB_RAW static void read_dtv(struct leak_check *check, uintptr_t tp)
{
	const struct leak_map *map = leak_map_of(check, tp + 8);
	uintptr_t dtv, slots;

	if (!ARCH_TCB_SELF || !map || check->failed)
		return;
	dtv = *(uintptr_t *)(tp + 8);
	map = dtv % 8 ? NULL : leak_map_of(check, dtv - 16);
	if (!map || map->end - dtv < 16)
		return;
	slots = *(uintptr_t *)(dtv - 16);
	if (slots < 1 << 16)
		leak_root(check, dtv, dtv + 16 * (slots + 1));
}

APB_RAW static void read_main_stack(struct leak_check *check)
{
	const struct leak_map *maps = check->maps.items;
	size_t i;

	for (i = 0; i < check->maps.count; i++)
		if (maps[i].kind == LEAK_STACK)
			leak_root(check, maps[i].start, maps[i].end);
}

APB_RAW static void read_thread(struct leak_check *check,
				const struct thread *thread, uintptr_t tls)
{
	const struct leak_map *map;
	uintptr_t top = (thread->tp + ARCH_TCB + 4095) & ~4095ul;
	struct leak_map stack = {0}, own = {0};
	size_t i;

	for (i = 0; i < thread->nregs; i++)
		leak_word(check, thread->regs[i]);
	map = leak_map_of(check, thread->sp);
	if (map)
		stack = *map;
	map = leak_map_of(check, thread->tp);
	if (map)
		own = *map;
	if (top > own.end)
		top = own.end;
	if (stack.start == own.start && thread->sp < thread->tp) {
		read_stack(check, thread->sp, top);
	} else {
		/* in a signal handler or a coroutine, or the first thread */
		read_stack(check, thread->sp, stack.end);
		if (thread->first)
			leak_root(check, thread->tp - tls, top);
		else
			read_stack(check, own.start, top);
	}
	if (thread->first && stack.kind != LEAK_STACK)
		read_main_stack(check);
	read_dtv(check, thread->tp);
}

/*
 * ASan has the address of a thread's second stack in a thread-local variable:
 * at the same distance from the thread pointer in each thread.
 */
APB_RAW static uintptr_t find_fake(uintptr_t tp, uintptr_t tls, uintptr_t fake)
{
	uintptr_t at;

	for (at = tp - tls; fake && at < tp; at += sizeof(uintptr_t))
		if (*(const uintptr_t *)at == fake)
			return tp - at;
	return 0;
}

/*
 * A tool that does not tell what its malloc has handed out: then all of it is
 * taken for live, with whatever else is mapped.
 */
APB_RAW static void read_everything(struct leak_check *check)
{
	const struct leak_map *maps = check->maps.items;
	size_t i;

	for (i = 0; i < check->maps.count; i++)
		if (maps[i].kind == LEAK_ANON && maps[i].writable)
			leak_root(check, maps[i].start, maps[i].end);
}

APB_RAW void leak_roots(struct leak_check *check)
{
	struct modules modules = {check, arch_thread_pointer(), 0};
	struct thread thread = {
		.sp = check->sp,
		.tp = modules.tp,
		.first = check->world.caller == check->world.pid,
	};
	uintptr_t at;
	size_t i;

	dl_iterate_phdr(module, &modules);
	if (!leak_tool_exact())
		read_everything(check);
	modules.tls = (modules.tls + 63) & ~63ul;
	leak_tool_enter(check);
	check->fake = leak_tool_fake_stack();
	leak_tool_leave(check);
	at = find_fake(modules.tp, modules.tls, check->fake);
	read_thread(check, &thread, modules.tls);
	for (i = 0; i < check->world.count && !check->failed; i++) {
		const struct world_thread *other = &check->world.threads[i];
		const struct leak_map *map;

		thread.sp = other->sp;
		thread.tp = other->tp;
		thread.regs = other->regs;
		thread.nregs = other->nregs;
		thread.first = other->tid == check->world.pid;
		map = leak_map_of(check, other->tp - at);
		check->fake = at && map ? *(uintptr_t *)(other->tp - at) : 0;
		read_thread(check, &thread, modules.tls);
	}
}
