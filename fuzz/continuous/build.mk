# SPDX-License-Identifier: MIT
#
# Continuous fuzzing: on one's own machine, and what services ask for.

# Everything is instrumented under MSan: it has to see each byte written.
MSAN := -fsanitize=memory -fsanitize-memory-track-origins \
	-fno-omit-frame-pointer
harness-msan.cc = clang-19
harness-msan.cflags = $(BASE) -O2 $(MSAN)
fuzz-msan.cc = clang-19
fuzz-msan.cflags = $(BASE) -O2 $(MSAN) $(COVERAGE)
fuzz-msan.ldflags = $(MSAN) -fsanitize=fuzzer $(FIXED)

$(foreach f,harness-msan fuzz-msan,$(eval $(call flavour,$(f))))

$(O)/fuzz/apb-fuzz-msan: \
		$(call objs,harness-msan,fuzz/target_libfuzzer.c) \
		$(call harness,harness-msan) $(call lib,fuzz-msan)
	$(call link,fuzz-msan)

.PHONY: fuzz-continuous continuous-targets

continuous-targets: fuzz-targets $(O)/fuzz/apb-fuzz-msan

fuzz-continuous: setup # for days: SLOT_SECONDS=300 CONTINUOUS_SECONDS=0 JOBS=n
	@fuzz/continuous/continuous.py
