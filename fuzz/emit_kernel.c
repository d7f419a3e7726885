// SPDX-License-Identifier: MIT
/*
 * The kernel that a program brings along: it gives the answers that the
 * simulated one gave, in their order.  Once it is asked something else (by an
 * allocator without the bug) it goes on by itself, and refuses nothing.
 */
#include "emitter.h"

#include "simos.h"

#include <string.h>

#define PAGES ((int64_t)(SIMOS_SPACE / 4096))

static const char kernel_text[] =
	"#define SPACE ((char *)0x57fff8000000)\n"
	"#define PAGES 65536\n\n"
	"static char mapped[PAGES];\n"
	"static size_t kernel_mapped, kernel_purged, kernel_purges, asked;\n"
	"__attribute__((unused)) static uint64_t clock_ms;\n\n"
	"static const struct answer *answer(enum apb_os_call call, size_t "
	"size)\n"
	"{\n"
	"\tconst struct answer *a = &answers[asked];\n\n"
	"\tif (a->call == (int)call && a->size == size) {\n"
	"\t\tasked++;\n"
	"\t\treturn a;\n"
	"\t}\n"
	"\tasked = NR_ANSWERS;\n"
	"\treturn &answers[NR_ANSWERS];\n"
	"}\n\n"
	"static bool refuse(const struct answer *a)\n"
	"{\n"
	"\tif (a->fails && a->call >= 0)\n"
	"\t\tkernel_failed[a->call]++;\n"
	"\terrno = ENOMEM;\n"
	"\treturn a->fails;\n"
	"}\n\n"
	"static bool all(size_t at, size_t n, char is)\n"
	"{\n"
	"\twhile (n && at < PAGES && mapped[at] == is)\n"
	"\t\tat++, n--;\n"
	"\treturn !n;\n"
	"}\n\n"
	"/* What no correct caller asks for ends the program. */\n"
	"static size_t range(void *addr, size_t size)\n"
	"{\n"
	"\tsize_t at = (size_t)((char *)addr - SPACE);\n\n"
	"\tassert(size && at % 4096 == 0 && size % 4096 == 0);\n"
	"\tassert(all(at / 4096, size / 4096, 1));\n"
	"\treturn at / 4096;\n"
	"}\n\n"
	"static void set(size_t at, size_t n, char is)\n"
	"{\n"
	"\tif (!n)\n"
	"\t\treturn;\n"
	"\tassert(!mprotect(SPACE + at * 4096, n * 4096,\n"
	"\t\t\t is ? PROT_READ | PROT_WRITE : PROT_NONE));\n"
	"\tmemset(mapped + at, is, n);\n"
	"\tkernel_mapped += is ? n * 4096 : -n * 4096;\n"
	"}\n\n"
	"static void hold(size_t at, size_t n, bool zero)\n"
	"{\n"
	"\tif (zero)\n"
	"\t\tassert(!madvise(SPACE + at * 4096, n * 4096, "
	"MADV_DONTNEED));\n"
	"\telse\n"
	"\t\tmemset(SPACE + at * 4096, 0xdb, n * 4096);\n"
	"}\n\n"
	"static void *kernel_map(void *ctx, void *hint, size_t size, bool "
	"*zero)\n"
	"{\n"
	"\tconst struct answer *a = answer(APB_OS_MAP, size);\n"
	"\tsize_t at = a->at, n = size / 4096;\n\n"
	"\t(void)ctx, (void)hint;\n"
	"\tassert(size && size % 4096 == 0);\n"
	"\t*zero = a->zero;\n"
	"\tif (refuse(a))\n"
	"\t\treturn NULL;\n"
	"\twhile (at < PAGES && !all(at, n, 0))\n"
	"\t\tat++;\n"
	"\tif (at == PAGES)\n"
	"\t\treturn NULL;\n"
	"\tset(at, n, 1);\n"
	"\thold(at, n, *zero);\n"
	"\treturn SPACE + at * 4096;\n"
	"}\n\n"
	"static int kernel_unmap(void *ctx, void *addr, size_t size)\n"
	"{\n"
	"\tsize_t at = range(addr, size);\n\n"
	"\t(void)ctx;\n"
	"\tif (refuse(answer(APB_OS_UNMAP, size)))\n"
	"\t\treturn -1;\n"
	"\tset(at, size / 4096, 0);\n"
	"\treturn 0;\n"
	"}\n\n"
	"static int kernel_purge(void *ctx, void *addr, size_t size)\n"
	"{\n"
	"\tsize_t at = range(addr, size);\n\n"
	"\t(void)ctx;\n"
	"\thold(at, size / 4096, PURGE_ZEROES);\n"
	"\tif (refuse(answer(APB_OS_PURGE, size)))\n"
	"\t\treturn -1;\n"
	"\tkernel_purged += size;\n"
	"\tkernel_purges++;\n"
	"\treturn 0;\n"
	"}\n\n"
	"static int kernel_remap(void *ctx, void *addr, size_t old_size, "
	"size_t size,\n"
	"\t\t\tvoid *to)\n"
	"{\n"
	"\tsize_t at = range(addr, old_size), o = old_size / 4096, n = size "
	"/ 4096;\n"
	"\tsize_t new = to ? range(to, size) : at;\n\n"
	"\t(void)ctx;\n"
	"\tassert(size && size % 4096 == 0);\n"
	"\tif (refuse(answer(APB_OS_REMAP, size)))\n"
	"\t\treturn -1;\n"
	"\tif (!to && n > o && !all(at + o, n - o, 0))\n"
	"\t\treturn -1;\n"
	"\tif (to)\n"
	"\t\tmemcpy(to, addr, o < n ? old_size : size);\n"
	"\telse if (n > o)\n"
	"\t\tset(at + o, n - o, 1);\n"
	"\tif (n > o)\n"
	"\t\thold(new + o, n - o, true);\n"
	"\tif (to)\n"
	"\t\tset(at, o, 0);\n"
	"\telse if (n < o)\n"
	"\t\tset(at + n, o - n, 0);\n"
	"\treturn 0;\n"
	"}\n\n";

static const char clock_text[] = "static uint64_t kernel_now(void *ctx)\n"
				 "{\n"
				 "\t(void)ctx;\n"
				 "\treturn clock_ms;\n"
				 "}\n\n";

/* Page numbers say less to a reader than bytes do, but there are fewer. */
static void emit_answers(const struct emit *e, FILE *to)
{
	static const char *const call[APB_OS_NR] = {
		"APB_OS_MAP", "APB_OS_UNMAP", "APB_OS_PURGE", "APB_OS_REMAP"};
	size_t nr = 0;
	int64_t page;

	fputs("/* The kernel's answers, in their order; the last: none. */\n"
	      "static const struct answer {\n"
	      "\tint call;\n"
	      "\tsize_t size, at; /* at: the page that was mapped */\n"
	      "\tbool fails, zero;\n"
	      "} answers[] = {\n",
	      to);
	for (size_t i = 0; i < e->t->nr; i++) {
		const struct trace_event *v = &e->t->event[i];

		if (v->kind != TRACE_OS)
			continue;
		/* of the real kernel, an address says nothing */
		page = v->delta / 4096;
		if (v->n != APB_OS_MAP || v->null || page < 0 || page >= PAGES)
			page = 0;
		fprintf(to, "\t{%s, %zu, %lld, %d, %d},\n", call[v->n], v->size,
			(long long)page, v->null, v->align != 0);
		nr++;
	}
	fprintf(to, "\t{-1, 0, 0, 0, 0},\n};\n#define NR_ANSWERS %zu\n", nr);
	fprintf(to, "#define PURGE_ZEROES %s\n\n",
		e->t->head.sim_flags & SIMOS_PURGE_ZEROES ? "true" : "false");
}

void emit_kernel(const struct emit *e, FILE *to)
{
	bool clock = !(e->t->head.sim_flags & SIMOS_NO_CLOCK);

	emit_answers(e, to);
	if (!e->o->finding || strcmp(e->o->finding->oracle, "fault-unreported"))
		fputs("static uint64_t kernel_failed[APB_OS_NR];\n\n", to);
	fputs(kernel_text, to);
	if (clock)
		fputs(clock_text, to);
	fprintf(to,
		"static const struct apb_os *kernel(void)\n"
		"{\n"
		"\tstatic const struct apb_os os = {\n"
		"\t\t.map = kernel_map,\n"
		"\t\t.unmap = kernel_unmap,\n"
		"\t\t.purge = kernel_purge,\n"
		"\t\t.remap = kernel_remap,\n"
		"%s\t\t.purge_zeroes = PURGE_ZEROES,\n"
		"\t};\n\n"
		"\tassert(mmap(SPACE, PAGES * 4096UL, PROT_NONE,\n"
		"\t\t    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |\n"
		"\t\t    MAP_FIXED_NOREPLACE, -1, 0) == SPACE);\n"
		"\treturn &os;\n"
		"}\n\n",
		clock ? "\t\t.now = kernel_now,\n" : "");
}
