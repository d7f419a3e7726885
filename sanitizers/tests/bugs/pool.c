// SPDX-License-Identifier: MIT
/*
 * A pool without find(), and mistakes of its users, by name; each is made where
 * test_report.py knows which functions have to be in the report.
 */
#include <apb/sanitize.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define POOL_SIZE ((size_t)1 << 20)
#define NOINLINE __attribute__((noinline))

static struct apb_san_pool pool = {.name = "test", .size = POOL_SIZE};
static char *end_of_used;
static char *volatile block;

/* Nothing is called last: that would be a jump, and the frame gone. */
NOINLINE static char *take(size_t size)
{
	char *p = end_of_used;

	end_of_used +=
		(size + APB_SAN_ALIGN - 1) / APB_SAN_ALIGN * APB_SAN_ALIGN +
		APB_SAN_GAP;
	apb_san_born(&pool, p, size, 0);
	__asm__ volatile("");
	return p;
}

NOINLINE static void give(void *p, size_t size)
{
	apb_san_died(&pool, p, size);
	__asm__ volatile("");
}

static void *maker(void *arg)
{
	take(32);
	block = take(13);
	take(32);
	return arg;
}

static void *dropper(void *arg)
{
	give(block, 13);
	return arg;
}

static void in_thread(void *(*fn)(void *arg))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fn, NULL))
		abort();
	pthread_join(thread, NULL);
}

NOINLINE static void over(void)
{
	block[13] = 1;
}

NOINLINE static void over_wide(void)
{
	uint64_t *wide = (uint64_t *)(block + 8);

	*(volatile uint64_t *)wide = 1;
}

NOINLINE static void over_memset(void)
{
	memset(block, 1, 15);
	__asm__ volatile("");
}

NOINLINE static void under(void)
{
	block[-1] = 1;
}

NOINLINE static void after_free(void)
{
	in_thread(dropper);
	block[5] = 1;
}

NOINLINE static void after_reset(void)
{
	apb_san_pool_reset(&pool);
	block[5] = 1;
}

NOINLINE static void twice(void)
{
	in_thread(dropper);
	give(block, 13);
	__asm__ volatile("");
}

static void *five_times(void *arg)
{
	char *p = take(13);

	give(p, 13);
	for (int i = 0; i < 5; i++)
		give(p, 13);
	return arg;
}

static void *beside(void *arg)
{
	for (int i = 0; i < 5; i++)
		apb_san_bad_free(APB_SAN_FREE_WILD, (void *)0x12345678);
	return arg;
}

/* With halt_on_error=0 each of these is a report of its own. */
NOINLINE static void together(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		if (pthread_create(&threads[i], NULL, i ? beside : five_times,
				   NULL))
			abort();
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

NOINLINE static void inside(void)
{
	give(block + 8, 5);
	__asm__ volatile("");
}

NOINLINE static void wild(void)
{
	apb_san_bad_free(APB_SAN_FREE_WILD, (void *)0x12345678);
	__asm__ volatile("");
}

NOINLINE static void by_size(void)
{
	give(block, 14);
	__asm__ volatile("");
}

NOINLINE static void by_alignment(void)
{
	apb_san_bad_free_sized(APB_SAN_FREE_ALIGN, block, 13, 4096);
	__asm__ volatile("");
}

NOINLINE static void usable(void)
{
	apb_san_bad_free(APB_SAN_FREE_USABLE, block);
	__asm__ volatile("");
}

NOINLINE static void by_libc(void)
{
	free(block);
	__asm__ volatile("");
}

NOINLINE static void gone(void)
{
	char *start = pool.addr;
	char sum = 0;

	apb_san_pool_gone(&pool);
	for (size_t i = 0; i < POOL_SIZE; i++)
		sum = (char)(sum + start[i]);
	if (sum)
		abort();
}

static const struct {
	const char *name;
	void (*make)(void);
} bugs[] = {
	{"over", over},
	{"over_wide", over_wide},
	{"over_memset", over_memset},
	{"under", under},
	{"after_free", after_free},
	{"after_reset", after_reset},
	{"twice", twice},
	{"together", together},
	{"inside", inside},
	{"wild", wild},
	{"by_size", by_size},
	{"by_alignment", by_alignment},
	{"usable", usable},
	{"by_libc", by_libc},
	{"gone", gone},
};

int main(int argc, char **argv)
{
	pool.addr = mmap(NULL, POOL_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pool.addr == MAP_FAILED)
		abort();
	end_of_used = pool.addr;
	apb_san_pool_made(&pool);
	in_thread(maker);
	for (size_t i = 0; i < sizeof(bugs) / sizeof(*bugs); i++) {
		if (argc != 2 || strcmp(argv[1], bugs[i].name) != 0)
			continue;
		bugs[i].make();
		puts("went on");
		return 0;
	}
	fprintf(stderr, "usage: pool BUG\n");
	return 2;
}
