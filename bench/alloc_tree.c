// SPDX-License-Identifier: MIT
/*
 * A workload of trees: built node by node, walked, and freed, by recursion.
 * Allocation is at the end of a stack of many functions, which is what a tool
 * that keeps the stack of each block has its work with.
 */
#include "alloc.h"

#define LEAF_DEPTH 14u /* 32767 nodes */
#define NODES ((2ul << LEAF_DEPTH) - 1)

struct node {
	struct node *left, *right;
	size_t value;
	char text[]; /* 0 to 63 bytes */
};

static struct node *__attribute__((noinline)) build(struct context *ctx,
						    unsigned int depth)
{
	size_t size = sizeof(struct node) + (ctx->seq[ctx->pos & 4095] & 63);
	struct node *n = bench_malloc(size);

	if (!n)
		bench_die("the allocator has no memory");
	n->value = ctx->pos++;
	n->left = depth ? build(ctx, depth - 1) : NULL;
	n->right = depth ? build(ctx, depth - 1) : NULL;
	return n;
}

static size_t __attribute__((noinline)) sum(const struct node *n)
{
	return n ? n->value + sum(n->left) + sum(n->right) : 0;
}

static void __attribute__((noinline)) destroy(struct node *n)
{
	if (!n)
		return;
	destroy(n->left);
	destroy(n->right);
	bench_free(n);
}

void setup_tree(struct context *ctx, const struct workload *w)
{
	uint64_t rng = SEED;
	uint32_t i;

	(void)w;
	ctx->seq = bench_map(4096 * sizeof(*ctx->seq));
	for (i = 0; i < 4096; i++)
		ctx->seq[i] = bench_random(&rng);
}

/* An operation is a node: its malloc and its free. */
void run_tree(struct context *ctx, size_t ops)
{
	struct node *root;
	size_t done, first;

	for (done = 0; done < ops; done += NODES) {
		first = ctx->pos;
		root = build(ctx, LEAF_DEPTH);
		if (sum(root) != NODES * first + NODES * (NODES - 1) / 2)
			bench_die("the tree is not what it was");
		destroy(root);
	}
}
