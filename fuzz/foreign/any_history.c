// SPDX-License-Identifier: MIT
/*
 * The inputs that ran before the one that fails: a library is not reset between
 * inputs, and what it does may be owed to an earlier one.  With APB_HISTORY the
 * latest of them are in a file, which outlives the process; foreign.py takes it
 * apart, and `apb-replay-any --no-fork` runs them again in one process.
 *
 * The file: struct history, its two halves filled in turn, each from the
 * beginning.  An entry is its size (4 bytes) and the input.
 */
#include "any.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HALF ((size_t)4 << 20)

struct history {
	uint64_t runs; /* inputs ever */
	uint64_t now; /* which half is being filled */
	uint64_t end[2]; /* of the entries in each, in bytes */
	uint8_t bytes[2][HALF];
};

static struct history *history;

static void open_history(void)
{
	int fd = open(target_history, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
		      0666);
	void *p = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, sizeof(*history)))
		p = mmap(NULL, sizeof(*history), PROT_READ | PROT_WRITE,
			 MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		perror(target_history);
		_Exit(2);
	}
	close(fd);
	history = p;
}

void any_history(const uint8_t *data, size_t size)
{
	uint32_t length = (uint32_t)size;
	uint8_t *at;

	if (!target_history || size > HALF / 4)
		return;
	if (!history)
		open_history();
	if (history->end[history->now] + sizeof(length) + size > HALF) {
		history->now ^= 1;
		history->end[history->now] = 0;
	}
	at = history->bytes[history->now] + history->end[history->now];
	memcpy(at, &length, sizeof(length));
	if (size)
		memcpy(at + sizeof(length), data, size);
	history->end[history->now] += sizeof(length) + size;
	history->runs++;
}
