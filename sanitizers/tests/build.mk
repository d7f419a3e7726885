# SPDX-License-Identifier: MIT
#
# Tests of what makes blocks visible.  A test_*.c is a cmocka program, built with
# AddressSanitizer; that of the layer with both compilers.  test_*.py are run as
# they are, and use the programs with bugs in bugs/ and the example.

SAN_TEST_MAIN := $(sort $(wildcard sanitizers/tests/test_*.c))

# $(call san-test,FLAVOUR)
define san-test
$(O)/$(1)/tests/test_%: private LIBS = -lcmocka
$(O)/$(1)/tests/%: $(O)/$(1)/sanitizers/tests/%.o $(call lib,$(1))
	$$(call link,$(1))

$(O)/$(1)/tests/%: $(O)/$(1)/sanitizers/tests/bugs/%.o $(call lib,$(1))
	$$(call link,$(1))

$(O)/$(1)/tests/%: $(O)/$(1)/sanitizers/example/%.o $(call lib,$(1))
	$$(call link,$(1))
endef
$(foreach f,$(SAN_BUILDS),$(eval $(call san-test,$(f))))

# A target for libFuzzer.
$(addprefix $(O)/san-address/tests/,free_fuzz leak_fuzz): \
	private LIBS = -fsanitize=fuzzer

SAN_TESTS := $(SAN_TEST_MAIN:sanitizers/tests/%.c=$(O)/san-address/tests/%)
SAN_TESTS += $(O)/san-address-gcc/tests/test_glue
SAN_TESTS += $(addprefix $(O)/san-address/tests/,pool free_fuzz leaks leak_fuzz)
SAN_TESTS += $(O)/san-address-gcc/tests/pool $(O)/san-memory/tests/pool
SAN_TESTS += $(O)/san-leak/tests/leaks
SAN_TESTS += $(foreach t,address memory thread leak valgrind,\
	$(O)/san-$(t)/tests/bump)

.PHONY: san-tests
san-tests: $(SAN_TESTS)
