# SPDX-License-Identifier: MIT
# The allocator: libapb.a and libapb.so, release flags.

ALLOC_SRC := $(sort $(wildcard alloc/*/*.c))
ALLOC_SRC := $(filter-out alloc/tests/%,$(ALLOC_SRC))

$(O)/libapb.a: $(call lib,release)
	$(call say,CP)
	$(Q)cp $< $@

$(O)/libapb.so: $(call objs,release,$(ALLOC_SRC)) $(O)/release/sources
	$(call say,LD)
	$(Q)$(CC) -shared -pthread $(LDFLAGS) -Wl,-soname,libapb.so \
		-o $@ $(filter %.o,$^)

# The same without the misuse checks, to measure what they cost.
nochecks.cc = $(CC)
nochecks.cflags = $(release.cflags) -DAPB_CHECKS=0
$(eval $(call flavour,nochecks))

$(O)/libapb-nochecks.so: $(call objs,nochecks,$(ALLOC_SRC)) \
		$(O)/nochecks/sources
	$(call say,LD)
	$(Q)$(CC) -shared -pthread $(LDFLAGS) -Wl,-soname,libapb.so \
		-o $@ $(filter %.o,$^)
