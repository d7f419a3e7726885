#!/bin/bash -eu
# SPDX-License-Identifier: MIT
#
# The fuzz target for OSS-Fuzz and ClusterFuzzLite: build.mk beside this file
# makes it from what they put into the environment.  `make contract` does what
# they do with it.

tree=$SRC/apb
here=$tree/fuzz/oss-fuzz
name=apb_fuzzer
work=$WORK/apb-$FUZZING_ENGINE-$SANITIZER

make -C "$tree" -j"$(nproc)" O="$work" "$work/$name"
cp "$work/$name" "$OUT/$name"
cp "$here/$name.options" "$here/$name.dict" "$OUT/"

# -X and a fixed order: the same inputs make the same file.
rm -f "$OUT/${name}_seed_corpus.zip"
find "$tree/corpus/seeds" "$tree/corpus/regressions" -type f \
	! -name README.md ! -name '.*' | LC_ALL=C sort |
	zip -q -X -j "$OUT/${name}_seed_corpus.zip" -@
