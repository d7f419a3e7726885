# SPDX-License-Identifier: MIT
#
# Unit tests (cmocka) with sanitizers and with release flags, and the suite
# that runs them and everything else that is checked.  A test_*.c is a program;
# the other sources here are linked to each of them.

TEST_MAIN := $(sort $(wildcard alloc/tests/test_*.c))
TEST_SRC := $(filter-out $(TEST_MAIN),$(sort $(wildcard alloc/tests/*.c)))
UNIT_TESTS := $(foreach f,test release,\
	$(TEST_MAIN:alloc/tests/%.c=$(O)/$(f)/unit/%))
# Programs with threads: also under TSan, and at length by make test-stress.
THREAD_TESTS := $(shell grep -l stresslib.h $(TEST_MAIN))
TSAN_TESTS := $(THREAD_TESTS:alloc/tests/%.c=$(O)/tsan/unit/%)

define unit_test
$(O)/$(1)/unit/%: private LIBS = -lcmocka
$(O)/$(1)/unit/%: $(O)/$(1)/alloc/tests/%.o $(call objs,$(1),$(TEST_SRC)) \
		$(call harness,$(1)) $(call lib,$(1))
	$$(call link,$(1))
endef
$(foreach f,test release tsan,$(eval $(call unit_test,$(f))))

# Tests load the library while they run.
$(UNIT_TESTS) $(TSAN_TESTS): | $(O)/libapb.so

.PHONY: test test-stress unit-tests test-targets style format

unit-tests: $(UNIT_TESTS) $(TSAN_TESTS)

test-targets: all fuzz-targets explore-targets unit-tests $(O)/valgrind/apb-replay \
		$(O)/apb-python3 san-tests visibility-apb

test: setup # everything that is checked, in a quarter of an hour
	@alloc/tests/suite.py

test-stress: setup # the tests with threads, at full length: half an hour
	@alloc/tests/suite.py stress

style: # the style check alone
	@alloc/tests/style.py

format: # format all C sources
	clang-format-19 -i --style=file \
		$$(find alloc fuzz bench -name '*.[ch]' -o -name '*.cc')
