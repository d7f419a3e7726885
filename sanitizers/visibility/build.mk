# SPDX-License-Identifier: MIT
#
# The programs of the visibility table: one executable, client, for each tool
# and allocator, $(O)/visibility-TOOL-plain/client and -apb.  They are compiled
# as a person would compile a program for the tool; only the library is ours.

VIS_SRC := $(sort $(wildcard sanitizers/visibility/*.c))
VIS_CFLAGS := -std=gnu11 -g -pthread -O1 -fno-builtin -fno-omit-frame-pointer \
	-fno-optimize-sibling-calls $(WARN) -Ialloc/include

# tool: compiler, its flags, the flavour of the library
vis-cc.address := clang-19
vis-flags.address := -fsanitize=address
vis-lib.address := san-address
vis-cc.memory := clang-19
vis-flags.memory := -fsanitize=memory -fsanitize-memory-track-origins=2
vis-lib.memory := san-memory
vis-cc.thread := clang-19
vis-flags.thread := -fsanitize=thread
vis-lib.thread := san-thread
vis-cc.leak := clang-19
vis-flags.leak := -fsanitize=leak
vis-lib.leak := san-leak
vis-cc.valgrind := gcc
vis-flags.valgrind :=
vis-lib.valgrind := san-valgrind
vis-cc.address-gcc := gcc
vis-flags.address-gcc := -fsanitize=address
vis-lib.address-gcc := san-address-gcc
VIS_TOOLS := address memory thread leak valgrind address-gcc

# $(call vis-flavour,FLAVOUR,TOOL,LIBRARY): linked as C++, whose operators the
# programs need.
define vis-flavour
$(1).cc = $$(vis-cc.$(2))
$(1).cflags = $$(VIS_CFLAGS) $$(vis-flags.$(2)) $(if $(3),-DVISIBILITY_APB)
$(1).ldflags = $$(vis-flags.$(2))

$(O)/$(1)/client: $$(call objs,$(1),$$(VIS_SRC)) $(3)
	$$(call say,LD)
	$$(Q)$$(subst gcc,g++,$$(vis-cc.$(2):clang%=clang++%)) -g -pthread \
		$$($(1).ldflags) -o $$@ $$(filter %.o %.a,$$^)
endef

define vis-flavours
$(call vis-flavour,visibility-$(1)-plain,$(1),)
$(call vis-flavour,visibility-$(1)-apb,$(1),$(call lib,$(vis-lib.$(1))))
endef

$(foreach t,$(VIS_TOOLS),$(eval $(call vis-flavours,$(t))))
$(foreach t,$(VIS_TOOLS),\
	$(eval $(call flavour,visibility-$(t)-plain))\
	$(eval $(call flavour,visibility-$(t)-apb)))

VIS_PLAIN := $(VIS_TOOLS:%=$(O)/visibility-%-plain/client)
VIS_APB := $(VIS_TOOLS:%=$(O)/visibility-%-apb/client)

.PHONY: visibility visibility-targets visibility-apb

visibility-apb: $(VIS_APB)

visibility-targets: $(VIS_PLAIN) visibility-apb

visibility: setup # the table of client bugs and tools, plain malloc beside apb
	@sanitizers/visibility/visibility.py
