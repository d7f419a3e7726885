// SPDX-License-Identifier: MIT
/*
 * errno-free-fault: POSIX.1-2024 free(): errno is not modified; here the kernel
 * refuses to purge (MADV_DONTNEED), as it may.
 */
#include "show.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int refuse;

int madvise(void *addr, size_t size, int advice)
{
	if (!refuse)
		return (int)syscall(SYS_madvise, addr, size, advice);
	errno = ENOMEM;
	return -1;
}

int main(void)
{
	char *p[64];

	/* of each size in turn: which ones go back at once is the library's */
	for (int shift = 10; shift < 31; shift++) {
		for (int i = 0; i < 64; i++) {
			size_t size = (size_t)1 << shift;

			p[i] = i * size < (size_t)1 << 31 ? malloc(size) : NULL;
			if (p[i])
				p[i][0] = 1;
		}
		refuse = 1;
		for (int i = 0; i < 64; i++) {
			/* some purge what they were given a while ago */
			if (i == 32)
				usleep(50000);
			errno = UNTOUCHED;
			free(p[i]);
			refuse &= errno == UNTOUCHED;
			if (errno != UNTOUCHED) {
				refuse = 0;
				SHOW(0, "free of %zu bytes: errno %d",
				     (size_t)1 << shift, errno);
			}
		}
		refuse = 0;
	}
	return 0;
}
