# SPDX-License-Identifier: MIT
#
# Schedules: the allocator compiled with clang's -fsanitize=thread, but linked
# with what is here in place of TSan's run time.  What is explored (scenarios,
# toys) is compiled as the allocator is, the explorer as the harness.

EXPLORE_SECONDS ?= 120
export EXPLORE_SECONDS

EXPLORE_SCENES := fuzz/explore/toys.c $(wildcard fuzz/explore/scene_*.c)
EXPLORE_MAIN := fuzz/explore/main.c fuzz/explore/test_explore.c \
	fuzz/explore/target_libfuzzer.c
EXPLORE_SRC := $(filter-out $(EXPLORE_MAIN) $(EXPLORE_SCENES),\
	$(sort $(wildcard fuzz/explore/*.c)))

explore.cc = clang-19
explore.cflags = $(BASE) -O1 -fsanitize=thread \
	-mllvm -tsan-instrument-func-entry-exit=0 -fno-omit-frame-pointer \
	-DAPB_QUEUE_MAX=2
explore.ldflags = -no-pie $(patsubst %,-Wl$(comma)--wrap=pthread_%,\
	mutex_lock mutex_trylock mutex_unlock key_create setspecific)
comma := ,
$(eval $(call flavour,explore))

EXPLORE_OBJS := $(call objs,harness,$(EXPLORE_SRC)) \
	$(call harness,harness) $(call objs,explore,$(EXPLORE_SCENES))

$(O)/explore/apb-explore: $(call objs,harness,fuzz/explore/main.c) \
		$(EXPLORE_OBJS) $(call lib,explore)
	$(call link,explore)

$(O)/explore/test-explore: private LIBS = -lcmocka
$(O)/explore/test-explore: $(call objs,harness,fuzz/explore/test_explore.c) \
		$(EXPLORE_OBJS) $(call lib,explore)
	$(call link,explore)

# The same with coverage, for libFuzzer: schedules at the ends of the inputs.
explore-fuzz.cc = clang-19
explore-fuzz.cflags = $(explore.cflags) $(COVERAGE)
explore-fuzz.ldflags = $(explore.ldflags) -fsanitize=fuzzer
$(eval $(call flavour,explore-fuzz))

$(O)/explore/apb-fuzz-explore: \
		$(call objs,harness,fuzz/explore/target_libfuzzer.c) \
		$(call objs,harness,$(EXPLORE_SRC)) \
		$(call harness,harness) \
		$(call objs,explore-fuzz,$(EXPLORE_SCENES)) \
		$(call lib,explore-fuzz)
	$(call link,explore-fuzz)

# ---- planted bugs: one source each, patched ---------------------------------

EXPLORE_BUGS := $(patsubst fuzz/explore/bugs/%.patch,%,\
	$(sort $(wildcard fuzz/explore/bugs/*.patch)))

# $(call explore-bug,NAME,SOURCE)
define explore-bug
$(O)/explore/bugs/$(1)/$(2): fuzz/explore/bugs/$(1).patch $(2)
	@mkdir -p $$(@D)
	$$(Q)cp $(2) $$@
	$$(Q)patch -s -f -F0 -r- --no-backup-if-mismatch $$@ $$<

$(O)/explore/bugs/$(1)/$(2:.c=.o): $(O)/explore/bugs/$(1)/$(2) \
		$(O)/explore/$(2:.c=.o)
	$$(call say,CC)
	$$(Q)$$(explore.cc) $$(explore.cflags) -c -o $$@ $$<

$(O)/explore/bugs/$(1)/apb-explore: $(call objs,harness,fuzz/explore/main.c) \
		$$(EXPLORE_OBJS) $(O)/explore/bugs/$(1)/$(2:.c=.o) \
		$(call objs,explore,$(filter-out $(2),$(ALLOC_SRC)))
	$$(call link,explore)
endef

$(foreach b,$(EXPLORE_BUGS),$(eval $(call explore-bug,$(b),$(shell \
	sed -n 's/^+++ b\///p' fuzz/explore/bugs/$(b).patch))))

.PHONY: explore explore-bugs explore-fuzz explore-targets explore-bug-targets

explore-targets: $(addprefix $(O)/explore/,apb-explore test-explore \
	apb-fuzz-explore)

explore-bug-targets: $(EXPLORE_BUGS:%=$(O)/explore/bugs/%/apb-explore)

explore: setup # all schedules of small scenarios: EXPLORE_SECONDS=120
	@$(MAKE) $(PARALLEL) $(O)/explore/apb-explore
	@$(O)/explore/apb-explore --seconds "$$EXPLORE_SECONDS"

explore-bugs: setup # find the planted ordering bugs by their schedules
	+@fuzz/explore/bugs.py

# libFuzzer takes what is no number for no limit.
explore-fuzz: setup # libFuzzer on inputs with schedules: FUZZ_SECONDS=60
	@case "$$FUZZ_SECONDS" in ''|0*|*[!0-9]*|?????????*) echo \
		"apb: FUZZ_SECONDS=$$FUZZ_SECONDS: must be a whole number from 1 on" \
		>&2; exit 2;; esac
	@$(MAKE) $(PARALLEL) $(O)/explore/apb-fuzz-explore
	@mkdir -p $(O)/explore/corpus
	$(O)/explore/apb-fuzz-explore -max_total_time="$$FUZZ_SECONDS" \
		-rss_limit_mb=0 -detect_leaks=0 -max_len=1024 \
		-artifact_prefix=$(O)/explore/ $(O)/explore/corpus corpus/seeds
