/* SPDX-License-Identifier: MIT */
/*
 * Intrusive doubly linked lists whose head is one pointer, NULL when empty,
 * so that zeroed memory is a valid list (the kernel's hlist).  A node that is
 * on no list has pprev NULL.
 */
#ifndef APB_LIST_H
#define APB_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct apb_node {
	struct apb_node *next;
	struct apb_node **pprev;
};

#define apb_entry(node, type, member) \
	((type *)((char *)(node) - offsetof(type, member)))

static inline bool apb_node_listed(const struct apb_node *node)
{
	return node->pprev != NULL;
}

static inline void apb_node_add(struct apb_node **head, struct apb_node *node)
{
	node->next = *head;
	if (*head)
		(*head)->pprev = &node->next;
	*head = node;
	node->pprev = head;
}

static inline void apb_node_del(struct apb_node *node)
{
	*node->pprev = node->next;
	if (node->next)
		node->next->pprev = node->pprev;
	node->pprev = NULL;
}

#endif /* APB_LIST_H */
