// SPDX-License-Identifier: MIT
/* What tests of arenas need; see arenalib.h. */
#include "arenalib.h"

struct apb_pool *get(unsigned int kind)
{
	struct apb_pool *pool = apb_arena_get_pool(kind, true);

	if (pool)
		pool->owner = 1;
	return pool;
}

struct apb_arena *get_arena(unsigned int kind, struct apb_pool **pool)
{
	unsigned int i;

	for (i = 0; i < slots(kind); i++) {
		pool[i] = get(kind);
		assert_non_null(pool[i]);
		assert_ptr_equal(arena_of(pool[i]), arena_of(pool[0]));
		assert_int_equal(apb_pool_slot(pool[i]),
				 i + apb_first_slot(kind));
	}
	return arena_of(pool[0]);
}

void put_all(struct apb_pool **pool, unsigned int n)
{
	while (n)
		apb_arena_put_pool(pool[--n]);
}

void no_dirt(void)
{
	assert_int_equal(apb_set_option(APB_OPT_DIRTY_LIMIT, 0), 0);
}

uint64_t calls(enum apb_os_call call)
{
	struct simos_stats s;

	simos_stats(&s);
	return s.calls[call];
}
