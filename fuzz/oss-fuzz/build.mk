# SPDX-License-Identifier: MIT
#
# The target for services that bring compiler, flags and engine in the
# environment; see build.sh.  Nothing here chooses a sanitizer.
#
# As elsewhere only the allocator is watched for coverage, without traces of
# comparisons: libFuzzer's flag is taken back for the harness, AFL++ has a list.
# Everything is compiled with the sanitizer.

SERVICE := $(filter libfuzzer afl,$(FUZZING_ENGINE))
SERVICE_BASE = $(CFLAGS) -std=gnu11 -pthread -Ialloc/include -Ialloc -Ifuzz \
	-Isanitizers $(PRODUCTION)
SERVICE_DENY := fuzz/oss-fuzz/afl-denylist.txt

service.cc = $(CC)
service.cflags = $(SERVICE_BASE) $(if $(filter libfuzzer,$(SERVICE)),$(if \
	$(filter coverage,$(SANITIZER)),,\
	-fno-sanitize-coverage=trace-cmp$(comma)trace-div$(comma)trace-gep))
service-harness.cc = $(if $(filter afl,$(SERVICE)),\
	AFL_LLVM_DENYLIST=$(SERVICE_DENY)) $(CC)
service-harness.cflags = $(SERVICE_BASE) -fno-sanitize=fuzzer-no-link
service-harness.deps = $(SERVICE_DENY)
service-link.cc = $(CXX)
service-link.ldflags = $(CXXFLAGS) $(FIXED)
comma := ,

$(foreach f,service service-harness,$(eval $(call flavour,$(f))))

$(O)/apb_fuzzer: private LIBS = $(LIB_FUZZING_ENGINE)
$(O)/apb_fuzzer: $(call objs,service-harness,\
			$(if $(filter afl,$(SERVICE)),\
				fuzz/oss-fuzz/target_afl_driver.c,\
				fuzz/target_libfuzzer.c)) \
		$(call harness,service-harness) $(call lib,service)
	$(call link,service-link)

.PHONY: contract

contract: setup # what OSS-Fuzz and ClusterFuzzLite check of a build, without docker
	@.ci/setup $(CONTRACT_DEPS)
	@fuzz/continuous/contract.py
