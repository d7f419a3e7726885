# SPDX-License-Identifier: MIT
# libapb-malloc.a and libapb-malloc.so: the allocator with the malloc family.

# The compiler must not know what malloc() is: it could make calls of it out of
# those that are defined here.
shim.cc = $(CC)
shim.cflags = $(release.cflags) -fno-builtin
$(eval $(call flavour,shim))

# -fno-plt: calls that can be replaced are a jump by way of the table itself.
# -Wshadow: to C++ every struct with a function of its name is one.
SHIM_CXXFLAGS = -std=c++17 -fno-plt \
	$(filter-out -std=% %-prototypes -Wshadow,$(shim.cflags))
shim/new.cxxflags := -fno-exceptions -fno-rtti \
	-Wno-unknown-warning-option -Wno-sized-deallocation

$(O)/shim/%.o: %.cc $(O)/shim/flags
	$(call say,CXX)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(SHIM_CXXFLAGS) $($(*:alloc/%=%).cxxflags) -MMD -MP \
		-c -o $@ $<

NEW_OBJS := $(call objs,shim,alloc/shim/new_plain.c) $(O)/shim/alloc/shim/new.o
SHIM_OBJS := $(call objs,release,$(ALLOC_SRC)) \
	$(call objs,shim,$(addprefix alloc/shim/,malloc.c info.c))
SHIM_LD := $(addprefix alloc/shim/,names.ld exports.map replaced.list)

$(O)/libapb-malloc.so: $(SHIM_OBJS) $(NEW_OBJS) \
		$(O)/shim/alloc/shim/new_next.o $(SHIM_LD) \
		$(O)/release/sources
	$(call say,LD)
	$(Q)$(CC) $(SHARED) -Wl,-z,initfirst $(LDFLAGS) \
		$(call soname,libapb-malloc) \
		-Wl,--version-script=alloc/shim/exports.map \
		-Wl,--dynamic-list=alloc/shim/replaced.list \
		-o $@ $(filter %.o,$^) alloc/shim/names.ld
	$(soname-link)

# One object, as a second name is for the linker to give; the operators delete
# that are second names give way to those of the program.
$(O)/shim/apb-malloc.o: $(SHIM_OBJS) $(call objs,shim,alloc/shim/first.c) \
		$(SHIM_LD) $(O)/release/sources
	$(call say,LD)
	$(Q)$(CC) -r -nostdlib -o $@ $(filter %.o,$^) alloc/shim/names.ld
	$(Q)objcopy --wildcard --weaken-symbol='_Zd*' $@

$(O)/libapb-malloc.a: $(O)/shim/apb-malloc.o $(NEW_OBJS) \
		$(O)/shim/alloc/shim/new_std.o
	$(archive)

.PHONY: shim
shim: $(O)/libapb-malloc.a $(O)/libapb-malloc.so # malloc for LD_PRELOAD
