/* SPDX-License-Identifier: MIT */
/*
 * APB_RAW: a function that the tool neither checks nor sees.
 *
 * The layer writes the tool's own memory and reads memory that it has told the
 * tool nobody may read.  Its atomics would make threads appear synchronised
 * that are not.  All of its functions are raw; what they call of the C library
 * is not, so they call nothing of it on the way of a block.
 */
#ifndef APB_GLUE_RAW_H
#define APB_GLUE_RAW_H

#include <apb/sanitize.h>

#if defined(__clang__) && APB_SAN_MEMORY
/* It still has to note that what is written here is initialised. */
#define APB_RAW __attribute__((no_sanitize("memory", "undefined")))
#elif defined(__clang__)
#define APB_RAW                                                       \
	__attribute__((no_sanitize("address", "thread", "undefined"), \
		       disable_sanitizer_instrumentation))
#else
#define APB_RAW                                                 \
	__attribute__((no_sanitize_address, no_sanitize_thread, \
		       no_sanitize_undefined))
#endif

/* One thread's; also in libapb.so. */
#define APB_GLUE_TLS __thread __attribute__((tls_model("initial-exec")))

#endif /* APB_GLUE_RAW_H */
