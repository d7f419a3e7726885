# SPDX-License-Identifier: MIT
#
# Planted bugs: the libFuzzer target with one faulty allocator after the other.
#
# bugs.py puts a patched copy of alloc/ into $(O)/bugs/NAME for each NAME and
# then asks for `bug-targets BUGS="NAME ..." NAME.changed="SOURCE ..."`.  Only
# the sources that are changed (all, if a header is) are compiled anew, the
# other objects and the harness are those of fuzz-asan.

BUGS :=

# $(call bug-objs,NAME): the allocator's objects.  A patched header is found
# before the one in alloc/.
bug-objs = $(patsubst %.c,$(O)/bugs/$(1)/%.o,$($(1).changed)) \
	$(call objs,fuzz-asan,$(filter-out $($(1).changed),$(ALLOC_SRC)))

define bug
$(O)/bugs/$(1)/alloc/%.o: $(O)/bugs/$(1)/alloc/%.c $(O)/fuzz-asan/flags \
		$(wildcard $(addprefix $(O)/bugs/$(1)/alloc/,\
			*.h */*.h */*/*.h))
	$$(call say,CC)
	$$(Q)$$(fuzz-asan.cc) -I$(O)/bugs/$(1)/alloc/include \
		-I$(O)/bugs/$(1)/alloc $$(fuzz-asan.cflags) -c -o $$@ $$<

$(O)/bugs/$(1)/apb-fuzz-asan: $$(call bug-objs,$(1)) \
		$$(call objs,harness-asan,fuzz/target_libfuzzer.c) \
		$$(call harness,harness-asan)
	$$(call link,fuzz-asan)
endef

$(foreach b,$(BUGS),$(eval $(call bug,$(b))))

.PHONY: bugs bug-targets

bug-targets: $(foreach b,$(BUGS),$(O)/bugs/$(b)/apb-fuzz-asan)

bugs: setup # find every planted bug: BUG=NN BUGS_SECONDS=60 JOBS=n
	+@fuzz/bugs/bugs.py
