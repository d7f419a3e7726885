# SPDX-License-Identifier: MIT
#
# Real programs, from Debian's source packages, in the build with ASan.  They
# are fetched by apt, which has folders of its own below $(O): DEBIAN_MIRROR is
# where from.

PROGRAMS_SAN := $(addprefix $(O)/san-address/,libapb.a libapb-wrap.a) \
	$(O)/wrap.rsp

.PHONY: san-programs san-fuzz san-programs-setup

san-programs-setup:
	@.ci/setup $(PACKAGES) $(SAN_PROGRAMS_DEPS)

san-programs: san-programs-setup # real programs under ASan on apb: tests, planted bugs
	$(Q)$(MAKE) $(PARALLEL) $(PROGRAMS_SAN)
	$(Q)sanitizers/programs/run.py --build $(O) --jobs "$$JOBS"

san-fuzz: san-programs-setup # fuzz targets, apb reset after each input, beside ASan's malloc
	$(Q)$(MAKE) $(PARALLEL) $(PROGRAMS_SAN)
	$(Q)sanitizers/programs/targets.py --build $(O) --jobs "$$JOBS" \
		$(if $(ROUNDS),--rounds '$(ROUNDS)')

# ---- tests ------------------------------------------------------------------

TARGET_SRC := $(addprefix sanitizers/programs/fuzz/,target.c words.c)

define words-target
$(O)/san-address/words-$(1): $(TARGET_SRC) sanitizers/programs/fuzz/target.h \
		$(call lib,san-address)
	$$(call say,LD)
	$$(Q)$$(san-address.cc) $$(san-address.cflags) -D_GNU_SOURCE $(2) \
		-fsanitize=fuzzer -o $$@ $(TARGET_SRC) $(call lib,san-address)
endef
$(eval $(call words-target,apb,-DTARGET_APB=1))
$(eval $(call words-target,asan,))
$(eval $(call words-target,bump,-DTARGET_BUMP=1 sanitizers/programs/fuzz/bump.c))
PROGRAMS_TESTS := $(addprefix $(O)/san-address/words-,apb asan bump)
san-tests: $(PROGRAMS_TESTS)
