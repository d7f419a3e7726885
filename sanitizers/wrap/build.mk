# SPDX-License-Identifier: MIT
#
# For whole programs in a build with a tool: libapb-wrap.a, and for C++
# wrap-new.o, in each of its flavours; the linker's options, wrap.rsp, in $(O).

WRAP_SRC := sanitizers/wrap/wrap.c
WRAP_FLAVOURS := $(SAN_BUILDS) test release

# $(call wrap,FLAVOUR): what a whole program is linked with, but for new.
wrap = @$(O)/wrap.rsp $(O)/$(1)/libapb-wrap.a $(call lib,$(1))
wrap-deps = $(O)/wrap.rsp $(O)/$(1)/libapb-wrap.a $(call lib,$(1))
wrap-cxx = $(subst gcc,g++,$($(1).cc:clang%=clang++%))

# An option for each function that stands in wrap.c.
$(O)/wrap.rsp: $(WRAP_SRC)
	$(call say,GEN)
	@mkdir -p $(@D)
	$(Q)sed -n 's/^[a-z].*__wrap_\([a-z_]*\)(.*/-Wl,--wrap=\1/p' $< | \
		sort -u >$@

# -Wshadow: to C++ every struct with a function of its name is one.
wrap-cxxflags = -std=c++17 $(filter-out -std=% %-prototypes -Wshadow \
	-fvisibility=%,$($(1).cflags))

define wrap-flavour
$(O)/$(1)/libapb-wrap.a: $(call objs,$(1),$(WRAP_SRC))
	$$(archive)

$(O)/$(1)/wrap-new.o: sanitizers/wrap/new.cc $(O)/$(1)/flags
	$$(call say,CXX)
	$$(Q)$$(call wrap-cxx,$(1)) $$(call wrap-cxxflags,$(1)) -MMD -MP -c \
		-o $$@ $$<
endef
$(foreach f,$(WRAP_FLAVOURS),$(eval $(call wrap-flavour,$(f))))

# make SAN=...
ifneq ($(SAN),)
san-lib: $(call wrap-deps,$(SAN_BUILD)) $(O)/$(SAN_BUILD)/wrap-new.o
endif

# ---- tests ------------------------------------------------------------------

define wrap-test-flavour
$(O)/$(1)/wrap-whole: private LIBS = @$(O)/wrap.rsp
$(O)/$(1)/wrap-whole: $(call objs,$(1),sanitizers/wrap/tests/whole.c) \
		$(call wrap-deps,$(1))
	$$(call link,$(1))
endef

define wrap-test-cxx-flavour
$(O)/$(1)/wrap-whole-cxx: sanitizers/wrap/tests/whole.cc $(O)/$(1)/wrap-new.o \
		$(call wrap-deps,$(1))
	$$(call say,LD)
	$$(Q)$$(call wrap-cxx,$(1)) $$(call wrap-cxxflags,$(1)) -MMD -MP \
		-MF $$@.d -o $$@ $$< \
		$(O)/$(1)/wrap-new.o $$($(1).ldflags) $(call wrap,$(1))
endef
WRAP_TEST_CXX_FLAVOURS := san-address test release
WRAP_TEST_FLAVOURS := $(WRAP_TEST_CXX_FLAVOURS) san-memory san-thread san-valgrind
$(foreach f,$(WRAP_TEST_FLAVOURS),$(eval $(call wrap-test-flavour,$(f))))
$(foreach f,$(WRAP_TEST_CXX_FLAVOURS),$(eval $(call wrap-test-cxx-flavour,$(f))))
WRAP_TESTS := $(WRAP_TEST_FLAVOURS:%=$(O)/%/wrap-whole) \
	$(WRAP_TEST_CXX_FLAVOURS:%=$(O)/%/wrap-whole-cxx)

san-tests: $(WRAP_TESTS)
