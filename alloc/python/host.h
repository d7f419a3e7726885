/* SPDX-License-Identifier: MIT */
/*
 * apb-python3: CPython with apb for the object and mem domains.
 *
 * main() lets CPython read its command line and environment as far as they
 * concern memory (the pre-initialisation), puts apb in place, and goes on as
 * /usr/bin/python3 does.  The raw domain stays with malloc(): it is used
 * without the GIL, before and after the interpreter.
 *
 * PYTHONMALLOC and -X dev: the user's word wins.
 *   unset, "default"   apb
 *   "debug", -X dev    CPython's debug hooks on top of apb
 *   any other          what it names, without apb
 */
#ifndef APB_PYTHON_HOST_H
#define APB_PYTHON_HOST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* Which allocator the mem and object domains have. */
enum host_allocator {
	HOST_APB,
	HOST_APB_DEBUG, /* under CPython's debug hooks */
	HOST_OTHER /* what PYTHONMALLOC names */
};

/*
 * Put apb in place, unless PYTHONMALLOC says otherwise.  To be called once,
 * after the pre-initialisation and before anything else of CPython.
 */
enum host_allocator host_install(void);

/* What it puts into the tables of both domains: apb's, without the context. */
void *host_malloc(void *ctx, size_t size);
void *host_calloc(void *ctx, size_t n, size_t size);
void *host_realloc(void *ctx, void *ptr, size_t size);
void host_free(void *ctx, void *ptr);

/* What host_install() did. */
enum host_allocator host_allocator(void);

/* Initialise the built-in module "apb". */
PyMODINIT_FUNC host_module(void);

/*
 * Let the functions of module sys that tell about pymalloc tell about apb: in
 * the main interpreter, when it is initialised.  0, or -1 with an exception.
 */
int host_extend_sys(void);

#endif /* APB_PYTHON_HOST_H */
