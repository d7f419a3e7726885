# SPDX-License-Identifier: MIT
#
# Unit tests (cmocka) with sanitizers and with release flags, and the suite
# that runs them and everything else that is checked.  A test_*.c is a program;
# the other sources here are linked to each of them.

TEST_MAIN := $(sort $(wildcard alloc/tests/test_*.c))
TEST_SRC := $(filter-out $(TEST_MAIN),$(sort $(wildcard alloc/tests/*.c)))
UNIT_TESTS := $(foreach f,test release,\
	$(TEST_MAIN:alloc/tests/%.c=$(O)/$(f)/unit/%))

define unit_test
$(O)/$(1)/unit/%: private LIBS = -lcmocka
$(O)/$(1)/unit/%: $(O)/$(1)/alloc/tests/%.o $(call objs,$(1),$(TEST_SRC)) \
		$(call harness,$(1)) $(call lib,$(1))
	$$(call link,$(1))
endef
$(foreach f,test release,$(eval $(call unit_test,$(f))))

.PHONY: test unit-tests test-targets style format

unit-tests: $(UNIT_TESTS)

test-targets: all fuzz-targets unit-tests $(O)/valgrind/apb-replay \
		$(O)/apb-python3

test: setup # everything that is checked, in less than 10 minutes
	@alloc/tests/suite.py

style: # the style check alone
	@alloc/tests/style.py

format: # format all C sources
	clang-format-19 -i --style=file \
		$$(find alloc fuzz bench -name '*.[ch]')
