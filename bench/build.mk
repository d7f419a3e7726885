# SPDX-License-Identifier: MIT
# Benchmarks.  Each program is built twice from one source: bench-apb calls
# apb_malloc(), bench-peer calls malloc(), whoever provides it.

ROUNDS ?= 7
PEERS ?=
CPU ?=
FRAG_WAIT ?=
BENCH_SECONDS ?= 20

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

BENCH_PROGRAMS := $(foreach b,alloc frag,$(O)/bench/$(b)-apb-a \
	$(O)/bench/$(b)-apb-so $(O)/bench/$(b)-peer)

$(O)/bench/%-peer: $(O)/bench-peer/bench/%.o
	$(call link,bench-peer)

$(O)/bench/%-apb-a: $(O)/bench-apb/bench/%.o $(O)/libapb.a
	$(call link,bench-apb)

$(O)/bench/%-apb-so: private LIBS = $(O)/libapb.so -Wl,-rpath,'$$ORIGIN/..'
$(O)/bench/%-apb-so: $(O)/bench-apb/bench/%.o $(O)/libapb.so
	$(call link,bench-apb)

.PHONY: bench bench-setup bench-programs bench-alloc bench-frag bench-count \
	bench-fuzz bench-python

bench-setup:
	@.ci/setup $(PACKAGES) $(BENCH_DEPS)

bench-programs: bench-setup
	$(Q)$(MAKE) $(PARALLEL) $(BENCH_PROGRAMS)

bench: bench-alloc bench-frag bench-count bench-fuzz bench-python # all of the following

bench-alloc: bench-programs # speed beside other allocators: ROUNDS, PEERS, CPU
	$(Q)bench/alloc.py --build $(O) --rounds '$(ROUNDS)' \
		--peers '$(PEERS)' $(if $(CPU),--cpu '$(CPU)')

bench-frag: bench-programs # memory given back beside others: PEERS, FRAG_WAIT
	$(Q)bench/frag.py --build $(O) --peers '$(PEERS)' \
		$(if $(FRAG_WAIT),--wait '$(FRAG_WAIT)')

bench-count: bench-programs # instructions of the fast paths: PEERS
	$(Q)bench/count.py --build $(O) --peers '$(PEERS)' $(if $(V),--show)

# The harness as the fuzzers have it, but with apb-replay's main(), around the
# allocator with sanitizers and around the one that is shipped.  Not
# instrumented for coverage: the engines' own rows are.
bench-asan.cc = clang-19
bench-asan.cflags = $(BASE) -O2 $(SAN)
bench-asan.ldflags = $(SAN)
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

bench-python: bench-setup # CPython on apb beside pymalloc: ROUNDS, CPU
	$(Q)$(MAKE) $(PARALLEL) $(O)/apb-python3
	$(Q)bench/python.py --build $(O) --rounds '$(ROUNDS)' \
		$(if $(CPU),--cpu '$(CPU)')
