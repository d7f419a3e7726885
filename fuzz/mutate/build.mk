# SPDX-License-Identifier: MIT
#
# The mutation score; see README.md here.

.PHONY: mutate

mutate: setup # mutation score: FILE= MUTATE_SAMPLE=n SEED=s MUTATE_SECONDS= JOBS=n
	@fuzz/mutate/mutate.py
