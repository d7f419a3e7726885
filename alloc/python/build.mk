# SPDX-License-Identifier: MIT
# apb-python3: CPython (libpython3.11) with apb for its objects.

# The object files of a flavour of its own, linked to what is shipped.
python.cc = $(CC)
python.cflags = $(BASE) -O3 -DNDEBUG -fvisibility=hidden -fno-pie \
	-ftls-model=local-exec -falign-functions=64 \
	-isystem /usr/include/python3.11 $(CFLAGS)
# As /usr/bin/python3 is: no shared libpython, at a fixed address, with all of
# it for extension modules.
python.ldflags = -no-pie -Wl,--export-dynamic -Wl,--exclude-libs,libapb.a \
	$(LDFLAGS)
$(eval $(call flavour,python))

PYTHON_SRC := $(sort $(wildcard alloc/python/*.c))
PYTHON_CONFIG := /usr/lib/python3.11/config-3.11-x86_64-linux-gnu
PYTHON_LIBS := -lexpat -lz -lm

# direct.c takes the place of these, and asks these tables.
PYTHON_RENAMED := \
	PyObject_Malloc=host_object_malloc PyMem_Malloc=host_mem_malloc \
	PyObject_Calloc=host_object_calloc PyMem_Calloc=host_mem_calloc \
	PyObject_Realloc=host_object_realloc PyMem_Realloc=host_mem_realloc \
	PyObject_Free=host_object_free PyMem_Free=host_mem_free \
	_PyObject=host_table_object _PyMem=host_table_mem
PYTHON_TABLES := host_table_object host_table_mem

$(O)/python/obmalloc.o: $(PYTHON_CONFIG)/libpython3.11.a alloc/python/build.mk
	$(call say,OBJCOPY)
	@mkdir -p $(@D)
	$(Q)cd $(@D) && ar x $< $(@F)
	$(Q)objcopy $(PYTHON_RENAMED:%=--redefine-sym %) $@
	$(Q)objcopy $(PYTHON_TABLES:%=--globalize-symbol=%) $@

$(O)/python/libpython.a: $(PYTHON_CONFIG)/libpython3.11.a
	$(call say,AR)
	@mkdir -p $(@D)
	$(Q)cp $< $@
	$(Q)ar d $@ obmalloc.o

# $(call whole,ARCHIVE): all of it
whole = -Wl,--whole-archive $(1) -Wl,--no-whole-archive

$(O)/apb-python3: private LIBS = \
	$(call whole,$(O)/python/libpython.a) $(PYTHON_LIBS)
$(O)/apb-python3: $(call objs,python,$(PYTHON_SRC)) $(O)/libapb.a \
		$(O)/python/obmalloc.o | $(O)/python/libpython.a
	$(call link,python)

# The same interpreter without apb, and without any of this: what the
# benchmarks compare with.
$(O)/python/python3: private LIBS = \
	$(call whole,$(PYTHON_CONFIG)/libpython3.11.a) $(PYTHON_LIBS)
$(O)/python/python3: $(PYTHON_CONFIG)/python.o
	$(call link,python)

.PHONY: python

python: setup # build/apb-python3: CPython on apb
	$(Q)$(MAKE) $(PARALLEL) $(O)/apb-python3
