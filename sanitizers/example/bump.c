// SPDX-License-Identifier: MIT
/*
 * A bump allocator that all tools see into: what a pool of one's own needs of
 * apb/sanitize.h.  Blocks are cut from a chunk, one after the other, and only
 * all of them can be given back.  `bump BUG` makes one of the mistakes below.
 */
#include <apb/sanitize.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct bump {
	struct apb_san_pool pool; /* zeroed but for name, addr, size */
	size_t used;
};

static void bump_make(struct bump *b, size_t size)
{
	memset(b, 0, sizeof(*b));
	b->pool.name = "bump";
	b->pool.size = size;
	b->pool.addr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->pool.addr == MAP_FAILED)
		abort();
	apb_san_pool_made(&b->pool);
}

static void *bump_alloc(struct bump *b, size_t size)
{
	size_t whole = (size + APB_SAN_ALIGN - 1) & ~(APB_SAN_ALIGN - 1);
	void *p = (char *)b->pool.addr + b->used;

	if (size > b->pool.size || whole + APB_SAN_GAP > b->pool.size - b->used)
		return NULL;
	b->used += whole + APB_SAN_GAP; /* 0 without a tool */
	apb_san_born(&b->pool, p, size, 0);
	return p;
}

static void bump_reset(struct bump *b)
{
	apb_san_pool_reset(&b->pool);
	b->used = 0;
}

static void bump_destroy(struct bump *b)
{
	apb_san_pool_gone(&b->pool);
	munmap(b->pool.addr, b->pool.size);
}

int main(int argc, char **argv)
{
	const char *bug = argc > 1 ? argv[1] : "";
	struct bump bump;
	char *p;

	bump_make(&bump, 1 << 20);
	p = bump_alloc(&bump, 13);
	strcpy(p, "Hello, world");
	if (!strcmp(bug, "overflow"))
		p[13] = '!';
	if (!strcmp(bug, "uninitialised") && bump_alloc(&bump, 13) &&
	    p[APB_SAN_GAP + 16])
		puts("of no value");
	puts(p);
	bump_reset(&bump);
	if (!strcmp(bug, "reset"))
		puts(p);
	bump_destroy(&bump);
	return 0;
}
