// SPDX-License-Identifier: MIT
/*
 * The libFuzzer side of the targets.  Options are in the environment, as
 * libFuzzer has the command line:
 *
 *   TARGET_REPEAT=1  each input is run twice, and the blocks have to be of the
 *                    same sizes at the same addresses: else it aborts
 *   TARGET_DELETE=0  with apb: what an input made is left to the reset
 *   TARGET_MORE=1    beyond parsing: cJSON prints, Lua runs what it parsed
 *   TARGET_COUNT=1   at exit: inputs, blocks, the hash of all of them
 *
 * Inputs are text; the mutator changes letters and digits most of the time, so
 * that those with many blocks stay what they are.
 */
#include "target.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
			       unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

#define MUTATE_ANYHOW 16u /* one in so many */
#define MUTATE_TRIES 64u

struct target_counts target_now;
bool target_deletes = true;
bool target_more;

static bool repeats;
static uint64_t inputs, blocks, hash, fewest = UINT64_MAX;

static bool option(const char *name, const char *value)
{
	const char *text = getenv(name);

	return text && !strcmp(text, value);
}

static void say(void)
{
	fprintf(stderr,
		"target: %llu inputs, %llu blocks, at least %llu, hash "
		"%016llx\n",
		(unsigned long long)inputs, (unsigned long long)blocks,
		(unsigned long long)fewest, (unsigned long long)hash);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	repeats = option("TARGET_REPEAT", "1");
	target_deletes = !TARGET_APB || !option("TARGET_DELETE", "0");
	target_more = option("TARGET_MORE", "1");
	if (option("TARGET_COUNT", "1"))
		atexit(say);
	return 0;
}

static struct target_counts run(const uint8_t *data, size_t size)
{
	target_now = (struct target_counts){0};
	target_run((const char *)data, size);
	plain_reset();
	return target_now;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct target_counts first = run(data, size), second;

	inputs++;
	blocks += first.blocks;
	if (first.blocks < fewest)
		fewest = first.blocks;
	hash = (hash ^ first.hash) * UINT64_C(0x9e3779b97f4a7c15);
	if (!repeats)
		return 0;
	second = run(data, size);
	if (first.blocks == second.blocks && first.hash == second.hash)
		return 0;
	fprintf(stderr,
		"target: not deterministic: %llu blocks, hash %016llx, then "
		"%llu blocks, hash %016llx\n",
		(unsigned long long)first.blocks,
		(unsigned long long)first.hash,
		(unsigned long long)second.blocks,
		(unsigned long long)second.hash);
	abort();
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
			       unsigned int seed)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
	unsigned int i, at;

	if (!size || seed % MUTATE_ANYHOW == 0)
		return LLVMFuzzerMutate(data, size, max);
	srand(seed);
	for (i = 0; i < MUTATE_TRIES; i++) {
		at = (unsigned int)rand() % (unsigned int)size;
		if (isdigit(data[at])) {
			data[at] = (uint8_t)('1' + rand() % 9);
			return size;
		}
		if (isalpha(data[at])) {
			data[at] = (uint8_t)letters[rand() % 26];
			return size;
		}
	}
	return LLVMFuzzerMutate(data, size, max);
}
