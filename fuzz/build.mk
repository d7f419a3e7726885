# SPDX-License-Identifier: MIT
#
# The harness: libFuzzer and AFL++ targets, apb-replay, and what drives them.
#
# In the fuzz flavours only the allocator is instrumented.  The harness around
# it is compiled without coverage and sanitizers: that is what makes an
# execution cheap, and the engines then aim at the allocator, not the oracle.

HARNESS_MAIN := fuzz/replay.c fuzz/eachfault.c fuzz/threads.c fuzz/shim_api.c \
	$(wildcard fuzz/target_*.c)
HARNESS_SRC := $(filter-out $(HARNESS_MAIN),$(sort $(wildcard fuzz/*.c)))
HARNESS_SRC += fuzz/afl/mutate.c
REPLAY_SRC := fuzz/replay.c fuzz/eachfault.c
THREADS_SRC := fuzz/threads.c

# The harness itself; the second one knows that it is linked with ASan and
# poisons what the program must not touch.
harness.cc = clang-19
harness.cflags = $(BASE) -O2
harness-asan.cc = clang-19
harness-asan.cflags = $(BASE) -O2 -DSIMOS_POISON=1

# Targets and apb-replay are not linked to run at an address of the day: where
# played threads' blocks wait is a hash of their heaps' addresses, and one of these
# is a variable.  The same input would reach other states in the next process: AFL++
# would call it unstable, and libFuzzer's merge count features that nobody can find
# again.
FIXED := -no-pie

# Without traces of comparisons (no size or pointer is a magic number: they cost
# half of the time for nothing), nor fake stacks (no block is on the stack).
COVERAGE := -fsanitize=fuzzer-no-link \
	-fno-sanitize-coverage=trace-cmp,trace-div,trace-gep
fuzz-asan.cc = clang-19
fuzz-asan.cflags = $(BASE) -O2 $(SANFLAGS) $(COVERAGE) \
	-fsanitize-address-use-after-return=never
fuzz-asan.ldflags = $(SANFLAGS) -fsanitize=fuzzer $(FIXED)

fuzz-release.cc = clang-19
fuzz-release.cflags = $(BASE) -O2 -DNDEBUG $(COVERAGE)
fuzz-release.ldflags = -fsanitize=fuzzer $(FIXED)

# Instrumented while it is linked: measured to be a tenth faster than while it is
# compiled (PCGUARD), and it sees more edges, those between inlined functions.
# That wants the objects themselves, as ar makes no index of such ones.
#
# main() runs before the fork server and between inputs: denied coverage.
AFL_DENY := sanitizers/afl-denylist.txt
afl.cc = AFL_QUIET=1 AFL_LLVM_DENYLIST=$(AFL_DENY) afl-clang-lto
afl.cflags = $(BASE) -O2 -DNDEBUG
afl.ldflags = $(FIXED)
afl.deps = $(AFL_DENY)

$(foreach f,harness harness-asan fuzz-asan fuzz-release afl,\
	$(eval $(call flavour,$(f))))

$(O)/fuzz/apb-fuzz-asan: \
		$(call objs,harness-asan,fuzz/target_libfuzzer.c) \
		$(call harness,harness-asan) $(call lib,fuzz-asan)
	$(call link,fuzz-asan)

$(O)/fuzz/apb-fuzz-release: \
		$(call objs,harness,fuzz/target_libfuzzer.c) \
		$(call harness,harness) $(call lib,fuzz-release)
	$(call link,fuzz-release)

$(O)/fuzz/apb-fuzz-afl: $(call objs,afl,fuzz/target_afl.c $(ALLOC_SRC)) \
		$(call harness,harness) $(O)/afl/sources
	$(call link,afl)

# The same with the malloc family of the shim where that differs.
SHIM_API := fuzz/shim_api.c
SHIM_SRC := alloc/shim/malloc.c
$(foreach f,fuzz-asan afl,$(eval $(O)/$(f)/$(SHIM_SRC:.c=.o): private \
	$(f).cflags += -fno-builtin -include fuzz/shim_api.h))

$(O)/fuzz/apb-fuzz-shim-asan: $(call objs,fuzz-asan,$(SHIM_SRC)) \
		$(call objs,harness-asan,fuzz/target_libfuzzer.c $(SHIM_API)) \
		$(call harness,harness-asan) $(call lib,fuzz-asan)
	$(call link,fuzz-asan)

$(O)/fuzz/apb-fuzz-shim-afl: $(call objs,harness,$(SHIM_API)) \
		$(call objs,afl,fuzz/target_afl.c $(SHIM_SRC) $(ALLOC_SRC)) \
		$(call harness,harness) $(O)/afl/sources
	$(call link,afl)

$(foreach f,fuzz test valgrind,$(eval $(O)/$(f)/apb-replay: private \
	LIBS = $(FIXED)))

$(O)/fuzz/apb-replay: $(call objs,release,$(REPLAY_SRC)) \
		$(call harness,release) $(call lib,release)
	$(call link,release)

$(O)/test/apb-replay: $(call objs,test,$(REPLAY_SRC)) \
		$(call harness,test) $(call lib,test)
	$(call link,test)

$(O)/valgrind/apb-replay: $(call objs,valgrind,$(REPLAY_SRC)) \
		$(call harness,valgrind) $(call lib,valgrind)
	$(call link,valgrind)

# Threads that really run: under TSan; the others to see it fail elsewhere, too.
$(O)/tsan/apb-threads: $(call objs,tsan,$(THREADS_SRC)) \
		$(call harness,tsan) $(call lib,tsan)
	$(call link,tsan)

$(O)/test/apb-threads: $(call objs,test,$(THREADS_SRC)) \
		$(call harness,test) $(call lib,test)
	$(call link,test)

$(O)/fuzz/apb-threads: $(call objs,release,$(THREADS_SRC)) \
		$(call harness,release) $(call lib,release)
	$(call link,release)

.PHONY: fuzz fuzz-targets faults corpus triage triage-targets

# What findings are looked at with: both replay programs and their libraries.
triage-targets: $(O)/fuzz/apb-replay $(O)/test/apb-replay \
		$(call lib,release) $(call lib,test)

fuzz-targets: $(addprefix $(O)/fuzz/apb-,fuzz-asan fuzz-release fuzz-afl \
	fuzz-shim-asan fuzz-shim-afl replay threads) \
	$(O)/fuzz/apb-mutator.so $(addprefix $(O)/test/apb-,replay threads) \
	$(O)/tsan/apb-threads

fuzz: setup # fuzz on all cores: FUZZ_SECONDS=60 ENGINE=libfuzzer|afl|both|threads JOBS=n TARGET=another malloc
	@$(if $(TARGET),fuzz/foreign/foreign.py,fuzz/fuzz.py)

triage: setup # findings, one folder each: shrunk, as C programs; the table
	@fuzz/triage.py

faults: setup # the corpus with each call of the system failing: FAULTS=once|from|all
	@fuzz/faults.py

corpus: setup # merge and minimise what fuzzing found into corpus/seeds
	@fuzz/corpus.py
