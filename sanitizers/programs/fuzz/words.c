// SPDX-License-Identifier: MIT
/*
 * A target that needs no program from elsewhere: the words of a text in a tree,
 * printed in order into a buffer that grows.
 */
#include "target.h"

#include <ctype.h>
#include <string.h>

struct word {
	struct word *left, *right;
	size_t len;
	char text[];
};

struct buffer {
	char *text;
	size_t len, room;
};

static void add(struct word **at, const char *text, size_t len)
{
	while (*at) {
		size_t both = len < (*at)->len ? len : (*at)->len;
		int order = memcmp(text, (*at)->text, both);

		if (!order && len == (*at)->len)
			return;
		if (!order)
			order = len < (*at)->len ? -1 : 1;
		at = order < 0 ? &(*at)->left : &(*at)->right;
	}
	*at = target_malloc(sizeof(**at) + len);
	if (!*at)
		return;
	(*at)->left = (*at)->right = NULL;
	(*at)->len = len;
	memcpy((*at)->text, text, len);
}

static void print(struct buffer *out, const struct word *word)
{
	char *text;

	if (!word)
		return;
	print(out, word->left);
	while (out->len + word->len > out->room) {
		text = target_realloc(out->text, out->room * 2 + 16);
		if (!text)
			return;
		out->text = text;
		out->room = out->room * 2 + 16;
	}
	memcpy(out->text + out->len, word->text, word->len);
	out->len += word->len;
	print(out, word->right);
}

static void drop(struct word *word)
{
	if (!word)
		return;
	drop(word->left);
	drop(word->right);
	target_free(word);
}

void target_run(const char *data, size_t size)
{
	struct word *words = NULL;
	struct buffer out = {0};
	size_t i, from;

	for (i = 0; i < size;) {
		while (i < size && !isalnum((unsigned char)data[i]))
			i++;
		from = i;
		while (i < size && isalnum((unsigned char)data[i]))
			i++;
		if (i > from)
			add(&words, data + from, i - from);
	}
	print(&out, words);
	if (!target_deletes)
		return;
	drop(words);
	target_free(out.text);
}
