/* SPDX-License-Identifier: MIT */
/* What the compiler is told about branches and calls, in the kernel's words. */
#ifndef APB_HINTS_H
#define APB_HINTS_H

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define noinline __attribute__((noinline))

#endif /* APB_HINTS_H */
