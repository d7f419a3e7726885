// SPDX-License-Identifier: MIT
/*
 * In programs that are linked with libapb-malloc.a: the handlers for fork() are
 * registered before any library is initialised, so that in fork() the allocator
 * takes its locks last of all.  Else a library's handler would wait, with these
 * taken, for a lock that another thread has and allocates with.
 *
 * libapb-malloc.so is initialised first (-z initfirst) to the same end: there can
 * be no such array in a shared library.
 */
#include "api/lock.h"

__attribute__((section(".preinit_array"), used)) static void (*const first)(
	void) = apb_register_fork_handlers;
