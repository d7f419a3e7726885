# SPDX-License-Identifier: MIT
#
# The harness around allocators that are not apb: the same input format, model
# and programs, another runner (README.md).

FOREIGN_SRC := $(sort $(wildcard fuzz/foreign/*.c)) $(addprefix fuzz/,ops.c \
	content.c cover.c model.c child.c files.c minimize.c)

# Blocks may be aligned to 8.
foreign.cc = clang-19
foreign.cflags = $(BASE) -O2 -DCOVER_GRANULE_SHIFT=3
foreign.ldflags =
$(eval $(call flavour,foreign))

$(O)/fuzz/apb-replay-any: $(call objs,foreign,fuzz/replay.c $(FOREIGN_SRC))
	$(call link,foreign)

# Nothing of it is instrumented: the states alone guide the engine.
foreign-fuzz.cc = clang-19
foreign-fuzz.ldflags = -fsanitize=fuzzer
$(O)/fuzz/apb-fuzz-any: \
		$(call objs,foreign,fuzz/target_libfuzzer.c $(FOREIGN_SRC))
	$(call link,foreign-fuzz)

$(O)/fuzz/apb-fuzz-any-afl: $(call objs,afl,fuzz/target_afl.c) \
		$(call objs,foreign,$(FOREIGN_SRC))
	$(call link,afl)
