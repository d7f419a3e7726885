/* SPDX-License-Identifier: MIT */
/*
 * leak_arch.h - what the leak check has to know of the processor and libc.
 *
 * System calls without errno: the task that stops the world shares the thread
 * pointer with the thread that it works for.  Where the thread pointer is in a
 * stopped thread's registers, and what libc keeps around it.
 */
#ifndef APB_LEAK_ARCH_H
#define APB_LEAK_ARCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

#include "glue/raw.h"

#if defined(__x86_64__)

#define ARCH_STOPS 1 /* threads can be stopped, and their registers read */

/* NT_X86_XSTATE: the vector registers. */
#define ARCH_NT_EXTRA 0x202

APB_RAW static inline long arch_call(long nr, long a, long b, long c, long d,
				     long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
			   "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

APB_RAW static inline uintptr_t arch_thread_pointer(void)
{
	uintptr_t tp;

	__asm__("mov %%fs:0, %0" : "=r"(tp));
	return tp;
}

APB_RAW static inline uintptr_t arch_sp(void)
{
	uintptr_t sp;

	__asm__ volatile("mov %%rsp, %0" : "=r"(sp));
	return sp;
}

APB_RAW static inline uintptr_t
arch_regs_sp(const struct user_regs_struct *regs)
{
	return regs->rsp;
}

APB_RAW static inline uintptr_t
arch_regs_tp(const struct user_regs_struct *regs)
{
	return regs->fs_base;
}

/* glibc: the first word of a thread's structure is its own address. */
#define ARCH_TCB_SELF 1

#else

#define ARCH_STOPS 0
#define ARCH_NT_EXTRA 0
#define ARCH_TCB_SELF 0

APB_RAW static inline long arch_call(long nr, long a, long b, long c, long d,
				     long e, long f)
{
	return syscall(nr, a, b, c, d, e, f);
}

APB_RAW static inline uintptr_t arch_thread_pointer(void)
{
	return (uintptr_t)__builtin_thread_pointer();
}

APB_RAW static inline uintptr_t arch_sp(void)
{
	return (uintptr_t)__builtin_frame_address(0);
}

APB_RAW static inline uintptr_t
arch_regs_sp(const struct user_regs_struct *regs)
{
	(void)regs;
	return 0;
}

APB_RAW static inline uintptr_t
arch_regs_tp(const struct user_regs_struct *regs)
{
	(void)regs;
	return 0;
}

#endif

#define ARCH_CALL(nr, a, b, c, d) \
	arch_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

/* glibc's structure of a thread lies at the thread pointer and is shorter. */
#define ARCH_TCB 4096ul

#endif
