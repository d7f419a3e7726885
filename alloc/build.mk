# SPDX-License-Identifier: MIT
# The allocator: libapb.a and libapb.so, release flags.

ALLOC_SRC := $(sort $(wildcard alloc/*/*.c))
ALLOC_SRC := $(filter-out alloc/tests/% alloc/shim/% alloc/python/%,$(ALLOC_SRC))
# In builds with a tool only, see sanitizers/build.mk.
TRACK_SRC := $(filter alloc/track/%,$(ALLOC_SRC))
ALLOC_SRC := $(filter-out $(TRACK_SRC),$(ALLOC_SRC))

$(O)/libapb.a: $(call lib,release)
	$(call say,CP)
	$(Q)cp $< $@

# It stays after dlclose(): threads have a heap and fork() has handlers.
# libapb.so calls its own functions, should a program have two instances.
SHARED := -shared -pthread -Wl,-z,nodelete -Wl,-z,now
# $(call soname,LIBRARY): programs ask for it by this name, which stands beside it.
soname = -Wl,-soname,$(1).so.$(SOVERSION)

define soname-link
$(Q)ln -sf $(@F) $@.$(SOVERSION)
endef

$(O)/libapb.so: $(call objs,release,$(ALLOC_SRC)) $(O)/release/sources
	$(call say,LD)
	$(Q)$(CC) $(SHARED) -Wl,-Bsymbolic $(LDFLAGS) $(call soname,libapb) \
		-o $@ $(filter %.o,$^)
	$(soname-link)

# The same without the misuse checks, to measure what they cost.
nochecks.cc = $(CC)
nochecks.cflags = $(release.cflags) -DAPB_CHECKS=0
$(eval $(call flavour,nochecks))

$(O)/libapb-nochecks.so: $(call objs,nochecks,$(ALLOC_SRC)) \
		$(O)/nochecks/sources
	$(call say,LD)
	$(Q)$(CC) $(SHARED) -Wl,-Bsymbolic $(LDFLAGS) $(call soname,libapb) \
		-o $@ $(filter %.o,$^)
