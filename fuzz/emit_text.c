// SPDX-License-Identifier: MIT
/*
 * The functions that programs are made of, as text: a program gets those that
 * it calls.
 */
#include "emitter.h"

#include <string.h>

#define BIT(part) (1u << (part))

static const struct {
	unsigned int needs; /* other parts */
	const char *text;
} parts[PART_NR] = {
	[PART_BLOCKS] = {0, "static char *volatile p[BLOCKS]; /* by the call "
			    "that made them */\n\n"},
	[PART_FILL] =
		{BIT(PART_BLOCKS),
		 "static size_t size[BLOCKS];\n\n"
		 "/* What a block holds; of giant ones not every byte is "
		 "looked at. */\n"
		 "static char pattern(int k, size_t i)\n"
		 "{\n"
		 "\treturn (char)(1 + k * 37 + (int)(i % 256) * 11 + (int)(i "
		 "/ 256));\n"
		 "}\n\n"
		 "static size_t after(size_t i)\n"
		 "{\n"
		 "\treturn i < (1 << 20) ? i + 1 : i + 512;\n"
		 "}\n\n"
		 "static void fill(int k, size_t n)\n"
		 "{\n"
		 "\tsize[k] = n;\n"
		 "\tfor (size_t i = 0; i < n; i = after(i))\n"
		 "\t\tp[k][i] = pattern(k, i);\n"
		 "}\n\n"},
	[PART_MADE] = {BIT(PART_BLOCKS) | BIT(PART_FILL),
		       "static void made(int k, size_t n)\n"
		       "{\n"
		       "\tassert(p[k]);\n"
		       "\tfill(k, n);\n"
		       "}\n\n"},
	[PART_MADE_OR_NULL] = {BIT(PART_BLOCKS) | BIT(PART_FILL),
			       "/* Where the kernel may refuse. */\n"
			       "static void made(int k, size_t n)\n"
			       "{\n"
			       "\tif (p[k])\n"
			       "\t\tfill(k, n);\n"
			       "}\n\n"},
	[PART_ZEROED] = {BIT(PART_BLOCKS),
			 "static void zeroed(int k, size_t n)\n"
			 "{\n"
			 "\tfor (size_t i = 0; p[k] && i < n; i++)\n"
			 "\t\tassert(!p[k][i]);\n"
			 "}\n\n"},
	[PART_HOLDS] = {BIT(PART_BLOCKS) | BIT(PART_FILL),
			"/* The first bytes of block @k are what block @as "
			"held. */\n"
			"static void holds(int k, int as, size_t n)\n"
			"{\n"
			"\tfor (size_t i = 0; p[k] && i < n; i = after(i))\n"
			"\t\tassert(p[k][i] == pattern(as, i));\n"
			"}\n\n"},
	[PART_KEPT] = {BIT(PART_HOLDS) | BIT(PART_FILL) | BIT(PART_BLOCKS),
		       "static void kept(int k, int old, size_t n)\n"
		       "{\n"
		       "\tholds(k, old, n < size[old] ? n : size[old]);\n"
		       "}\n\n"},
	[PART_INTACT] = {BIT(PART_HOLDS) | BIT(PART_FILL) | BIT(PART_BLOCKS),
			 "static void intact(int k)\n"
			 "{\n"
			 "\tholds(k, k, size[k]);\n"
			 "}\n\n"},
	[PART_STAYS] =
		{BIT(PART_INTACT) | BIT(PART_HOLDS) | BIT(PART_FILL) |
			 BIT(PART_BLOCKS),
		 "/* Block @k was to be resized as @to: refused; or else "
		 "it goes on there. */\n"
		 "static void stays(int k, int to, size_t n)\n"
		 "{\n"
		 "\tif (!p[to]) {\n"
		 "\t\tintact(k);\n"
		 "\t\treturn;\n"
		 "\t}\n"
		 "\tp[k] = p[to];\n"
		 "\tfill(k, n);\n"
		 "}\n\n"},
	[PART_HIDE] = {0, "/* So that the compiler does not warn of what has "
			  "to be refused. */\n"
			  "static size_t hide(size_t n)\n"
			  "{\n"
			  "\tvolatile size_t hidden = n;\n\n"
			  "\treturn hidden;\n"
			  "}\n\n"},
	[PART_APART] = {BIT(PART_BLOCKS),
			"static void apart(int k, int j)\n"
			"{\n"
			"\tassert(p[k] + apb_usable_size(p[k]) <= p[j] ||\n"
			"\t       p[j] + apb_usable_size(p[j]) <= p[k]);\n"
			"}\n\n"},
	[PART_APART_PLAIN] = {BIT(PART_BLOCKS),
			      "static void apart(int k, int j)\n"
			      "{\n"
			      "\tassert(p[k] + malloc_usable_size(p[k]) <= "
			      "p[j] ||\n"
			      "\t       p[j] + malloc_usable_size(p[j]) <= "
			      "p[k]);\n"
			      "}\n\n"},
	[PART_FAIL] = {0, "/* Calls of the kernel fail: which, by apb.h. */\n"
			  "__attribute__((unused)) static void\n"
			  "fail(enum apb_fault_mode mode, unsigned int calls, "
			  "uint64_t n,\n"
			  "     uint64_t seed)\n"
			  "{\n"
			  "\tstruct apb_fault fault = {mode, calls, n, "
			  "seed};\n\n"
			  "\tapb_fault_set(&fault);\n"
			  "}\n\n"},
	[PART_REPORTS] = {0, "static unsigned int reports; /* of misuse */\n"
			     "static enum apb_misuse_kind report_kind;\n\n"
			     "static void on_misuse(const struct apb_misuse "
			     "*m, void *arg)\n"
			     "{\n"
			     "\t(void)arg;\n"
			     "\treports++;\n"
			     "\treport_kind = m->kind;\n"
			     "}\n\n"},
	[PART_THREADS] =
		{0, "/*\n"
		    " * Threads, one at a time: to the allocator a thread is "
		    "its heap.  Of libapb.a,\n"
		    " * see alloc/heap/thread.h.\n"
		    " */\n"
		    "struct apb_heap *apb_thread_swap(struct apb_heap *heap);\n"
		    "void apb_thread_end(void);\n\n"
		    "static struct apb_heap *heap[8];\n"
		    "static int running;\n\n"
		    "__attribute__((unused)) static void run_as(int thread)\n"
		    "{\n"
		    "\tstruct apb_heap *next = heap[thread];\n\n"
		    "\theap[thread] = NULL;\n"
		    "\theap[running] = apb_thread_swap(next);\n"
		    "\trunning = thread;\n"
		    "}\n\n"},
	[PART_PTHREADS] =
		{0,
		 "/* Threads, of which one runs at a time. */\n"
		 "static struct {\n"
		 "\tpthread_t id;\n"
		 "\tbool there, ends;\n"
		 "\tvoid (*turn)(void);\n"
		 "} thread[8];\n"
		 "static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;\n"
		 "static pthread_cond_t change = PTHREAD_COND_INITIALIZER;\n\n"
		 "static void *run(void *arg)\n"
		 "{\n"
		 "\tint t = (int)(intptr_t)arg;\n\n"
		 "\tpthread_mutex_lock(&lock);\n"
		 "\twhile (!thread[t].ends) {\n"
		 "\t\tif (thread[t].turn) {\n"
		 "\t\t\tthread[t].turn();\n"
		 "\t\t\tthread[t].turn = NULL;\n"
		 "\t\t\tpthread_cond_broadcast(&change);\n"
		 "\t\t}\n"
		 "\t\tpthread_cond_wait(&change, &lock);\n"
		 "\t}\n"
		 "\tpthread_mutex_unlock(&lock);\n"
		 "\treturn NULL;\n"
		 "}\n\n"
		 "static void on(int t, void (*turn)(void))\n"
		 "{\n"
		 "\tpthread_mutex_lock(&lock);\n"
		 "\tthread[t].turn = turn;\n"
		 "\tif (!thread[t].there)\n"
		 "\t\tassert(!pthread_create(&thread[t].id, NULL, run,\n"
		 "\t\t\t\t       (void *)(intptr_t)t));\n"
		 "\tthread[t].there = true;\n"
		 "\tpthread_cond_broadcast(&change);\n"
		 "\twhile (thread[t].turn)\n"
		 "\t\tpthread_cond_wait(&change, &lock);\n"
		 "\tpthread_mutex_unlock(&lock);\n"
		 "}\n\n"
		 "__attribute__((unused)) static void end(int t)\n"
		 "{\n"
		 "\tpthread_mutex_lock(&lock);\n"
		 "\tthread[t].ends = true;\n"
		 "\tpthread_cond_broadcast(&change);\n"
		 "\tpthread_mutex_unlock(&lock);\n"
		 "\tpthread_join(thread[t].id, NULL);\n"
		 "\tthread[t].there = thread[t].ends = false;\n"
		 "}\n\n"},
	[PART_STATS] = {0, "static struct apb_stats s;\n\n"},
	[PART_BEFORE] = {0, "static struct apb_stats before; /* the last call "
			    "*/\n\n"},
	[PART_OTHER] = {0, "static char other[64]; /* no block */\n\n"},
};

static const char failures_real[] =
	"static uint64_t failures(enum apb_os_call call)\n"
	"{\n"
	"\tstruct apb_fault_stats f;\n\n"
	"\tapb_fault_get(&f);\n"
	"\treturn f.failed[call];\n"
	"}\n\n";
static const char failures_scripted[] =
	"static uint64_t failures(enum apb_os_call call)\n"
	"{\n"
	"\tstruct apb_fault_stats f;\n\n"
	"\tapb_fault_get(&f);\n"
	"\treturn f.failed[call] + kernel_failed[call];\n"
	"}\n\n";
static const char recovered[] = "static uint64_t recovered(void)\n"
				"{\n"
				"\tapb_stats(&s);\n"
				"\treturn s.recovered;\n"
				"}\n\n";

void emit_parts(struct emit *e, FILE *to)
{
	unsigned int needs = e->needs;

	if (e->misuse && !e->o->plain)
		needs |= BIT(PART_REPORTS);
	for (int i = 0; i < PART_NR; i++)
		if (needs & BIT(i))
			needs |= parts[i].needs;
	for (int i = 0; i < PART_NR; i++)
		if (needs & BIT(i))
			fputs(parts[i].text, to);
	if (!e->o->finding || e->o->plain ||
	    strcmp(e->o->finding->oracle, "fault-unreported"))
		return;
	if (is_scripted(e))
		fputs("static uint64_t kernel_failed[APB_OS_NR];\n\n", to);
	fputs(is_scripted(e) ? failures_scripted : failures_real, to);
	fputs(recovered, to);
}
