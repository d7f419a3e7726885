// SPDX-License-Identifier: MIT
/*
 * Frees from other threads, exactly: how many blocks a batch takes, which slot
 * it is in, when it is sent off, what becomes of it at the owner's; who empties
 * a queue that is too long, and who waits for its owner.  One thread plays two,
 * but where one has to wait.
 */
#include "testlib.h"

#include "api/lock.h"
#include "heap/remote.h"

#include <pthread.h>
#include <unistd.h>

#define SIZE(cls) test_class_sizes[(cls) - 1]

static struct apb_heap *mine, *other;

/* Two threads with a heap each; the first one is who calls. */
static void start(uint64_t seed)
{
	fresh_sim(seed, SIMOS_HINTS);
	apb_free(apb_malloc(1));
	mine = apb_thread_swap(NULL);
	apb_free(apb_malloc(1));
	other = apb_thread_swap(mine);
	assert_ptr_not_equal(mine, other);
}

static void *others_block(unsigned int cls)
{
	void *p;

	apb_thread_swap(other);
	p = apb_malloc(SIZE(cls));
	assert_non_null(p);
	apb_thread_swap(mine);
	return p;
}

static void finish(void)
{
	assert_whole();
	apb_thread_swap(other);
	apb_thread_end();
	apb_thread_swap(mine);
	apb_thread_end();
	assert_whole();
	apb_trim();
	assert_whole();
	assert_int_equal(stats_now().mapped_bytes, 0);
}

static unsigned int queued(void)
{
	return apb_queue_length(
		__atomic_load_n((uintptr_t *)&other->queue, __ATOMIC_RELAXED));
}

/* The slots that have a batch; the last of them. */
static unsigned int open_slots(struct apb_out **slot)
{
	unsigned int i, n = 0;

	for (i = 0; i < APB_NR_OUT; i++) {
		if (!mine->out[i].next)
			continue;
		n++;
		if (slot)
			*slot = &mine->out[i];
	}
	return n;
}

/* 16 KiB, or 125 blocks, whichever is less; but one at least. */
static unsigned int batch_max(unsigned int cls)
{
	size_t n = 16 * KIB / SIZE(cls);

	return (unsigned int)(n < 1 ? 1 : n > 125 ? 125 : n);
}

/* Where a bin's batch is: bins have 16 bytes, heaps are a page apart. */
static struct apb_out *slot_of(const struct apb_bin *bin)
{
	return &mine->out[((uintptr_t)bin / 16 ^ (uintptr_t)bin / 4096) % 32];
}

/* ---- who frees -------------------------------------------------------- */

static void test_batches_are_filled(void **ctx)
{
	struct apb_out *slot = NULL;
	struct apb_batch *batch;
	struct apb_entry entry;
	unsigned int cls, i;
	void *p[125];

	(void)ctx;
	for (cls = 1; cls <= APB_NR_CLASSES; cls++) {
		unsigned int most = batch_max(cls);

		start(cls);
		for (i = 0; i < most; i++)
			p[i] = others_block(cls);
		for (i = 0; i < most; i++) {
			apb_free(p[i]);
			assert_int_equal(queued(), i + 1 == most);
			assert_int_equal(mine->posted, i + 1 == most);
			assert_int_equal(open_slots(&slot), i + 1 != most);
			if (i + 1 == most)
				continue;
			assert_int_equal(slot->owner,
					 (uintptr_t)&other->bin[cls]);
			assert_ptr_equal(slot, slot_of(&other->bin[cls]));
			batch = apb_out_batch(slot);
			assert_int_equal(batch->owner, slot->owner);
			assert_int_equal(batch->first, 125 - most);
			assert_int_equal(apb_out_count(slot), i + 1);
			entry = apb_entry_unpack(batch->word[125 - most + i]);
			assert_ptr_equal(entry.block, p[i]);
			if (i % 16 == 0)
				assert_whole();
		}
		finish();
	}
}

/* A slot that has an owner, but no batch, as a fork may leave it. */
static void test_torn_slot(void **ctx)
{
	struct apb_out *slot;
	void *p[3];
	unsigned int i;

	(void)ctx;
	start(1);
	for (i = 0; i < 3; i++)
		p[i] = others_block(4);
	slot = slot_of(&other->bin[4]);
	slot->owner = (uintptr_t)&other->bin[4];
	assert_null(slot->next);
	for (i = 0; i < 3; i++) {
		apb_free(p[i]);
		assert_int_equal(open_slots(&slot), 1);
		assert_int_equal(apb_out_count(slot), i + 1);
	}
	assert_int_equal(mine->posted, 0);
	finish();
}

/* As many neighbouring classes as there are slots: each has its own. */
static void test_neighbours_have_slots(void **ctx)
{
	unsigned int from, i;

	(void)ctx;
	for (from = 1; from + 31 <= 48; from += 4) {
		start(from);
		for (i = 0; i < 32; i++)
			apb_free(others_block(from + i));
		assert_int_equal(open_slots(NULL), 32);
		assert_int_equal(mine->posted, 0);
		assert_int_equal(queued(), 0);
		finish();
	}
}

/* They are taken one at a time until one was sent off; then by four. */
static void test_batches_by_four(void **ctx)
{
	unsigned int i, round;

	(void)ctx;
	start(6);
	apb_free(others_block(5));
	assert_int_equal(mine->nr_batches, 0);
	for (round = 0; round < 9; round++) {
		for (i = 0; i < batch_max(4); i++) {
			apb_free(others_block(4));
			assert_int_equal(mine->nr_batches,
					 round ? 3 - (round - 1) % 4 : 0);
		}
		assert_int_equal(mine->posted, round + 1);
	}
	finish();
}

/* Before its thread ends all that it has is sent off, and it keeps nothing. */
static void test_flush(void **ctx)
{
	unsigned int i;

	(void)ctx;
	start(3);
	for (i = 0; i < 12; i++)
		apb_free(others_block(1 + i));
	/* as a fork by another thread may leave it */
	mine->nr_batches++;
	apb_remote_flush(mine);
	assert_int_equal(open_slots(NULL), 0);
	assert_int_equal(mine->posted, 12);
	assert_int_equal(queued(), 12);
	assert_int_equal(mine->nr_batches, 0);
	assert_null(mine->batches);
	assert_int_equal(apb_state.meta.used, 12 * 1024);
	finish();
}

/* ---- the owner -------------------------------------------------------- */

static void drain(bool keep)
{
	apb_thread_swap(other);
	apb_lock(&other->lock);
	apb_remote_drain(other, keep);
	apb_unlock(&other->lock);
	apb_thread_swap(mine);
}

static unsigned int others_bin(unsigned int cls)
{
	return (unsigned int)(other->bin[cls].top - other->info[cls].base);
}

/* Take all that is in bin @cls, behind what @q has; how many it has then. */
static unsigned int take_bin(unsigned int cls, void **q, unsigned int n)
{
	while (others_bin(cls))
		q[n++] = others_block(cls);
	return n;
}

/* What a batch of @n blocks of @cls that waits does to the bin, which is empty,
 * when it is asked; returns the block. */
static void *assert_filled(unsigned int cls, unsigned int n)
{
	const struct apb_bin_info *info = &other->info[cls];
	unsigned int limit = (unsigned int)(other->bin[cls].limit - info->base);
	unsigned int want = info->want, room = info->room;
	unsigned int most = apb_bin_most(cls), step = apb_bin_step(cls);
	void *p;

	if (limit < n) {
		want = want + n > most ? most : want + n;
		if (want > room)
			for (room = 127; room < want;)
				room = 2 * room + 1;
		limit = want > step ? want : step;
		if (limit > room)
			limit = room;
	}
	p = others_block(cls);
	assert_int_equal(info->want, want);
	assert_int_equal(info->room, room);
	assert_int_equal(other->bin[cls].limit - info->base, limit);
	assert_int_equal(others_bin(cls) + 1, n < limit ? n : limit);
	return p;
}

static void test_batches_wait_for_bins(void **ctx)
{
	static const unsigned int classes[] = {1, 4, 32, 40, 48, 50, 53, 56};
	static void *p[125], *q[12 * 1024];
	unsigned int c, i, round, n, nr;

	(void)ctx;
	for (c = 0; c < NR_OF(classes); c++) {
		unsigned int cls = classes[c];

		start(cls);
		for (round = nr = 0; round < 12; round++) {
			n = batch_max(cls);
			for (i = 0; i < n; i++)
				p[i] = others_block(cls);
			for (i = 0; i < n; i++)
				apb_free(p[i]);
			assert_int_equal(queued(), 1);
			i = others_bin(cls);
			drain(true);
			assert_int_equal(queued(), 0);
			assert_int_equal(others_bin(cls), i);
			assert_int_equal(other->nr_arrived, 1);
			assert_int_equal(other->arrived[cls]->n, n);
			assert_whole();
			/* not before the bin is empty, nor for another */
			apb_thread_swap(other);
			apb_free(apb_malloc(SIZE(cls == 1 ? 2 : cls - 1)));
			apb_thread_swap(mine);
			nr = take_bin(cls, q, nr);
			assert_int_equal(other->nr_arrived, 1);
			q[nr++] = assert_filled(cls, n);
			assert_int_equal(other->nr_arrived, 0);
			assert_null(other->arrived[cls]);
			/* with the fifth four are given back at once */
			assert_int_equal(other->nr_batches, round % 4 + 1);
			assert_whole();
		}
		apb_thread_swap(other);
		while (nr)
			apb_free(q[--nr]);
		apb_thread_swap(mine);
		finish();
	}
}

/* An empty batch that was kept is the next one that is filled. */
static void test_batches_are_used_again(void **ctx)
{
	static void *q[1024];
	void *p[125], *foreign;
	unsigned int i, n = 0;
	size_t meta;

	(void)ctx;
	start(5);
	foreign = apb_malloc(100);
	for (i = 0; i < 125; i++)
		p[i] = others_block(4);
	for (i = 0; i < 125; i++)
		apb_free(p[i]);
	while (queued() || other->nr_arrived)
		q[n++] = others_block(4);
	assert_int_equal(other->nr_batches, 1);
	meta = apb_state.meta.used;
	apb_thread_swap(other);
	apb_free(foreign);
	assert_int_equal(other->nr_batches, 0);
	assert_null(other->batches);
	assert_int_equal(apb_state.meta.used, meta);
	while (n)
		apb_free(q[--n]);
	apb_thread_swap(mine);
	finish();
}

/* A thread that ends leaves no queue, and no batches. */
static void test_end_empties_queue(void **ctx)
{
	struct apb_heap *ended;
	struct apb_pool *pool;
	unsigned int i, used;
	void *p[125];

	(void)ctx;
	start(11);
	for (i = 0; i < 125; i++)
		p[i] = others_block(4);
	pool = pool_of(p[0]);
	for (i = 0; i < 125; i++)
		apb_free(p[i]);
	assert_int_equal(queued(), 1);
	used = pool->used;
	ended = other;
	apb_thread_swap(ended);
	apb_thread_end();
	assert_int_equal(queued(), 0);
	assert_int_equal(pool->used, used - 125);
	assert_true(ended->warm);
	assert_whole();
	/* the heap of the next thread */
	apb_free(apb_malloc(1));
	assert_ptr_equal(apb_thread_swap(mine), ended);
	finish();
}

/*
 * What another thread's trim asks for is done at the next slow path, be it that
 * a bin is full: then it is full no more, and there is nothing to learn from it.
 */
static void test_follows_trim(void **ctx)
{
	unsigned int full, i, n = 0;
	void *p[300], *q, *foreign;

	(void)ctx;
	for (full = 0; full < 2; full++) {
		start(12 + full);
		foreign = apb_malloc(100);
		for (i = n = 0; i < NR_OF(p); i++)
			p[i] = others_block(4);
		apb_thread_swap(other);
		while (other->bin[4].top < other->bin[4].limit)
			apb_free(p[n++]);
		/* a batch that is being filled goes, too */
		apb_free(foreign);
		apb_thread_swap(mine);
		apb_trim();
		assert_int_equal(other->bin[4].top, other->bin[4].limit);
		assert_int_equal(mine->queue, 0);
		apb_thread_swap(other);
		other->info[4].ran_empty = other->info[4].was_full = false;
		if (full) {
			apb_free(p[n++]);
			assert_int_equal(bin_length(4), 1);
			assert_false(other->info[4].was_full);
		} else {
			q = apb_malloc(SIZE(9));
			assert_int_equal(bin_length(4), 0);
			apb_free(q);
		}
		assert_int_equal(apb_queue_length(mine->queue), 1);
		while (n < NR_OF(p))
			apb_free(p[n++]);
		apb_thread_swap(mine);
		finish();
	}
}

/* Only so many wait; and none does when memory is asked back. */
static void test_how_many_wait(void **ctx)
{
	void *p[APB_ARRIVED_MAX + 5];
	unsigned int i, cls;
	size_t meta;

	(void)ctx;
	start(6);
	for (i = 0; i < NR_OF(p); i++)
		p[i] = others_block(50 + i % 3);
	meta = apb_state.meta.used;
	for (i = 0; i < NR_OF(p); i++)
		apb_free(p[i]);
	apb_remote_flush(mine);
	while (queued())
		drain(true);
	for (i = 0, cls = 1; cls <= APB_NR_CLASSES; cls++) {
		const struct apb_batch *batch = other->arrived[cls];

		for (; batch; batch = batch->next)
			i++;
	}
	assert_int_equal(i, APB_ARRIVED_MAX);
	assert_int_equal(other->nr_arrived, APB_ARRIVED_MAX);
	assert_int_equal(apb_state.meta.used,
			 meta + APB_ARRIVED_MAX * APB_BATCH_SIZE);
	assert_whole();
	drain(false);
	assert_int_equal(other->nr_arrived, 0);
	assert_int_equal(apb_state.meta.used, meta);
	assert_whole();
	finish();
}

/* The one freed last is taken first. */
static void test_order(void **ctx)
{
	void *p[125], *q[512];
	unsigned int i, n = 0;

	(void)ctx;
	start(9);
	for (i = 0; i < 125; i++)
		p[i] = others_block(4);
	apb_thread_swap(other);
	while (bin_length(4))
		q[n++] = apb_malloc(SIZE(4));
	apb_thread_swap(mine);
	for (i = 0; i < 125; i++)
		apb_free(p[i]);
	assert_int_equal(queued(), 1);
	while (i)
		assert_ptr_equal(others_block(4), p[--i]);
	assert_int_equal(other->info[4].ran_empty, true);
	assert_whole();
	for (; i < 125; i++)
		apb_free(p[i]);
	while (n)
		apb_free(q[--n]);
	finish();
}

/* Another than the owner puts blocks into pools, never into bins. */
static void test_others_leave_bins_alone(void **ctx)
{
	unsigned int i, have, used;
	struct apb_pool *pool;
	void *p[125];
	size_t meta;

	(void)ctx;
	start(10);
	for (i = 0; i < 125; i++)
		p[i] = others_block(4);
	pool = pool_of(p[0]);
	meta = apb_state.meta.used;
	for (i = 0; i < 125; i++)
		apb_free(p[i]);
	have = (unsigned int)(other->bin[4].top - other->info[4].base);
	used = pool->used;
	apb_heaps_drain(NULL);
	assert_int_equal(queued(), 0);
	assert_int_equal(other->bin[4].top - other->info[4].base, have);
	assert_int_equal(pool->used, used - 125);
	assert_int_equal(other->nr_batches, 0);
	assert_int_equal(apb_state.meta.used, meta);
	finish();
}

/* ---- the queue's bound ------------------------------------------------ */

#define BIG 53 /* a batch is one block of it */
#define MOST (4 * APB_QUEUE_MAX)

static void *big[MOST + 8];

/* Who posts on a queue that is long does the owner's work first. */
static void test_bound(void **ctx)
{
	unsigned int i;

	(void)ctx;
	assert_int_equal(batch_max(BIG), 1);
	start(20);
	for (i = 0; i < 2 * APB_QUEUE_MAX + 3; i++)
		big[i] = others_block(BIG);
	for (i = 0; i < 2 * APB_QUEUE_MAX + 3; i++) {
		assert_int_equal(queued(), i ? (i - 1) % APB_QUEUE_MAX + 1 : 0);
		apb_free(big[i]);
		assert_int_equal(other->nr_arrived, 0);
	}
	finish();
}

/* A thread that has the owner's lock, until it may let go. */
struct holder {
	bool has, go;
	unsigned int seen; /* in the queue, when it let go */
};

static bool get(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void set(bool *flag)
{
	__atomic_store_n(flag, true, __ATOMIC_RELEASE);
}

static void *hold(void *arg)
{
	struct holder *h = arg;

	pthread_mutex_lock(&other->lock);
	set(&h->has);
	while (!get(&h->go))
		usleep(100);
	/* long enough for one who does not wait */
	usleep(20000);
	h->seen = queued();
	pthread_mutex_unlock(&other->lock);
	return NULL;
}

/*
 * Nobody waits for an owner who is busy until its queue is four times as long
 * as it should be; then who has no lock does, and who has one never.
 */
static void test_who_waits(void **ctx)
{
	struct holder h = {0};
	pthread_t thread;
	unsigned int i;

	(void)ctx;
	start(21);
	for (i = 0; i < MOST + 2; i++)
		big[i] = others_block(BIG);
	big[i] = others_block(4);
	assert_int_equal(pthread_create(&thread, NULL, hold, &h), 0);
	while (!get(&h.has))
		usleep(100);
	for (i = 0; i < MOST; i++) {
		apb_free(big[i]);
		assert_int_equal(queued(), i + 1);
	}
	/* a batch that is not full */
	apb_free(big[MOST + 2]);
	apb_remote_flush(mine);
	assert_int_equal(queued(), MOST + 1);
	set(&h.go);
	apb_free(big[MOST]);
	assert_int_equal(queued(), 1);
	apb_free(big[MOST + 1]);
	assert_int_equal(queued(), 2);
	pthread_join(thread, NULL);
	assert_int_equal(h.seen, MOST + 1);
	finish();
}

/*
 * Exactly: who fills a batch, and who needs the slot of another one, wait for
 * the owner of a queue that is four times as long as it should be.
 */
static void test_when_to_wait(void **ctx)
{
	unsigned int slot, i;
	pthread_t thread;
	void *p[2];

	(void)ctx;
	for (slot = 0; slot < 2; slot++) {
		struct holder h = {0};

		start(22 + slot);
		for (i = 0; i <= MOST; i++)
			big[i] = others_block(BIG);
		p[0] = others_block(4);
		p[1] = others_block(4 + APB_NR_OUT);
		assert_ptr_equal(slot_of(&other->bin[4]),
				 slot_of(&other->bin[4 + APB_NR_OUT]));
		assert_int_equal(pthread_create(&thread, NULL, hold, &h), 0);
		while (!get(&h.has))
			usleep(100);
		for (i = 0; i < MOST; i++)
			apb_free(big[i]);
		apb_free(p[0]);
		assert_int_equal(queued(), MOST);
		set(&h.go);
		apb_free(slot ? p[1] : big[MOST]);
		assert_int_equal(queued(), 1);
		apb_free(slot ? big[MOST] : p[1]);
		pthread_join(thread, NULL);
		assert_int_equal(h.seen, MOST);
		finish();
	}
}

static void *let_go(void *arg)
{
	struct holder *h = arg;

	usleep(5000);
	set(&h->go);
	return NULL;
}

/* Who holds nothing waits for each heap that is to be emptied. */
static void test_drain_waits(void **ctx)
{
	struct holder h = {0};
	pthread_t threads[2];

	(void)ctx;
	start(24);
	big[0] = others_block(BIG);
	apb_free(big[0]);
	assert_int_equal(queued(), 1);
	assert_int_equal(pthread_create(&threads[0], NULL, hold, &h), 0);
	while (!get(&h.has))
		usleep(100);
	assert_int_equal(pthread_create(&threads[1], NULL, let_go, &h), 0);
	apb_heaps_drain(NULL);
	assert_int_equal(queued(), 0);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batches_are_filled),
		cmocka_unit_test(test_torn_slot),
		cmocka_unit_test(test_neighbours_have_slots),
		cmocka_unit_test(test_batches_by_four),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_batches_wait_for_bins),
		cmocka_unit_test(test_batches_are_used_again),
		cmocka_unit_test(test_end_empties_queue),
		cmocka_unit_test(test_follows_trim),
		cmocka_unit_test(test_how_many_wait),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_others_leave_bins_alone),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_who_waits),
		cmocka_unit_test(test_when_to_wait),
		cmocka_unit_test(test_drain_waits),
	};

	return cmocka_run_group_tests(tests, NULL, test_teardown);
}
