// SPDX-License-Identifier: MIT
/*
 * The built-in module "apb": the allocator's statistics for Python programs.
 *
 *   apb.stats()                   a dict of struct apb_stats
 *   apb.debugmallocstats(file)    the table of apb_stats_print()
 *   apb.trim()                    give memory back; how many bytes
 *   apb.check()                   verify every invariant
 *   apb.allocator                 "apb", "apb_debug", or None if PYTHONMALLOC
 *                                 names another
 *
 * The calls into apb run with the GIL held; it keeps other Python threads out,
 * and apb its own locks.
 */
#define _GNU_SOURCE
#include "python/host.h"

#include <apb/apb.h>

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIELD(name)                               \
	{#name, offsetof(struct apb_stats, name), \
	 sizeof(((struct apb_stats *)0)->name)}

static const struct field {
	const char *name;
	size_t at;
	size_t size;
} fields[] = {
	FIELD(arenas_total),
	FIELD(arenas_reclaimed),
	FIELD(arenas_highwater),
	FIELD(arenas),
	FIELD(spares),
	FIELD(arena_bytes),
	FIELD(used_bytes),
	FIELD(avail_bytes),
	FIELD(unused_pool_bytes),
	FIELD(header_bytes),
	FIELD(quant_bytes),
	FIELD(align_bytes),
	FIELD(large),
	FIELD(large_bytes),
	FIELD(large_slack_bytes),
	FIELD(large_cached),
	FIELD(large_cached_bytes),
	FIELD(heaps),
	FIELD(heap_bytes),
	FIELD(dirty_limit),
	FIELD(map_bytes),
	FIELD(slop_bytes),
	FIELD(mapped_bytes),
	FIELD(mapped_highwater),
	FIELD(dirty_bytes),
	FIELD(purges),
	FIELD(settles),
	FIELD(settled),
	FIELD(recovered),
	FIELD(unmap_failures),
};
static_assert(sizeof(size_t) == sizeof(uint64_t), "one width of a field");

/* ---- stats() ---------------------------------------------------------- */

/* Put @value, a new reference or NULL, into @dict: 0, or -1. */
static int put(PyObject *dict, const char *key, PyObject *value)
{
	int err = value ? PyDict_SetItemString(dict, key, value) : -1;

	Py_XDECREF(value);
	return err;
}

/* Append @value, a new reference or NULL, to @list: 0, or -1. */
static int append(PyObject *list, PyObject *value)
{
	int err = value ? PyList_Append(list, value) : -1;

	Py_XDECREF(value);
	return err;
}

/* @obj, or NULL without it if @err. */
static PyObject *unless(int err, PyObject *obj)
{
	if (err)
		Py_CLEAR(obj);
	return obj;
}

static PyObject *classes(const struct apb_stats *s)
{
	PyObject *list = PyList_New(0);
	int err = 0;
	int i;

	if (!list)
		return NULL;
	for (i = 0; i < APB_NR_CLASSES && !err; i++) {
		const struct apb_class_stats *c = &s->class_[i];

		err = append(list,
			     Py_BuildValue("{s:k,s:k,s:k,s:k,s:k}", "size",
					   c->size, "pool_size", c->pool_size,
					   "pools", c->pools, "used", c->used,
					   "avail", c->avail));
	}
	return unless(err, list);
}

static PyObject *unused_pools(const struct apb_stats *s)
{
	PyObject *list = PyList_New(0);
	int err = 0;
	int i;

	if (!list)
		return NULL;
	for (i = 0; i < APB_NR_POOL_SIZES && !err; i++)
		err = append(list, Py_BuildValue("{s:k,s:k}", "size",
						 s->unused_pools[i].size, "nr",
						 s->unused_pools[i].nr));
	return unless(err, list);
}

PyDoc_STRVAR(stats_doc,
	     "stats()\n--\n\n"
	     "Return where the allocator's memory is, as a dict.\n\n"
	     "Its keys are the fields of struct apb_stats, described in\n"
	     "apb/apb.h; 'classes' is a list with a dict for each size class.");

static PyObject *stats(PyObject *self, PyObject *unused)
{
	PyObject *dict = PyDict_New();
	struct apb_stats s;
	size_t i;
	int err;

	(void)self;
	(void)unused;
	if (!dict)
		return NULL;
	apb_stats(&s);
	err = put(dict, "classes", classes(&s));
	if (!err)
		err = put(dict, "unused_pools", unused_pools(&s));
	for (i = 0; i < Py_ARRAY_LENGTH(fields) && !err; i++) {
		const void *at = (const char *)&s + fields[i].at;

		err = put(dict, fields[i].name,
			  PyLong_FromSize_t(*(const size_t *)at));
	}
	return unless(err, dict);
}

/* ---- debugmallocstats() ----------------------------------------------- */

/* All that was written to @fd, as a str. */
static PyObject *contents(int fd)
{
	struct stat st;
	PyObject *text;
	void *map;

	if (fstat(fd, &st) < 0)
		return PyErr_SetFromErrno(PyExc_OSError);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return PyErr_SetFromErrno(PyExc_OSError);
	text = PyUnicode_FromStringAndSize(map, st.st_size);
	munmap(map, (size_t)st.st_size);
	return text;
}

static PyObject *table(void)
{
	int fd = memfd_create("apb-stats", MFD_CLOEXEC);
	PyObject *text;

	if (fd < 0)
		return PyErr_SetFromErrno(PyExc_OSError);
	text = apb_stats_print(fd) < 0 ? PyErr_SetFromErrno(PyExc_OSError) :
					 contents(fd);
	close(fd);
	return text;
}

PyDoc_STRVAR(debugmallocstats_doc,
	     "debugmallocstats(file=None)\n--\n\n"
	     "Write the allocator's statistics to file (default: sys.stderr)\n"
	     "in the layout of sys._debugmallocstats().");

static PyObject *debugmallocstats(PyObject *self, PyObject *args,
				  PyObject *kwargs)
{
	static char *names[] = {"file", NULL};
	PyObject *file = Py_None;
	PyObject *text;
	int err;

	(void)self;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:debugmallocstats",
					 names, &file))
		return NULL;
	if (file == Py_None)
		file = PySys_GetObject("stderr"); /* borrowed */
	if (!file || file == Py_None)
		Py_RETURN_NONE; /* as print() without a sys.stdout */
	text = table();
	if (!text)
		return NULL;
	Py_INCREF(file);
	err = PyFile_WriteObject(text, file, Py_PRINT_RAW);
	Py_DECREF(file);
	Py_DECREF(text);
	if (err)
		return NULL;
	Py_RETURN_NONE;
}

/* ---- the rest --------------------------------------------------------- */

PyDoc_STRVAR(trim_doc,
	     "trim()\n--\n\n"
	     "Give back to the system all memory that can be given back.\n\n"
	     "Return the number of bytes.");

static PyObject *trim(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	return PyLong_FromSize_t(apb_trim());
}

PyDoc_STRVAR(check_doc,
	     "check()\n--\n\n"
	     "Verify every invariant of the allocator.\n\n"
	     "Raise RuntimeError, which says which one, if one does not hold.");

static PyObject *check(PyObject *self, PyObject *unused)
{
	struct apb_violation v;

	(void)self;
	(void)unused;
	if (apb_check(&v) == 0)
		Py_RETURN_NONE;
	return PyErr_Format(PyExc_RuntimeError, "%s: %s", v.invariant, v.text);
}

static int add_allocator(PyObject *module)
{
	static const char *const names[] = {
		[HOST_APB] = "apb",
		[HOST_APB_DEBUG] = "apb_debug",
	};

	if (host_allocator() == HOST_OTHER)
		return PyModule_AddObjectRef(module, "allocator", Py_None);
	return PyModule_AddStringConstant(module, "allocator",
					  names[host_allocator()]);
}

static PyMethodDef methods[] = {
	{"stats", stats, METH_NOARGS, stats_doc},
	{"debugmallocstats", _PyCFunction_CAST(debugmallocstats),
	 METH_VARARGS | METH_KEYWORDS, debugmallocstats_doc},
	{"trim", trim, METH_NOARGS, trim_doc},
	{"check", check, METH_NOARGS, check_doc},
	{NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
	{Py_mod_exec, add_allocator},
	{0, NULL},
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "apb",
	.m_doc = "The allocator of this interpreter's memory.",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC host_module(void)
{
	return PyModuleDef_Init(&definition);
}
