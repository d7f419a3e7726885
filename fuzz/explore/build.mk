# SPDX-License-Identifier: MIT
#
# Schedules: the allocator compiled with clang's -fsanitize=thread, but linked
# with what is here in place of TSan's run time.  What is explored (scenarios,
# toys) is compiled as the allocator is, the explorer as the harness.

EXPLORE_SCENES := fuzz/explore/toys.c $(wildcard fuzz/explore/scene_*.c)
EXPLORE_MAIN := fuzz/explore/main.c fuzz/explore/test_explore.c
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
