// SPDX-License-Identifier: MIT
/* What the tests of apb_check() share; see checkscene.h. */
#include "checkscene.h"

#include <ctype.h>

/* ---- damage that can be undone ---------------------------------------- */

static struct {
	void *at;
	size_t size;
	char old[16];
} pokes[64];
static size_t nr_pokes;

void poke(void *at, size_t size, const void *value)
{
	assert_true(nr_pokes < NR_OF(pokes) && size <= sizeof(pokes[0].old));
	pokes[nr_pokes].at = at;
	pokes[nr_pokes].size = size;
	memcpy(pokes[nr_pokes++].old, at, size);
	memcpy(at, value, size);
}

void undo_pokes(void)
{
	while (nr_pokes) {
		nr_pokes--;
		memcpy(pokes[nr_pokes].at, pokes[nr_pokes].old,
		       pokes[nr_pokes].size);
	}
}

/* ---- the scene -------------------------------------------------------- */

struct scene sc;

/* Blocks of a pool of a class of its own: to be emptied. */
static void empty_pool(size_t size)
{
	struct apb_pool *pool;
	char *p[256];
	size_t n = 0, i;

	do {
		p[n] = apb_malloc(size);
		pool = pool_of(p[n++]);
	} while (n < pool->count);
	for (i = 0; i < n; i++)
		apb_free(p[i]);
	apb_settle();
}

/* Returns its first block. */
static char *fill_pool(size_t size, struct apb_pool **pool)
{
	unsigned int i;

	*pool = pool_of(apb_malloc(size));
	for (i = 1; i < (*pool)->count; i++)
		assert_ptr_equal(pool_of(apb_malloc(size)), *pool);
	return (char *)(*pool)->base;
}

/* Other threads, and what this one freed of their blocks. */
static void play_threads(void)
{
	struct apb_heap *mine = own();
	char *p[4], *big[2];
	size_t i;

	apb_thread_swap(NULL);
	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_malloc(SIZE);
	big[0] = apb_malloc(BIG);
	big[1] = apb_malloc(BIG);
	sc.played = apb_thread_swap(NULL);
	apb_free(apb_malloc(1));
	sc.idle = own();
	apb_thread_end();
	apb_heap_empty(sc.idle);
	apb_thread_swap(mine);
	apb_free(big[0]);
	apb_remote_drain(sc.played, true);
	apb_free(big[1]);
	apb_free(p[1]);
	apb_free(p[2]);
	sc.queued = apb_queue_first(sc.played->queue);
	sc.arrived = sc.played->arrived[BIG_CLS];
	for (i = 0; i < APB_NR_OUT; i++)
		if (mine->out[i].next)
			sc.out = &mine->out[i];
	assert_non_null(sc.queued);
	assert_int_equal(sc.played->nr_arrived, 1);
	assert_int_equal(sc.arrived->n, 1);
	assert_int_equal(sc.queued->n, 1);
	assert_int_equal(apb_out_count(sc.out), 2);
	assert_ptr_equal(apb_state.heaps.idle, sc.idle);
}

/* A reset leaves the heaps of threads that live on. */
void end_played(void)
{
	struct apb_heap *mine = own();

	if (!sc.played)
		return;
	apb_thread_swap(sc.played);
	apb_thread_end();
	apb_thread_swap(mine);
	sc.played = NULL;
}

void make_scene(void)
{
	char *p;
	size_t i;

	end_played();
	fresh_sim(1, 0);
	/* an arena that is filled from its start and emptied: the spare */
	p = fill_pool(32768, &sc.medium);
	for (i = 0; i < sc.medium->count; i++)
		apb_free(p + i * 32768);
	apb_settle();
	sc.spare = apb_entry(as()->spares, struct apb_arena, node);
	/* it would be taken for the others: out of the way for a moment */
	apb_node_del(&sc.spare->node);
	sc.block = fill_pool(SIZE, &sc.full);
	p = fill_pool(SIZE, &sc.partial);
	while (bin_length(CLS))
		apb_malloc(SIZE);
	for (i = 0; i < 6; i++)
		apb_free(p + 3 * i * SIZE);
	sc.medium = pool_of(apb_malloc(2560));
	while (bin_length(41))
		apb_malloc(2560);
	sc.single = pool_of(apb_malloc(24576));
	/* and one that is sparse */
	apb_malloc(32);
	apb_settle();
	empty_pool(100);
	empty_pool(200);
	apb_arena_purge(0);
	empty_pool(400);
	/* the 6 first, then those of a new pool */
	for (i = 0; i < 6; i++)
		apb_malloc(SIZE);
	while (bin_length(CLS))
		apb_malloc(SIZE);
	sc.binned = pool_of(apb_malloc(SIZE));
	while (bin_length(CLS))
		apb_malloc(SIZE);
	for (i = 0; i < 6; i++)
		apb_free(p + 3 * i * SIZE);
	apb_settle();
	for (i = 0; i < 3; i++)
		apb_free(entry_of(sc.binned, live_index(sc.binned)).block);
	apb_node_add(&as()->spares, &sc.spare->node);
	sc.arena = apb_arena_of((uintptr_t)sc.full);
	sc.other = apb_arena_of((uintptr_t)sc.medium);
	sc.large = apb_large_find((uintptr_t)apb_malloc(100000));
	apb_malloc(2 * MIB);
	apb_free(apb_malloc(200000));
	sc.leaf = apb_map_leaf((uintptr_t)sc.arena);
	apb_map_set((uintptr_t)EMPTY_SLICE << APB_SLICE_SHIFT, APB_KIND_LARGE);
	apb_map_clear((uintptr_t)EMPTY_SLICE << APB_SLICE_SHIFT);
	play_threads();
	assert_whole();
	assert_int_equal(bin_length(CLS), 3);
	assert_int_equal(sc.full->used, sc.full->count);
	assert_int_equal(sc.partial->used, sc.partial->count - 6);
	assert_true(sc.binned->used > 4);
	assert_true(apb_pool_has(sc.binned));
	assert_int_equal(sc.single->used, 1 + bin_length(sc.single->cls));
	assert_int_equal(apb_state.larges.nr_cached, 1);
	assert_true(sc.arena->dirty && sc.arena->dirty != sc.arena->unused);
	assert_int_equal(sc.other->kind, 1);
	test_initialised();
}

/* ---- running ---------------------------------------------------------- */

static bool like(const char *text, const char *pattern)
{
	for (; *pattern; pattern++) {
		if (*pattern != '#') {
			if (*text++ != *pattern)
				return false;
			continue;
		}
		if (!isxdigit(*text))
			return false;
		while (isxdigit(*text))
			text++;
	}
	return !*text;
}

static void assert_damage_is_named(const struct damage *d, size_t i)
{
	struct apb_violation v = {0};
	char wanted[sizeof(v.text)];
	int result;

	d->fn();
	assert_true(nr_pokes > 0);
	errno = 0;
	result = apb_check(&v);
	if (!result)
		print_error("damage %zu: not found\n", i);
	else if (strcmp(v.invariant, d->invariant))
		print_error("damage %zu: %s\n", i, v.text);
	assert_int_equal(result, -1);
	assert_int_equal(errno, EUCLEAN);
	assert_string_equal(v.invariant, d->invariant);
	/* a line that begins with the name and the place */
	snprintf(wanted, sizeof(wanted), "%s at %#lx: %s", d->invariant,
		 (unsigned long)v.addr, d->text);
	if (!like(v.text, wanted))
		print_error("damage %zu: %s, wanted %s\n", i, v.text, wanted);
	assert_true(like(v.text, wanted));
	assert_int_not_equal(v.addr, 0);
	undo_pokes();
	assert_whole();
}

void run_damages(const struct damage *damages, size_t nr, const char *prefix)
{
	size_t i, n = 0;

	make_scene();
	for (i = 0; i < nr; i++) {
		if (strncmp(damages[i].invariant, prefix, strlen(prefix)))
			continue;
		assert_damage_is_named(&damages[i], i);
		n++;
	}
	assert_true(n > 0);
}

void use_after_damages(const struct damage *damages, size_t nr)
{
	struct apb_violation v;
	char *p[50];
	size_t i, j;

	make_scene();
	for (i = 0; i < nr; i++) {
		damages[i].fn();
		apb_check(&v);
		undo_pokes();
		for (j = 0; j < NR_OF(p); j++)
			p[j] = apb_malloc(SIZE);
		for (j = 0; j < NR_OF(p); j++)
			apb_free(p[j]);
		apb_settle();
		assert_whole();
		make_scene();
	}
}

int undo_after(void **ctx)
{
	(void)ctx;
	undo_pokes();
	end_played();
	return 0;
}
