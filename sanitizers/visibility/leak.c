// SPDX-License-Identifier: MIT
/* Blocks that nothing leads to any more; and some that something leads to. */
#include <stdint.h>
#include <string.h>

#include "client.h"

struct node {
	struct node *next;
	char more[40];
};

static void *volatile global;
static void *volatile slots[4];

static NOINLINE struct node *make_node(const struct scene *s, struct node *next)
{
	struct node *node = s->make(s->size);

	node->next = next;
	return node;
}

static void lose(const struct scene *s)
{
	global = s->make(s->size);
	global = NULL;
}

static void lose_many(const struct scene *s)
{
	for (int i = 0; i < 10; i++)
		lose(s);
}

static void cycle(const struct scene *s)
{
	struct node *first = make_node(s, NULL);
	struct node *second = make_node(s, first);

	first->next = second;
	global = second;
	global = NULL;
}

/* One is lost, and with it what only it leads to. */
static void chain(const struct scene *s)
{
	global = make_node(s, make_node(s, make_node(s, NULL)));
	global = NULL;
}

/* The old block is freed with what it leads to. */
static void forgotten_inside(const struct scene *s)
{
	struct node *head = make_node(s, NULL);

	head->next = make_node(s, NULL);
	global = head;
	give_back(head);
	global = NULL;
}

static void overwritten(const struct scene *s)
{
	global = s->make(s->size);
	global = s->make(s->other);
	give_back(global);
	global = NULL;
}

static void *loser(void *arg)
{
	const struct scene *s = arg;
	void *volatile local = s->make(s->size);

	local = NULL;
	return local;
}

static void in_ended_thread(const struct scene *s)
{
	in_thread(loser, (void *)s);
}

/* Looked for while the program runs; it is found again, and freed, later. */
static void on_demand(const struct scene *s)
{
	uintptr_t hidden = ~(uintptr_t)s->make(s->size);

	scrub();
	LEAK_CHECK();
	give_back((void *)~hidden);
}

static void resized_lost(const struct scene *s)
{
	global = s->make(s->size);
	global = resize(global, s->other);
	global = NULL;
}

/* ---- reachable: nobody is to say a word ------------------------------- */

static void through_block(const struct scene *s)
{
	global = make_node(s, make_node(s, make_node(s, NULL)));
}

static void through_large(const struct scene *s)
{
	void **table = by_malloc(LARGE);

	memset(table, 0, LARGE);
	table[9000] = s->make(s->size);
	global = table;
}

/* apb's block holds the only pointer to malloc's, whose is the one to apb's. */
static void through_malloc(const struct scene *s)
{
	struct node *middle = malloc(sizeof(*middle));
	struct node *outer = make_node(s, middle);

	middle->next = make_node(s, NULL);
	slots[2] = outer;
}

static __thread void *volatile mine;

static void through_tls(const struct scene *s)
{
	mine = make_node(s, make_node(s, NULL));
}

static NOINLINE void leave(void)
{
	exit(0);
}

static void through_stack(const struct scene *s)
{
	void *volatile local = make_node(s, make_node(s, NULL));

	leave();
	give_back(local);
}

struct holder {
	const struct scene *s;
	struct turn ready, never;
};

static void *hold(void *arg)
{
	struct holder *holder = arg;
	void *volatile local = make_node(holder->s, make_node(holder->s, NULL));

	turn_give(&holder->ready, NULL);
	turn_wait(&holder->never);
	return local;
}

/* The thread still runs when the program ends. */
static void through_thread_stack(const struct scene *s)
{
	static struct holder holder;
	pthread_t thread;

	holder.s = s;
	turn_init(&holder.ready);
	turn_init(&holder.never);
	pthread_create(&thread, NULL, hold, &holder);
	turn_wait(&holder.ready);
	leave();
}

#define N sizeof(struct node)

const struct scene leak_scenes[] = {
	{"leak-24", lose, by_malloc, 24, 0, NULL, 0},
	{"leak-512", lose, by_calloc, 512, 0, NULL, 0},
	{"leak-large", lose, by_malloc, LARGE, 0, NULL, 0},
	{"leak-aligned", lose, by_aligned, 200, 0, NULL, 0},
	{"leak-ten", lose_many, by_malloc, 100, 0, NULL, 0},
	{"leak-cycle", cycle, by_malloc, N, 0, NULL, 0},
	{"leak-cycle-large", cycle, by_malloc, LARGE, 0, NULL, 0},
	{"leak-chain", chain, by_malloc, N, 0, NULL, 0},
	{"leak-inside-freed", forgotten_inside, by_malloc, N, 0, NULL, 0},
	{"leak-overwritten", overwritten, by_malloc, 70, 0, NULL, 700},
	{"leak-thread", in_ended_thread, by_malloc, 56, 0, NULL, 0},
	{"leak-realloc", resized_lost, by_malloc, 40, 0, NULL, 80},
	{"leak-on-demand", on_demand, by_malloc, 77, 0, NULL, 0},
	{"ok-through-block", through_block, by_malloc, N, 0, NULL, 0},
	{"ok-through-large", through_large, by_malloc, 40, 0, NULL, 0},
	{"ok-through-malloc", through_malloc, by_malloc, N, 0, NULL, 0},
	{"ok-through-tls", through_tls, by_malloc, N, 0, NULL, 0},
	{"ok-through-stack", through_stack, by_malloc, N, 0, NULL, 0},
	{"ok-through-thread", through_thread_stack, by_malloc, N, 0, NULL, 0},
	{0},
};
