# SPDX-License-Identifier: MIT
#
# Planted bugs: the targets of libFuzzer and AFL++, or apb-threads under TSan,
# with one faulty allocator after the other.
#
# bugs.py puts a patched copy of alloc/ into $(O)/bugs/NAME for each NAME and
# then asks for `bug-targets BUGS="NAME ..." BUG_TARGETS="PROGRAM ..."
# NAME.changed="SOURCE ..."`.  Only the sources that are changed (all, if a
# header is) are compiled anew, the other objects and the harness are those of
# the flavour.

# The AFL++ target, instrumented while it is compiled: while it is linked would be
# 2 s for each bug.
afl-compiled.cc = $(afl.cc:%lto=%fast)
afl-compiled.cflags = $(afl.cflags)
afl-compiled.ldflags = $(afl.ldflags)
afl-compiled.deps = $(afl.deps)
$(eval $(call flavour,afl-compiled))

BUGS :=
BUG_TARGETS :=

# $(call bug-objs,NAME,FLAVOUR): the allocator's objects.  A patched header is
# found before the one in alloc/.
bug-objs = $(patsubst %.c,$(O)/bugs/$(1)/%.$(2).o,\
	$(filter-out $(TRACK_SRC),$($(1).changed))) \
	$(call objs,$(2),$(filter-out $($(1).changed),$(ALLOC_SRC)))

# $(call bug-flavour,NAME,FLAVOUR): how the changed sources are compiled.
define bug-flavour
$(O)/bugs/$(1)/alloc/%.$(2).o: $(O)/bugs/$(1)/alloc/%.c $(O)/$(2)/flags \
		$(wildcard $(addprefix $(O)/bugs/$(1)/alloc/,\
			*.h */*.h */*/*.h))
	$$(call say,CC)
	$$(Q)$$($(2).cc) -I$(O)/bugs/$(1)/alloc/include \
		-I$(O)/bugs/$(1)/alloc $$($(2).cflags) -c -o $$@ $$<
endef

# $(call bug-replay,NAME,FLAVOUR): apb-replay, and the library for C programs.
define bug-replay
$(O)/bugs/$(1)/$(2)/libapb.a: $$(call bug-objs,$(1),$(2))
	@mkdir -p $$(@D)
	$$(archive)

$(O)/bugs/$(1)/$(2)/apb-replay: private LIBS = $(FIXED)
$(O)/bugs/$(1)/$(2)/apb-replay: $$(call objs,$(2),$$(REPLAY_SRC)) \
		$$(call harness,$(2)) $(O)/bugs/$(1)/$(2)/libapb.a
	$$(call link,$(2))
endef

define bug
$(call bug-flavour,$(1),fuzz-asan)
$(call bug-flavour,$(1),afl-compiled)
$(call bug-flavour,$(1),tsan)
$(call bug-flavour,$(1),release)
$(call bug-flavour,$(1),test)
$(call bug-replay,$(1),release)
$(call bug-replay,$(1),test)

$(O)/bugs/$(1)/apb-fuzz-asan: $$(call bug-objs,$(1),fuzz-asan) \
		$$(call objs,harness-asan,fuzz/target_libfuzzer.c) \
		$$(call harness,harness-asan)
	$$(call link,fuzz-asan)

$(O)/bugs/$(1)/apb-fuzz-afl: $$(call bug-objs,$(1),afl-compiled) \
		$$(call objs,afl-compiled,fuzz/target_afl.c) \
		$$(call harness,harness)
	$$(call link,afl-compiled)

$(foreach f,fuzz-asan afl-compiled,\
$(O)/bugs/$(1)/$(SHIM_SRC:.c=.$(f).o): private \
	$(f).cflags += -fno-builtin -include fuzz/shim_api.h
)
$(O)/bugs/$(1)/apb-fuzz-shim-asan: $$(call bug-objs,$(1),fuzz-asan) \
		$$(call objs,harness-asan,fuzz/target_libfuzzer.c $$(SHIM_API)) \
		$$(call harness,harness-asan)
	$$(call link,fuzz-asan)

$(O)/bugs/$(1)/apb-fuzz-shim-afl: $$(call bug-objs,$(1),afl-compiled) \
		$$(call objs,afl-compiled,fuzz/target_afl.c) \
		$$(call objs,harness,$$(SHIM_API)) $$(call harness,harness)
	$$(call link,afl-compiled)

$(O)/bugs/$(1)/apb-threads: $$(call bug-objs,$(1),tsan) \
		$$(call objs,tsan,$$(THREADS_SRC)) $$(call harness,tsan)
	$$(call link,tsan)

$(O)/bugs/$(1)/apb-replay: private LIBS = $(FIXED)
$(O)/bugs/$(1)/apb-replay: $$(call bug-objs,$(1),release) \
		$$(call objs,release,$$(REPLAY_SRC)) $$(call harness,release)
	$$(call link,release)
endef

$(foreach b,$(BUGS),$(eval $(call bug,$(b))))

.PHONY: bugs bug-targets bugs-reproduce

bug-targets: $(BUG_TARGETS)

bugs: setup # planted bugs: ENGINE=libfuzzer|afl|both SEEDS=1 BUG=NN
	+@fuzz/bugs/bugs.py

bugs-reproduce: setup # C programs that show them: BUG=NN BUGS_SECONDS=20
	+@fuzz/bugs/reproduce.py
