// SPDX-License-Identifier: MIT
/*
 * Running out of memory: hand-written sequences of calls, and each call to the
 * system that they make failing in turn, once and from then on, for each kind
 * of call and for all, in the allocator's fault layer and in the kernel.
 *
 * After every operation: what failed was reported and nothing else was, every
 * invariant holds, live blocks hold what was written to them.  After a
 * sequence the fault is disarmed, the same sequence works, and all memory can
 * be given back.
 */
#include "testlib.h"

#define SLOTS 400

enum op {
	END,
	MALLOC, /* n blocks into the slots from slot on */
	CALLOC,
	ALIGNED, /* to arg */
	REALLOC,
	FREE, /* every arg-th of n slots */
	SETTLE,
	TRIM,
	RESET, /* all blocks are gone */
	OPTION, /* the dirty limit becomes size, the settle period arg */
};

struct step {
	enum op op;
	unsigned int slot, n;
	size_t size; /* of the first block; the next ones' are */
	ptrdiff_t more; /* larger by this each */
	size_t arg;
};

/* ---- the sequences ---------------------------------------------------- */

static const struct step small[] = {
	{MALLOC, 0, 60, 1, 9, 0},    {CALLOC, 60, 40, 500, -9, 0},
	{FREE, 0, 100, 0, 0, 2},     {SETTLE, 0, 0, 0, 0, 0},
	{MALLOC, 0, 100, 16, 16, 0}, {FREE, 0, 100, 0, 0, 1},
	{SETTLE, 0, 0, 0, 0, 0},     {MALLOC, 0, 10, 32, 0, 0},
	{END, 0, 0, 0, 0, 0},
};

/* Arenas of every kind, emptied and cut for another. */
static const struct step kinds[] = {
	{MALLOC, 0, 40, 32768, 0, 0},	{MALLOC, 40, 10, 500, 0, 0},
	{FREE, 0, 40, 0, 0, 1},		{SETTLE, 0, 0, 0, 0, 0},
	{MALLOC, 100, 130, 8192, 0, 0}, {FREE, 40, 10, 0, 0, 1},
	{SETTLE, 0, 0, 0, 0, 0},	{MALLOC, 0, 30, 20480, 0, 0},
	{FREE, 100, 130, 0, 0, 1},	{SETTLE, 0, 0, 0, 0, 0},
	{MALLOC, 40, 50, 1024, 0, 0},	{END, 0, 0, 0, 0, 0},
};

static const struct step large[] = {
	{MALLOC, 0, 8, 32769, 150000, 0},
	{FREE, 0, 8, 0, 0, 2},
	{CALLOC, 0, 3, 70000, 70000, 0},
	{MALLOC, 10, 2, 1200000, 600000, 0},
	{FREE, 0, 13, 0, 0, 1},
	{TRIM, 0, 0, 0, 0, 0},
	{MALLOC, 0, 2, 1500000, 0, 0},
	{FREE, 0, 2, 0, 0, 1},
	{END, 0, 0, 0, 0, 0},
};

/* Two that grow in each other's way, from a pool to MiBs and back. */
static const struct step chains[] = {
	{MALLOC, 0, 2, 10, 0, 0},
	{REALLOC, 0, 2, 300, 0, 0},
	{REALLOC, 0, 2, 3000, 0, 0},
	{REALLOC, 0, 2, 30000, 0, 0},
	{REALLOC, 0, 2, 60000, 0, 0},
	{REALLOC, 0, 2, 400000, 0, 0},
	{REALLOC, 0, 2, 1040000, 40000, 0},
	{REALLOC, 0, 2, 1200000, 100000, 0},
	{REALLOC, 0, 2, 500000, 0, 0},
	{REALLOC, 0, 1, 1400000, 0, 0},
	{REALLOC, 0, 2, 40000, 0, 0},
	{REALLOC, 0, 2, 2000, 0, 0},
	{REALLOC, 0, 2, 20, 0, 0},
	{REALLOC, 0, 2, 90000, 0, 0},
	{FREE, 0, 2, 0, 0, 1},
	{END, 0, 0, 0, 0, 0},
};

static const struct step aligned[] = {
	{ALIGNED, 0, 20, 100, 100, 64},
	{ALIGNED, 20, 10, 100, 700, 512},
	{ALIGNED, 30, 10, 1, 1000, 4096},
	{ALIGNED, 40, 3, 1, 60000, 8192},
	{ALIGNED, 43, 2, 100000, 0, 1048576},
	{ALIGNED, 45, 2, 50000, 0, 4194304},
	{ALIGNED, 47, 1, 1100000, 0, 8388608},
	{FREE, 0, 48, 0, 0, 3},
	{ALIGNED, 0, 48, 2000, 500, 2097152},
	{FREE, 0, 48, 0, 0, 1},
	{END, 0, 0, 0, 0, 0},
};

/* Memory given back at once: every purge and unmap there can be. */
static const struct step giving_back[] = {
	{OPTION, 0, 0, 0, 0, 1},      {MALLOC, 0, 70, 30000, 0, 0},
	{FREE, 0, 70, 0, 0, 3},	      {SETTLE, 0, 0, 0, 0, 0},
	{FREE, 0, 70, 0, 0, 1},	      {TRIM, 0, 0, 0, 0, 0},
	{TRIM, 0, 0, 0, 0, 0},	      {OPTION, 0, 0, 262144, 0, 4},
	{MALLOC, 0, 60, 17000, 0, 0}, {MALLOC, 60, 60, 1000, 0, 0},
	{FREE, 0, 55, 0, 0, 1},	      {FREE, 60, 60, 0, 0, 1},
	{MALLOC, 60, 20, 5000, 0, 0}, {TRIM, 0, 0, 0, 0, 0},
	{FREE, 0, 120, 0, 0, 1},      {SETTLE, 0, 0, 0, 0, 0},
	{MALLOC, 0, 2, 20000, 0, 0},  {END, 0, 0, 0, 0, 0},
};

static const struct step resets[] = {
	{MALLOC, 0, 40, 3000, 0, 0}, {MALLOC, 40, 3, 50000, 900000, 0},
	{RESET, 0, 0, 0, 0, 0},	     {MALLOC, 0, 40, 3000, 0, 0},
	{FREE, 0, 40, 0, 0, 1},	     {RESET, 0, 0, 0, 0, 0},
	{RESET, 0, 0, 0, 0, 0},	     {MALLOC, 0, 3, 100, 40000, 0},
	{END, 0, 0, 0, 0, 0},
};

static const struct {
	const char *name;
	const struct step *steps;
	unsigned int flags; /* of the simulated kernel */
} sequences[] = {
	{"small", small, 0},
	{"kinds", kinds, SIMOS_HINTS},
	{"large", large, SIMOS_NONZERO | SIMOS_MISALIGN},
	{"chains", chains, 0},
	{"chains, reuse", chains, SIMOS_REUSE | SIMOS_HINTS},
	{"aligned", aligned, SIMOS_HINTS},
	{"giving back", giving_back, SIMOS_HINTS},
	{"resets", resets, SIMOS_MISALIGN},
};

/* ---- running one ------------------------------------------------------ */

static struct block {
	char *p;
	size_t size;
	uint64_t seed;
} blocks[SLOTS];

static struct run {
	unsigned int sequence; /* which, and how it is disturbed: */
	bool in_kernel;
	unsigned int mask;
	enum apb_fault_mode mode;
	uint64_t n;
	unsigned int step; /* where it is */
	bool calm; /* nothing fails any more: it is checked at the end */
	uint64_t failures; /* results that were NULL */
	uint64_t seed;
} run;

#define expect(cond)                                                           \
	do {                                                                   \
		if (!(cond))                                                   \
			fail_msg("%s, step %u, %s calls %#x, mode %d, n "      \
				 "%lu: line %d: %s",                           \
				 sequences[run.sequence].name, run.step,       \
				 run.in_kernel ? "kernel" : "layer", run.mask, \
				 run.mode, run.n, __LINE__, #cond);            \
	} while (0)

/*
 * Content: all of a small block, a line of each page and the end of others.
 * @size bytes are to be as they were written to a block of @whole bytes.
 */
#define LINE ((size_t)16)

static void sign(char *p, size_t size, uint64_t seed)
{
	size_t at;

	if (size <= APB_PAGE) {
		fill(p, size, seed);
		return;
	}
	for (at = 0; at + LINE <= size; at += APB_PAGE)
		fill(p + at, LINE, seed + at);
	fill(p + size - LINE, LINE, seed);
}

static bool is_signed(const char *p, size_t whole, size_t size, uint64_t seed)
{
	size_t at;

	if (whole <= APB_PAGE)
		return filled(p, size, seed);
	/* the last line may lie over that of a page */
	for (at = 0; at + 2 * LINE <= size && at + 2 * LINE <= whole;
	     at += APB_PAGE)
		if (!filled(p + at, LINE, seed + at))
			return false;
	return size < whole || filled(p + whole - LINE, LINE, seed);
}

/* Calls that were made to fail so far. */
static uint64_t failed(unsigned int mask)
{
	struct simos_stats sim;
	uint64_t n = 0;
	int call;

	simos_stats(&sim);
	for (call = 0; call < APB_OS_NR; call++)
		if (mask & FAULT_MASK(call))
			n += sim.failed[call] +
			     apb_state.os.fault.stats.failed[call];
	return n;
}

static void verify_all(void)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++)
		if (blocks[i].p)
			expect(is_signed(blocks[i].p, blocks[i].size,
					 blocks[i].size, blocks[i].seed));
}

static struct {
	uint64_t failed, maps;
	uint64_t recovered;
} before;

static void begin(void)
{
	before.failed = failed(FAULT_ALL);
	before.maps = failed(FAULT_MASK(APB_OS_MAP));
	before.recovered = stats_now().recovered;
	errno = 4711;
}

static void end(void)
{
	struct apb_violation v;
	struct simos_stats sim;

	int result = run.calm ? 0 : apb_check(&v);

	if (result)
		print_error("%s\n", v.text);
	expect(!result);
	expect(!simos_violation());
	simos_stats(&sim);
	expect(sim.mapped == apb_state.os.mapped);
	if (failed(FAULT_ALL) != before.failed)
		verify_all();
}

/* Of a call that returns a block. */
static void check_result(const void *p)
{
	bool map_failed = failed(FAULT_MASK(APB_OS_MAP)) != before.maps;
	uint64_t recovered = stats_now().recovered;

	if (!p) {
		run.failures++;
		expect(errno == ENOMEM);
		/* for no other reason than that a call failed */
		expect(failed(FAULT_ALL) != before.failed);
	} else if (map_failed) {
		/* without a longer list, say, it can be done as well */
		expect(recovered - before.recovered <= 1);
	} else {
		expect(recovered == before.recovered);
	}
}

static void allocate(const struct step *s, struct block *b, size_t size)
{
	char *p;

	if (b->p)
		return;
	begin();
	if (s->op == MALLOC)
		p = apb_malloc(size);
	else if (s->op == CALLOC)
		p = apb_calloc(1, size);
	else
		p = apb_aligned_alloc(s->arg, size);
	check_result(p);
	end();
	if (!p)
		return;
	expect(s->op != CALLOC || all_bytes(p, size, 0));
	expect(s->op != ALIGNED || is_aligned(p, s->arg));
	*b = (struct block){p, size, ++run.seed};
	sign(p, size, b->seed);
}

static void reallocate(struct block *b, size_t size)
{
	size_t kept = size < b->size ? size : b->size;
	char *p;

	if (!b->p)
		return;
	begin();
	p = apb_realloc(b->p, size);
	check_result(p);
	if (p) {
		expect(is_signed(p, b->size, kept, b->seed));
		*b = (struct block){p, size, ++run.seed};
		sign(p, size, b->seed);
	} else {
		expect(is_signed(b->p, b->size, b->size, b->seed));
	}
	end();
}

static void release(struct block *b)
{
	if (!b->p)
		return;
	expect(is_signed(b->p, b->size, b->size, b->seed));
	begin();
	apb_free(b->p);
	expect(errno == 4711);
	b->p = NULL;
	end();
}

static void reset(void)
{
	struct simos_stats sim;
	int result;

	begin();
	result = apb_reset();
	memset(blocks, 0, sizeof(blocks));
	simos_stats(&sim);
	/* it tries twice: that a call failed does not mean that it did */
	expect(!result == !sim.mapped);
	expect(!result || errno == ENOMEM);
	expect(!result || failed(FAULT_MASK(APB_OS_UNMAP)));
	expect(apb_state.os.mapped == 0);
	if (result)
		simos_reset(run.seed, sequences[run.sequence].flags);
	end();
}

static void do_step(const struct step *s)
{
	size_t size = s->size;
	unsigned int i;

	switch (s->op) {
	case MALLOC:
	case CALLOC:
	case ALIGNED:
		for (i = 0; i < s->n; i++, size += (size_t)s->more)
			allocate(s, &blocks[s->slot + i], size);
		return;
	case REALLOC:
		for (i = 0; i < s->n; i++, size += (size_t)s->more)
			reallocate(&blocks[s->slot + i], size);
		return;
	case FREE:
		for (i = 0; i < s->n; i += (unsigned int)s->arg)
			release(&blocks[s->slot + i]);
		return;
	case RESET:
		reset();
		return;
	case SETTLE:
		begin();
		apb_settle();
		end();
		return;
	case TRIM:
		begin();
		apb_trim();
		end();
		return;
	case OPTION:
		begin();
		apb_set_option(APB_OPT_DIRTY_LIMIT, s->size);
		apb_set_option(APB_OPT_SETTLE_PERIOD, s->arg);
		end();
		return;
	case END:
		break;
	}
}

static void run_sequence(void)
{
	const struct step *steps = sequences[run.sequence].steps;

	for (run.step = 0; steps[run.step].op != END; run.step++)
		do_step(&steps[run.step]);
}

static void start(unsigned int sequence)
{
	memset(blocks, 0, sizeof(blocks));
	memset(&run, 0, sizeof(run));
	run.sequence = sequence;
	fresh_sim(sequence, sequences[sequence].flags);
}

static void free_all(void)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++)
		release(&blocks[i]);
}

static void arm(void)
{
	struct apb_fault f = {
		.mode = run.mode,
		.calls = run.mask,
		.n = run.n,
	};

	if (run.in_kernel)
		simos_fault(&f);
	else
		apb_fault_set(&f);
}

/* Now all goes well again, and in the end nothing is left. */
static void recover(void)
{
	simos_fault(NULL);
	apb_fault_set(NULL);
	verify_all();
	free_all();
	run.failures = 0;
	run.calm = true;
	run_sequence();
	expect(run.failures == 0);
	free_all();
	run.calm = false;
	apb_trim();
	expect(apb_state.os.mapped == 0);
	expect(apb_state.os.orphan_bytes == 0);
	end();
}

/* Calls under each mask of a sequence that is not disturbed. */
static void count_calls(uint64_t calls[APB_OS_NR + 1])
{
	struct simos_stats sim;
	int call;

	run_sequence();
	expect(run.failures == 0);
	simos_stats(&sim);
	calls[APB_OS_NR] = 0;
	for (call = 0; call < APB_OS_NR; call++) {
		calls[call] = sim.calls[call];
		calls[APB_OS_NR] += sim.calls[call];
	}
	recover();
}

static void disturb(unsigned int sequence, unsigned int mask, uint64_t n,
		    bool in_kernel, enum apb_fault_mode mode)
{
	start(sequence);
	run.mask = mask;
	run.n = n;
	run.in_kernel = in_kernel;
	run.mode = mode;
	arm();
	run_sequence();
	/* a reset disarms the layer before its own calls */
	expect(failed(mask) || sequences[sequence].steps == resets);
	recover();
}

static void test_sequence(unsigned int sequence)
{
	uint64_t calls[APB_OS_NR + 1], n;
	unsigned int kind;

	start(sequence);
	count_calls(calls);
	assert_true(calls[APB_OS_MAP] >= 2);
	for (kind = 0; kind <= APB_OS_NR; kind++) {
		unsigned int mask =
			kind == APB_OS_NR ? FAULT_ALL : FAULT_MASK(kind);

		for (n = 1; n <= calls[kind]; n++) {
			disturb(sequence, mask, n, false, APB_FAULT_ONCE);
			disturb(sequence, mask, n, false, APB_FAULT_FROM);
			if (mask != FAULT_ALL)
				continue;
			disturb(sequence, mask, n, true, APB_FAULT_ONCE);
			disturb(sequence, mask, n, true, APB_FAULT_FROM);
		}
	}
}

#define SEQUENCE_TEST(name, nr)      \
	static void name(void **ctx) \
	{                            \
		(void)ctx;           \
		test_sequence(nr);   \
	}

SEQUENCE_TEST(test_small, 0)
SEQUENCE_TEST(test_kinds, 1)
SEQUENCE_TEST(test_large, 2)
SEQUENCE_TEST(test_chains, 3)
SEQUENCE_TEST(test_chains_reuse, 4)
SEQUENCE_TEST(test_aligned, 5)
SEQUENCE_TEST(test_giving_back, 6)
SEQUENCE_TEST(test_resets, 7)

/* ---- an address space that is full ------------------------------------ */

static void fill_up(size_t size, bool hints)
{
	unsigned int n = 0, got = 0, i;
	static char *p[40000];

	for (;; n++) {
		assert_true(n < NR_OF(p));
		errno = 0;
		p[n] = apb_malloc(size);
		if (!p[n])
			break;
		fill(p[n], size, n);
	}
	assert_int_equal(errno, ENOMEM);
	assert_whole();
	/*
	 * Large blocks begin at a MiB each, and the heap's lists may stand in
	 * the way of very large ones, and without hints of arenas.
	 */
	if (size <= APB_MAX_POOLED)
		assert_true(n * size > (hints ? 2 * MIB : 3 * MIB / 2));
	else
		assert_true(n >= (size > MIB ? 1 : 2));
	for (i = 0; i < n; i++)
		assert_true(filled(p[i], size, i));
	for (i = 0; i < n; i += 2)
		apb_free(p[i]);
	assert_whole();
	/* what was freed can be had again, if the kernel lets us say where */
	for (i = 0; i < n; i += 2) {
		p[i] = apb_malloc(size);
		got += p[i] != NULL;
	}
	if (size <= APB_MAX_POOLED)
		assert_int_equal(got, (n + 1) / 2);
	else if (hints) /* but for a gap with a leaf of the map in it */
		assert_true(got + 1 >= (n + 1) / 2);
	for (i = 0; i < n; i++)
		apb_free(p[i]);
	assert_whole();
}

/* 8 MiB, used up by blocks of one size after those of another. */
static void test_full_address_space(void **ctx)
{
	static const size_t sizes[] = {256,  32768, 1000,    500000,
				       4096, 70000, 1500000, 300};
	unsigned int flags;
	size_t i;

	(void)ctx;
	for (flags = 0; flags < SIMOS_TIGHT; flags++) {
		fresh_sim(flags, flags | SIMOS_TIGHT);
		for (i = 0; i < NR_OF(sizes); i++)
			fill_up(sizes[i], flags & SIMOS_HINTS);
		apb_trim();
		assert_int_equal(stats_now().mapped_bytes, 0);
		assert_whole();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_chains_reuse),
		cmocka_unit_test(test_aligned),
		cmocka_unit_test(test_giving_back),
		cmocka_unit_test(test_resets),
		cmocka_unit_test(test_full_address_space),
	};

	return cmocka_run_group_tests_name("oom", tests, NULL, test_teardown);
}
