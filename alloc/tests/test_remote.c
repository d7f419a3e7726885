// SPDX-License-Identifier: MIT
/*
 * Unit tests of frees from other threads, step by step: one real thread plays
 * several (apb_thread_swap()), so that who does what in which order is known.
 * Batches, the queue and its bound, who empties it and where to; the end of
 * owners and of those who free, and heaps that are taken over; no memory at
 * any step of it.
 */
#include "testreport.h"

#include "heap/remote.h"

#define SIZE(cls) test_class_sizes[(cls) - 1]

/* ---- the players ------------------------------------------------------ */

#define PLAYERS 6

static struct apb_heap *heap[PLAYERS];
static unsigned int now;

/* From here on thread @who is what calls. */
static void be(unsigned int who)
{
	if (who == now)
		return;
	heap[now] = apb_thread_swap(heap[who]);
	now = who;
}

static void end_thread(unsigned int who)
{
	be(who);
	apb_thread_end();
}

static void start_fresh(uint64_t seed, unsigned int flags)
{
	unsigned int i;

	/* what an earlier test left */
	for (i = 0; i < PLAYERS; i++)
		end_thread(i);
	memset(heap, 0, sizeof(heap));
	now = 0;
	fresh_sim(seed, flags);
}

/* All threads end; nothing stays. */
static void finish(void)
{
	unsigned int i;

	assert_int_equal(stats_now().used_bytes, 0);
	assert_whole();
	for (i = 0; i < PLAYERS; i++)
		end_thread(i);
	be(0);
	assert_whole();
	apb_trim();
	assert_whole();
	assert_int_equal(stats_now().mapped_bytes, 0);
}

static unsigned int queued(unsigned int who)
{
	const struct apb_heap *h = who == now ? apb_tls : heap[who];

	return apb_queue_length(h->queue);
}

/* Blocks in the batches that @who has not sent off. */
static unsigned int held_back(unsigned int who)
{
	const struct apb_heap *h = who == now ? apb_tls : heap[who];
	unsigned int i, n = 0;

	for (i = 0; i < APB_NR_OUT; i++)
		if (h->out[i].next)
			n += apb_out_count(&h->out[i]);
	return n;
}

static unsigned int batch_max(unsigned int cls)
{
	size_t n = 16 * KIB / SIZE(cls);

	return n > 125 ? 125 : n ? (unsigned int)n : 1;
}

#define MANY 40000
static char *p[MANY];

static void alloc_n(size_t n, size_t size)
{
	size_t i;

	for (i = 0; i < n; i++) {
		p[i] = apb_malloc(size);
		assert_non_null(p[i]);
		fill(p[i], size < 64 ? size : 64, i);
	}
}

static void free_range(size_t from, size_t to)
{
	for (; from < to; from++)
		apb_free(p[from]);
}

/* ---- batches ---------------------------------------------------------- */

static void test_a_full_batch_is_posted(void **ctx)
{
	unsigned int cls, i;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		unsigned int max = batch_max(cls);

		start_fresh(cls, 0);
		be(1);
		alloc_n(3 * max, SIZE(cls));
		be(2);
		for (i = 1; i <= 2 * max; i++) {
			apb_free(p[i - 1]);
			assert_int_equal(queued(1), i / max);
			assert_int_equal(held_back(2), i % max);
			assert_int_equal(stats_now().class_[cls - 1].used,
					 3 * max - i);
		}
		assert_whole();
		assert_int_equal(apb_tls->posted, 2);
		be(1);
		free_range(2 * max, 3 * max);
		finish();
	}
}

/* What arrives is reused before anything else, the last first. */
static void test_the_owner_takes_batches(void **ctx)
{
	unsigned int cls, i, n;

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		struct apb_pool *pool;
		unsigned int max = batch_max(cls);

		start_fresh(cls, 0);
		be(1);
		alloc_n(2 * max, SIZE(cls));
		for (n = 0; bin_length(cls); n++)
			p[2 * max + n] = apb_malloc(SIZE(cls));
		pool = pool_of(p[0]);
		be(2);
		free_range(0, max);
		assert_int_equal(queued(1), 1);
		be(1);
		for (i = max; i--;) {
			assert_ptr_equal(apb_malloc(SIZE(cls)), p[i]);
			assert_int_equal(queued(now), 0);
			assert_int_equal(bin_length(cls), i);
			assert_true(filled(p[i],
					   SIZE(cls) < 64 ? SIZE(cls) : 64, i));
		}
		assert_int_equal(pool->owner, (uintptr_t)&apb_tls->bin[cls]);
		assert_whole();
		free_range(0, 2 * max + n);
		finish();
	}
}

/* More bins of others than there are slots for batches. */
static void test_slots_are_shared(void **ctx)
{
	unsigned int cls, who;
	size_t n = 0, i;

	(void)ctx;
	start_fresh(1, 0);
	for (who = 1; who < 4; who++) {
		be(who);
		for (cls = 1; cls <= APB_NR_CLASSES; cls++)
			for (i = 0; i < 4; i++)
				p[n++] = apb_malloc(SIZE(cls));
	}
	be(4);
	for (i = 0; i < n; i++) {
		/* of another bin each time */
		apb_free(p[i * 29 % n]);
		assert_int_equal(stats_now().used_bytes > 0, i + 1 < n);
		if (i % 16 == 0)
			assert_whole();
	}
	assert_whole();
	assert_true(queued(1) && queued(2) && queued(3));
	assert_true(held_back(4) < n);
	finish();
}

/* ---- who empties queues ----------------------------------------------- */

static void test_settling(void **ctx)
{
	(void)ctx;
	/* of the owner: what was posted; of the other: what it has not */
	start_fresh(2, 0);
	be(1);
	alloc_n(200, 64);
	be(2);
	free_range(0, 140);
	assert_int_equal(queued(1), 1);
	assert_int_equal(held_back(2), 15);
	be(1);
	apb_settle();
	assert_int_equal(queued(now), 0);
	assert_int_equal(held_back(2), 15);
	assert_int_equal(bin_length(4), 0);
	assert_int_equal(pool_of(p[199])->used, 75);
	assert_whole();
	be(2);
	apb_settle();
	assert_int_equal(held_back(2), 0);
	assert_int_equal(queued(1), 0);
	assert_int_equal(pool_of(p[199])->used, 60);
	assert_whole();
	be(3);
	free_range(140, 200);
	finish();
}

/* A trim by a third: it empties queues, the others follow when they come by. */
static void test_trim_is_followed(void **ctx)
{
	char *own[2];

	(void)ctx;
	start_fresh(3, 0);
	be(2);
	own[0] = apb_malloc(1000);
	own[1] = apb_malloc(1000);
	be(1);
	alloc_n(200, 64);
	free_range(150, 160);
	be(2);
	free_range(0, 140);
	assert_int_equal(queued(1), 1);
	be(3);
	apb_trim();
	assert_int_equal(queued(1), 0);
	assert_int_equal(held_back(2), 15);
	/* the bins of others are theirs */
	assert_true(heap[1]->bin[4].top >= heap[1]->info[4].base + 10);
	assert_whole();
	/* a refill of any class */
	be(2);
	apb_free(apb_malloc(3000));
	assert_int_equal(held_back(2), 0);
	assert_int_equal(queued(1), 1);
	/* of the owner, too; what was sent to it comes after, and waits */
	be(1);
	p[0] = apb_malloc(5000);
	assert_int_equal(queued(1), 0);
	assert_int_equal(bin_length(4), 0);
	assert_int_equal(heap[1]->nr_arrived, 1);
	assert_int_equal(heap[1]->arrived[4]->n, 15);
	apb_free(p[0]);
	free_range(140, 150);
	free_range(160, 200);
	be(2);
	apb_free(own[0]);
	apb_free(own[1]);
	finish();
}

/* The owner does not come: the queue has a bound, and memory goes back. */
static void test_the_queue_is_bounded(void **ctx)
{
	static const unsigned int classes[] = {1, 4, 20, 36, 44, 52, 56};
	size_t i, k, n, most;

	(void)ctx;
	for (k = 0; k < NR_OF(classes); k++) {
		size_t size = SIZE(classes[k]);

		start_fresh(k, 0);
		be(1);
		n = 20 * MIB / size < MANY ? 20 * MIB / size : MANY;
		alloc_n(n, size);
		be(2);
		for (i = most = 0; i < n; i++) {
			apb_free(p[i]);
			assert_true(queued(1) <= APB_QUEUE_MAX);
			if (queued(1) > most)
				most = queued(1);
		}
		assert_int_equal(most, APB_QUEUE_MAX);
		assert_int_equal(stats_now().used_bytes, 0);
		/* in the queue, in batches, in the bins: no more than so much */
		assert_true(stats_now().avail_bytes <= 4 * MIB);
		assert_whole();
		apb_trim();
		assert_int_equal(queued(1), 0);
		/* what the owner has in its bin, and the heaps */
		assert_true(stats_now().arenas <= 1);
		finish();
	}
}

/* ---- the end of threads ----------------------------------------------- */

static void test_the_freer_ends(void **ctx)
{
	struct apb_heap *was;

	(void)ctx;
	start_fresh(5, 0);
	be(1);
	alloc_n(200, 64);
	be(2);
	free_range(0, 140);
	was = apb_tls;
	assert_int_equal(held_back(2), 15);
	end_thread(2);
	/* all of it is on its way, and the heap is for the next one */
	assert_int_equal(queued(1), 2);
	assert_ptr_equal(apb_state.heaps.idle, was);
	assert_whole();
	be(3);
	apb_free(apb_malloc(1));
	assert_ptr_equal(apb_tls, was);
	assert_null(apb_state.heaps.idle);
	be(1);
	free_range(140, 200);
	apb_settle();
	assert_int_equal(stats_now().class_[3].pools, 0);
	finish();
}

static void test_the_owner_ends(void **ctx)
{
	struct apb_heap *was;

	(void)ctx;
	start_fresh(6, 0);
	be(1);
	alloc_n(256, 64);
	was = apb_tls;
	be(2);
	free_range(0, 125);
	assert_int_equal(queued(1), 1);
	end_thread(1);
	assert_int_equal(apb_queue_length(was->queue), 0);
	assert_int_equal(pool_of(p[255])->used, 131);
	assert_whole();
	/* its queue works as before, and a trim empties it */
	be(2);
	free_range(125, 250);
	assert_int_equal(apb_queue_length(was->queue), 1);
	assert_whole();
	apb_trim();
	assert_int_equal(apb_queue_length(was->queue), 0);
	assert_int_equal(pool_of(p[255])->used, 6);
	/* and when nothing is left the heap goes */
	free_range(250, 256);
	apb_trim();
	assert_int_equal(stats_now().arenas, 0);
	assert_true(stats_now().heaps <= 2);
	assert_whole();
	finish();
}

/* With its pools, its queue and all: blocks are at home with the new one. */
static void test_taking_over(void **ctx)
{
	struct apb_heap *was;
	struct apb_pool *pool;
	size_t i;

	(void)ctx;
	start_fresh(7, 0);
	be(1);
	alloc_n(200, 64);
	free_range(0, 50);
	was = apb_tls;
	pool = pool_of(p[199]);
	end_thread(1);
	be(2);
	apb_free(apb_malloc(48));
	assert_ptr_equal(apb_tls, was);
	/* its bins are as they were */
	assert_int_equal(bin_length(4), 50);
	apb_settle();
	assert_int_equal(pool->used, 150);
	be(3);
	apb_free(apb_malloc(48));
	free_range(50, 175);
	be(2);
	assert_int_equal(queued(now), 1);
	/* own blocks: no batch */
	apb_free(p[180]);
	assert_int_equal(held_back(2), 0);
	assert_int_equal(bin_length(4), 1);
	assert_ptr_equal(apb_malloc(64), p[180]);
	/* then those of the queue, then the pool's */
	for (i = 175; i-- > 50;)
		assert_ptr_equal(apb_malloc(64), p[i]);
	for (i = 0; i < 50; i++) {
		p[i] = apb_malloc(64);
		assert_ptr_equal(pool_of(p[i]), pool);
	}
	assert_whole();
	free_range(0, 200);
	finish();
}

/* The heaps are as many as threads lived at the same time. */
static void test_one_after_the_other(void **ctx)
{
	size_t i;

	(void)ctx;
	start_fresh(8, 0);
	for (i = 0; i < 1000; i++) {
		be(1);
		p[0] = apb_malloc(1 + i % 3000);
		be(2);
		p[1] = apb_malloc(1 + i % 700);
		apb_free(p[0]);
		end_thread(1);
		be(2);
		apb_free(p[1]);
		end_thread(2);
		assert_true(apb_state.heaps.nr <= 2);
		assert_true(stats_now().heaps <= 2);
	}
	assert_int_equal(apb_state.heaps.nr, 2);
	finish();
}

/* ---- misuse ----------------------------------------------------------- */

/* Wherever the block is, a second free is one; by the exact report. */
static void expect_double(size_t i)
{
	unsigned int cls = pool_of(p[i])->cls, was = now, who;
	struct report r;

	for (who = 0; who < 4; who++) {
		be(who);
		report_in_pool(&r, APB_MISUSE_DOUBLE_FREE, p[i], cls,
			       (char *)pool_of(p[i])->base,
			       pool_of(p[i])->used);
		assert_misuse_noted(&r, SIZE(cls));
		report_in_pool(&r, APB_MISUSE_INTERIOR, p[i] + 8, cls,
			       (char *)pool_of(p[i])->base,
			       pool_of(p[i])->used);
		assert_misuse_noted(&r, SIZE(cls));
	}
	apb_set_misuse(NULL, NULL);
	be(was);
}

static void test_double_frees(void **ctx)
{
	size_t i, n;

	(void)ctx;
	start_fresh(9, 0);
	be(1);
	alloc_n(200, 64);
	be(2);
	apb_free(p[0]);
	/* in the batch */
	expect_double(0);
	free_range(1, 125);
	assert_int_equal(queued(1), 1);
	/* in the queue */
	for (i = 0; i < 125; i += 31)
		expect_double(i);
	be(1);
	for (n = 0; bin_length(4); n++)
		p[250 + n] = apb_malloc(64);
	assert_ptr_equal(apb_malloc(64), p[124]);
	/* in the bin of its owner */
	expect_double(123);
	expect_double(0);
	apb_settle();
	/* in its pool */
	expect_double(0);
	be(2);
	free_range(125, 150);
	end_thread(1);
	/* in a batch for the heap of a thread that is no more */
	expect_double(125);
	be(2);
	apb_settle();
	expect_double(125);
	expect_double(0);
	be(2);
	apb_free(p[124]);
	free_range(150, 200);
	free_range(250, 250 + n);
	assert_int_equal(stats_now().used_bytes, 0);
	finish();
}

/* ---- reset ------------------------------------------------------------ */

/* Heaps of threads that live on stay theirs, empty. */
static void test_reset(void **ctx)
{
	struct apb_heap *was[3];
	unsigned int who, round;
	size_t i;

	(void)ctx;
	start_fresh(10, 0);
	for (round = 0; round < 5; round++) {
		for (who = 0; who < 3; who++) {
			be(who);
			for (i = 0; i < 100; i++)
				p[who * 100 + i] = apb_malloc(1 + i * 37);
		}
		be(0);
		free_range(100, 300);
		assert_whole();
		for (who = 1; who < 3; who++)
			was[who] = heap[who];
		assert_int_equal(apb_reset(), 0);
		assert_int_equal(stats_now().used_bytes, 0);
		assert_int_equal(stats_now().arenas, 0);
		assert_int_equal(stats_now().mapped_bytes,
				 stats_now().heap_bytes);
		assert_whole();
		for (who = 1; who < 3; who++) {
			be(who);
			assert_ptr_equal(apb_tls, was[who]);
			assert_int_equal(held_back(who), 0);
			assert_int_equal(queued(now), 0);
			assert_int_equal(bin_length(4), 0);
			apb_free(apb_malloc(64));
		}
		assert_whole();
	}
	finish();
}

/* ---- no memory -------------------------------------------------------- */

/*
 * A fixed course of it all; what is not had is not freed.  Its calls to the
 * system fail in turn.
 */
static void course(void)
{
	size_t i;

	memset(p, 0, 400 * sizeof(*p));
	be(1);
	for (i = 0; i < 200; i++)
		p[i] = apb_malloc(i % 4 ? 64 : 900);
	be(2);
	for (i = 0; i < 150; i++)
		apb_free(p[i]);
	for (i = 200; i < 220; i++)
		p[i] = apb_malloc(16384);
	end_thread(1);
	be(3);
	for (i = 150; i < 220; i++)
		apb_free(p[i]);
	for (i = 0; i < 100; i++)
		p[i] = apb_malloc(64 + i * 300);
	be(4);
	for (i = 0; i < 100; i++)
		apb_free(p[i]);
	end_thread(3);
	be(2);
	apb_settle();
	p[0] = apb_malloc(100);
	end_thread(2);
	be(5);
	apb_free(p[0]);
	apb_trim();
	assert_whole();
	assert_int_equal(stats_now().used_bytes, 0);
}

static void test_no_memory_at_any_step(void **ctx)
{
	struct simos_stats s;
	uint64_t calls, n;
	unsigned int mode;

	(void)ctx;
	start_fresh(11, 0);
	course();
	simos_stats(&s);
	calls = s.calls[APB_OS_MAP];
	assert_true(calls > 5);
	finish();
	for (n = 1; n <= calls; n++) {
		for (mode = APB_FAULT_ONCE; mode <= APB_FAULT_FROM; mode++) {
			start_fresh(11, 0);
			fault_arm(mode, FAULT_MASK(APB_OS_MAP), n);
			course();
			fault_arm(APB_FAULT_OFF, 0, 1);
			course();
			finish();
		}
	}
}

/* Threads for which there is no heap: they have the common one, or none. */
static void test_without_a_heap(void **ctx)
{
	size_t i, had = 0;

	(void)ctx;
	start_fresh(12, 0);
	be(1);
	alloc_n(200, 64);
	fault_arm(APB_FAULT_FROM, FAULT_MASK(APB_OS_MAP), 1);
	be(2);
	free_range(0, 100);
	assert_ptr_equal(apb_tls, &apb_empty_heap);
	assert_int_equal(stats_now().class_[3].used, 100);
	assert_int_equal(pool_of(p[150])->used - 100,
			 heap[1]->bin[4].top - heap[1]->info[4].base);
	assert_whole();
	for (i = 0; i < 2000; i++) {
		p[i] = i < 100 || i >= 200 ? apb_malloc(48) : p[i];
		had += p[i] != NULL;
	}
	assert_ptr_equal(apb_tls, &apb_empty_heap);
	assert_int_equal(had, 2000);
	assert_int_equal(stats_now().class_[2].used, 1900);
	assert_whole();
	for (i = 0; i < 50; i++)
		apb_free(p[i]);
	expect_double(10);
	/* and with memory, all is as ever, also for what it has of the common */
	fault_arm(APB_FAULT_OFF, 0, 1);
	be(2);
	for (; i < 1000; i++)
		apb_free(p[i]);
	assert_ptr_not_equal(apb_tls, &apb_empty_heap);
	be(1);
	free_range(1000, 2000);
	finish();
}

/* ---- at random -------------------------------------------------------- */

#define SLOTS 600

static struct slot {
	char *p;
	size_t size;
	uint64_t seed;
} slots[SLOTS];

static size_t random_size(uint64_t *r)
{
	uint64_t x = rnd(r);

	if (x % 64 == 0)
		return 33000 + (x >> 16) % 50000;
	return 1 + (x >> 16) % (x % 8 ? 400 : 20000);
}

static void random_step(uint64_t *r)
{
	uint64_t x = rnd(r);
	struct slot *s = &slots[x % SLOTS];
	size_t size = random_size(r);
	char *q;

	be((unsigned int)((x >> 12) % PLAYERS));
	x >>= 32;
	if (x % 128 == 0)
		end_thread(now);
	if (x % 256 == 1)
		apb_settle();
	if (x % 512 == 2)
		apb_trim();
	if (s->p)
		assert_true(filled(s->p, s->size, s->seed));
	if (s->p && x % 4) {
		apb_free(s->p);
		s->p = NULL;
		return;
	}
	q = s->p ? apb_realloc(s->p, size) : apb_malloc(size);
	if (!q)
		return;
	if (s->p)
		assert_true(filled(q, (s->size < size ? s->size : size) / 8 * 8,
				   s->seed));
	*s = (struct slot){q, size, x};
	fill(q, size, x);
}

static void random_run(uint64_t seed, bool faults)
{
	uint64_t r = seed;
	size_t i;

	start_fresh(seed, (unsigned int)(seed % SIMOS_TIGHT));
	memset(slots, 0, sizeof(slots));
	for (i = 0; i < 6000; i++) {
		if (faults && i % 100 == 0) {
			struct apb_fault f = {
				.mode = i % 300 ? APB_FAULT_RANDOM :
						  APB_FAULT_OFF,
				.calls = FAULT_ALL,
				.n = 3,
				.seed = i,
			};

			apb_fault_set(&f);
		}
		random_step(&r);
		if (i % 64 == 0)
			assert_whole();
	}
	apb_fault_set(NULL);
	for (i = 0; i < SLOTS; i++) {
		be(i % PLAYERS);
		assert_true(!slots[i].p ||
			    filled(slots[i].p, slots[i].size, slots[i].seed));
		apb_free(slots[i].p);
	}
	finish();
}

static void test_random_steps(void **ctx)
{
	uint64_t seed;

	(void)ctx;
	for (seed = 0; seed < 16; seed++)
		random_run(seed, false);
}

static void test_random_steps_with_faults(void **ctx)
{
	uint64_t seed;

	(void)ctx;
	for (seed = 100; seed < 116; seed++)
		random_run(seed, true);
}

static int teardown(void **ctx)
{
	start_fresh(0, 0);
	return test_teardown(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_full_batch_is_posted),
		cmocka_unit_test(test_the_owner_takes_batches),
		cmocka_unit_test(test_slots_are_shared),
		cmocka_unit_test(test_settling),
		cmocka_unit_test(test_trim_is_followed),
		cmocka_unit_test(test_the_queue_is_bounded),
		cmocka_unit_test(test_the_freer_ends),
		cmocka_unit_test(test_the_owner_ends),
		cmocka_unit_test(test_taking_over),
		cmocka_unit_test(test_one_after_the_other),
		cmocka_unit_test(test_double_frees),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_no_memory_at_any_step),
		cmocka_unit_test(test_without_a_heap),
		cmocka_unit_test(test_random_steps),
		cmocka_unit_test(test_random_steps_with_faults),
	};

	return cmocka_run_group_tests_name("remote", tests, NULL, teardown);
}
