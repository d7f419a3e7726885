/* SPDX-License-Identifier: MIT */
/*
 * leak_mark.c - the blocks there are, and which of them are reached.
 *
 * A table of all live blocks, by address; whatever looks like an address in one
 * of them reaches it.  From a range to a block, from a block, or from a block of
 * malloc's that the tool knows, to the next: the ranges that are still to be
 * read are kept in an array, not on the stack.
 */
#include "glue/glue.h"
#include "glue/leak.h"
#include "glue/leak_arch.h"

#define WORD sizeof(uintptr_t)

/* ---- the table of blocks -------------------------------------------------- */

struct collector {
	struct leak_check *check;
	const struct apb_san_pool *pool;
};

APB_RAW static void collect(const struct apb_san_block *block, void *arg)
{
	struct collector *collector = arg;
	struct leak_check *check = collector->check;
	struct leak_block *item;

	world_beat(&check->world);
	item = leak_array_add(&check->blocks, sizeof(*item));
	if (!item) {
		check->failed = true;
		return;
	}
	item->addr = (uintptr_t)block->addr;
	item->size = block->size;
	item->pool = collector->pool;
	item->stack = block->born_stack;
	item->parent = 0;
	item->reached = item->indirect = false;
}

APB_RAW void leak_collect(struct leak_check *check,
			  const struct apb_san_pool *pool)
{
	struct collector collector = {check, pool};

	apb_glue_walk(pool, collect, &collector);
}

APB_RAW static bool before(const struct leak_block *a,
			   const struct leak_block *b)
{
	return a->addr != b->addr ? a->addr < b->addr : a->size > b->size;
}

/* Where the ascending run that begins at @from ends. */
APB_RAW static size_t run_end(const struct leak_block *blocks, size_t from,
			      size_t count)
{
	size_t i = from + 1;

	while (i < count && !before(&blocks[i], &blocks[i - 1]))
		i++;
	return i < count ? i : count;
}

/* One pass of a merge sort that takes runs as they are; the number of them. */
APB_RAW static size_t merge_runs(const struct leak_block *from,
				 struct leak_block *to, size_t count)
{
	size_t at = 0, runs = 0;

	while (at < count) {
		size_t a = at, middle = run_end(from, at, count), b = middle;
		size_t end = b < count ? run_end(from, b, count) : count;

		while (a < middle || b < end) {
			bool second = a == middle ||
				      (b < end && before(&from[b], &from[a]));

			to[at++] = second ? from[b++] : from[a++];
		}
		runs++;
	}
	return runs;
}

/* Blocks may have pools in them, and these blocks: which is in which. */
APB_RAW static void find_parents(struct leak_block *blocks, size_t count)
{
	size_t i, in;

	for (i = 1; i < count; i++) {
		for (in = i; in; in = blocks[in - 1].parent)
			if (blocks[in - 1].addr + blocks[in - 1].size >
			    blocks[i].addr)
				break;
		blocks[i].parent = (uint32_t)in;
	}
}

APB_RAW void leak_sort_blocks(struct leak_check *check)
{
	struct leak_block *blocks = leak_blocks(check), *last;
	size_t i, count = check->blocks.count;
	static struct leak_array second;
	struct leak_array swap;
	size_t runs;

	if (!count)
		return;
	while (run_end(blocks, 0, count) != count) {
		while (second.bytes < check->blocks.bytes) {
			second.count = count;
			if (!leak_array_add(&second, sizeof(*blocks))) {
				check->failed = true;
				return;
			}
		}
		runs = merge_runs(blocks, second.items, count);
		swap.items = second.items;
		swap.bytes = second.bytes;
		second.items = check->blocks.items;
		second.bytes = check->blocks.bytes;
		check->blocks.items = swap.items;
		check->blocks.bytes = swap.bytes;
		blocks = leak_blocks(check);
		if (runs == 1)
			break;
	}
	leak_array_free(&second);
	find_parents(blocks, count);
	last = blocks;
	for (i = 0; i < count; i++)
		if (blocks[i].addr + blocks[i].size > last->addr + last->size)
			last = &blocks[i];
	check->low = blocks[0].addr;
	check->span = last->addr + last->size - check->low + 1;
	check->unreached = count;
}

/* The innermost block that @word points into, + 1; 0: none. */
APB_RAW size_t leak_find(struct leak_check *check, uintptr_t word)
{
	const struct leak_block *blocks = leak_blocks(check);
	size_t low = 0, high = check->blocks.count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (blocks[middle].addr <= word)
			low = middle + 1;
		else
			high = middle;
	}
	/* a block of no bytes is reached by its address */
	while (low && word - blocks[low - 1].addr >=
			      blocks[low - 1].size + !blocks[low - 1].size)
		low = blocks[low - 1].parent;
	return low;
}

/* ---- numbers that were seen ------------------------------------------------ */

APB_RAW static bool set_put(struct leak_array *array, uintptr_t number)
{
	uintptr_t *slots = array->items;
	size_t mask = array->bytes / WORD - 1;
	size_t i = (number >> 4) * 0x9e3779b97f4a7c15ull >> 20 & mask;

	for (; slots[i]; i = (i + 1) & mask)
		if (slots[i] == number)
			return false;
	slots[i] = number;
	return true;
}

APB_RAW static bool set_grow(struct leak_set *set)
{
	struct leak_array *from = &set->slots[set->now];
	struct leak_array *to = &set->slots[!set->now];
	const uintptr_t *slots = from->items;
	size_t i;

	do {
		to->count = to->bytes / WORD;
		if (!leak_array_add(to, WORD))
			return false;
	} while (to->bytes <= from->bytes);
	for (i = 0; i < from->bytes / WORD; i++)
		if (slots[i])
			set_put(to, slots[i]);
	leak_array_free(from);
	set->now = !set->now;
	return true;
}

/* True: it was not there. */
APB_RAW static bool set_add(struct leak_check *check, uintptr_t number)
{
	struct leak_set *set = &check->seen;

	if (set->count * 2 >= set->slots[set->now].bytes / WORD &&
	    !set_grow(set)) {
		check->failed = true;
		return false;
	}
	if (!set_put(&set->slots[set->now], number))
		return false;
	set->count++;
	return true;
}

/* ---- marking -------------------------------------------------------------- */

APB_RAW static void push(struct leak_check *check, uintptr_t start,
			 uintptr_t end, const struct apb_san_pool *pool)
{
	struct leak_range *range;

	range = leak_array_add(&check->work, sizeof(*range));
	if (!range) {
		check->failed = true;
		return;
	}
	*range = (struct leak_range){start, end, pool};
}

APB_RAW static void reach(struct leak_check *check, uintptr_t word)
{
	struct leak_block *blocks = leak_blocks(check);
	size_t i;

	for (i = leak_find(check, word); i; i = blocks[i - 1].parent) {
		struct leak_block *block = &blocks[i - 1];

		if (block->reached)
			continue;
		block->reached = true;
		check->unreached--;
		push(check, block->addr, block->addr + block->size,
		     block->pool);
	}
}

/*
 * A block of malloc's, or a thread's structure: what pthread_create() gave is a
 * pointer to it, and it holds what a thread that has ended has returned.
 */
APB_RAW static bool reach_other(struct leak_check *check, uintptr_t word)
{
	const struct leak_map *map = leak_map_of(check, word);
	uintptr_t start;
	size_t size;
	bool found = false;

	if (!map || map->kind != LEAK_ANON)
		return false;
	/* a tool that can be asked may take long to say no */
	if (!leak_is_pools(word)) {
		leak_tool_enter(check);
		found = leak_tool_chunk(word, &start, &size);
		if (!leak_tool_leave(check))
			return false;
	}
	if (found) {
		check->chunk = start;
		check->chunk_size = size;
		if (set_add(check, start))
			push(check, start, start + size, NULL);
		return true;
	}
	if (ARCH_TCB_SELF && word % 64 == 0 && *(uintptr_t *)word == word &&
	    set_add(check, word))
		push(check, word, word + ARCH_TCB, NULL);
	return false;
}

/* True: it points to a block of malloc's, check->chunk. */
APB_RAW bool leak_word(struct leak_check *check, uintptr_t word)
{
	if (word - check->low < check->span)
		reach(check, word);
	if (word < 4096 || word >> 47)
		return false;
	return word - check->chunk < check->chunk_size ||
	       reach_other(check, word);
}

APB_RAW static void read_range(struct leak_check *check, uintptr_t start,
			       uintptr_t end)
{
	uintptr_t at = (start + WORD - 1) & ~(WORD - 1);
	uintptr_t frame, frame_end;

	for (; at + WORD <= end && !check->failed; at += WORD) {
		uintptr_t word = *(const uintptr_t *)at;

		leak_word(check, word);
		if (check->fake && !check->failed &&
		    word - check->fake < (uintptr_t)1 << 32 &&
		    leak_tool_fake_frame(check->fake, word, &frame,
					 &frame_end) &&
		    set_add(check, frame))
			push(check, frame, frame_end, NULL);
	}
}

APB_RAW static void read_block(struct leak_check *check, uintptr_t start,
			       uintptr_t end)
{
	uintptr_t at = (start + WORD - 1) & ~(WORD - 1);
	uintptr_t *kept;

	for (; at + WORD <= end && !check->failed; at += WORD) {
		if (!leak_word(check, *(const uintptr_t *)at) || !check->whole)
			continue;
		/* also if seen before: it may be on nothing but this stack */
		kept = leak_array_add(&check->keep, sizeof(*kept));
		if (kept)
			*kept = check->chunk;
		else
			check->failed = true;
	}
}

APB_RAW void leak_root(struct leak_check *check, uintptr_t start, uintptr_t end)
{
	if (check->unreached || check->whole)
		leak_readable(check, start, end, NULL, read_range);
}

APB_RAW void leak_mark(struct leak_check *check)
{
	while (check->work.count && !check->failed) {
		struct leak_range *work = check->work.items;
		struct leak_range range = work[--check->work.count];

		if (!check->unreached && !check->whole)
			break;
		leak_readable(check, range.start, range.end, range.pool,
			      range.pool ? read_block : read_range);
	}
	check->work.count = 0;
}

/* ---- of those not reached -------------------------------------------------- */

APB_RAW static void read_leaked(struct leak_check *check, uintptr_t start,
				uintptr_t end)
{
	struct leak_block *blocks = leak_blocks(check);
	uintptr_t at = (start + WORD - 1) & ~(WORD - 1);
	size_t i, own = leak_find(check, start);

	for (; at + WORD <= end && !check->failed; at += WORD) {
		uintptr_t word = *(const uintptr_t *)at;

		if (word - check->low < check->span)
			for (i = leak_find(check, word); i;
			     i = blocks[i - 1].parent)
				if (i != own)
					blocks[i - 1].indirect = true;
		if (word >= 4096 && !(word >> 47) &&
		    word - check->chunk >= check->chunk_size)
			reach_other(check, word);
	}
}

/* As the tool's own check: whatever a leaked block points to is so indirectly. */
APB_RAW void leak_mark_indirect(struct leak_check *check)
{
	struct leak_block *blocks = leak_blocks(check);
	size_t i;

	check->fake = 0;
	for (i = 0; i < check->blocks.count && !check->failed; i++) {
		if (blocks[i].reached)
			continue;
		leak_readable(check, blocks[i].addr,
			      blocks[i].addr + blocks[i].size, blocks[i].pool,
			      read_leaked);
		while (check->work.count) {
			struct leak_range *work = check->work.items;
			struct leak_range range = work[--check->work.count];

			leak_readable(check, range.start, range.end, NULL,
				      read_leaked);
		}
	}
}

APB_RAW void leak_free(struct leak_check *check)
{
	if (check->pagemap > 0)
		ARCH_CALL(SYS_close, check->pagemap, 0, 0, 0);
	check->pagemap = 0;
	leak_array_free(&check->blocks);
	leak_array_free(&check->maps);
	leak_array_free(&check->holes);
	leak_array_free(&check->all_holes);
	leak_array_free(&check->work);
	leak_array_free(&check->seen.slots[0]);
	leak_array_free(&check->seen.slots[1]);
	leak_array_free(&check->keep);
	check->seen.count = 0;
	check->low = check->span = check->unreached = 0;
	check->chunk = check->chunk_size = check->fake = 0;
	check->last_map = (struct leak_map){0};
	check->failed = false;
}
