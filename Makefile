# SPDX-License-Identifier: MIT
#
# apb: build, test, fuzz.  `make help` lists the targets.  All output goes
# below $(O), one folder per flavour; each folder of the project adds its own
# rules in a build.mk, included below.
#
# For those fragments:
#   $(O)                         output folder; O= on the command line changes
#                                it for building, scripts work in build/
#   $(call objs,FLAVOUR,SOURCES) the objects of SOURCES (.c) in a flavour
#   $(call lib,FLAVOUR)          static library of the allocator
#   $(call harness,FLAVOUR)      static library of the harness (fuzz/build.mk)
#   $(eval $(call flavour,NAME)) a new flavour, from NAME.cc (compiler),
#                                NAME.cflags, NAME.ldflags, and, if needed,
#                                NAME.deps (what every object depends on)
#   $(call link,FLAVOUR)         a recipe: link $@ from all .o and .a of $^
#   $(call say,WORD)             a recipe's first line: "  WORD  target"
#   $(PARALLEL)                  -j for a sub-make
# A target that needs installed packages has `setup` as its prerequisite and
# does its work in its recipe (sub-make or script), so that setup is done.

# ---- what is set from outside ---------------------------------------------

O := build
CC_GIVEN := $(filter-out default,$(origin CC))
ifeq ($(origin CC),default)
CC := gcc
endif
# the C++ compiler that belongs to it: of gcc-12 g++-12, of clang-19 clang++-19
ifeq ($(origin CXX),default)
CXX := $(subst gcc,g++,$(CC:clang%=clang++%))
endif
CFLAGS ?=
LDFLAGS ?=
# The release, and the number that changes when programs have to be relinked.
VERSION := 0.1.0
SOVERSION := 0
FUZZ_SECONDS ?= 60
ENGINE ?= libfuzzer
JOBS ?= $(shell nproc)
export FUZZ_SECONDS ENGINE JOBS TARGET RULES
export PYTHONDONTWRITEBYTECODE := 1

# ---- Debian 12 packages, each with its reason -----------------------------

# Everything that `make fuzz` and `make test` need, and install.
PACKAGES :=
PACKAGES += make gcc libc6-dev  # make all; also the valgrind flavour
PACKAGES += g++                 # operators new and delete, tests of them
PACKAGES += python3             # suite.py, fuzz.py and the other scripts
PACKAGES += clang-19            # libFuzzer, sanitizers, the second compiler
PACKAGES += libclang-rt-19-dev  # their run-time libraries
PACKAGES += llvm-19             # llvm-symbolizer-19: lines in ASan's reports
PACKAGES += clang-format-19     # make style
PACKAGES += afl++ clang-14      # the second engine, and its compiler
PACKAGES += lld-14              # with it the AFL++ target is instrumented
PACKAGES += valgrind            # memcheck
PACKAGES += libcmocka-dev       # unit tests
PACKAGES += libpython3.11-dev   # apb-python3, and its tests
PACKAGES += pkgconf cmake       # the test of make install: how others find it
PACKAGES += patch binutils      # planted bugs; ar, nm, objdump, objcopy
MUTATE_DEPS := python3-clang-19 # make mutate: libclang's syntax tree
PACKAGES += $(MUTATE_DEPS)      # and its test in make test

# What only some targets need, and install beside these.
BENCH_DEPS := libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 # peers
BENCH_DEPS += libtbbmalloc2 libclang-rt-19-dev # peers; the second has Scudo
BENCH_DEPS += sqlite3 git perl lua5.4 gawk # programs measured and recorded
BENCH_DEPS += redis-server redis-tools # the same; redis-benchmark
BENCH_DEPS += gnuplot-nox # plots
FOREIGN_DEPS := libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 # TARGET=
FOREIGN_DEPS += libtbbmalloc2 libclang-rt-19-dev # the same; Scudo
RECORD_DEPS := sqlite3 git perl mawk bash # programs recorded
SAN_PROGRAMS_DEPS := dpkg-dev # dpkg-source: make san-programs, san-fuzz
CONTRACT_DEPS := libclang-rt-14-dev # sanitizers of the compiler of AFL++
CONTRACT_DEPS += zip # the archive of seeds
PROGRAMS_DEPS := libpython3.11-testsuite # CPython's own tests
PROGRAMS_DEPS += redis-server redis-tools memcached nginx-light # servers
PROGRAMS_DEPS += git sqlite3 perl lua5.4 # commands

# ---- flavours -------------------------------------------------------------

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wpointer-arith
# With a tool the allocator is as it is shipped, unless it is a build for the
# program's sake (sanitizers/build.mk).
PRODUCTION := -DAPB_TRACK=0
BASE := -std=gnu11 -g -pthread $(WARN) -Ialloc/include -Ialloc -Ifuzz -Isanitizers $(PRODUCTION)
# Use after return is left out: nothing keeps the address of a local, and the
# fake stack costs a tenth of an execution.
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer -fsanitize-address-use-after-return=never

# What is shipped, and the harness around it.
release.cc = $(CC)
release.cflags = $(BASE) -O3 -DNDEBUG -fPIC -fvisibility=hidden \
	-ftls-model=initial-exec -falign-functions=64 $(CFLAGS)
release.ldflags = $(LDFLAGS)

# Unit tests and replay under ASan and UBSan.
test.cc = clang-19
test.cflags = $(BASE) -O1 $(SANFLAGS)
test.ldflags = $(SANFLAGS)

# What has threads under TSan.
tsan.cc = clang-19
tsan.cflags = $(BASE) -O1 -fsanitize=thread -fno-omit-frame-pointer
tsan.ldflags = -fsanitize=thread

# Replay under memcheck.
valgrind.cc = gcc
valgrind.cflags = $(BASE) -O1

# Kernel-like quiet build; V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s%s\n' '$(1)' '$@')
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
MAKEFLAGS += --no-print-directory

objs = $(patsubst %.c,$(O)/$(1)/%.o,$(2))
lib = $(O)/$(1)/libapb.a
harness = $(O)/$(1)/libharness.a

define link
$(call say,LD)
@mkdir -p $(@D)
$(Q)$($(1).cc) -g -pthread $($(1).ldflags) -o $@ \
	$(filter %.o %.a,$^) $(LIBS)
endef

define archive
$(call say,AR)
$(Q)rm -f $@
$(Q)ar rcs $@ $(filter %.o,$^)
endef

# Write a text to $@ if that is not what it holds already.
define keep
@mkdir -p $(@D)
@echo '$(strip $(1))' | cmp -s - $@ || echo '$(strip $(1))' >$@
endef

# What is in the library of a flavour: what tells the tools, too, if there is
# one, and what tracks blocks, if it is not the production layout.
SAN_SRC := $(sort $(wildcard sanitizers/glue/*.c))
SAN_FLAVOURS := test tsan fuzz-asan fuzz-msan bench-asan
TRACK_FLAVOURS :=
lib-src = $(ALLOC_SRC) $(if $(filter $(1),$(SAN_FLAVOURS)),$(SAN_SRC)) \
	$(if $(filter $(1),$(TRACK_FLAVOURS)),$(TRACK_SRC))

# $(O)/FLAVOUR/flags holds the compiler and its flags, $(O)/FLAVOUR/sources
# what is in the libraries; what depends on them is made anew if they change.
define flavour
FLAVOURS += $(1)

$(O)/$(1)/%.o: %.c $(O)/$(1)/flags $($(1).deps)
	$$(call say,CC)
	@mkdir -p $$(@D)
	$$(Q)$$($(1).cc) $$($(1).cflags) -MMD -MP -c -o $$@ $$<

$(O)/$(1)/flags: FORCE
	$$(call keep,$$($(1).cc) $$($(1).cflags) $$($(1).ldflags))

$(O)/$(1)/sources: FORCE
	$$(call keep,$$(call lib-src,$(1)) $$(HARNESS_SRC))

$(O)/$(1)/libapb.a: $$(call objs,$(1),$$(call lib-src,$(1))) $(O)/$(1)/sources
	$$(archive)

$(O)/$(1)/libharness.a: $$(call objs,$(1),$$(HARNESS_SRC)) $(O)/$(1)/sources
	$$(archive)
endef

# ---- targets --------------------------------------------------------------

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.PHONY: all help setup clean FORCE

all: $(if $(SAN),san-all,$(O)/libapb.a $(O)/libapb.so shim) # the libraries (what make alone does)

help: # this list
	@sed -n 's/^\([a-z-]*\):[^#=]*# /  make \1#/p' $(MAKEFILE_LIST) | \
		awk -F'#' '{ printf "%-24s%s\n", $$1, $$2 }'

setup:
	$(if $(filter-out build,$(O)),$(error O=$(O) is for building only))
	@.ci/setup $(PACKAGES)

clean: # remove build/
	rm -rf $(O)

include alloc/build.mk
include alloc/shim/build.mk
include fuzz/build.mk
-include alloc/python/build.mk
include alloc/tests/build.mk
include alloc/tests/programs/build.mk
-include fuzz/afl/build.mk
-include fuzz/bugs/build.mk
-include fuzz/explore/build.mk
-include fuzz/continuous/build.mk
-include fuzz/oss-fuzz/build.mk
-include fuzz/mutate/build.mk
-include fuzz/foreign/build.mk
-include fuzz/record/build.mk
include sanitizers/visibility/build.mk
-include sanitizers/programs/build.mk
-include bench/build.mk
include sanitizers/build.mk
include alloc/install/build.mk

$(foreach f,release test tsan valgrind,$(eval $(call flavour,$(f))))

-include $(shell find $(FLAVOURS:%=$(O)/%) -name '*.d' 2>/dev/null)
