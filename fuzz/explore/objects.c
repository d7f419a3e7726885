// SPDX-License-Identifier: MIT
/* Numbers for addresses; see objects.h. */
#include "objects.h"

#include "sched.h"

#include <string.h>

#define SLOTS (4 * OBJECTS_MAX) /* a power of two */

/* Open addressing; an entry counts if its run is the one that goes on. */
static struct {
	uint32_t run;
	uint16_t id;
} slot[SLOTS];

static uintptr_t addr_of[OBJECTS_MAX];
static unsigned int nr;
static uint32_t run = 1; /* before the first one, too: constructors */

void objects_reset(void)
{
	nr = 0;
	if (!++run) {
		memset(slot, 0, sizeof(slot));
		run = 1;
	}
}

unsigned int objects_id(uintptr_t addr)
{
	uint64_t hash = addr * UINT64_C(0x9e3779b97f4a7c15);
	unsigned int i = (unsigned int)(hash >> 40) % SLOTS;

	for (; slot[i].run == run; i = (i + 1) % SLOTS)
		if (addr_of[slot[i].id] == addr)
			return slot[i].id;
	if (nr == OBJECTS_MAX)
		sched_fail("limit", "more than %u atomic addresses",
			   OBJECTS_MAX);
	slot[i].run = run;
	slot[i].id = (uint16_t)nr;
	addr_of[nr] = addr;
	return nr++;
}

unsigned int objects_nr(void)
{
	return nr;
}

uintptr_t objects_addr(unsigned int id)
{
	return addr_of[id];
}
