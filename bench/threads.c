// SPDX-License-Identifier: MIT
/*
 * Speed of one allocator at one workload of several threads.  bench/run.py
 * starts this program once per allocator, workload and round; each does the
 * same work several times (chunks) and prints nanoseconds on the wall clock
 * per operation, of the fastest and of the median chunk.
 *
 * xfer: one thread allocates, another frees, through a ring; an operation is
 * an object.  larson: threads replace random blocks of a set, and hand the set
 * to a successor when they end, as servers do; an operation is a free and a
 * malloc, of any thread.  tasks: a short-lived thread per task, a pair of them
 * at work; an operation is one of its mallocs and frees.
 */
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define SEED 0xd1b54a32d192ed03ull
#define MAX_CHUNKS 16
#define SPINS 200

struct workload {
	const char *name;
	double (*run)(const struct workload *w, size_t ops);
	size_t ops; /* per chunk */
	unsigned int chunks;
	unsigned int threads;
	bool mixed; /* xfer: sizes of 16 to 512 bytes, read by the receiver */
};

static void die_of_memory(void)
{
	bench_die("the allocator has no memory");
}

static void start(pthread_t *tid, void *(*fn)(void *), void *arg)
{
	if (pthread_create(tid, NULL, fn, arg))
		bench_die("no more threads");
}

/* ---- producer -> consumer ------------------------------------------------ */

#define RING 8192u /* objects under way at most; power of two */
#define PUBLISH 256u /* the other thread is told after so many */

struct ring {
	_Alignas(64) atomic_size_t head; /* objects put in */
	_Alignas(64) atomic_size_t tail; /* objects taken out */
	_Alignas(64) size_t end;
	void *slots[RING];
};

static struct ring ring;

static void wait_a_little(unsigned int *spins)
{
	if (++*spins % SPINS)
		__builtin_ia32_pause();
	else
		sched_yield();
}

static void *consumer(void *arg)
{
	size_t tail = atomic_load(&ring.tail), head;
	const struct workload *w = arg;
	unsigned int spins = 0;

	while (tail != ring.end) {
		head = atomic_load_explicit(&ring.head, memory_order_acquire);
		if (head == tail)
			wait_a_little(&spins);
		while (tail != head) {
			size_t *p = ring.slots[tail & (RING - 1)];

			if (!p || (w->mixed && *p != tail))
				bench_die("object %zu is not what was sent",
					  tail);
			bench_free(p);
			if (++tail % PUBLISH == 0)
				atomic_store_explicit(&ring.tail, tail,
						      memory_order_release);
		}
		atomic_store_explicit(&ring.tail, tail, memory_order_release);
	}
	return NULL;
}

static double run_xfer(const struct workload *w, size_t ops)
{
	static uint64_t rng = SEED;
	size_t head = atomic_load(&ring.head), limit;
	unsigned int spins = 0;
	double begin, took;
	pthread_t tid;

	ring.end = head + ops;
	limit = atomic_load(&ring.tail) + RING;
	begin = bench_wall();
	start(&tid, consumer, (void *)w);
	while (head != ring.end) {
		size_t size = 64;
		size_t *p;

		while (head == limit) {
			limit = RING +
				atomic_load_explicit(&ring.tail,
						     memory_order_acquire);
			if (head == limit)
				wait_a_little(&spins);
		}
		if (w->mixed)
			size = 16 + bench_below(&rng, 497);
		p = bench_malloc(size);
		if (!p)
			die_of_memory();
		*p = head;
		ring.slots[head & (RING - 1)] = p;
		if (++head % PUBLISH == 0)
			atomic_store_explicit(&ring.head, head,
					      memory_order_release);
	}
	atomic_store_explicit(&ring.head, head, memory_order_release);
	pthread_join(tid, NULL);
	took = bench_wall() - begin;
	return took / (double)ops;
}

/* ---- larson: server threads that inherit blocks -------------------------- */

#define LARSON_LIVE 1000u /* per chain of threads */
#define LARSON_MIN 16u
#define LARSON_MAX 512u
#define GENERATIONS 10u

struct chain {
	void *slots[LARSON_LIVE];
	uint64_t rng;
	size_t ops; /* per generation */
	unsigned int generation;
	pthread_t tid; /* of the last thread */
	atomic_bool done;
};

static void *larson_block(struct chain *c)
{
	void *p = bench_malloc(
		LARSON_MIN + bench_below(&c->rng, LARSON_MAX - LARSON_MIN + 1));

	if (!p)
		die_of_memory();
	bench_touch(p, 1);
	return p;
}

static void *larson(void *arg)
{
	struct chain *c = arg;
	pthread_attr_t attr;
	pthread_t tid;
	size_t i;

	for (i = 0; i < c->ops; i++) {
		void **slot = &c->slots[bench_below(&c->rng, LARSON_LIVE)];

		bench_free(*slot);
		*slot = larson_block(c);
	}
	if (++c->generation == GENERATIONS) {
		atomic_store(&c->done, true);
		return NULL;
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&tid, &attr, larson, c))
		bench_die("no more threads");
	pthread_attr_destroy(&attr);
	return NULL;
}

static double run_larson(const struct workload *w, size_t ops)
{
	static struct chain *chains;
	unsigned int t, i;
	double begin;

	if (!chains) {
		chains = bench_map(w->threads * sizeof(*chains));
		for (t = 0; t < w->threads; t++) {
			chains[t].rng = SEED + t * 2 + 1;
			for (i = 0; i < LARSON_LIVE; i++)
				chains[t].slots[i] = larson_block(&chains[t]);
		}
	}
	begin = bench_wall();
	for (t = 0; t < w->threads; t++) {
		pthread_attr_t attr;

		chains[t].ops = ops / w->threads / GENERATIONS;
		chains[t].generation = 0;
		atomic_store(&chains[t].done, false);
		pthread_attr_init(&attr);
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		if (pthread_create(&chains[t].tid, &attr, larson, &chains[t]))
			bench_die("no more threads");
		pthread_attr_destroy(&attr);
	}
	for (t = 0; t < w->threads; t++) {
		while (!atomic_load(&chains[t].done))
			usleep(50);
	}
	return (bench_wall() - begin) / (double)ops;
}

/* ---- a thread per task --------------------------------------------------- */

#define TASK_OPS 2000u /* about 100 microseconds */
#define TASK_LIVE 200u

struct task {
	uint64_t rng;
	size_t *result; /* allocated by the task, freed by its master */
};

static void *task(void *arg)
{
	struct task *t = arg;
	void *slots[TASK_LIVE] = {NULL};
	size_t i, sum = 0;

	for (i = 0; i < TASK_OPS - 1; i++) {
		void **slot = &slots[bench_below(&t->rng, TASK_LIVE)];

		if (*slot) {
			sum += *(size_t *)*slot;
			bench_free(*slot);
		}
		*slot = bench_malloc(16 + bench_below(&t->rng, 240));
		if (!*slot)
			die_of_memory();
		bench_touch(*slot, i);
	}
	for (i = 0; i < TASK_LIVE; i++)
		bench_free(slots[i]);
	t->result = bench_malloc(sizeof(*t->result));
	if (!t->result)
		die_of_memory();
	*t->result = sum;
	return NULL;
}

static double run_tasks(const struct workload *w, size_t ops)
{
	size_t nr = ops / TASK_OPS, i;
	double begin = bench_wall();
	struct task tasks[8];
	pthread_t tids[8];

	for (i = 0; i < nr + w->threads; i++) {
		unsigned int t = i % w->threads;

		if (i >= w->threads) {
			pthread_join(tids[t], NULL);
			if (!*tasks[t].result)
				bench_die("a task did nothing");
			bench_free(tasks[t].result);
		}
		if (i < nr) {
			tasks[t].rng = SEED + i;
			start(&tids[t], task, &tasks[t]);
		}
	}
	return (bench_wall() - begin) / (double)ops;
}

static const struct workload workloads[] = {
	{"xfer", run_xfer, 1000000, 7, 2, false},
	{"xfer-sizes", run_xfer, 1000000, 7, 2, true},
	{"larson-2", run_larson, 1000000, 5, 2, false},
	{"larson-8", run_larson, 1000000, 5, 8, false},
	{"tasks", run_tasks, 500 * TASK_OPS, 5, 2, false},
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static const char usage[] = "usage: bench-threads [--chunks N] WORKLOAD";

int main(int argc, char **argv)
{
	const struct workload *w = NULL;
	double ns[MAX_CHUNKS];
	size_t chunks = 0, i;
	int a;

	for (a = 1; a + 1 < argc && argv[a][0] == '-'; a++) {
		if (strcmp(argv[a], "--chunks"))
			bench_die("%s", usage);
		chunks = bench_number("--chunks", argv[++a], MAX_CHUNKS);
	}
	if (a + 1 != argc)
		bench_die("%s", usage);
	for (i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
		if (!strcmp(workloads[i].name, argv[a]))
			w = &workloads[i];
	}
	if (!w)
		bench_die("no workload '%s'", argv[a]);
	if (!chunks || chunks > w->chunks)
		chunks = w->chunks;
	w->run(w, w->ops / 4);
	for (i = 0; i < chunks; i++)
		ns[i] = w->run(w, w->ops);
	qsort(ns, chunks, sizeof(ns[0]), compare);
	printf("%.4f %.4f %s\n", ns[0], ns[chunks / 2], bench_origin());
	return 0;
}
