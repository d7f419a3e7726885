// SPDX-License-Identifier: MIT
/* Schedules at random; see wander.h. */
#include "wander.h"

static struct {
	uint64_t rng;
	unsigned int often; /* one step in so many lets another one go on */
} me;

static uint64_t draw(void)
{
	/* splitmix64, Steele, Lea and Flood 2014 */
	uint64_t z = me.rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static unsigned int choose(void *arg, const struct moment *m)
{
	unsigned int nth = (unsigned int)__builtin_popcount(m->enabled);
	uint8_t left = m->enabled;

	(void)arg;
	if (m->last != SCHED_NOBODY && m->enabled >> m->last & 1 &&
	    draw() % me.often)
		return m->last;
	for (nth = (unsigned int)(draw() % nth); nth; nth--)
		left &= (uint8_t)(left - 1);
	return (unsigned int)__builtin_ctz(left);
}

void wander(const struct wander *w)
{
	for (uint64_t i = 0; i < w->runs; i++) {
		me.rng = w->seed + i;
		me.often = 2u << draw() % 7;
		report->runs++;
		sched_run(w->program, choose, NULL);
		report->schedules++;
		if (sched_steps() > report->most_steps)
			report->most_steps = sched_steps();
	}
	report->complete = true;
}
