// SPDX-License-Identifier: MIT
/*
 * What clang's -fsanitize=thread calls, in place of TSan's run time: each
 * atomic operation becomes a choice of the scheduler, each plain access goes
 * to the race detector.  The functions' names and arguments are the compiler's.
 */
#include "race.h"
#include "sched.h"

#include <string.h>

#define PC ((uintptr_t)__builtin_return_address(0))

void __tsan_init(void);
void __tsan_init(void)
{
}

/* ---- plain accesses --------------------------------------------------- */

#define DEFINE_PLAIN(name, call, size)                   \
	void name(void *addr);                           \
	void name(void *addr)                            \
	{                                                \
		if (sched_running())                     \
			call((uintptr_t)addr, size, PC); \
	}

DEFINE_PLAIN(__tsan_read1, race_read, 1)
DEFINE_PLAIN(__tsan_read2, race_read, 2)
DEFINE_PLAIN(__tsan_read4, race_read, 4)
DEFINE_PLAIN(__tsan_read8, race_read, 8)
DEFINE_PLAIN(__tsan_read16, race_read, 16)
DEFINE_PLAIN(__tsan_write1, race_write, 1)
DEFINE_PLAIN(__tsan_write2, race_write, 2)
DEFINE_PLAIN(__tsan_write4, race_write, 4)
DEFINE_PLAIN(__tsan_write8, race_write, 8)
DEFINE_PLAIN(__tsan_write16, race_write, 16)
DEFINE_PLAIN(__tsan_unaligned_read2, race_read, 2)
DEFINE_PLAIN(__tsan_unaligned_read4, race_read, 4)
DEFINE_PLAIN(__tsan_unaligned_read8, race_read, 8)
DEFINE_PLAIN(__tsan_unaligned_read16, race_read, 16)
DEFINE_PLAIN(__tsan_unaligned_write2, race_write, 2)
DEFINE_PLAIN(__tsan_unaligned_write4, race_write, 4)
DEFINE_PLAIN(__tsan_unaligned_write8, race_write, 8)
DEFINE_PLAIN(__tsan_unaligned_write16, race_write, 16)

void *__tsan_memcpy(void *to, const void *from, size_t n);
void *__tsan_memcpy(void *to, const void *from, size_t n)
{
	race_read((uintptr_t)from, n, PC);
	race_write((uintptr_t)to, n, PC);
	return memcpy(to, from, n);
}

void *__tsan_memmove(void *to, const void *from, size_t n);
void *__tsan_memmove(void *to, const void *from, size_t n)
{
	race_read((uintptr_t)from, n, PC);
	race_write((uintptr_t)to, n, PC);
	return memmove(to, from, n);
}

void *__tsan_memset(void *to, int c, size_t n);
void *__tsan_memset(void *to, int c, size_t n)
{
	race_write((uintptr_t)to, n, PC);
	return memset(to, c, n);
}

/* ---- atomic ones ------------------------------------------------------ */

static struct access turn(enum access_kind kind, const volatile void *addr,
			  size_t size, int order, const char *what,
			  uintptr_t pc)
{
	struct access a = {
		.kind = kind,
		.size = (uint8_t)size,
		.order = (uint8_t)order,
		.what = what,
		.addr = (uintptr_t)addr,
		.pc = pc,
	};

	sched_point(&a);
	return a;
}

/* A read-modify-write; between its turn and its end nobody else runs. */
#define DEFINE_RMW(bits, type, op, expr)                                    \
	type __tsan_atomic##bits##_##op(volatile type *at, type v, int mo); \
	type __tsan_atomic##bits##_##op(volatile type *at, type v, int mo)  \
	{                                                                   \
		struct access a =                                           \
			turn(ACCESS_RMW, at, sizeof(*at), mo, #op, PC);     \
		type old = *at;                                             \
                                                                            \
		race_atomic(&a, true);                                      \
		*at = (type)(expr);                                         \
		return old;                                                 \
	}

#define DEFINE_ATOMIC(bits, type)                                             \
	type __tsan_atomic##bits##_load(const volatile type *at, int mo);     \
	type __tsan_atomic##bits##_load(const volatile type *at, int mo)      \
	{                                                                     \
		struct access a =                                             \
			turn(ACCESS_LOAD, at, sizeof(*at), mo, "load", PC);   \
                                                                              \
		race_atomic(&a, false);                                       \
		return *at;                                                   \
	}                                                                     \
	void __tsan_atomic##bits##_store(volatile type *at, type v, int mo);  \
	void __tsan_atomic##bits##_store(volatile type *at, type v, int mo)   \
	{                                                                     \
		struct access a =                                             \
			turn(ACCESS_STORE, at, sizeof(*at), mo, "store", PC); \
                                                                              \
		race_atomic(&a, true);                                        \
		*at = v;                                                      \
	}                                                                     \
	type __tsan_atomic##bits##_compare_exchange_val(                      \
		volatile type *at, type expected, type v, int mo, int fail);  \
	type __tsan_atomic##bits##_compare_exchange_val(                      \
		volatile type *at, type expected, type v, int mo, int fail)   \
	{                                                                     \
		struct access a = turn(ACCESS_RMW, at, sizeof(*at), mo,       \
				       "compare_exchange", PC);               \
		type old = *at;                                               \
                                                                              \
		if (old != expected)                                          \
			a.order = (uint8_t)fail;                              \
		race_atomic(&a, old == expected);                             \
		if (old == expected)                                          \
			*at = v;                                              \
		return old;                                                   \
	}                                                                     \
	DEFINE_RMW(bits, type, exchange, v)                                   \
	DEFINE_RMW(bits, type, fetch_add, old + v)                            \
	DEFINE_RMW(bits, type, fetch_sub, old - v)                            \
	DEFINE_RMW(bits, type, fetch_and, old &v)                             \
	DEFINE_RMW(bits, type, fetch_or, old | v)                             \
	DEFINE_RMW(bits, type, fetch_xor, old ^ v)                            \
	DEFINE_RMW(bits, type, fetch_nand, ~(old & v))

DEFINE_ATOMIC(8, uint8_t)
DEFINE_ATOMIC(16, uint16_t)
DEFINE_ATOMIC(32, uint32_t)
DEFINE_ATOMIC(64, uint64_t)

void __tsan_atomic_thread_fence(int mo);
void __tsan_atomic_thread_fence(int mo)
{
	race_fence((unsigned int)mo);
}

/* Of one thread and its signal handlers only. */
void __tsan_atomic_signal_fence(int mo);
void __tsan_atomic_signal_fence(int mo)
{
	(void)mo;
}
