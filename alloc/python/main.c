// SPDX-License-Identifier: MIT
/*
 * apb-python3: what Py_BytesMain() does, in steps, so that the allocator can
 * be put in place between the pre-initialisation and the interpreter's own.
 */
#include "python/host.h"

#include <apb/apb.h>

#include <stdlib.h>
#include <unistd.h>

/* PYTHONMALLOCSTATS: pymalloc prints its table at the end; so does apb. */
static void print_stats(void)
{
	apb_stats_print(STDERR_FILENO);
}

static bool stats_wanted(void)
{
	const char *value = getenv("PYTHONMALLOCSTATS");

	return value && *value && !Py_IgnoreEnvironmentFlag;
}

static PyStatus tell_stats(void)
{
	if (host_extend_sys() < 0) {
		PyErr_Clear();
		return PyStatus_NoMemory();
	}
	if (stats_wanted())
		Py_AtExit(print_stats);
	return PyStatus_Ok();
}

static PyStatus preinitialize(int argc, char **argv)
{
	PyPreConfig config;

	PyPreConfig_InitPythonConfig(&config);
	return Py_PreInitializeFromBytesArgs(&config, argc, argv);
}

static PyStatus initialize(int argc, char **argv)
{
	PyStatus status;
	PyConfig config;

	if (PyImport_AppendInittab("apb", host_module) < 0)
		return PyStatus_NoMemory();
	PyConfig_InitPythonConfig(&config);
	status = PyConfig_SetBytesArgv(&config, argc, argv);
	if (!PyStatus_Exception(status))
		status = Py_InitializeFromConfig(&config);
	PyConfig_Clear(&config);
	return status;
}

int main(int argc, char **argv)
{
	PyStatus status = preinitialize(argc, argv);

	if (!PyStatus_Exception(status)) {
		bool apb = host_install() != HOST_OTHER;

		status = initialize(argc, argv);
		if (!PyStatus_Exception(status) && apb)
			status = tell_stats();
	}
	/* an exit asked for, by --help for instance, is one of these as well */
	if (PyStatus_Exception(status))
		Py_ExitStatusException(status);
	return Py_RunMain();
}
