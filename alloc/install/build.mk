# SPDX-License-Identifier: MIT
#
# make install, make uninstall.  DESTDIR is put before every path; PREFIX is the
# root of all of them, and each can be set by itself, by its usual name.
#
# Beside what is shipped there is a static library for each tool of TOOLS, built
# with tracking: libapb-TOOL.a.  With the tool's own instrumentation left out of
# it, it links with what either compiler made.  UBSan's is instrumented; gcc's
# run time does not have all that clang's checks call, so it is built by gcc.
# With each goes what makes it a whole program's malloc (sanitizers/wrap).
#
# No package is installed by these targets (no `setup`): what they need is what
# `make` needs, clang-19 for its tools, and python3.

DESTDIR ?=
PREFIX ?= /usr/local
prefix ?= $(PREFIX)
bindir ?= $(prefix)/bin
libdir ?= $(prefix)/lib
includedir ?= $(prefix)/include
pkgconfigdir ?= $(libdir)/pkgconfig
cmakedir ?= $(libdir)/cmake/apb
PYTHON ?=

HAS_CLANG := $(shell command -v clang-19)
TOOLS ?= $(if $(HAS_CLANG),$(SAN_TOOLS),$(filter-out memory,$(SAN_TOOLS)))

# The flavour of a tool's library.
install-flavour = san-$(1)$(if $(filter undefined,$(1)),-gcc,$(if \
	$(HAS_CLANG)$(filter valgrind,$(1)),,-gcc))

ifneq ($(filter-out $(SAN_TOOLS),$(TOOLS)),)
$(error TOOLS=$(TOOLS): must be some of $(SAN_TOOLS))
endif

ifneq ($(filter install uninstall,$(MAKECMDGOALS)),)
$(foreach d,prefix bindir libdir includedir pkgconfigdir cmakedir,$(if \
	$(filter 1-1,$(words $(filter /%,$($(d))))-$(words $($(d)))),,$(error \
		$(d)=$($(d)): must be an absolute path without blanks)))
endif

install-built = $(call lib,$(1)) $(O)/$(1)/libapb-wrap.a $(O)/$(1)/wrap-new.o
INSTALL_TOOLS = $(foreach t,$(TOOLS),$(call \
	install-built,$(call install-flavour,$(t)))) $(if $(TOOLS),$(O)/wrap.rsp)
INSTALLED = $(addprefix $(O)/,libapb.a libapb.so libapb-malloc.a libapb-malloc.so) \
	$(INSTALL_TOOLS) $(if $(PYTHON),$(O)/apb-python3)

# What a program is compiled with for a tool.
san-public = $(firstword $(san-flags.$(1))) $(san-defs.$(1)) \
	$(if $(san-flags.$(1)),-fno-omit-frame-pointer)

install-tool = $(1):$(call lib,$(call install-flavour,$(1))):$(strip $(call \
	san-public,$(1))):$(firstword $(san-flags.$(1)))

INSTALL_RUN = alloc/install/install.py --build '$(O)' \
	--version '$(VERSION)' --soversion '$(SOVERSION)' \
	--destdir '$(DESTDIR)' --prefix '$(prefix)' --bindir '$(bindir)' \
	--libdir '$(libdir)' --includedir '$(includedir)' \
	--pkgconfigdir '$(pkgconfigdir)' --cmakedir '$(cmakedir)' \
	$(if $(PYTHON),--python)

.PHONY: install uninstall

install: $(INSTALLED) # libraries, headers, pkg-config, CMake: DESTDIR, PREFIX, libdir, TOOLS
	$(Q)$(INSTALL_RUN) $(foreach t,$(TOOLS),--tool='$(call install-tool,$(t))') \
		install
	$(if $(HAS_CLANG)$(filter-out default undefined file,$(origin TOOLS)),,\
		@echo "apb: clang-19 is not there: without libapb-memory")

uninstall: # remove what install has put there, with the same variables
	$(Q)$(INSTALL_RUN) uninstall

# For its test.
test-targets: $(INSTALLED)
