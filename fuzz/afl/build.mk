# SPDX-License-Identifier: MIT
#
# The library with the custom mutator, for afl-fuzz to load.

mutator.cc = gcc
mutator.cflags = $(BASE) -O2 -fPIC -fvisibility=hidden
mutator.ldflags = -shared
$(eval $(call flavour,mutator))

$(O)/fuzz/apb-mutator.so: $(call objs,mutator,fuzz/ops.c \
		$(addprefix fuzz/afl/,mutate.c mutator.c))
	$(call link,mutator)
