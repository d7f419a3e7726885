// SPDX-License-Identifier: MIT
/*
 * What CPython tells about pymalloc in module sys, told about apb:
 *
 *   sys.getallocatedblocks()	the blocks in use
 *   sys._debugmallocstats()	the table, before that of the free lists
 *
 * Blocks that are not Python's count as well; this program has hardly any.
 */
#include "python/host.h"

#include <apb/apb.h>

#include <unistd.h>

/* CPython's own, which goes on to tell of its free lists. */
static PyObject *own_debugmallocstats;

static PyObject *getallocatedblocks(PyObject *self, PyObject *unused)
{
	struct apb_stats s;
	size_t blocks;
	int i;

	(void)self;
	(void)unused;
	apb_stats(&s);
	blocks = s.large;
	for (i = 0; i < APB_NR_CLASSES; i++)
		blocks += s.class_[i].used;
	return PyLong_FromSize_t(blocks);
}

static PyObject *debugmallocstats(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	/* as the original: to the descriptor, errors are of no interest */
	apb_stats_print(STDERR_FILENO);
	return PyObject_CallNoArgs(own_debugmallocstats);
}

static PyMethodDef functions[] = {
	{"getallocatedblocks", getallocatedblocks, METH_NOARGS,
	 PyDoc_STR("getallocatedblocks($module, /)\n--\n\n"
		   "Return the number of memory blocks currently allocated.")},
	{"_debugmallocstats", debugmallocstats, METH_NOARGS,
	 PyDoc_STR("_debugmallocstats($module, /)\n--\n\n"
		   "Print debug info to stderr about the state of apb and of\n"
		   "CPython's free lists.")},
};

static int replace(PyMethodDef *def, PyObject *module)
{
	PyObject *function = PyCFunction_NewEx(def, NULL, module);
	int err = function ? PySys_SetObject(def->ml_name, function) : -1;

	Py_XDECREF(function);
	return err;
}

int host_extend_sys(void)
{
	PyObject *module = PyUnicode_FromString("sys");
	int err = module ? 0 : -1;
	size_t i;

	own_debugmallocstats = PySys_GetObject("_debugmallocstats");
	if (!own_debugmallocstats)
		err = -1;
	Py_XINCREF(own_debugmallocstats);
	for (i = 0; i < Py_ARRAY_LENGTH(functions) && !err; i++)
		err = replace(&functions[i], module);
	Py_XDECREF(module);
	return err;
}
