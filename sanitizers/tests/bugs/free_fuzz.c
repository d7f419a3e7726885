// SPDX-License-Identifier: MIT
/* A target for libFuzzer in which the input AB makes a double free. */
#include <apb/sanitize.h>

#include <stdlib.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static struct apb_san_pool pool = {.name = "test", .size = 1 << 16};

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	if (!pool.addr) {
		pool.addr = mmap(NULL, pool.size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (pool.addr == MAP_FAILED)
			abort();
		apb_san_pool_made(&pool);
	}
	apb_san_born(&pool, pool.addr, 13, 0);
	apb_san_died(&pool, pool.addr, 13);
	if (size == 2 && data[0] == 'A' && data[1] == 'B')
		apb_san_died(&pool, pool.addr, 13);
	return 0;
}
