// SPDX-License-Identifier: MIT
/*
 * Unit tests of the OS layer: the real kernel's table, and the services on
 * top of it (aligned mappings, a release that cannot fail) over the simulated
 * kernel, with the calls they make failing.
 */
#define _GNU_SOURCE /* mincore() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "simos.h"
#include "state.h"

#define MIB ((size_t)1 << 20)
#define NR_OF(a) (sizeof(a) / sizeof((a)[0]))

/* The layer as it is before the first call; NULL: over the real kernel. */
static struct apb_os_state *fresh(const struct apb_os *ops)
{
	memset(&apb_state.os, 0, sizeof(apb_state.os));
	if (ops)
		apb_state.os.ops = *ops;
	return &apb_state.os;
}

static struct apb_os_state *fresh_sim(uint64_t seed, unsigned int flags)
{
	assert_int_equal(simos_reset(seed, flags), 0);
	return fresh(simos_ops());
}

static struct simos_stats sim_stats(void)
{
	struct simos_stats s;

	simos_stats(&s);
	return s;
}

static void arm(enum apb_fault_mode mode, unsigned int calls, uint64_t n)
{
	struct apb_fault fault = {.mode = mode, .calls = calls, .n = n};

	apb_fault_arm(&apb_state.os.fault, &fault);
}

static void disarm(void)
{
	apb_fault_arm(&apb_state.os.fault, NULL);
}

static bool all_are(const char *p, size_t size, char value)
{
	return p[0] == value && !memcmp(p, p + 1, size - 1);
}

static bool is_aligned(const void *p, size_t align)
{
	return !((uintptr_t)p & (align - 1));
}

static int told_ctx;
static struct {
	void *addr;
	size_t size;
	bool huge;
	unsigned int times;
} advice;

/* ---- the real kernel -------------------------------------------------- */

/* Pages of the real kernel that are resident; -1: some is not mapped. */
static long resident(void *p, size_t size)
{
	unsigned char vec[1024];
	long n = 0;
	size_t i;

	assert_true(size / APB_PAGE <= sizeof(vec));
	if (mincore(p, size, vec)) {
		assert_int_equal(errno, ENOMEM);
		return -1;
	}
	for (i = 0; i < size / APB_PAGE; i++)
		n += vec[i] & 1;
	return n;
}

static void test_kernel_map(void **ctx)
{
	static const size_t sizes[] = {APB_PAGE, 3 * APB_PAGE, MIB,
				       MIB + APB_PAGE, 3 * MIB};
	size_t i, align;

	(void)ctx;
	for (i = 0; i < NR_OF(sizes); i++)
		for (align = 1; align <= 8 * MIB; align *= 2) {
			struct apb_os_state *os = fresh(NULL);
			bool zero = false;
			char *p = apb_os_map(0, sizes[i], align, &zero);

			assert_non_null(p);
			assert_true(is_aligned(p, align));
			assert_true(is_aligned(p, APB_PAGE));
			assert_true(zero);
			assert_true(all_are(p, sizes[i], 0));
			memset(p, 0x5a, sizes[i]);
			assert_int_equal(os->mapped, sizes[i]);
			assert_null(os->orphans);
			assert_int_equal(apb_os_unmap(p, sizes[i]), 0);
			assert_int_equal(resident(p, sizes[i]), -1);
			assert_int_equal(os->mapped, 0);
			assert_true(os->mapped_highwater >= sizes[i]);
		}
}

static void test_kernel_unmaps_parts(void **ctx)
{
	struct apb_os_state *os = fresh(NULL);
	bool zero;
	char *p;

	(void)ctx;
	p = apb_os_map(0, 5 * APB_PAGE, APB_PAGE, &zero);
	assert_non_null(p);
	memset(p, 1, 5 * APB_PAGE);
	assert_int_equal(apb_os_unmap(p + APB_PAGE, 2 * APB_PAGE), 0);
	assert_int_equal(resident(p, APB_PAGE), 1);
	assert_int_equal(resident(p + APB_PAGE, APB_PAGE), -1);
	assert_int_equal(resident(p + 2 * APB_PAGE, APB_PAGE), -1);
	assert_int_equal(resident(p + 3 * APB_PAGE, 2 * APB_PAGE), 2);
	assert_int_equal(os->mapped, 3 * APB_PAGE);
	assert_int_equal(apb_os_unmap(p, APB_PAGE), 0);
	assert_int_equal(apb_os_unmap(p + 3 * APB_PAGE, 2 * APB_PAGE), 0);
	assert_int_equal(os->mapped, 0);
}

static void test_kernel_purge(void **ctx)
{
	struct apb_os_state *os = fresh(NULL);
	bool zero;
	char *p;

	(void)ctx;
	p = apb_os_map(0, 64 * APB_PAGE, APB_PAGE, &zero);
	assert_non_null(p);
	memset(p, 0x5a, 64 * APB_PAGE);
	assert_int_equal(resident(p, 64 * APB_PAGE), 64);
	assert_int_equal(apb_os_purge(p + 16 * APB_PAGE, 40 * APB_PAGE), 0);
	assert_int_equal(os->purges, 1);
	assert_int_equal(resident(p, 16 * APB_PAGE), 16);
	assert_int_equal(resident(p + 16 * APB_PAGE, 40 * APB_PAGE), 0);
	assert_int_equal(resident(p + 56 * APB_PAGE, 8 * APB_PAGE), 8);
	/* still there, still usable, and the neighbours are whole */
	memset(p + 16 * APB_PAGE, 0x5a, 40 * APB_PAGE);
	assert_true(all_are(p, 64 * APB_PAGE, 0x5a));
	assert_int_equal(os->mapped, 64 * APB_PAGE);
	assert_int_equal(apb_os_unmap(p, 64 * APB_PAGE), 0);
}

static void test_kernel_remap_in_place(void **ctx)
{
	struct apb_os_state *os = fresh(NULL);
	bool zero;
	char *p, *q;

	(void)ctx;
	/* what was just unmapped behind it is free to grow into */
	p = apb_os_map(0, 2 * MIB, APB_PAGE, &zero);
	assert_non_null(p);
	memset(p, 0x5a, 2 * MIB);
	assert_int_equal(apb_os_unmap(p + MIB, MIB), 0);
	assert_int_equal(apb_os_remap(p, MIB, MIB + 5 * APB_PAGE, NULL), 0);
	assert_true(all_are(p, MIB, 0x5a));
	assert_true(all_are(p + MIB, 5 * APB_PAGE, 0));
	assert_int_equal(os->mapped, MIB + 5 * APB_PAGE);

	/* shrink, which leaves a hole; with it filled it cannot grow */
	assert_int_equal(apb_os_remap(p, MIB + 5 * APB_PAGE, MIB, NULL), 0);
	assert_int_equal(os->mapped, MIB);
	assert_int_equal(resident(p + MIB, APB_PAGE), -1);
	q = mmap(p + MIB, APB_PAGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(q, p + MIB);
	assert_int_equal(apb_os_remap(p, MIB, MIB + APB_PAGE, NULL), -1);
	assert_int_equal(os->mapped, MIB);
	assert_true(all_are(p, MIB, 0x5a));
	munmap(q, APB_PAGE);
	assert_int_equal(apb_os_unmap(p, MIB), 0);
	assert_int_equal(os->mapped, 0);
}

static void test_kernel_remap_moves(void **ctx)
{
	static const size_t news[] = {MIB, MIB / 2, 2 * MIB};
	size_t i;

	(void)ctx;
	for (i = 0; i < NR_OF(news); i++) {
		struct apb_os_state *os = fresh(NULL);
		size_t kept = news[i] < MIB ? news[i] : MIB;
		char *p, *to;
		bool zero;

		p = apb_os_map(0, MIB, APB_PAGE, &zero);
		to = apb_os_map(0, news[i], MIB, &zero);
		assert_non_null(p);
		assert_non_null(to);
		memset(p, 0x5a, MIB);
		memset(to, 0x11, news[i]);
		assert_int_equal(apb_os_remap(p, MIB, news[i], to), 0);
		assert_int_equal(resident(p, APB_PAGE), -1);
		assert_int_equal(resident(p + MIB - APB_PAGE, APB_PAGE), -1);
		assert_true(all_are(to, kept, 0x5a));
		if (news[i] > MIB)
			assert_true(all_are(to + MIB, news[i] - MIB, 0));
		assert_int_equal(os->mapped, news[i]);
		assert_int_equal(apb_os_unmap(to, news[i]), 0);
		assert_int_equal(os->mapped, 0);
	}
}

static void test_kernel_out_of_memory(void **ctx)
{
	struct apb_os_state *os = fresh(NULL);
	bool zero = true;

	(void)ctx;
	errno = 0;
	assert_null(apb_os_map(0, (size_t)1 << 62, APB_PAGE, &zero));
	assert_int_equal(errno, ENOMEM);
	assert_null(apb_os_map(0, MIB, (size_t)1 << 62, &zero));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(os->mapped, 0);
}

static void test_kernel_clock(void **ctx)
{
	struct timespec pause = {.tv_nsec = 60 * 1000 * 1000};
	uint64_t then, now;

	(void)ctx;
	fresh(NULL);
	assert_true(apb_os_has_clock());
	then = apb_os_now();
	assert_true(then > 0);
	nanosleep(&pause, NULL);
	now = apb_os_now();
	/* a tick is 10 ms at most */
	assert_in_range(now - then, 50, 60000);
}

static void test_kernel_purges_to_zero(void **ctx)
{
	struct apb_os_state *os = fresh(NULL);
	bool zero;
	char *p;

	(void)ctx;
	p = apb_os_map(0, 16 * APB_PAGE, APB_PAGE, &zero);
	assert_non_null(p);
	memset(p, 0x5a, 16 * APB_PAGE);
	assert_int_equal(apb_os_purge_to_zero(p + APB_PAGE, 8 * APB_PAGE), 0);
	assert_true(all_are(p, APB_PAGE, 0x5a));
	assert_true(all_are(p + APB_PAGE, 8 * APB_PAGE, 0));
	assert_true(all_are(p + 9 * APB_PAGE, 7 * APB_PAGE, 0x5a));
	/* refused: nothing is known */
	arm(APB_FAULT_FROM, 1u << APB_OS_PURGE, 1);
	assert_int_equal(apb_os_purge_to_zero(p, APB_PAGE), -1);
	disarm();
	assert_int_equal(os->purges, 1);
	assert_int_equal(apb_os_unmap(p, 16 * APB_PAGE), 0);
	/* a table that does not say so is not even asked */
	os = fresh_sim(1, 0);
	p = apb_os_map(0, APB_PAGE, APB_PAGE, &zero);
	assert_int_equal(apb_os_purge_to_zero(p, APB_PAGE), -1);
	assert_int_equal(sim_stats().calls[APB_OS_PURGE], 0);
	assert_int_equal(apb_os_unmap(p, APB_PAGE), 0);
}

/* Whether the mapping at @p has @flag in /proc/self/smaps. */
static bool has_flag(const void *p, const char *flag)
{
	bool here = false, found = false;
	char line[512], want[16];
	unsigned long from, to;
	FILE *f = fopen("/proc/self/smaps", "re");

	assert_non_null(f);
	snprintf(want, sizeof(want), " %s ", flag);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= (uintptr_t)p && (uintptr_t)p < to;
		else if (here && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, want);
	}
	fclose(f);
	return found;
}

/* No kernel without huge pages need have the flags: then nothing happens. */
static void test_kernel_huge_pages(void **ctx)
{
	bool can = !access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK);
	unsigned int thp;

	(void)ctx;
	for (thp = 0; thp < APB_THP_NR; thp++) {
		bool zero;
		void *p;

		fresh(NULL);
		apb_policy.thp = thp;
		errno = 4711;
		p = apb_os_map(0, 3 * MIB, MIB, &zero);
		assert_non_null(p);
		assert_int_equal(errno, 4711);
		assert_int_equal(has_flag(p, "nh"),
				 can && thp == APB_THP_NEVER);
		assert_int_equal(has_flag(p, "hg"),
				 can && thp == APB_THP_ALWAYS);
		apb_policy.thp = APB_THP_SYSTEM;
		assert_int_equal(apb_os_unmap(p, 3 * MIB), 0);
	}
}

/* ---- what a table may lack -------------------------------------------- */

static uint64_t stopped_clock(void *ctx)
{
	assert_ptr_equal(ctx, &told_ctx);
	return 1234567;
}

static void note_advice(void *ctx, void *addr, size_t size, bool huge)
{
	assert_ptr_equal(ctx, &told_ctx);
	advice.addr = addr;
	advice.size = size;
	advice.huge = huge;
	advice.times++;
}

static void test_table_without_clock_and_advice(void **ctx)
{
	struct apb_os ops = *simos_ops();
	bool zero;
	void *p;

	(void)ctx;
	simos_reset(1, 0);
	ops.now = NULL;
	ops.advise = NULL;
	fresh(&ops);
	assert_false(apb_os_has_clock());
	assert_int_equal(apb_os_now(), 0);
	apb_policy.thp = APB_THP_NEVER;
	p = apb_os_map(0, 2 * MIB, MIB, &zero);
	apb_policy.thp = APB_THP_SYSTEM;
	assert_non_null(p);
	assert_int_equal(apb_os_unmap(p, 2 * MIB), 0);
}

/* One call for each mapping of 1 MiB and more, of what is left of it. */
static void test_advice(void **ctx)
{
	struct apb_os ops = *simos_ops();
	unsigned int i, seed;
	bool zero;
	char *p;

	(void)ctx;
	ops.ctx = &told_ctx;
	ops.now = stopped_clock;
	ops.advise = note_advice;
	for (seed = 0; seed < 20; seed++) {
		for (i = 0; i < 2; i++) {
			simos_reset(seed, SIMOS_MISALIGN);
			fresh(&ops);
			assert_int_equal(apb_os_now(), 1234567);
			memset(&advice, 0, sizeof(advice));
			p = apb_os_map(0, MIB, MIB, &zero);
			assert_int_equal(advice.times, 0);
			apb_policy.thp = i ? APB_THP_ALWAYS : APB_THP_NEVER;
			assert_non_null(
				apb_os_map(0, MIB - APB_PAGE, MIB, &zero));
			assert_int_equal(advice.times, 0);
			p = apb_os_map(0, 2 * MIB, 2 * MIB, &zero);
			assert_non_null(p);
			assert_int_equal(advice.times, 1);
			assert_ptr_equal(advice.addr, p);
			assert_int_equal(advice.size, 2 * MIB);
			assert_int_equal(advice.huge, i);
			arm(APB_FAULT_FROM, 1u << APB_OS_MAP, 1);
			assert_null(apb_os_map(0, 2 * MIB, MIB, &zero));
			assert_int_equal(advice.times, 1);
			apb_policy.thp = APB_THP_SYSTEM;
		}
	}
}

/* ---- faults in front of the table ------------------------------------- */

static void test_faults_do_not_reach_the_kernel(void **ctx)
{
	struct apb_os_state *os = fresh_sim(1, 0);
	bool zero = true;
	char *p, *to;
	int call;

	(void)ctx;
	p = apb_os_map(0, 4 * APB_PAGE, APB_PAGE, &zero);
	to = apb_os_map(0, 4 * APB_PAGE, APB_PAGE, &zero);
	assert_non_null(p);
	assert_non_null(to);
	memset(p, 0x5a, 4 * APB_PAGE);
	arm(APB_FAULT_FROM, 15, 1);
	zero = true;
	errno = 0;
	assert_null(apb_os_map(0, APB_PAGE, APB_PAGE, &zero));
	assert_false(zero);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(apb_os_purge(p, APB_PAGE), -1);
	assert_int_equal(apb_os_remap(p, APB_PAGE, APB_PAGE, to), -1);
	assert_int_equal(apb_os_remap(p, 2 * APB_PAGE, APB_PAGE, NULL), -1);
	assert_int_equal(apb_os_unmap(p, 4 * APB_PAGE), -1);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(os->unmap_failures, 1);
	assert_int_equal(os->purges, 0);
	assert_int_equal(os->mapped, 8 * APB_PAGE);
	assert_true(all_are(p, 4 * APB_PAGE, 0x5a));
	assert_int_equal(os->fault.stats.calls[APB_OS_REMAP], 2);
	assert_int_equal(os->fault.stats.failed[APB_OS_REMAP], 2);
	assert_int_equal(sim_stats().calls[APB_OS_MAP], 2);
	for (call = APB_OS_UNMAP; call < APB_OS_NR; call++)
		assert_int_equal(sim_stats().calls[call], 0);
}

static void *deny_map(void *ctx, void *hint, size_t size, bool *zero)
{
	(void)ctx;
	(void)hint;
	(void)size;
	(void)zero;
	errno = EPERM;
	return NULL;
}

static void test_errno_is_enomem_whatever_the_table_says(void **ctx)
{
	struct apb_os ops = *simos_ops();
	size_t align;
	bool zero;

	(void)ctx;
	ops.map = deny_map;
	fresh(&ops);
	for (align = APB_PAGE; align <= 2 * MIB; align *= 2) {
		errno = 0;
		zero = true;
		assert_null(apb_os_map(0, MIB, align, &zero));
		assert_int_equal(errno, ENOMEM);
		assert_false(zero);
	}
}

/* ---- aligned mappings over the simulation ----------------------------- */

/* What must hold between the layer and its kernel at any time. */
static void assert_accounts_agree(void)
{
	const struct apb_os_state *os = &apb_state.os;
	const struct apb_orphan *orphan;
	size_t bytes = 0;

	assert_int_equal(os->mapped, sim_stats().mapped);
	assert_true(os->mapped_highwater >= os->mapped);
	assert_int_equal(os->mapped_highwater, sim_stats().mapped_highwater);
	for (orphan = os->orphans; orphan; orphan = orphan->next) {
		assert_true(simos_is_mapped(orphan, orphan->size));
		bytes += orphan->size;
	}
	assert_int_equal(os->orphan_bytes, bytes);
	assert_true(bytes <= os->mapped);
	assert_null(simos_violation());
}

/* How many bytes of orphans went. */
static size_t retry(void)
{
	size_t before = apb_state.os.mapped;

	apb_os_retry_orphans();
	return before - apb_state.os.mapped;
}

static void test_aligned_over_any_address(void **ctx)
{
	static const size_t sizes[] = {APB_PAGE, 43 * APB_PAGE, MIB,
				       MIB + APB_PAGE, 3 * MIB};
	size_t i, align;
	uint64_t seed;

	(void)ctx;
	for (seed = 0; seed < 64; seed++)
		for (i = 0; i < NR_OF(sizes); i++)
			for (align = APB_PAGE; align <= 8 * MIB; align *= 2) {
				struct apb_os_state *os;
				bool zero;
				char *p;

				os = fresh_sim(seed, (unsigned int)seed % 16);
				p = apb_os_map(0, sizes[i], align, &zero);
				assert_non_null(p);
				assert_true(is_aligned(p, align));
				if (zero)
					assert_true(all_are(p, sizes[i], 0));
				assert_accounts_agree();
				/* nothing but what was asked for is left */
				assert_int_equal(os->mapped, sizes[i]);
				assert_true(simos_is_mapped(p, sizes[i]));
				apb_os_release(p, sizes[i]);
				assert_int_equal(os->mapped, 0);
				assert_accounts_agree();
			}
}

/*
 * A misaligned first try is released, a larger range is trimmed at head and
 * tail: each of these unmaps failing alone, and all from it on.
 */
static void test_trimming_with_failing_unmaps(void **ctx)
{
	static const enum apb_fault_mode modes[] = {APB_FAULT_ONCE,
						    APB_FAULT_FROM};
	unsigned int flags, orphaned = 0;
	uint64_t seed, n;
	size_t m;

	(void)ctx;
	for (seed = 0; seed < 40; seed++)
		for (m = 0; m < NR_OF(modes); m++)
			for (n = 1; n <= 4; n++) {
				struct apb_os_state *os;
				size_t left;
				uint64_t failed;
				bool zero;
				char *p;

				flags = SIMOS_MISALIGN |
					(seed % 2 ? SIMOS_FILL : 0);
				os = fresh_sim(seed, flags);
				arm(modes[m],
				    1u << APB_OS_UNMAP |
					    (seed % 3 ? 0 : 1u << APB_OS_PURGE),
				    n);
				p = apb_os_map(0, MIB, MIB, &zero);
				failed = os->fault.stats.failed[APB_OS_UNMAP];
				assert_non_null(p);
				assert_true(is_aligned(p, MIB));
				assert_true(simos_is_mapped(p, MIB));
				assert_accounts_agree();
				assert_int_equal(os->unmap_failures, failed);
				if (zero)
					assert_true(all_are(p, MIB, 0));
				memset(p, 0x5a, MIB);
				left = os->mapped - MIB;
				assert_int_equal(left, os->orphan_bytes);
				assert_int_equal(left > 0, failed > 0);
				orphaned += failed > 0;

				disarm();
				assert_int_equal(retry(), left);
				assert_int_equal(os->mapped, MIB);
				assert_null(os->orphans);
				assert_accounts_agree();
				assert_true(all_are(p, MIB, 0x5a));
				apb_os_release(p, MIB);
				assert_int_equal(sim_stats().mapped, 0);
			}
	assert_true(orphaned > 100);
}

static void test_mapping_with_failing_maps(void **ctx)
{
	uint64_t seed, n;

	(void)ctx;
	for (seed = 0; seed < 40; seed++)
		for (n = 1; n <= 3; n++) {
			struct apb_os_state *os;
			bool zero, failed;
			char *p;

			os = fresh_sim(seed, SIMOS_MISALIGN);
			arm(APB_FAULT_ONCE, 1u << APB_OS_MAP, n);
			errno = 0;
			p = apb_os_map(0, MIB, MIB, &zero);
			failed = os->fault.stats.failed[APB_OS_MAP];
			assert_int_equal(!p, failed);
			if (failed) {
				assert_int_equal(errno, ENOMEM);
				assert_int_equal(os->mapped, 0);
			}
			/* the first is misaligned, so there is a second */
			assert_int_equal(failed, n <= 2);
			assert_accounts_agree();
		}
}

static void test_orphans_stay_until_they_can_go(void **ctx)
{
	struct apb_os_state *os = fresh_sim(3, 0);
	size_t i, left;
	char *p[5];
	bool zero;

	(void)ctx;
	for (i = 0; i < NR_OF(p); i++)
		p[i] = apb_os_map(0, (i + 1) * APB_PAGE, APB_PAGE, &zero);
	arm(APB_FAULT_FROM, 1u << APB_OS_UNMAP, 1);
	for (i = 0; i < NR_OF(p); i++)
		apb_os_release(p[i], (i + 1) * APB_PAGE);
	assert_int_equal(os->orphan_bytes, 15 * APB_PAGE);
	assert_int_equal(sim_stats().purged, 15 * APB_PAGE);
	assert_accounts_agree();
	assert_int_equal(retry(), 0);
	assert_int_equal(os->orphan_bytes, 15 * APB_PAGE);
	assert_accounts_agree();

	/* one of them stays */
	arm(APB_FAULT_ONCE, 1u << APB_OS_UNMAP, 3);
	left = 15 * APB_PAGE - retry();
	assert_in_range(left, APB_PAGE, 5 * APB_PAGE);
	assert_int_equal(os->orphan_bytes, left);
	assert_non_null(os->orphans);
	assert_null(os->orphans->next);
	assert_accounts_agree();
	disarm();
	assert_int_equal(retry(), left);
	assert_int_equal(os->mapped, 0);
	assert_accounts_agree();
	assert_int_equal(retry(), 0);
}

static void test_a_hint_is_taken_in_one_call(void **ctx)
{
	uintptr_t hint = SIMOS_BASE + SIMOS_SPACE / 2;
	struct apb_os_state *os;
	uint64_t maps, seed;
	char *p, *q;
	bool zero;

	(void)ctx;
	for (seed = 0; seed < 20; seed++) {
		os = fresh_sim(seed, SIMOS_HINTS);
		p = apb_os_map(hint, MIB, MIB, &zero);
		assert_ptr_equal(p, hint);
		assert_int_equal(sim_stats().calls[APB_OS_MAP], 1);
		/* a hint that is not free is as good as none */
		q = apb_os_map(hint, 2 * MIB, MIB, &zero);
		assert_true(is_aligned(q, MIB));
		assert_true(q >= p + MIB || q + 2 * MIB <= p);
		assert_int_equal(apb_os_unmap(p, MIB), 0);
		maps = sim_stats().calls[APB_OS_MAP];
		assert_ptr_equal(apb_os_map(hint, MIB, MIB, &zero), hint);
		assert_int_equal(sim_stats().calls[APB_OS_MAP], maps + 1);
		assert_int_equal(os->mapped, 3 * MIB);
		assert_accounts_agree();
	}
}

/* Random calls under random faults: the accounts always agree. */
static void test_random_calls(void **ctx)
{
	struct {
		char *p;
		size_t size;
	} held[8];
	uint64_t seed, rng;
	unsigned int i;

	(void)ctx;
	for (seed = 1; seed <= 60; seed++) {
		struct apb_os_state *os;
		struct apb_fault fault = {
			.mode = APB_FAULT_RANDOM,
			.calls = 15,
			.n = 2 + seed % 6,
			.seed = seed,
		};
		struct apb_fault sim_fault = fault;

		os = fresh_sim(seed, (unsigned int)seed % 64);
		memset(held, 0, sizeof(held));
		rng = seed;
		apb_fault_arm(&os->fault, &fault);
		sim_fault.seed = ~seed;
		simos_fault(seed % 2 ? &sim_fault : NULL);
		for (i = 0; i < 150; i++) {
			size_t at, size, align;
			bool zero;

			rng = rng * UINT64_C(6364136223846793005) + 1;
			at = rng >> 33 & 7;
			size = (1 + (rng >> 36 & 511)) * APB_PAGE;
			align = APB_PAGE << (rng >> 45) % 11;
			if (!held[at].p) {
				held[at].p = apb_os_map(0, size, align, &zero);
				held[at].size = size;
				if (!held[at].p) {
					assert_int_equal(errno, ENOMEM);
				} else {
					assert_true(
						is_aligned(held[at].p, align));
					if (zero)
						assert_true(all_are(held[at].p,
								    size, 0));
					memset(held[at].p, (int)at, size);
				}
			} else if (rng >> 60 < 4) {
				if (!apb_os_remap(held[at].p, held[at].size,
						  size, NULL)) {
					held[at].size = size;
					memset(held[at].p, (int)at, size);
				}
			} else if (rng >> 60 < 8) {
				apb_os_release(held[at].p, held[at].size);
				held[at].p = NULL;
			} else {
				assert_true(all_are(held[at].p, held[at].size,
						    (char)at));
			}
			if (!(rng >> 56 & 15))
				apb_os_retry_orphans();
			assert_accounts_agree();
		}
		disarm();
		simos_fault(NULL);
		apb_os_retry_orphans();
		for (i = 0; i < NR_OF(held); i++)
			if (held[i].p)
				apb_os_release(held[i].p, held[i].size);
		assert_int_equal(sim_stats().mapped, 0);
		assert_accounts_agree();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernel_map),
		cmocka_unit_test(test_kernel_unmaps_parts),
		cmocka_unit_test(test_kernel_purge),
		cmocka_unit_test(test_kernel_remap_in_place),
		cmocka_unit_test(test_kernel_remap_moves),
		cmocka_unit_test(test_kernel_out_of_memory),
		cmocka_unit_test(test_kernel_clock),
		cmocka_unit_test(test_kernel_purges_to_zero),
		cmocka_unit_test(test_kernel_huge_pages),
		cmocka_unit_test(test_table_without_clock_and_advice),
		cmocka_unit_test(test_advice),
		cmocka_unit_test(test_faults_do_not_reach_the_kernel),
		cmocka_unit_test(test_errno_is_enomem_whatever_the_table_says),
		cmocka_unit_test(test_aligned_over_any_address),
		cmocka_unit_test(test_trimming_with_failing_unmaps),
		cmocka_unit_test(test_mapping_with_failing_maps),
		cmocka_unit_test(test_orphans_stay_until_they_can_go),
		cmocka_unit_test(test_a_hint_is_taken_in_one_call),
		cmocka_unit_test(test_random_calls),
	};

	return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
