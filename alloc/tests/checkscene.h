/* SPDX-License-Identifier: MIT */
/*
 * What the tests of apb_check() share: a scene with everything in it, damage
 * that can be undone, and a table of damages to be named by the check.
 */
#ifndef APB_CHECKSCENE_H
#define APB_CHECKSCENE_H

#include "heap/remote.h"
#include "testlib.h"

/* ---- damage that can be undone ---------------------------------------- */

void poke(void *at, size_t size, const void *value);

#define POKE(lvalue, val)                               \
	do {                                            \
		__typeof__(lvalue) new_ = (val);        \
		poke(&(lvalue), sizeof(lvalue), &new_); \
	} while (0)

/* All of it, the last first. */
void undo_pokes(void);

/* ---- the scene -------------------------------------------------------- */

/*
 * Class 4, 64 bytes: pool full is all live; pool partial has 6 blocks back, the
 * others live; pool binned has blocks back, some live and 3 in the bin.  Class
 * 41: an arena of kind 1 with live blocks.  Class 55: a pool with one live
 * block.  A spare, two large blocks, one that is cached; unused pools, dirty
 * and clean.  Another thread is played, whose heap has live blocks; two of them
 * were freed by this one, and are in a batch, one is in a batch of the queue,
 * one in a batch that has arrived.
 * A third thread has ended.
 */
extern struct scene {
	struct apb_pool *full, *partial, *binned, *medium, *single;
	struct apb_arena *arena, *other, *spare;
	struct apb_large *large;
	struct apb_leaf *leaf;
	struct apb_heap *played, *idle;
	struct apb_out *out;
	struct apb_batch *queued, *arrived;
	char *block; /* a live one */
} sc;

#define EMPTY_SLICE 7 /* one with a leaf, but nothing in it */
#define CLS 4
#define SIZE 64
#define BIG_CLS 52
#define BIG 16384 /* one fills a batch */

/* In the place of the one that was. */
void make_scene(void);
/* End the thread that is played, if there is one. */
void end_played(void);

static inline struct apb_heap *own(void)
{
	return apb_tls;
}

static inline struct apb_bin *bin(void)
{
	return &own()->bin[CLS];
}

static inline struct apb_bin_info *info(void)
{
	return &own()->info[CLS];
}

static inline struct apb_arenas *as(void)
{
	return &apb_state.arenas;
}

/* The entry number @i of @batch, packed. */
static inline uintptr_t *word_of(struct apb_batch *batch, unsigned int i)
{
	return &batch->word[batch->first + i];
}

/* The entry of block @i of @pool. */
static inline struct apb_entry entry_of(const struct apb_pool *pool,
					unsigned int i)
{
	return apb_entry_make(
		pool, pool->base + i * test_class_sizes[pool->cls - 1], i);
}

/* Some block that is in the pool. */
static inline unsigned int index_in(const struct apb_pool *pool)
{
	unsigned int i = 0;

	while (!(apb_pool_bits(pool)[i / 64] >> i % 64 & 1))
		i++;
	return i;
}

static inline unsigned int live_index(const struct apb_pool *pool)
{
	unsigned int i = 0;

	while (*apb_pool_state(pool, i) != APB_STATE_LIVE)
		i++;
	return i;
}

/* ---- running ---------------------------------------------------------- */

/* @text is what is told of it; a # is any hexadecimal number. */
struct damage {
	const char *invariant, *text;
	void (*fn)(void);
};

#define DAMAGE(name, code)     \
	static void name(void) \
	{                      \
		code;          \
	}

/*
 * In a new scene, each damage of the table whose invariant begins with @prefix:
 * the check has to name it, and to find nothing when it is undone.
 */
void run_damages(const struct damage *damages, size_t nr, const char *prefix);

/* After each damage the allocator is used as if there had been no check. */
void use_after_damages(const struct damage *damages, size_t nr);

/* As a test's teardown: whatever it left half done. */
int undo_after(void **ctx);

#define DAMAGE_TEST(name, prefix)                             \
	static void name(void **ctx)                          \
	{                                                     \
		(void)ctx;                                    \
		run_damages(damages, NR_OF(damages), prefix); \
	}

#define USE_TEST(name)                                      \
	static void name(void **ctx)                        \
	{                                                   \
		(void)ctx;                                  \
		use_after_damages(damages, NR_OF(damages)); \
	}

#endif /* APB_CHECKSCENE_H */
