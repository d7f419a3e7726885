# SPDX-License-Identifier: MIT
#
# The programs that test_shim.py runs: as they are, to have libapb-malloc.so
# preloaded; linked with libapb-malloc.a, as NAME-archive; and that without any
# shared library, as NAME-static.

PROGRAMS_ALL_WAYS := semantics startup spawn misuse secure \
	operators replaced exit
PROGRAMS := $(addprefix $(O)/programs/,info nocxx othernew.so load load-archive plugin.so \
	atfork atfork-archive handlers.so atlock atlock-archive locks.so closes inside.so $(PROGRAMS_ALL_WAYS) \
	$(PROGRAMS_ALL_WAYS:%=%-archive) $(PROGRAMS_ALL_WAYS:%=%-static))

programs.cc = gcc
programs.cflags = $(BASE) -O1 -fPIC -fno-builtin -Wno-use-after-free \
	-Wno-deprecated-declarations
$(eval $(call flavour,programs))

$(O)/programs/%.o: %.cc $(O)/programs/flags
	$(call say,CXX)
	@mkdir -p $(@D)
	$(Q)g++ -std=c++17 -Wno-mismatched-new-delete -Wno-sized-deallocation \
		$(filter-out -std=% %-prototypes -Wshadow,$(programs.cflags)) \
		-MMD -MP -c -o $@ $<

# C programs are linked by gcc, so that no C++ library is among them.
PROGRAM_LD = gcc
PROGRAM_OBJ := $(O)/programs/alloc/tests/programs
$(foreach p,operators replaced exit plugin.so,$(eval \
	$(O)/programs/$p $(O)/programs/$p-archive $(O)/programs/$p-static: \
	private PROGRAM_LD = g++))
$(O)/programs/%.so: private PROGRAM_FLAGS = -shared -Wl,-soname,$(@F)
$(O)/programs/%-static: private PROGRAM_FLAGS = -static

define program
$(call say,LD)
$(Q)$(PROGRAM_LD) -g -pthread -o $@ $(filter %.o %.a %.so,$^) \
	-Wl,-rpath,'$$ORIGIN' $(PROGRAM_FLAGS)
endef

$(addprefix $(O)/programs/,$(PROGRAMS_ALL_WAYS) load nocxx closes): \
		$(O)/programs/%: $(PROGRAM_OBJ)/%.o
	$(program)

$(O)/programs/%-archive: $(PROGRAM_OBJ)/%.o $(O)/libapb-malloc.a
	$(program)

$(O)/programs/%-static: $(PROGRAM_OBJ)/%.o $(O)/libapb-malloc.a
	$(program)

$(O)/programs/%.so: $(PROGRAM_OBJ)/%.o
	$(program)

$(O)/programs/inside.so: $(O)/libapb.a

# This one calls what libc does not have.
$(O)/programs/info: $(PROGRAM_OBJ)/info.o $(O)/libapb-malloc.so
	$(program)

# Its library's constructor runs before the allocator's, which is first else.
$(O)/programs/handlers.so: private PROGRAM_FLAGS += -Wl,-z,initfirst

$(O)/programs/atfork: $(PROGRAM_OBJ)/atfork.o $(O)/programs/handlers.so
	$(program)

$(O)/programs/atfork-archive: $(O)/programs/handlers.so

# That of this library runs before those of the program and what is preloaded.
$(O)/programs/atlock: $(PROGRAM_OBJ)/atlock.o $(O)/programs/locks.so
	$(program)

$(O)/programs/atlock-archive: $(O)/programs/locks.so

.PHONY: shim-test-programs
shim-test-programs: $(PROGRAMS) $(O)/libapb.so $(O)/libapb-malloc.so

# The suite runs test_shim.py.
test-targets: shim-test-programs

# ---- whole programs ---------------------------------------------------------

# Each is run without and with apb: see programs.py and cpython.py.  CPython's
# tests may be named: make test-programs TESTS="test_gc test_dict".
TESTS ?=

.PHONY: test-programs

test-programs: setup # many programs, CPython's tests on apb: TESTS, JOBS
	@.ci/setup $(PROGRAMS_DEPS)
	$(Q)$(MAKE) $(PARALLEL) all $(O)/apb-python3
	$(Q)alloc/tests/programs/programs.py --all
	$(Q)alloc/tests/programs/cpython.py --jobs '$(JOBS)' $(TESTS)
