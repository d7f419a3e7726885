# SPDX-License-Identifier: MIT
#
# The programs that test_shim.py runs: as they are, to have libapb-malloc.so
# preloaded; linked with libapb-malloc.a, as NAME-archive; and that without any
# shared library, as NAME-static.

PROGRAMS_C := semantics startup spawn misuse secure
PROGRAMS_CXX := operators replaced exit
PROGRAMS := $(addprefix $(O)/programs/,info load plugin.so load-archive \
	$(foreach p,$(PROGRAMS_C) $(PROGRAMS_CXX),$(p) $(p)-archive $(p)-static))

programs.cc = gcc
programs.cflags = $(BASE) -O1 -fPIC -fno-builtin -Wno-use-after-free \
	-Wno-deprecated-declarations
$(eval $(call flavour,programs))

$(O)/programs/%.o: %.cc $(O)/programs/flags
	$(call say,CXX)
	@mkdir -p $(@D)
	$(Q)g++ -std=c++17 \
		$(filter-out -std=% %-prototypes -Wshadow,$(programs.cflags)) \
		-Wno-mismatched-new-delete -Wno-sized-deallocation -MMD -MP -c -o $@ $<

$(addprefix $(O)/programs/,$(PROGRAMS_C) info load load-archive \
	$(foreach v,archive static,$(PROGRAMS_C:%=%-$(v)))): private LINK = gcc
$(addprefix $(O)/programs/,$(PROGRAMS_CXX) plugin.so \
	$(foreach v,archive static,$(PROGRAMS_CXX:%=%-$(v)))): private LINK = g++

# From the object of the name without its suffix.
define program
$(call say,LD)
$(Q)$(LINK) -g -pthread $(1) -o $@ $(filter %.o %.a %.so,$^)
endef
PROGRAM_OBJ := $(O)/programs/alloc/tests/programs

$(addprefix $(O)/programs/,$(PROGRAMS_C) $(PROGRAMS_CXX) load): \
		$(O)/programs/%: $(PROGRAM_OBJ)/%.o
	$(call program)

$(O)/programs/%-archive: $(PROGRAM_OBJ)/%.o $(O)/libapb-malloc.a
	$(call program)

$(O)/programs/%-static: $(PROGRAM_OBJ)/%.o $(O)/libapb-malloc.a
	$(call program,-static)

# This one calls what libc does not have.
$(O)/programs/info: $(PROGRAM_OBJ)/info.o $(O)/libapb-malloc.so
	$(call program)

$(O)/programs/plugin.so: $(PROGRAM_OBJ)/plugin.o
	$(call program,-shared)

.PHONY: shim-test-programs
shim-test-programs: $(PROGRAMS) $(O)/libapb.so $(O)/libapb-malloc.so

# The suite runs test_shim.py.
test-targets: shim-test-programs
