# SPDX-License-Identifier: MIT
# Benchmarks; README.md says what they measure.

ROUNDS ?= $(if $(QUICK),1,5)
PEERS ?=
CPU ?=
QUICK ?=
BENCH_SECONDS ?= $(if $(QUICK),5,20)

# No pair of malloc and free may be optimised away, every call is through the
# GOT as in any program linked to a shared library, and the loops are aligned,
# so that they are the same in each program.
BENCH_CFLAGS = $(BASE) -D_GNU_SOURCE -O2 -fno-builtin -fno-plt \
	-falign-functions=64 -falign-loops=64
bench-peer.cc = $(CC)
bench-peer.cflags = $(BENCH_CFLAGS)
bench-apb.cc = $(CC)
bench-apb.cflags = $(BENCH_CFLAGS) -DBENCH_APB
$(foreach f,bench-peer bench-apb,$(eval $(call flavour,$(f))))

# Every program calls malloc(), whoever provides it; bench-alloc exists in two
# further forms, linked to the allocator's archive and to its shared library.
BENCH_ALLOC_SRC := $(addprefix bench/,alloc.c alloc_small.c alloc_big.c \
	alloc_tree.c)
BENCH_PROGRAMS := $(addprefix $(O)/bench/,alloc-apb-a alloc-apb-so alloc-peer \
	threads-peer frag-peer replay-peer steps-peer steps-apb-so trace launch libbench-origin.so \
	libbench-record.so)

$(O)/bench/%-peer: $(O)/bench-peer/bench/%.o
	$(call link,bench-peer)

$(O)/bench/alloc-peer: $(call objs,bench-peer,$(BENCH_ALLOC_SRC))
	$(call link,bench-peer)

$(O)/bench/alloc-apb-a: $(call objs,bench-apb,$(BENCH_ALLOC_SRC)) $(O)/libapb.a
	$(call link,bench-apb)

$(O)/bench/%-apb-so: private LIBS = $(O)/libapb.so -Wl,-rpath,'$$ORIGIN/..'
$(O)/bench/steps-apb-so: $(O)/bench-apb/bench/steps.o $(O)/libapb.so
	$(call link,bench-apb)

$(O)/bench/alloc-apb-so: $(call objs,bench-apb,$(BENCH_ALLOC_SRC)) \
		$(O)/libapb.so
	$(call link,bench-apb)

# The recorder, with as many slots as an input can name: programs have more
# blocks live than a fuzzer wants.
bench-record.cc = $(CC)
bench-record.cflags = $(record.cflags) -DOPS_SLOTS=65536 -Wno-type-limits
bench-record.ldflags = $(record.ldflags)
$(eval $(call flavour,bench-record))

$(O)/bench/libbench-record.so: $(call objs,bench-record,$(RECORD_SRC) fuzz/ops.c)
	$(call link,bench-record)

$(O)/bench/trace: $(call objs,bench-record,bench/trace.c fuzz/ops.c)
	$(call link,release)

$(O)/bench/launch: private LIBS = -static
$(O)/bench/launch: $(O)/bench-peer/bench/launch.o
	$(call link,bench-peer)

$(O)/bench/libbench-origin.so: private LIBS = -shared -Wl,-z,now
$(O)/bench/libbench-origin.so: $(O)/release/bench/origin.o
	$(call link,release)

.PHONY: bench bench-setup bench-build bench-alloc bench-threads bench-frag \
	bench-traces bench-programs bench-python bench-count bench-fuzz

bench-setup:
	@.ci/setup $(PACKAGES) $(BENCH_DEPS)

bench-build: bench-setup
	$(Q)$(MAKE) $(PARALLEL) $(BENCH_PROGRAMS) $(O)/libapb-malloc.so \
		$(O)/libapb-nochecks.so $(O)/apb-python3 $(O)/python/python3

BENCH_RUN = $(Q)bench/run.py --build $(O) --rounds '$(ROUNDS)' \
	--peers '$(PEERS)' $(if $(CPU),--cpu '$(CPU)') $(if $(QUICK),--quick)

bench: bench-build # all of the following in one go: ROUNDS, PEERS, QUICK=1
	$(BENCH_RUN) alloc threads traces programs python frag
	$(Q)$(MAKE) bench-count bench-fuzz

bench-alloc: bench-build # speed, one thread: ROUNDS, PEERS, CPU
	$(BENCH_RUN) alloc

bench-threads: bench-build # speed, several threads
	$(BENCH_RUN) threads

bench-traces: bench-build # recorded calls of real programs, replayed
	$(BENCH_RUN) traces

bench-programs: bench-build # real programs: time and peak memory
	$(BENCH_RUN) programs

bench-python: bench-build # Python on apb beside others and pymalloc
	$(BENCH_RUN) python

bench-frag: bench-build # memory given back after nearly all was freed
	$(BENCH_RUN) frag

bench-count: bench-build # instructions of the fast paths: PEERS
	$(Q)bench/count.py --build $(O) --peers '$(PEERS)' \
		$(if $(QUICK),--quick) $(if $(V),--show)

# The harness as the fuzzers have it, but with apb-replay's main(), around the
# allocator with sanitizers and around the one that is shipped.  Not
# instrumented for coverage: the engines' own rows are.
bench-asan.cc = clang-19
bench-asan.cflags = $(BASE) -O2 $(SANFLAGS)
bench-asan.ldflags = $(SANFLAGS)
$(eval $(call flavour,bench-asan))
$(O)/bench/apb-replay-asan: $(call objs,harness-asan,$(REPLAY_SRC)) \
		$(call harness,harness-asan) $(call lib,bench-asan)
	$(call link,bench-asan)

$(O)/bench/apb-replay-release: $(call objs,harness,$(REPLAY_SRC)) \
		$(call harness,harness) $(call lib,release)
	$(call link,harness)

bench-fuzz: bench-setup # executions/s of the harness: ROUNDS, BENCH_SECONDS
	$(Q)$(MAKE) $(PARALLEL) fuzz-targets \
		$(O)/bench/apb-replay-asan $(O)/bench/apb-replay-release
	$(Q)bench/fuzz.py --build $(O) --rounds '$(ROUNDS)' \
		--seconds '$(BENCH_SECONDS)' $(if $(CPU),--cpu '$(CPU)')

# The same programs under ASan: on the tool's own malloc, and on apb as it is
# for that tool.
bench-san-flags = $(filter-out $(PRODUCTION),$(BENCH_CFLAGS)) $(san-flags.address) \
	-fno-omit-frame-pointer
bench-san-peer.cc = clang-19
bench-san-peer.cflags = $(bench-san-flags)
bench-san-peer.ldflags = $(san-flags.address)
bench-san-apb.cc = clang-19
bench-san-apb.cflags = $(bench-san-flags) -DBENCH_APB
bench-san-apb.ldflags = $(san-flags.address)
$(foreach f,bench-san-peer bench-san-apb,$(eval $(call flavour,$(f))))

$(O)/bench/san-alloc-peer: $(call objs,bench-san-peer,$(BENCH_ALLOC_SRC))
	$(call link,bench-san-peer)

$(O)/bench/san-threads-peer: $(call objs,bench-san-peer,bench/threads.c)
	$(call link,bench-san-peer)

$(O)/bench/san-alloc-apb: $(call objs,bench-san-apb,$(BENCH_ALLOC_SRC)) \
		$(call lib,san-address)
	$(call link,bench-san-apb)

$(O)/bench/san-threads-apb: $(call objs,bench-san-apb,bench/threads.c) \
		$(call lib,san-address)
	$(call link,bench-san-apb)

BENCH_SAN := $(addprefix $(O)/bench/,san-alloc-peer san-alloc-apb \
	san-threads-peer san-threads-apb launch)

.PHONY: bench-sanitizers
bench-sanitizers: bench-setup san-programs-setup # ASan's malloc and apb under ASan: ROUNDS, ONLY
	$(Q)$(MAKE) $(PARALLEL) $(BENCH_SAN) $(PROGRAMS_SAN)
	$(Q)bench/sanitizers.py --build $(O) --rounds '$(ROUNDS)' \
		--only '$(ONLY)' $(if $(CPU),--cpu '$(CPU)') $(if $(QUICK),--quick)
