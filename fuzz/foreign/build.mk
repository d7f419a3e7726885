# SPDX-License-Identifier: MIT
#
# The harness around allocators that are not apb: the same input format, model
# and programs, another runner (README.md).

FOREIGN_SRC := $(sort $(wildcard fuzz/foreign/*.c))

# Blocks may be aligned to 8.
foreign.cc = clang-19
foreign.cflags = $(BASE) -O2 -DCOVER_GRANULE_SHIFT=3
foreign.ldflags =
$(eval $(call flavour,foreign))

# What these define in the place of the harness's own objects is linked first.
FOREIGN = $(call objs,foreign,$(FOREIGN_SRC)) $(call harness,foreign)

$(O)/fuzz/apb-replay-any: $(call objs,foreign,fuzz/replay.c) $(FOREIGN)
	$(call link,foreign)

# Nothing of it is instrumented: the states alone guide the engine.
foreign-fuzz.cc = clang-19
foreign-fuzz.ldflags = -fsanitize=fuzzer
$(O)/fuzz/apb-fuzz-any: $(call objs,foreign,fuzz/target_libfuzzer.c) $(FOREIGN)
	$(call link,foreign-fuzz)

$(O)/fuzz/apb-fuzz-any-afl: $(call objs,afl,fuzz/target_afl.c) $(FOREIGN)
	$(call link,afl)

# An allocator with faults of choice, for test_foreign.py; and one that has but
# a few functions.
foreign-faulty.cc = clang-19
foreign-faulty.cflags = -std=gnu11 -g -O1 -fPIC -fvisibility=hidden \
	-fno-builtin $(WARN)
$(eval $(call flavour,foreign-faulty))

FAULTY := $(call objs,foreign-faulty,fuzz/foreign/faulty/faulty.c)
$(O)/foreign/libfaulty.so: private LIBS = -shared
$(O)/foreign/libfaulty.so: $(FAULTY)
	$(call link,foreign-faulty)

$(O)/foreign/libfew.so: private LIBS = -shared \
	-Wl,--version-script=fuzz/foreign/faulty/few.map
$(O)/foreign/libfew.so: $(FAULTY) fuzz/foreign/faulty/few.map
	$(call link,foreign-faulty)

.PHONY: foreign-targets foreign-findings

foreign-targets: $(addprefix $(O)/fuzz/apb-,replay-any fuzz-any fuzz-any-afl) \
	$(addprefix $(O)/foreign/lib,faulty.so few.so) $(O)/libapb-malloc.so

foreign-findings: setup # what other allocators do: the programs that show it
	@.ci/setup $(FOREIGN_DEPS)
	$(Q)$(MAKE) $(PARALLEL) $(O)/libapb-malloc.so
	$(Q)fuzz/foreign/findings/findings.py
