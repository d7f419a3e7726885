/* SPDX-License-Identifier: MIT */
/* What differs between machines, for hooks.c and target.c. */
#ifndef APB_FOREIGN_ARCH_H
#define APB_FOREIGN_ARCH_H

#include <elf.h>
#include <stdint.h>
#include <string.h>

/* As it is in the names of Scudo's files. */
#if defined(__aarch64__)
#define ARCH_NAME "aarch64"
#else
#define ARCH_NAME "x86_64"
#endif

/* Relocations that put the address of a function into a table. */
#if defined(__x86_64__)
#define ARCH_IS_SLOT(type) \
	((type) == R_X86_64_JUMP_SLOT || (type) == R_X86_64_GLOB_DAT)
#elif defined(__aarch64__)
#define ARCH_IS_SLOT(type) \
	((type) == R_AARCH64_JUMP_SLOT || (type) == R_AARCH64_GLOB_DAT)
#else
#define ARCH_IS_SLOT(type) 0
#endif

/* A jump to @to, to be put at a function's beginning; its size, 0: unknown. */
static inline size_t arch_jump(uint8_t code[16], uintptr_t to)
{
#if defined(__x86_64__)
	static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0};

	memcpy(code, jump, sizeof(jump)); /* jmp *0(%rip) */
	memcpy(code + sizeof(jump), &to, sizeof(to));
	return sizeof(jump) + sizeof(to);
#elif defined(__aarch64__)
	static const uint32_t jump[] = {0x58000050, 0xd61f0200};

	memcpy(code, jump, sizeof(jump)); /* ldr x16, .+8; br x16 */
	memcpy(code + sizeof(jump), &to, sizeof(to));
	return sizeof(jump) + sizeof(to);
#else
	(void)code;
	(void)to;
	return 0;
#endif
}

#endif /* APB_FOREIGN_ARCH_H */
