# SPDX-License-Identifier: MIT
#
# Builds with a tool: make SAN=address|undefined|memory|thread|leak|valgrind.
#
# Each is a flavour, san-TOOL, in which the program's blocks are what the tool
# sees; with LAYOUT=production, san-TOOL-production, it is the allocator as it is
# shipped that is tested.  UBSan knows of no blocks: its flavour is one for both.
# san-none is without any, for comparison.  All of them exist with clang, but for valgrind's, which is gcc's; a second one,
# san-TOOL-gcc (san-valgrind-clang), is of the other compiler.  gcc has no MSan.

SAN ?=
LAYOUT ?= tracking
SAN_TOOLS := address undefined memory thread leak valgrind

# ---- what is asked for ------------------------------------------------------

ifneq ($(SAN),)
ifneq ($(words $(SAN)) $(filter $(SAN_TOOLS),$(SAN)),1 $(SAN))
$(error SAN=$(SAN): must be one of $(SAN_TOOLS))
endif
endif
ifneq ($(words $(LAYOUT)) $(filter tracking production,$(LAYOUT)),1 $(LAYOUT))
$(error LAYOUT=$(LAYOUT): must be tracking or production)
endif

# ---- flavours ---------------------------------------------------------------

san-flags.address := -fsanitize=address
san-flags.undefined := -fsanitize=undefined -fno-sanitize-recover=all
san-flags.memory := -fsanitize=memory
san-flags.thread := -fsanitize=thread
san-flags.leak := -fsanitize=leak
san-flags.valgrind :=
san-flags.none :=

# Only where the compiler has no word for it.
san-defs.leak := -DAPB_SAN_LEAK=1
san-defs.valgrind := -DAPB_SAN_VALGRIND=1

# What the objects are compiled with beyond what they are linked with.
SAN_CFLAGS := -O2 -fPIC -fvisibility=hidden -ftls-model=initial-exec \
	-fno-omit-frame-pointer
# Its version in Debian 12 cannot read what clang-19 writes by itself.
san-cflags.valgrind := -gdwarf-4
san-cflags.memory := -fsanitize-memory-track-origins
# memset() and the like are functions that TSan intercepts: without names that
# gcc's run time does not have, so that the library links with both.
san-clang.thread := -mllvm -tsan-instrument-memintrinsics=0

# $(call san-flavour,NAME,TOOL,COMPILER,BASE)
define san-flavour
$(1).cc = $(3)
$(1).cflags = $(4) $(SAN_CFLAGS) $$(san-flags.$(2)) $$(san-cflags.$(2)) \
	$(if $(findstring clang,$(3)),$$(san-clang.$(2))) $$(san-defs.$(2)) \
	$$(CFLAGS)
$(1).ldflags = $$(san-flags.$(2)) $$(LDFLAGS)
SAN_BUILDS += $(1)
$(if $(filter undefined none,$(2)),,SAN_FLAVOURS += $(1))
$(if $(filter undefined none,$(2))$(findstring production,$(1)),,TRACK_FLAVOURS += $(1))
endef

# $(call san-flavours,TOOL,COMPILER,SUFFIX)
define san-flavours
$(call san-flavour,san-$(1)$(3),$(1),$(2),$(if $(filter undefined none,$(1)),\
	$(BASE),$(filter-out $(PRODUCTION),$(BASE))))
$(if $(filter undefined none,$(1)),,$(call \
	san-flavour,san-$(1)-production$(3),$(1),$(2),$(BASE)))
endef

# gcc cannot be told in a source file that all of it is not to be instrumented
# (alloc/uninstrumented.h), and what is, races as far as TSan knows.
san-thread-gcc-plain := -fno-sanitize=thread -DAPB_SAN_THREAD=1
$(O)/san-thread-gcc/alloc/%.o $(O)/san-thread-gcc/sanitizers/wrap/%.o: \
	private san-thread-gcc.cflags += $(san-thread-gcc-plain)

# What CC= asks for is of the compiler that it is a version of.
san-first = $(if $(filter valgrind,$(1)),gcc,clang-19)
san-second = $(if $(filter valgrind,$(1)),clang-19,gcc)
san-kind = $(if $(findstring clang,$(1)),clang,gcc)
san-asked = $(if $(CC_GIVEN),$(if $(filter \
	$(call san-kind,$(1)),$(call san-kind,$(CC))),$(CC),$(1)),$(1))

SAN_BUILDS :=
$(foreach t,$(SAN_TOOLS) none,$(eval \
	$(call san-flavours,$(t),$(call san-asked,$(call san-first,$(t))),)))
$(foreach t,$(filter-out memory,$(SAN_TOOLS)) none,$(eval \
	$(call san-flavours,$(t),$(call san-asked,$(call san-second,$(t))),-$(call \
		san-kind,$(call san-second,$(t))))))
$(foreach f,$(SAN_BUILDS),$(eval $(call flavour,$(f))))

# ---- the one that is asked for ----------------------------------------------

SAN_SUFFIX := $(if $(CC_GIVEN),$(if $(filter \
	$(call san-kind,$(CC)),$(call san-kind,$(call san-first,$(SAN)))),,-$(call \
		san-kind,$(CC))))
SAN_BUILD := san-$(SAN)$(if $(filter undefined,$(SAN)),,$(if \
	$(filter production,$(LAYOUT)),-production))$(SAN_SUFFIX)
ifneq ($(SAN),)
ifeq ($(filter $(SAN_BUILD),$(SAN_BUILDS)),)
$(error SAN=$(SAN) CC=$(CC): only clang has it)
endif
endif


# In the tracking layout apb is played as any malloc is: what that needs, and what
# stands in the place of opening a library.
TRACKED_SRC := $(filter-out %/target.c %/hooks.c %/any_history.c,$(FOREIGN_SRC)) \
	sanitizers/tracked/self.c

# $(call san-harness,FLAVOUR,MAIN): main program, and what goes before the harness.
san-harness = $(addprefix fuzz/,$(2)) $(if $(filter \
	$(1),$(TRACK_FLAVOURS)),$(TRACKED_SRC),$(if $(2),fuzz/eachfault.c))

# $(call san-programs,FLAVOUR): unit tests and what plays inputs.
define san-programs
$(call unit_test,$(1))

$(O)/$(1)/apb-replay: $(call objs,$(1),$(call san-harness,$(1),replay.c)) \
		$(call harness,$(1)) $(call lib,$(1))
	$$(call link,$(1))

$(O)/$(1)/apb-play: $(call objs,$(1),$(call san-harness,$(1)) \
		sanitizers/matrix/play.c) $(call harness,$(1)) $(call lib,$(1))
	$$(call link,$(1))

$(O)/$(1)/apb-threads: $(call objs,$(1),$(THREADS_SRC)) \
		$(call harness,$(1)) $(call lib,$(1))
	$$(call link,$(1))
endef
$(foreach f,$(SAN_BUILDS),$(eval $(call san-programs,$(f))))

# The tool's own functions are those of the program that it is loaded by.
$(O)/san-%/libapb.so: $(O)/san-%/libapb.a
	$(call say,LD)
	$(Q)$(san-$*.cc) $(SHARED) -Wl,-Bsymbolic $(LDFLAGS) \
		$(call soname,libapb) -o $@ \
		-Wl,--whole-archive $< -Wl,--no-whole-archive
	$(soname-link)

include sanitizers/tests/build.mk
include sanitizers/wrap/build.mk
# $(call san-tests,FLAVOUR), $(call san-play,FLAVOUR)
san-tests = $(TEST_MAIN:alloc/tests/%.c=$(O)/$(1)/unit/%)
san-play = $(addprefix $(O)/$(1)/,apb-replay apb-play apb-threads)

# The preload library: with UBSan, whose run time is a library then, and for
# valgrind.  The other tools' run times are malloc themselves.
SAN_SHIM_TOOLS := undefined valgrind
san-shim-link.undefined = $(san-flags.undefined) $(if $(findstring \
	clang,$($(SAN_BUILD).cc)),-shared-libsan -Wl$(comma)-rpath$(comma)$(dir $(shell \
	$($(SAN_BUILD).cc) -print-file-name=libclang_rt.ubsan_standalone-$$(uname -m).so)))

$(O)/$(SAN_BUILD)/alloc/shim/malloc.o $(O)/$(SAN_BUILD)/alloc/shim/info.o \
$(O)/$(SAN_BUILD)/alloc/shim/new_plain.o $(O)/$(SAN_BUILD)/alloc/shim/new_next.o: \
	private $(SAN_BUILD).cflags += -fno-builtin -fno-sanitize=all

$(O)/$(SAN_BUILD)/libapb-malloc.so: $(call objs,$(SAN_BUILD),$(addprefix \
		alloc/shim/,malloc.c info.c new_plain.c new_next.c)) \
		$(O)/shim/alloc/shim/new.o $(call lib,$(SAN_BUILD)) $(SHIM_LD)
	$(call say,LD)
	$(Q)$($(SAN_BUILD).cc) $(SHARED) $(san-shim-link.$(SAN)) $(LDFLAGS) \
		$(call soname,libapb-malloc) \
		-Wl,--version-script=alloc/shim/exports.map \
		-Wl,--dynamic-list=alloc/shim/replaced.list -o $@ $(filter %.o,$^) \
		-Wl,--whole-archive $(filter %.a,$^) -Wl,--no-whole-archive \
		alloc/shim/names.ld
	$(soname-link)

.PHONY: san-all san-lib san-shim
san-lib: $(call lib,$(SAN_BUILD)) $(O)/$(SAN_BUILD)/libapb.so
san-shim: $(if $(filter $(SAN),$(SAN_SHIM_TOOLS)),$(O)/$(SAN_BUILD)/libapb-malloc.so)
	$(if $^,,@echo "apb: SAN=$(SAN): no libapb-malloc: the tool's run time is malloc itself, and has to come first")
san-all: san-lib san-shim $(if $(filter $(SAN_BUILD),$(TRACK_FLAVOURS)),\
		$(SAN_TEST_MAIN:sanitizers/tests/%.c=$(O)/$(SAN_BUILD)/tests/%),\
		$(call san-tests,$(SAN_BUILD))) $(call san-play,$(SAN_BUILD))

# ---- integers ---------------------------------------------------------------

# What is no error in C but seldom meant: wraps of unsigned numbers, values that
# a conversion changes.  Only the allocator is looked at, as it is shipped; what
# is meant is in the list.  The programs go on: every place is told once.
INTEGER_LIST := sanitizers/integer/meant.txt
INTEGER := -fsanitize=undefined,integer,implicit-conversion,nullability \
	-fsanitize=local-bounds,float-divide-by-zero
integer.cc = clang-19
integer.cflags = $(BASE) -O1 $(INTEGER) -fsanitize-recover=all \
	-fsanitize-ignorelist=$(INTEGER_LIST)
integer.ldflags = $(INTEGER)
integer.deps = $(INTEGER_LIST)
$(eval $(call flavour,integer))

# Tests and harness are those of the release.
$(O)/integer/apb-play: $(call objs,release,sanitizers/matrix/play.c) \
		$(call harness,release) $(call lib,integer)
	$(call link,integer)

$(O)/integer/unit/%: private LIBS = -lcmocka
$(O)/integer/unit/%: $(O)/release/alloc/tests/%.o \
		$(call objs,release,$(TEST_SRC)) $(call harness,release) \
		$(call lib,integer)
	$(call link,integer)

.PHONY: integer-targets integer
integer-targets: $(O)/integer/apb-play $(TEST_MAIN:alloc/tests/%.c=$(O)/integer/unit/%)

integer: setup # integers that wrap or change though nobody meant it: reports
	@sanitizers/integer/integer.py

# ---- a quick row of each, for make test --------------------------------------

# Of what is built for other tests, too: the harness is not instrumented, but for
# flavours that have one of their own.
QUICK_PRODUCTION := release test tsan valgrind
QUICK_TRACKING := $(addprefix san-,address memory thread leak valgrind)

define quick-production
$(O)/quick/$(1)/apb-play: $(call objs,$(1),sanitizers/matrix/play.c) \
		$(call harness,$(1)) $(call lib,$(1))
	$$(call link,$(1))
endef
$(foreach f,$(QUICK_PRODUCTION),$(eval $(call quick-production,$(f))))

# valgrind cannot read what clang-19 says to debuggers; TSan sees what memset()
# is called for by those who are not instrumented, but not how they wait.
quick-harness = $(if $(filter san-thread,$(1)),tsan,foreign)
$(O)/quick/san-valgrind/apb-play: private LIBS = -Wl,-S

define quick-tracking
$(O)/quick/$(1)/apb-play: $(call objs,$(call quick-harness,$(1)),$(TRACKED_SRC) \
		sanitizers/matrix/play.c) \
		$(call harness,$(call quick-harness,$(1))) $(call lib,$(1))
	$$(call link,$(1))
endef
$(foreach f,$(QUICK_TRACKING),$(eval $(call quick-tracking,$(f))))

.PHONY: matrix-quick-targets
matrix-quick-targets: $(O)/integer/apb-play $(patsubst \
	%,$(O)/quick/%/apb-play,$(QUICK_PRODUCTION) $(QUICK_TRACKING))
test-targets: matrix-quick-targets

.PHONY: check matrix

check: setup # with SAN=: unit tests, corpus and a short fuzz in that build
	$(if $(SAN),,@echo "apb: make check: wants SAN=$(word 1,$(SAN_TOOLS)) or another tool" >&2; exit 2)
	@sanitizers/matrix/matrix.py --build $(SAN_BUILD)

matrix: setup # all combinations of compiler, tool, layout, kernel, options: ONLY=row
	@sanitizers/matrix/matrix.py --only '$(ONLY)'
