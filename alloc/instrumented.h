/* SPDX-License-Identifier: MIT */
/* The end of what began with uninstrumented.h: last in each source file. */
#if defined(__clang__) && APB_TRACK
#pragma clang attribute pop
#endif
