# SPDX-License-Identifier: MIT
# apb-python3: CPython (libpython3.11) with apb for its objects.

# The object files of a flavour of its own, linked to what is shipped.
python.cc = $(CC)
python.cflags = $(BASE) -O3 -DNDEBUG -fvisibility=hidden -fno-pie \
	-ftls-model=local-exec -falign-functions=64 \
	-isystem /usr/include/python3.11 $(CFLAGS)
# As /usr/bin/python3 is linked: no shared libpython, all that it offers is
# there for extension modules.
python.ldflags = -no-pie -Wl,--export-dynamic -Wl,--exclude-libs,libapb.a \
	$(LDFLAGS)
$(eval $(call flavour,python))

PYTHON_SRC := $(sort $(wildcard alloc/python/*.c))
PYTHON_ARCHIVE := /usr/lib/python3.11/config-3.11-x86_64-linux-gnu/libpython3.11.a

# Its functions for memory get other names, and its tables can be seen: see
# direct.c.
PYTHON_RENAMED := $(foreach d,Object Mem,$(foreach f,Malloc Calloc Realloc Free,\
	--redefine-sym Py$d_$f=host_$(if $(filter Mem,$d),mem,object)_$(shell \
	echo $f | tr A-Z a-z)))
PYTHON_TABLES := --globalize-symbol=host_table_object \
	--globalize-symbol=host_table_mem

$(O)/python/obmalloc.o: $(PYTHON_ARCHIVE) alloc/python/build.mk
	$(call say,OBJCOPY)
	@mkdir -p $(@D)
	$(Q)cd $(@D) && ar x $< obmalloc.o
	$(Q)objcopy $(PYTHON_RENAMED) --redefine-sym _PyObject=host_table_object \
		--redefine-sym _PyMem=host_table_mem $@ 
	$(Q)objcopy $(PYTHON_TABLES) $@

$(O)/python/libpython.a: $(PYTHON_ARCHIVE)
	$(call say,AR)
	@mkdir -p $(@D)
	$(Q)cp $< $@ && ar d $@ obmalloc.o

$(O)/apb-python3: private LIBS = -Wl,--whole-archive $(O)/python/libpython.a \
	-Wl,--no-whole-archive -lexpat -lz -lm
$(O)/apb-python3: $(call objs,python,$(PYTHON_SRC)) $(O)/libapb.a \
		$(O)/python/obmalloc.o | $(O)/python/libpython.a
	$(call link,python)

.PHONY: python

python: setup # build/apb-python3: CPython on apb
	$(Q)$(MAKE) $(PARALLEL) $(O)/apb-python3
