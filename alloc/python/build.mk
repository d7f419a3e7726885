# SPDX-License-Identifier: MIT
# apb-python3: CPython (libpython3.11) with apb for its objects.

# The object files of a flavour of its own, linked to what is shipped.
python.cc = $(CC)
python.cflags = $(BASE) -O3 -DNDEBUG -fvisibility=hidden \
	-isystem /usr/include/python3.11 $(CFLAGS)
python.ldflags = $(LDFLAGS)
$(eval $(call flavour,python))

PYTHON_SRC := $(sort $(wildcard alloc/python/*.c))

$(O)/apb-python3: private LIBS = -lpython3.11
$(O)/apb-python3: $(call objs,python,$(PYTHON_SRC)) $(O)/libapb.a
	$(call link,python)

.PHONY: python

python: setup # build/apb-python3: CPython on apb
	$(Q)$(MAKE) $(PARALLEL) $(O)/apb-python3
