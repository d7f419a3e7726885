# SPDX-License-Identifier: MIT
#
# The recorder, and the seeds of the corpus that do not come from fuzzing.

RECORD_SRC := $(addprefix fuzz/record/,record.c conf.c log.c profile.c)

# As what is shipped; the compiler must not know what malloc() is, or it could
# make calls of it out of those that are defined here.
record.cc = $(CC)
record.cflags = $(release.cflags) -fno-builtin
record.ldflags = $(LDFLAGS) -shared
$(eval $(call flavour,record))

$(O)/libapb-record.so: $(call objs,record,$(RECORD_SRC) fuzz/ops.c)
	$(call link,record)

# For the recorder's test.
$(O)/record/ops-dump: $(call objs,release,fuzz/record/ops_dump.c fuzz/ops.c)
	$(call link,release)

$(O)/record/calls: $(call objs,record,fuzz/record/test_calls.c)
	$(call say,LD)
	$(Q)$(CC) -g -pthread $(LDFLAGS) -o $@ $^

$(O)/record/next.so: $(call objs,record,fuzz/record/test_next.c)
	$(call link,record)

.PHONY: record record-test-programs record-corpus record-profile

record: $(O)/libapb-record.so # LD_PRELOAD library: a program's calls as an input

record-test-programs: $(O)/libapb-record.so \
		$(addprefix $(O)/record/,ops-dump calls next.so)

# The suite runs test_record.py.
test-targets: record-test-programs

record-corpus: $(O)/libapb-record.so # the hand-made and recorded seeds anew
	@.ci/setup $(RECORD_DEPS)
	@fuzz/record/seeds.py corpus/seeds
	@fuzz/record/record_corpus.py --lib $(O)/libapb-record.so corpus/seeds

record-profile: $(O)/libapb-record.so # what a Python list of 50 numbers asks for
	@fuzz/record/list_profile.py --lib $(O)/libapb-record.so
