// SPDX-License-Identifier: MIT
/*
 * The layer (sanitizers/glue/) under each tool: what is accessible in a pool, byte by byte, against a model; what is known of its blocks; stacks,
 * kept once; threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "glue/glue.h"
#include "marks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define POOL_SIZE ((size_t)64 << 10)
#define NR_BLOCKS 64

static uint64_t seed = 1;

static size_t below(size_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (size_t)(seed >> 33) % n;
}

static void make(struct apb_san_pool *pool, size_t size)
{
	memset(pool, 0, sizeof(*pool));
	pool->name = "test";
	pool->size = size;
	pool->addr = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(pool->addr, MAP_FAILED);
	apb_san_pool_made(pool);
}

static void destroy(struct apb_san_pool *pool)
{
	apb_san_pool_gone(pool);
	assert_open(pool->addr, pool->size);
	munmap(pool->addr, pool->size);
}

/* ---- marks ------------------------------------------------------------ */

static void check_open(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		assert_false(is_closed(p + i));
	for (size_t i = 0; i != APB_SAN_GAP; i++)
		assert_closed(p + size + i);
	assert_closed(p - 1);
}

/* All sizes, so that each way to fill a range is gone. */
static void test_sizes(void **state)
{
	struct apb_san_pool pool;
	size_t size;
	char *p;

	(void)state;
	make(&pool, POOL_SIZE);
	p = (char *)pool.addr + 64;
	for (size = 0; size < POOL_SIZE - 128;
	     size += size < 600 ? 1 : 1 + below(997)) {
		apb_san_born(&pool, p, size, 0);
		check_open(p, size);
		apb_san_died(&pool, p, size);
		assert_closed(p);
		assert_closed(p + size);
	}
	destroy(&pool);
}

static void test_resized(void **state)
{
	struct apb_san_pool pool;
	struct apb_san_block block;
	size_t size = 5, next;
	char *p;

	(void)state;
	make(&pool, POOL_SIZE);
	p = (char *)pool.addr + 64;
	apb_san_born(&pool, p, size, 0);
	for (int i = 0; i < 1000; i++) {
		next = below(i % 2 ? 100 : 5000);
		apb_san_resized(&pool, p, size, next);
		size = next;
		check_open(p, size);
		assert_ptr_equal(apb_san_find(p, &block), &pool);
		assert_int_equal(block.size, size);
	}
	apb_san_died(&pool, p, size);
	destroy(&pool);
}

/* A random run; after each step the whole pool is as the model says. */
struct model {
	struct {
		size_t at, size;
		bool live;
	} blocks[NR_BLOCKS];
	bool open[POOL_SIZE];
};

#define SLOT (POOL_SIZE / NR_BLOCKS)

static void step(struct apb_san_pool *pool, struct model *m)
{
	size_t i = below(NR_BLOCKS), size;
	char *base = pool->addr;

	if (m->blocks[i].live) {
		apb_san_died(pool, base + m->blocks[i].at, m->blocks[i].size);
		memset(m->open + m->blocks[i].at, 0, m->blocks[i].size);
		m->blocks[i].live = false;
		return;
	}
	m->blocks[i].at = i * SLOT + below(16) * 8;
	size = below(SLOT - 128 - APB_SAN_GAP);
	m->blocks[i].size = size;
	m->blocks[i].live = true;
	apb_san_born(pool, base + m->blocks[i].at, size, 0);
	memset(m->open + m->blocks[i].at, 1, size);
}

static void check_model(struct apb_san_pool *pool, const struct model *m)
{
	struct apb_san_block block;
	const char *base = pool->addr;

	for (size_t i = 0; i < POOL_SIZE; i++)
		assert_true(!marks_known() ||
			    is_closed(base + i) == !m->open[i]);
	for (size_t i = 0; i < NR_BLOCKS; i++) {
		if (!m->blocks[i].live)
			continue;
		assert_ptr_equal(apb_san_find(base + m->blocks[i].at, &block),
				 pool);
		assert_ptr_equal(block.addr, base + m->blocks[i].at);
		assert_int_equal(block.size, m->blocks[i].size);
		assert_int_equal(block.state, APB_SAN_LIVE);
	}
}

struct count {
	const struct model *model;
	const char *base;
	size_t nr;
};

static void count_live(const struct apb_san_block *block, void *arg)
{
	struct count *c = arg;
	size_t at = (size_t)((const char *)block->addr - c->base);

	assert_true(c->model->blocks[at / SLOT].live);
	assert_int_equal(c->model->blocks[at / SLOT].size, block->size);
	c->nr++;
}

static void test_model(void **state)
{
	static struct model model;
	struct apb_san_pool pool;
	struct count count;
	size_t live;

	(void)state;
	make(&pool, POOL_SIZE);
	for (int i = 0; i < 60; i++) {
		for (int k = 0; k < 20; k++)
			step(&pool, &model);
		check_model(&pool, &model);
		live = 0;
		for (size_t b = 0; b < NR_BLOCKS; b++)
			live += model.blocks[b].live;
		count = (struct count){&model, pool.addr, 0};
		apb_glue_walk(&pool, count_live, &count);
		assert_int_equal(count.nr, live);
	}
	apb_san_pool_reset(&pool);
	memset(&model, 0, sizeof(model));
	check_model(&pool, &model);
	count = (struct count){&model, pool.addr, 0};
	apb_glue_walk(&pool, count_live, &count);
	assert_int_equal(count.nr, 0);
	destroy(&pool);
}

/* What the public interface would write is not what malloc's blocks have. */
static void test_values(void **state)
{
	struct apb_san_pool pool;
	char *p;

	(void)state;
	if (!APB_SAN_ADDRESS)
		skip();
	make(&pool, 4096);
	p = (char *)pool.addr + 64;
	apb_san_born(&pool, p, 100, 0);
	apb_san_died(&pool, p, 100);
	/* a smaller one in its place: what is behind it is a gap */
	apb_san_born(&pool, p, 13, 0);
	assert_closed(p + 13);
	for (int i = -1; i < 16; i++) {
		int expected = i < 0 ? 0xfa : i == 0 ? 0 : i == 1 ? 5 : 0xfa;

		assert_int_equal(marks_value(p + i * 8), expected);
	}
	destroy(&pool);
}

/*
 * A pool that begins and ends anywhere: what is beside it in the same eight
 * bytes stays as it is, and so does what is open when the pool is gone.
 */
static void test_odd_pool(void **state)
{
	struct {
		char before[4], pool[1001], after[3];
	} *all = malloc(sizeof(*all));
	struct apb_san_pool pool = {.name = "odd"};
	char *p = all->pool + 12, *last = all->pool + 988;
	int round;

	(void)state;
	pool.addr = all->pool;
	pool.size = sizeof(all->pool);
	for (round = 0; round < 2; round++) {
		apb_san_pool_made(&pool);
		apb_san_born(&pool, p, 10, 0);
		check_open(p, 10);
		apb_san_died(&pool, p, 10);
		assert_open(all->before, 4);
		assert_open(all->after, 3);
		if (round)
			apb_san_born(&pool, last, 13, 0);
		apb_san_pool_reset(&pool);
		assert_open(all->before, 4);
		apb_san_pool_gone(&pool);
		assert_open(all, sizeof(*all));
		assert_closed(all + 1);
	}
	free(all);
}

/* ---- blocks ----------------------------------------------------------- */

static const struct apb_san_block *find(const void *addr)
{
	static struct apb_san_block block;

	return apb_san_find(addr, &block) ? &block : NULL;
}

static void test_find(void **state)
{
	struct apb_san_pool pool;
	char *a, *b;

	(void)state;
	make(&pool, POOL_SIZE);
	a = (char *)pool.addr + 512;
	b = a + 64;
	assert_null(find(a));
	apb_san_born(&pool, a, 13, 0);
	apb_san_born(&pool, b, 24, 0);
	assert_ptr_equal(find(a)->addr, a);
	assert_ptr_equal(find(a + 12)->addr, a);
	/* between them: the nearer */
	assert_ptr_equal(find(a + 13)->addr, a);
	assert_ptr_equal(find(b - 1)->addr, b);
	assert_ptr_equal(find(pool.addr)->addr, a);
	assert_ptr_equal(find((char *)pool.addr + POOL_SIZE - 1)->addr, b);
	assert_null(find((char *)pool.addr + POOL_SIZE));
	/* of a dead and a live one it is the live one */
	apb_san_died(&pool, a, 13);
	assert_ptr_equal(find(a + 13)->addr, b);
	assert_ptr_equal(find(a + 12)->addr, a);
	assert_int_equal(find(a)->state, APB_SAN_DEAD);
	/* what is born on top of a dead one is all that is known */
	apb_san_died(&pool, b, 24);
	apb_san_born(&pool, a, 200, 0);
	assert_ptr_equal(find(b)->addr, a);
	assert_ptr_equal(find(a + 200)->addr, a);
	apb_san_died(&pool, a, 200);
	destroy(&pool);
	assert_null(find(a));
}

static void *born_in_thread(void *arg)
{
	struct apb_san_pool *pool = arg;

	apb_san_born(pool, pool->addr, 10, 0);
	return (void *)(uintptr_t)apb_san_thread();
}

static void test_threads(void **state)
{
	struct apb_san_pool pool;
	pthread_t thread;
	void *number;

	(void)state;
	make(&pool, 4096);
	assert_int_equal(apb_san_thread(), 0);
	assert_int_equal(pthread_create(&thread, NULL, born_in_thread, &pool),
			 0);
	pthread_join(thread, &number);
	assert_int_not_equal((uintptr_t)number, 0);
	apb_san_died(&pool, pool.addr, 10);
	assert_int_equal(find(pool.addr)->born_thread, (uintptr_t)number);
	assert_int_equal(find(pool.addr)->died_thread, 0);
	destroy(&pool);
}

static struct apb_san_block told = {.size = 77, .state = APB_SAN_LIVE};

static bool tell(const struct apb_san_pool *pool, const void *addr,
		 struct apb_san_block *block)
{
	(void)pool;
	(void)addr;
	*block = told;
	return addr != NULL;
}

/* A pool that is everywhere is asked after those that are a range. */
static void test_everywhere(void **state)
{
	struct apb_san_pool pool,
		all = {.name = "all", .size = SIZE_MAX, .find = tell};
	static char byte;

	(void)state;
	make(&pool, 4096);
	apb_san_pool_made(&all);
	assert_false(is_closed(&byte));
	apb_san_born(&pool, pool.addr, 10, 0);
	assert_int_equal(find(pool.addr)->size, 10);
	assert_int_equal(find(&byte)->size, 77);
	assert_null(find(NULL));
	apb_san_pool_gone(&all);
	assert_false(is_closed(&byte));
	/* that of the allocator itself may remain */
	assert_true(!find(&byte) || find(&byte)->size != 77);
	destroy(&pool);
}

/* ---- stacks ----------------------------------------------------------- */

/* Functions that are another place each in the stack. */
__attribute__((noinline)) static uint32_t left(unsigned int path, int depth);
__attribute__((noinline)) static uint32_t right(unsigned int path, int depth);

static uint32_t down(unsigned int path, int depth)
{
	if (!depth)
		return apb_san_stack();
	return path & 1 ? left(path >> 1, depth - 1) :
			  right(path >> 1, depth - 1);
}

__attribute__((noinline)) static uint32_t left(unsigned int path, int depth)
{
	uint32_t stack = down(path, depth);

	__asm__ volatile("");
	return stack;
}

__attribute__((noinline)) static uint32_t right(unsigned int path, int depth)
{
	uint32_t stack = down(path, depth);

	__asm__ volatile("" : "+r"(stack));
	return stack;
}

#define DEPTH 10
#define PATHS (1u << DEPTH)
#define THREADS 4

static void test_stack(void **state)
{
	const uintptr_t *pcs;
	uint32_t stack = left(1, 2);
	unsigned int nr = apb_stack_get(stack, &pcs);

	(void)state;
	if (!has_stacks())
		skip();
	assert_int_not_equal(stack, 0);
	assert_true(nr > 3);
	/* the innermost three are in here */
	for (int i = 0; i < 3; i++)
		assert_true(pcs[i] - (uintptr_t)left < 4096 ||
			    pcs[i] - (uintptr_t)right < 4096);
	assert_int_equal(apb_stack_get(0, &pcs), 0);
	assert_int_equal(apb_stack_get(UINT32_MAX, &pcs), 0);
	/* nor is what lies in a stack one */
	for (uint32_t i = 1; i < 3; i++)
		assert_true(apb_stack_get(stack + i, &pcs) <= APB_STACK_MAX);
	/* no more than the limit */
	assert_int_equal(apb_stack_get(left(0, 100), &pcs), APB_STACK_MAX);
}

/* On another stack the bounds are not known: its page is looked at. */
static ucontext_t outside, inside;
static uint32_t stack_inside;

static void coroutine(void)
{
	stack_inside = left(1, 2);
	swapcontext(&inside, &outside);
}

static void test_other_stack(void **state)
{
	size_t size = 64 << 10;
	char *area = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const uintptr_t *pcs;

	(void)state;
	if (!has_stacks())
		skip();
	assert_ptr_not_equal(area, MAP_FAILED);
	assert_int_equal(getcontext(&inside), 0);
	inside.uc_stack.ss_sp = area;
	inside.uc_stack.ss_size = size;
	inside.uc_link = &outside;
	makecontext(&inside, coroutine, 0);
	assert_int_equal(swapcontext(&outside, &inside), 0);
	assert_true(apb_stack_get(stack_inside, &pcs) > 3);
	for (int i = 0; i < 3; i++)
		assert_true(pcs[i] - (uintptr_t)left < 4096 ||
			    pcs[i] - (uintptr_t)right < 4096);
	/* what leads nowhere is not followed: it is the page's last word */
	stack_inside = apb_stack_take(NULL, area + 4096 - 16);
	assert_int_equal(apb_stack_get(stack_inside, &pcs), 0);
	((uintptr_t *)area)[512 - 2] = (uintptr_t)area + 4096;
	((uintptr_t *)area)[512 - 1] = (uintptr_t)left;
	stack_inside = apb_stack_take(NULL, area + 4096 - 16);
	assert_int_equal(apb_stack_get(stack_inside, &pcs), 1);
	munmap(area, size);
}

static void *all_paths(void *arg)
{
	volatile int rounds = 3; /* lest there be three places of the call */
	uint32_t *stacks = arg;

	for (int round = 0; round < rounds; round++)
		for (unsigned int i = 0; i < PATHS; i++)
			stacks[i] = left(i, DEPTH);
	return NULL;
}

/* Each path another number; in all threads, at the same time, the same. */
static void test_stacks_once(void **state)
{
	static uint32_t stacks[THREADS][PATHS];
	pthread_t threads[THREADS];
	size_t before, after;

	(void)state;
	if (!has_stacks())
		skip();
	apb_stack_bytes(&before);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, all_paths, stacks[i]),
			0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	apb_stack_bytes(&after);
	assert_int_equal(after - before, PATHS);
	for (unsigned int i = 0; i < PATHS; i++) {
		assert_int_not_equal(stacks[0][i], 0);
		for (int k = 1; k < THREADS; k++)
			assert_int_equal(stacks[k][i], stacks[0][i]);
		for (unsigned int k = 0; k < i; k++)
			assert_int_not_equal(stacks[0][k], stacks[0][i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_odd_pool),
		cmocka_unit_test(test_resized),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_everywhere),
		cmocka_unit_test(test_stack),
		cmocka_unit_test(test_other_stack),
		cmocka_unit_test(test_stacks_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
